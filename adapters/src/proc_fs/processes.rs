//! Processes, and the sockets that they have open.
//!
//! What is read of a pid here may be about another process by the time it is used. Whoever signals by it must own that
//! number: as the parent that hasn't reaped, or by a pidfd that was opened before the reading. Of other users' processes,
//! and of those that made themselves undumpable, environment and sockets aren't told (proc_pid_fd(5)): then there are none.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;

use rustix::process::Pid;

/// What `/proc/PID/stat` says (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// None where it is of no process that can be seen from here.
    pub parent: Option<Pid>,
    /// None likewise, and of one that is about to be reaped.
    pub session: Option<Pid>,
}

/// The processes whose parent this one is, dead ones that aren't reaped included. One that comes or goes meanwhile can be
/// missed.
pub fn children() -> Vec<Pid> {
    // Each task's children are listed by themselves; an orphan comes to any task of its subreaper.
    let listed = fs::read_dir("/proc/self/task").ok().and_then(|tasks| {
        let mut children = Vec::new();
        for task in tasks.flatten() {
            match fs::read_to_string(task.path().join("children")) {
                Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(pid_of)),
                // That task has ended.
                Err(_) if !task.path().exists() => {}
                Err(_) => return None,
            }
        }
        Some(children)
    });
    // A kernel without CONFIG_PROC_CHILDREN.
    listed.unwrap_or_else(|| {
        let own = Some(rustix::process::getpid());
        let is_child = |pid: &Pid| stat(*pid).is_some_and(|stat| stat.parent == own);
        all().filter(is_child).collect()
    })
}

/// All processes that can be seen.
pub fn all() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| pid_of(entry.file_name().to_str()?))
}

/// What is known of a process; none if there is none.
pub fn stat(pid: Pid) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in parentheses may contain any, and any other bytes: what counts is the last one.
#[must_use]
pub fn parse_stat(stat: &[u8]) -> Option<Stat> {
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let rest = std::str::from_utf8(&stat[after_name..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let mut second_next = || fields.nth(1)?.parse().ok();
    let (parent, session): (i32, i32) = (second_next()?, second_next()?);
    let pid = |raw: i32| raw.try_into().ok().and_then(pid);
    Some(Stat {
        parent: pid(parent),
        session: pid(session),
    })
}

/// All that descend from `root`, itself excepted.
pub fn below(root: Pid) -> HashSet<Pid> {
    let pairs: Vec<_> = all()
        .filter_map(|pid| Some((pid, stat(pid)?.parent?)))
        .collect();
    descend(root, &pairs)
}

/// By pairs of a process and its parent.
fn descend(root: Pid, pairs: &[(Pid, Pid)]) -> HashSet<Pid> {
    let mut found = HashSet::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for &(pid, its_parent) in pairs {
            if its_parent == parent && pid != root && found.insert(pid) {
                parents.push(pid);
            }
        }
    }
    found
}

/// What a process calls itself; none if there is none.
pub fn name(pid: Pid) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// The environment that a process was started with, unless it has written over it; empty if it is dead or another's.
pub fn environ(pid: Pid) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

/// The value of a variable in such an environment.
#[must_use]
pub fn variable<'a>(environ: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environ
        .split(|&byte| byte == 0)
        .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Whether a process does what it does in this user's name; false if there is none.
pub fn acts_as(pid: Pid, uid: u32) -> bool {
    let status = fs::read(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| parse_uids(&status).is_some_and(|uids| uids.contains(&uid)))
}

/// The real, effective, saved and file system's user of a process, from `/proc/PID/status` (proc_pid_status(5)).
#[must_use]
pub fn parse_uids(status: &[u8]) -> Option<[u32; 4]> {
    let mut lines = status.split(|&byte| byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"Uid:"))?;
    let uids = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let uids: Result<Vec<u32>, _> = uids.map(str::parse).collect();
    uids.ok()?.try_into().ok()
}

/// Whether we aren't told what a process has open.
pub fn is_secretive(pid: Pid) -> bool {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    fs::read_dir(format!("/proc/{pid}/fd")).is_err_and(|error| denied(&error))
}

