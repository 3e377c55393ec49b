//! Which processes there are, and who listens, as /proc tells it (proc(5)).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A process, told apart from later ones of the same pid by when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    parent: u32,
    started: u64,
}

/// All processes but zombies.
fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| look(name.parse().ok()?)).collect()
}

fn look(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses, and may hold any character.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let (state, parent, started) = (fields.first()?, fields.get(1)?, fields.get(19)?);
    (*state != "Z").then_some(Process {
        pid,
        parent: parent.parse().ok()?,
        started: started.parse().ok()?,
    })
}

pub(crate) fn children(pid: u32) -> Vec<Process> {
    let mut children = all();
    children.retain(|process| process.parent == pid);
    children.sort();
    children
}

/// What a process has started, directly or not.
pub(crate) fn descendants(pid: u32) -> Vec<Process> {
    let all = all();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|process| process.parent == parent);
        for child in children {
            parents.push(child.pid);
            found.push(*child);
        }
    }
    found
}

/// Which of these are still there, and who else has `mark` in the environment that it was started with.
pub(crate) fn left_of(tree: &[Process], mark: &str) -> Vec<String> {
    let is_left = |process: &Process| {
        let known = tree
            .iter()
            .any(|known| (known.pid, known.started) == (process.pid, process.started));
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        known
            || environment
                .split(|byte| *byte == 0)
                .any(|pair| pair == mark.as_bytes())
    };
    let left = all().into_iter().filter(is_left);
    left.map(|process| format!("{process:?} {}", command_line(process.pid)))
        .collect()
}

fn command_line(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// Whether one of these processes has a socket that listens on this port.
pub(crate) fn listens_on(processes: &[Process], port: u16) -> bool {
    let sockets: BTreeSet<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| listening(&fs::read_to_string(table).unwrap_or_default(), port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    processes.iter().any(|process| {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", process.pid));
        let targets = descriptors
            .into_iter()
            .flatten()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets
            .into_iter()
            .any(|target| is_one_of(&target, &sockets))
    })
}

fn is_one_of(target: &Path, sockets: &BTreeSet<String>) -> bool {
    target
        .to_str()
        .is_some_and(|target| sockets.contains(target))
}

/// The inodes of the sockets in a table that listen on this port: state 0A, the port in hexadecimal.
fn listening(table: &str, port: u16) -> Vec<String> {
    let port = format!(":{port:04X}");
    let rows = table.lines().skip(1);
    rows.filter_map(|row| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        (local.ends_with(&port) && *state == "0A").then(|| (*inode).to_owned())
    })
    .collect()
}
