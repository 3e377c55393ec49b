//! What a power cut may leave.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Formatter};
use std::path::{Component, Path};

use super::machine::{Body, Bytes, Key, Machine, ROOT};

/// What is on a disk without a machine: names, and what is in files.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Disk {
    /// In the order in which their names are come upon. One may have several names.
    files: Vec<Bytes>,
    root: Names<usize>,
}

type Names<F> = BTreeMap<String, Entry<F>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Entry<F> {
    File(F),
    Dir(Names<F>),
}

impl Debug for Disk {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let files = self
            .files
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes));
        write!(f, "{:?} with {:?}", self.root, files.collect::<Vec<_>>())
    }
}

impl Disk {
    /// The same with another file, in directories that are made.
    ///
    /// # Panics
    ///
    /// If a file is in the way.
    #[must_use]
    pub fn with(mut self, path: &Path, bytes: &[u8]) -> Self {
        let (dir, name) = (path.parent(), path.file_name());
        let name = name.and_then(|name| name.to_str()).expect("a name");
        self.dir(dir.expect("a path with a directory"))
            .insert(name.to_owned(), Entry::File(usize::MAX));
        let at = self.number_anew();
        self.files.insert(at, bytes.into());
        self
    }

    /// The same with another name for a file, in the same directory and after its first name.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    #[must_use]
    pub fn linked(mut self, file: &Path, name: &Path) -> Self {
        let part = |path: &Path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .map(str::to_owned)
        };
        let names = self.dir(file.parent().expect("a path with a directory"));
        let linked = names[&part(file).expect("a name")].clone();
        names.insert(part(name).expect("a name"), linked);
        self
    }

    /// The same with this directory.
    #[must_use]
    pub fn with_dir(mut self, path: &Path) -> Self {
        self.dir(path);
        self
    }

    fn dir(&mut self, path: &Path) -> &mut Names<usize> {
        let mut names = &mut self.root;
        for part in path.components() {
            let Component::Normal(part) = part else {
                continue;
            };
            let part = part.to_str().expect("a name in UTF-8").to_owned();
            let entry = names.entry(part);
            names = match entry.or_insert_with(|| Entry::Dir(Names::new())) {
                Entry::Dir(names) => names,
                Entry::File(_) => panic!("a file is in the way of {}", path.display()),
            };
        }
        names
    }

    /// Numbers the files in the order of their names, where a new one is among them, and says which that is.
    fn number_anew(&mut self) -> usize {
        fn walk(names: &mut Names<usize>, next: &mut usize, new: &mut usize) {
            for entry in names.values_mut() {
                match entry {
                    Entry::Dir(names) => walk(names, next, new),
                    Entry::File(number) => {
                        if *number == usize::MAX {
                            *new = *next;
                        }
                        *number = *next;
                        *next += 1;
                    }
                }
            }
        }
        let (mut next, mut new) = (0, 0);
        walk(&mut self.root, &mut next, &mut new);
        new
    }

    /// A machine with this disk, just booted: it has no other memory.
    #[must_use]
    pub fn boot(&self) -> Machine {
        let mut machine = Machine::new();
        let mut keys: BTreeMap<usize, Key> = BTreeMap::new();
        self.load(&mut machine, &mut keys, ROOT, &self.root);
        machine
    }

    fn load(
        &self,
        machine: &mut Machine,
        keys: &mut BTreeMap<usize, Key>,
        dir: Key,
        names: &Names<usize>,
    ) {
        for (name, entry) in names {
            let key = match entry {
                Entry::Dir(_) => machine.add(Body::empty_dir()),
                Entry::File(number) => *keys.entry(*number).or_insert_with(|| {
                    machine.add(Body::File {
                        now: self.files[*number].clone(),
                        past: Vec::new(),
                    })
                }),
            };
            let node = machine.nodes.get_mut(&dir).expect("a node");
            if let Body::Dir { now, .. } = &mut node.body {
                now.insert(name.clone(), key);
            }
            if let Entry::Dir(names) = entry {
                self.load(machine, keys, key, names);
            }
        }
    }
}

impl Machine {
    /// What is on the disk once all has been written.
    #[must_use]
    pub fn settled(&self) -> Disk {
        let mut machine = self.clone();
        for node in machine.nodes.values_mut() {
            match &mut node.body {
                Body::File { past, .. } => past.clear(),
                Body::Dir { past, .. } => past.clear(),
            }
        }
        let mut settled = Disk::default();
        machine.power_cuts(usize::MAX, &mut |disk| settled = disk);
        settled
    }