/// Whether a process holds an exclusive flock(2) on this very file, by a descriptor of its own: `/proc/PID/fdinfo`
/// (proc_pid_fdinfo(5)). None where we aren't told, or what `/proc` calls by that number isn't what we do.
pub fn holds_lock(pid: Pid, file: &fs::Metadata) -> Option<bool> {
    let open = match fs::read_dir(format!("/proc/{pid}/fdinfo")) {
        Ok(open) => open,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return were_ours()?.then_some(false);
        }
        Err(_) => return None,
    };
    if !are_ours()? {
        return None;
    }
    let holds = |number: &std::ffi::OsStr| {
        let info = fs::read(format!("/proc/{pid}/fdinfo/{}", number.display()));
        info.is_ok_and(|info| shows_exclusive_lock(&info))
            && fs::metadata(format!("/proc/{pid}/fd/{}", number.display()))
                .is_ok_and(|there| (there.dev(), there.ino()) == (file.dev(), file.ino()))
    };
    Some(open.flatten().any(|entry| holds(&entry.file_name())))
}

/// Whether the descriptor with this entry in `/proc/PID/fdinfo` holds an exclusive flock(2): there is a line as in
/// `/proc/locks` (proc_locks(5)). Who waits for one has none.
#[must_use]
pub fn shows_exclusive_lock(info: &[u8]) -> bool {
    let lines = std::str::from_utf8(info).unwrap_or_default().lines();
    let mut locks = lines.filter_map(|line| line.strip_prefix("lock:"));
    locks.any(|lock| {
        let mut words = lock.split_ascii_whitespace().skip(1);
        words.next() == Some("FLOCK") && words.nth(1) == Some("WRITE")
    })
}

/// Whether `/proc` numbers processes as this one does. None where it doesn't say.
fn are_ours() -> Option<bool> {
    let status = fs::read("/proc/self/status").ok()?;
    Some(numbers_are_ours(&status))
}

/// The same, as it was when it was first asked for: a process stays where it is, but a child needn't. So nobody is signalled by
/// this.
fn were_ours() -> Option<bool> {
    static WERE_OURS: OnceLock<bool> = OnceLock::new();
    if let Some(known) = WERE_OURS.get() {
        return Some(*known);
    }
    are_ours().map(|known| *WERE_OURS.get_or_init(|| known))
}

/// Whether `/proc` numbers processes as this one does: its own `/proc/self/status` lists its number in each pid namespace,
/// from that of `/proc` inwards to its own (proc_pid_status(5)).
#[must_use]
pub fn numbers_are_ours(status: &[u8]) -> bool {
    let mut lines = status.split(|&byte| byte == b'\n');
    // A kernel without pid namespaces has no such line.
    lines
        .find_map(|line| line.strip_prefix(b"NSpid:"))
        .is_none_or(|pids| {
            pids.split(u8::is_ascii_whitespace)
                .filter(|pid| !pid.is_empty())
                .count()
                == 1
        })
}

/// The inodes of the sockets that a process has open, as far as we are told.
pub fn sockets(pid: Pid) -> impl Iterator<Item = u64> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .filter_map(|link| socket_inode(link.as_os_str().as_bytes()))
}

/// The inode of a socket that a link in `/proc/PID/fd` names: `socket:[1234]`.
#[must_use]
pub fn socket_inode(link: &[u8]) -> Option<u64> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// A process that has one of these sockets open.
pub fn holder(inodes: &[u64]) -> Option<Pid> {
    all().find(|&pid| sockets(pid).any(|inode| inodes.contains(&inode)))
}

/// A number as a pid, if it can be one.
pub fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

