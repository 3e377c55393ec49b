//! Whom files must belong to, and who else may get at them, before anything in them is believed. Pure.
//!
//! What counts is who could have *put* something there, or could take a lock there. That others may read who runs here is
//! for its owner to decide: a directory of mode 0755, as hand-written runners make it, is looked at.

/// Those who may do something to a file, besides its owner, as bits of its mode.
const OTHERS_WRITE: u64 = 0o022;
const OTHERS_ENTER: u64 = 0o011;
const OTHERS_OPEN: u64 = 0o066;

/// Why nothing in a directory of this owner and mode is believed.
pub(super) fn of_directory(owner: u32, mode: u64, me: u32) -> Option<String> {
    if owner != me {
        Some(format!("the state directory belongs to user {owner}"))
    } else if mode & OTHERS_WRITE != 0 {
        Some(format!(
            "others may write to the state directory (mode {:04o})",
            mode
        ))
    } else {
        None
    }
}

/// Whether others may open a file of this mode in a directory of that one. Then a lock on it may be anybody's: flock(2) asks
/// for no more than an open file.
pub(super) const fn others_may_open(file: u64, directory: u64) -> bool {
    file & OTHERS_OPEN != 0 && directory & OTHERS_ENTER != 0
}

/// What is wrong with a lock file, which nobody but this user may ever have had in hand.
pub(super) fn of_lock_file(owner: u32, links: u64, me: u32) -> Option<String> {
    if owner != me {
        Some(format!("belongs to user {owner}"))
    } else if links > 1 {
        Some("is another file's name, too (a hard link)".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_believed_that_nobody_else_can_put_anything_in() {
        for (owner, mode, believed) in [
            (7, 0o700, true),
            (7, 0o755, true),
            (7, 0o2711, true),
            (7, 0o770, false),
            (7, 0o702, false),
            (7, 0o1777, false),
            (0, 0o700, false),
            (8, 0o700, false),
        ] {
            let why_not = of_directory(owner, mode, 7);
            assert_eq!(why_not.is_none(), believed, "{owner} {mode:o} {why_not:?}");
        }
    }

    #[test]
    fn a_lock_is_anybodys_where_others_can_open_the_file() {
        assert!(others_may_open(0o644, 0o755));
        assert!(others_may_open(0o620, 0o710));
        assert!(!others_may_open(0o644, 0o700), "they can't get there");
        assert!(!others_may_open(0o600, 0o755));
        assert!(!others_may_open(0o711, 0o755), "to execute isn't to open");
    }

    #[test]
    fn a_lock_file_is_ours_and_nothing_else() {
        assert_eq!(of_lock_file(7, 1, 7), None);
        assert_eq!(of_lock_file(7, 0, 7), None, "it was removed meanwhile");
        assert!(of_lock_file(7, 2, 7).is_some());
        assert!(of_lock_file(8, 1, 7).is_some());
    }
}
