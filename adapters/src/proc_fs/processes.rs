//! Processes, as /proc shows them (proc(5)). It knows of no guard and no supervisor; elsewhere than on Linux there is
//! nothing to see.
//!
//! What is read of a pid here may be about another process by the time it is used. Whoever signals by it must own that
//! number: as the parent that hasn't reaped, or by a pidfd that was opened before the reading.

use std::fs;

use rustix::process::Pid;

/// Carries the instance that a process belongs to, to all that it starts.
pub(super) const INSTANCE_ID: &str = "DAYMARK_INSTANCE_ID";
/// Carries its state directory.
#[cfg(target_os = "linux")]
pub(super) const STATE_DIR: &str = "DAYMARK_STATE_DIR";

/// What /proc/PID/stat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) parent: i32,
    pub(super) session: i32,
}

/// The processes whose parent this one is, dead ones that aren't reaped included. One that comes or goes meanwhile can be
/// missed.
pub(super) fn children() -> Vec<Pid> {
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
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let is_child = |pid: &Pid| stat(*pid).is_some_and(|stat| stat.parent == own);
        all().into_iter().filter(is_child).collect()
    })
}

/// All processes that can be seen.
pub(super) fn all() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| pid_of(entry.file_name().to_str()?))
        .collect()
}

/// What is known of a process; none if there is none.
pub(super) fn stat(pid: Pid) -> Option<Stat> {
    // The name, in parentheses, can hold any bytes.
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&bytes)
}

fn parse_stat(stat: &[u8]) -> Option<Stat> {
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let rest = std::str::from_utf8(&stat[after_name..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Stat { parent, session })
}

/// The value of a variable in the environment that a process was started with; none if it can't be read.
#[cfg(target_os = "linux")]
pub(super) fn variable(environ: &[u8], name: &str) -> Option<Vec<u8>> {
    environ.split(|&byte| byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.to_vec())
    })
}

/// The environment that a process was started with, unless it has written over it; empty if it is dead or another's.
#[cfg(target_os = "linux")]
pub(super) fn environ(pid: Pid) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

fn pid_of(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_hides_nothing() {
        let stat = parse_stat(b"12 (a) Z (b c) S 7 12 11 0 -1 4194304 118 0\n");
        let expected = Stat {
            parent: 7,
            session: 11,
        };
        assert_eq!(stat, Some(expected));
        assert_eq!(parse_stat(b"12 (a) Z"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environ = b"XDAYMARK_INSTANCE_ID=1\0DAYMARK_INSTANCE_IDX=2\0DAYMARK_INSTANCE_ID=3=4\0";
        assert_eq!(variable(environ, INSTANCE_ID), Some(b"3=4".to_vec()));
        assert_eq!(variable(environ, STATE_DIR), None);
    }
}