    /// Tells every disk that a power cut may leave, with blocks of `block` bytes. Some are told more than once.
    pub fn power_cuts(&self, block: usize, tell: &mut impl FnMut(Disk)) {
        let contents: BTreeMap<Key, Vec<Bytes>> = self
            .nodes
            .iter()
            .filter_map(|(key, node)| match &node.body {
                Body::File { now, past } => Some((*key, torn(now, past, block))),
                Body::Dir { .. } => None,
            })
            .collect();
        for names in self.shapes(ROOT) {
            let mut order = Vec::new();
            let root = numbered(&names, &mut order);
            let choices: Vec<&[Bytes]> = order.iter().map(|key| &*contents[key]).collect();
            for files in product(&choices) {
                let root = root.clone();
                tell(Disk { files, root });
            }
        }
    }

    /// All that a directory may have in it, each name by itself.
    fn shapes(&self, dir: Key) -> Vec<Names<Key>> {
        let Body::Dir { now, past } = &self.nodes[&dir].body else {
            return Vec::new();
        };
        let names: BTreeSet<&String> = now.keys().chain(past.keys()).collect();
        let mut all = vec![Names::new()];
        for name in names {
            let mut led_to = past.get(name).cloned().unwrap_or_default();
            led_to.insert(now.get(name).copied());
            let mut entries = Vec::new();
            for key in led_to {
                match key.map(|key| (key, &self.nodes[&key].body)) {
                    None => entries.push(None),
                    Some((key, Body::File { .. })) => entries.push(Some(Entry::File(key))),
                    Some((key, Body::Dir { .. })) => {
                        entries.extend(self.shapes(key).into_iter().map(Entry::Dir).map(Some));
                    }
                }
            }
            let with = |names: &Names<Key>, entry: &Option<Entry<Key>>| {
                let mut names = names.clone();
                names.extend(entry.clone().map(|entry| (name.clone(), entry)));
                names
            };
            all = all
                .iter()
                .flat_map(|names| entries.iter().map(|entry| with(names, entry)))
                .collect();
        }
        all
    }
}

/// The same names, with files by the order in which they are come upon.
fn numbered(names: &Names<Key>, order: &mut Vec<Key>) -> Names<usize> {
    let mut numbered_names = Names::new();
    for (name, entry) in names {
        let entry = match entry {
            Entry::Dir(names) => Entry::Dir(numbered(names, order)),
            Entry::File(key) => {
                let known = order.iter().position(|other| other == key);
                Entry::File(known.unwrap_or_else(|| {
                    order.push(*key);
                    order.len() - 1
                }))
            }
        };
        numbered_names.insert(name.clone(), entry);
    }
    numbered_names
}

/// All that a file may have in it: of each length that it may have come by, and each block from any time.
fn torn(now: &Bytes, past: &[Bytes], block: usize) -> Vec<Bytes> {
    let versions: Vec<&Bytes> = past.iter().chain([now]).collect();
    let lengths = || versions.iter().map(|bytes| bytes.len());
    let (least, most) = (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0));
    let mut sizes: BTreeSet<usize> = lengths().collect();
    sizes.extend((least..most).filter(|size| size % block == 0));
    let mut all = BTreeSet::new();
    for size in sizes {
        let blocks: Vec<Vec<Bytes>> = (0..size)
            .step_by(block)
            .map(|start| {
                let end = size.min(start + block);
                let of = |bytes: &&Bytes| {
                    let mut part = bytes
                        .get(start..end.min(bytes.len()))
                        .unwrap_or_default()
                        .to_vec();
                    part.resize(end - start, 0);
                    part.into()
                };
                let variants: BTreeSet<Bytes> = versions.iter().map(of).collect();
                variants.into_iter().collect()
            })
            .collect();
        let blocks: Vec<&[Bytes]> = blocks.iter().map(Vec::as_slice).collect();
        all.extend(
            product(&blocks)
                .iter()
                .map(|parts| Bytes::from(parts.concat())),
        );
    }
    all.into_iter().collect()
}

/// One of each, in every way.
fn product(choices: &[&[Bytes]]) -> Vec<Vec<Bytes>> {
    let mut all = vec![Vec::new()];
    for choice in choices {
        let with = |files: &Vec<Bytes>, one: &Bytes| {
            [files.as_slice(), std::slice::from_ref(one)].concat()
        };
        all = all
            .iter()
            .flat_map(|files| choice.iter().map(|one| with(files, one)))
            .collect();
    }
    all
}
