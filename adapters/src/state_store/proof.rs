//! What vouches for a published record: locked files, to be let go of at any moment and without waiting.
//!
//! Its mutex is private to this file, and no call that the disk could hold up is made under it. So a stop that has run out
//! of patience can always end the proof, whatever hangs elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directory::{OpenFile, Stat};

/// The proof of life of one lease.
#[derive(Debug)]
pub(super) struct Proof<F: OpenFile>(Mutex<Inside<F>>);

#[derive(Debug)]
struct Inside<F: OpenFile> {
    /// Nothing vouches for anything any more.
    ended: bool,
    /// The files that are locked: the published record, and one that is about to be.
    held: Vec<Arc<F>>,
    /// What the path to the record led to when it was published.
    published: Option<Stat>,
}

impl<F: OpenFile> Default for Proof<F> {
    fn default() -> Self {
        Self(Mutex::new(Inside {
            ended: false,
            held: Vec::new(),
            published: None,
        }))
    }
}

impl<F: OpenFile> Proof<F> {
    fn inside(&self) -> MutexGuard<'_, Inside<F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes care of a locked file. If the proof has ended, it doesn't stay locked.
    pub(super) fn hold(&self, file: Arc<F>) {
        let mut inside = self.inside();
        if inside.ended {
            let_go_of(&*file);
        }
        inside.held.push(file);
    }

    /// The files that are held.
    pub(super) fn held(&self) -> Vec<Arc<F>> {
        self.inside().held.clone()
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.inside().ended
    }

    /// What the record looked like when it was published.
    pub(super) fn published(&self) -> Option<Stat> {
        self.inside().published
    }

    /// The file that was held last is the published record now, and the only one that counts; false if the proof has ended
    /// meanwhile.
    pub(super) fn settle(&self, published: Option<Stat>) -> bool {
        let mut inside = self.inside();
        if inside.ended {
            return false;
        }
        inside.published = published;
        let newest = inside.held.pop();
        inside.let_go();
        inside.held.extend(newest);
        true
    }

    /// Holds these files from now on, and no others.
    pub(super) fn keep_only(&self, kept: Vec<Arc<F>>) {
        let mut inside = self.inside();
        inside
            .held
            .retain(|file| !kept.iter().any(|kept| Arc::ptr_eq(kept, file)));
        inside.let_go();
        inside.held = kept;
    }

    /// Vouches for nothing any more, until something new is held.
    pub(super) fn pause(&self) {
        let mut inside = self.inside();
        inside.published = None;
        inside.let_go();
    }

    /// Ends it, for good.
    pub(super) fn end(&self) {
        let mut inside = self.inside();
        inside.ended = true;
        inside.unlock();
    }
}

impl<F: OpenFile> Inside<F> {
    fn unlock(&self) {
        self.held.iter().for_each(|file| let_go_of(&**file));
    }

    fn let_go(&mut self) {
        self.unlock();
        self.held.clear();
    }
}

fn let_go_of(file: &impl OpenFile) {
    // Unlocking a lock that one holds can't fail (flock(2)), and where the owner's lock vouches there is none.
    let _ = file.unlock();
}
