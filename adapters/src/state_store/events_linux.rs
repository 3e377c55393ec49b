//! Changes of a directory by inotify(7), told to the very task that waits: no thread stands between.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::{Interest, unix::AsyncFd};

/// What happens in one directory.
#[derive(Debug)]
pub(super) struct Events {
    inotify: Option<AsyncFd<OwnedFd>>,
    /// Nothing is told any more.
    is_over: AtomicBool,
}

/// That somebody reads is no change, and readers would wake themselves. A writer's close is one: with it go locks.
fn changes() -> WatchFlags {
    WatchFlags::ATTRIB
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MODIFY
        | WatchFlags::MOVE
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR
}

impl Events {
    #[expect(
        deprecated,
        reason = "its successor is unsafe; what that asks for holds: an `OwnedFd` keeps its descriptor for life"
    )]
    pub(super) fn of(dir: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&inotify, dir, changes())?;
        // As long as somebody has a directory open, its removal shows in its parent alone.
        let removals = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::ONLYDIR;
        if let Some(parent) = dir.parent() {
            let _ = inotify::add_watch(&inotify, parent, removals);
        }
        AsyncFd::with_interest(inotify, Interest::READABLE).map(|inotify| Self {
            inotify: Some(inotify),
            is_over: AtomicBool::new(false),
        })
    }

    /// Whether it goes on. It doesn't when the runtime has ended in which it began.
    pub(super) fn go_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Waits for the next, or for the end.
    pub(super) async fn next(&self) {
        while let Some(inotify) = &self.inotify
            && let Ok(mut ready) = inotify.readable().await
        {
            match ready.try_io(|inotify| take_all(inotify.get_ref())) {
                Ok(Ok(())) => return,
                Ok(Err(_)) => break,
                // Somebody else had them.
                Err(_would_block) => {}
            }
        }
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(inotify) = self.inotify.take() {
            // Its close waits until the kernel has cleared the watch away, for 10 ms and more.
            let inotify = inotify.into_inner();
            let close = std::thread::Builder::new().name("daymark-close".to_owned());
            let _ = close.spawn(move || drop(inotify));
        }
    }
}

/// Takes all events that are there: there is at least one, or it would block.
fn take_all(inotify: &OwnedFd) -> io::Result<()> {
    let mut events = [0; 4096];
    rustix::io::read(inotify, &mut events)?;
    while rustix::io::read(inotify, &mut events).is_ok() {}
    Ok(())
}
