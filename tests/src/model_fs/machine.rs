//! A running machine: what its processes see of files, and beside that, what the disk may still have instead.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

/// A process. Its locks are gone when it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process(pub u32);

pub(super) type Bytes = Arc<[u8]>;

/// Which node; never used again.
pub(super) type Key = u64;

/// Where all paths begin.
pub(super) const ROOT: Key = 0;

/// All that a machine knows of its files.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) nodes: BTreeMap<Key, Node>,
    pub(super) opened: BTreeMap<u64, Opened>,
    next: u64,
}

/// A file or a directory.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// What it is called in a `stat`.
    pub(super) number: u64,
    pub(super) modified: u64,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    /// What is in it, and what was since it was last synced, that included.
    File { now: Bytes, past: Vec<Bytes> },
    /// What its names lead to, and what each has led to since the disk was last known to have it.
    Dir {
        now: BTreeMap<String, Key>,
        past: BTreeMap<String, BTreeSet<Option<Key>>>,
    },
}

/// An open file or directory.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) node: Key,
    pub(super) process: Process,
    /// Whether it is locked, and nobody else may be then.
    pub(super) lock: Option<bool>,
}

impl Body {
    pub(super) const fn empty_dir() -> Self {
        Self::Dir {
            now: BTreeMap::new(),
            past: BTreeMap::new(),
        }
    }
}

impl Machine {
    /// One with an empty root.
    pub(super) fn new() -> Self {
        let mut machine = Self {
            nodes: BTreeMap::new(),
            opened: BTreeMap::new(),
            next: ROOT,
        };
        machine.add(Body::empty_dir());
        machine
    }

    /// The same machine after `process` was killed: nothing is lost but its locks.
    #[must_use]
    pub fn without(mut self, process: Process) -> Self {
        self.opened.retain(|_, opened| opened.process != process);
        self
    }

    /// A number that no other has had.
    pub(super) fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// A node of this kind, under the lowest number that is free.
    pub(super) fn add(&mut self, body: Body) -> Key {
        let key = self.tick();
        let mut taken: BTreeSet<Key> = self.opened.values().map(|opened| opened.node).collect();
        for node in self.nodes.values() {
            if let Body::Dir { now, .. } = &node.body {
                taken.extend(now.values());
            }
        }
        let numbers: BTreeSet<u64> = taken.iter().map(|key| self.nodes[key].number).collect();
        let number = (1..).find(|number| !numbers.contains(number));
        let node = Node {
            number: number.unwrap_or_default(),
            modified: key,
            body,
        };
        self.nodes.insert(key, node);
        key
    }

    pub(super) fn names(&self, dir: Key) -> io::Result<&BTreeMap<String, Key>> {
        match &self.nodes[&dir].body {
            Body::Dir { now, .. } => Ok(now),
            Body::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// What a path leads to.
    pub(super) fn find(&self, dir: Key, path: &Path) -> io::Result<Key> {
        let (parent, name) = self.parent(dir, path)?;
        let found = self.names(parent)?.get(&name).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The directory in which the last part of a path is a name.
    pub(super) fn parent(&self, dir: Key, path: &Path) -> io::Result<(Key, String)> {
        let parts = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_str().expect("a name in UTF-8").to_owned()),
            _ => None,
        });
        let mut parts: Vec<String> = parts.collect();
        let name = parts.pop().expect("a path with a name");
        let mut parent = dir;
        for part in parts {
            let found = self.names(parent)?.get(&part).copied();
            parent = found.ok_or(io::ErrorKind::NotFound)?;
        }
        Ok((parent, name))
    }

    /// Has a name lead elsewhere, or nowhere. Directories that were removed take no names any more.
    pub(super) fn bind(&mut self, dir: Key, name: &str, to: Option<Key>) -> io::Result<()> {
        let is_linked = dir == ROOT
            || self.nodes.values().any(|node| match &node.body {
                Body::Dir { now, .. } => now.values().any(|key| *key == dir),
                Body::File { .. } => false,
            });
        let node = self.nodes.get_mut(&dir).expect("a node");
        let Body::Dir { now, past } = &mut node.body else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        if !is_linked {
            return Err(io::ErrorKind::NotFound.into());
        }
        let before = match to {
            Some(key) => now.insert(name.to_owned(), key),
            None => now.remove(name),
        };
        past.entry(name.to_owned()).or_default().insert(before);
        Ok(())
    }

    /// Writes over the beginning of a file.
    pub(super) fn write(&mut self, file: Key, bytes: &[u8]) -> io::Result<()> {
        let modified = self.tick();
        let node = self.nodes.get_mut(&file).expect("a node");
        node.modified = modified;
        let Body::File { now, past } = &mut node.body else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let rest = now.get(bytes.len()..).unwrap_or_default();
        let written: Bytes = [bytes, rest].concat().into();
        let before = std::mem::replace(now, written);
        if !past.contains(&before) {
            past.push(before);
        }
        Ok(())
    }

    /// What is in a file is all that it can have after a crash.
    pub(super) fn sync(&mut self, file: Key) {
        let node = self.nodes.get_mut(&file).expect("a node");
        if let Body::File { past, .. } = &mut node.body {
            past.clear();
        }
    }

    /// Locks an open file, unless another one's lock is in the way.
    pub(super) fn lock(&mut self, id: u64, exclusive: bool) -> bool {
        let node = self.opened[&id].node;
        let mut others = self.opened.iter().filter(|(other, _)| **other != id);
        let is_free = others.all(|(_, other)| {
            other.node != node || other.lock.is_none_or(|theirs| !theirs && !exclusive)
        });
        if is_free && let Some(opened) = self.opened.get_mut(&id) {
            opened.lock = Some(exclusive);
        }
        is_free
    }

    /// Whether somebody has an exclusive lock on the file.
    pub(super) fn is_owned(&self, file: Key) -> bool {
        let mut opened = self.opened.values();
        opened.any(|opened| opened.node == file && opened.lock == Some(true))
    }
}