fn pid_of(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(pid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_process_may_be_called_anything() {
        let stat = |parent, session| {
            Some(Stat {
                parent: pid(parent),
                session: pid(session),
            })
        };
        let line = b"12 (a) Z (b c) S 7 12 11 0 -1 4194304 118 0\n";
        assert_eq!(parse_stat(line), stat(7, 11));
        assert_eq!(parse_stat(b"12 (a) b) R 7) S 34 12 13 0 -1"), stat(34, 13));
        assert_eq!(parse_stat(b"12 (\xff\n) R 34 12 13"), stat(34, 13));
        assert_eq!(parse_stat(b"12 (gone) X 0 -1 -1"), stat(0, 0));
        for cut in ["12 (cut", "12 (cut)", "12 (a) Z", "12 (a) Z 1 2", ""] {
            assert_eq!(parse_stat(cut.as_bytes()), None, "{cut}");
        }
    }

    #[test]
    fn a_tree_is_what_descends_and_survives_nonsense() {
        let pid = |number| pid(number).unwrap();
        let pairs = [
            (2, 1),
            (3, 2),
            (4, 3),
            (5, 1),
            (2, 2),
            (6, 7),
            (7, 6),
            (1, 4),
        ]
        .map(|(child, parent)| (pid(child), pid(parent)));
        let these = |pids: &[u32]| pids.iter().map(|&number| pid(number)).collect();
        assert_eq!(descend(pid(2), &pairs), these(&[1, 3, 4, 5]));
        assert_eq!(descend(pid(3), &pairs[..6]), these(&[4]));
        assert_eq!(descend(pid(9), &pairs), these(&[]));
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environ = b"XNAME=1\0NAMEX=2\0NAME=3=4\0";
        assert_eq!(variable(environ, "NAME"), Some(&b"3=4"[..]));
        assert_eq!(variable(environ, "AME"), None);
    }

    #[test]
    fn the_users_of_a_process_are_four() {
        let status = b"Name:\tUid:\nUmask:\t0022\nUid:\t1000\t0\t0\t7\nGid:\t1\t1\t1\t1\n";
        assert_eq!(parse_uids(status), Some([1000, 0, 0, 7]));
        for cut in [
            "",
            "Uid:",
            "Uid:\t1\t2\t3",
            "Uid:\t1\t2\t3\tx",
            "Gid:\t1\t1\t1\t1",
        ] {
            assert_eq!(parse_uids(cut.as_bytes()), None, "{cut}");
        }
        let me = rustix::process::getpid();
        assert!(acts_as(me, rustix::process::geteuid().as_raw()));
        assert!(!acts_as(me, u32::MAX));
        assert!(!is_secretive(me));
    }

    #[test]
    fn only_who_holds_a_lock_is_said_to() {
        let held = b"pos:\t0\nflags:\t02100002\nmnt_id:\t29\nino:\t7\nlock:\t1: FLOCK  ADVISORY  WRITE 9 fe:00:7 0 EOF\n";
        assert!(shows_exclusive_lock(held));
        for other in [
            "pos:\t0\nflags:\t02100002\nmnt_id:\t29\nino:\t7\n",
            "lock:\t1: FLOCK  ADVISORY  READ 9 fe:00:7 0 EOF\n",
            "lock:\t1: POSIX  ADVISORY  WRITE 9 fe:00:7 0 EOF\n",
            "lock:\t1: FLOCK\n",
            "x lock:\t1: FLOCK ADVISORY WRITE\n",
        ] {
            assert!(!shows_exclusive_lock(other.as_bytes()), "{other}");
        }
        let file = tempfile::tempfile().unwrap();
        let (me, there) = (rustix::process::getpid(), file.metadata().unwrap());
        assert_eq!(holds_lock(me, &there), Some(false));
        file.lock_shared().unwrap();
        assert_eq!(holds_lock(me, &there), Some(false), "as readers do");
        file.lock().unwrap();
        assert_eq!(holds_lock(me, &there), Some(true));
        assert!(!holds_lock(Pid::INIT, &there).unwrap_or(false));
    }

    #[test]
    fn numbers_of_another_namespace_are_not_ours() {
        assert!(numbers_are_ours(b"Pid:\t7\nNSpid:\t7\nNSpgid:\t7\t1\n"));
        assert!(numbers_are_ours(b"Pid:\t7\n"), "there are none");
        assert!(!numbers_are_ours(b"Pid:\t7\nNSpid:\t7\t1\n"));
        assert!(!numbers_are_ours(b"NSpid:\t\n"));
    }

    #[test]
    fn only_links_to_sockets_name_sockets() {
        assert_eq!(socket_inode(b"socket:[77]"), Some(77));
        for link in ["pipe:[77]", "socket:[77", "socket:[]", "socket:[-1]", "/x"] {
            assert_eq!(socket_inode(link.as_bytes()), None, "{link}");
        }
    }

    #[test]
    fn only_what_counts_from_one_is_a_pid() {
        assert_eq!(pid_of("1"), Some(Pid::INIT));
        for text in ["0", "-1", "2147483648", "self", ""] {
            assert_eq!(pid_of(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_harm_the_parsers(bytes: Vec<u8>) {
            let _ = (parse_stat(&bytes), socket_inode(&bytes), variable(&bytes, "A"));
            let _ = (parse_uids(&bytes), shows_exclusive_lock(&bytes), numbers_are_ours(&bytes));
        }
    }
}
