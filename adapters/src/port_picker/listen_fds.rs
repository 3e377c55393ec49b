//! What the variables of sd_listen_fds(3) say, before anybody acts on it.
//!
//! They come from whoever started this process. listenfd, which takes the sockets, makes a list as long as they claim.

/// More sockets than anybody passes.
pub const MOST: i32 = 4096;

/// What was passed to this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// Nothing, or to another process.
    Nothing,
    /// So many sockets, from this descriptor on.
    Sockets {
        /// The first one's descriptor.
        first: i32,
        /// How many, up to [`MOST`].
        count: i32,
    },
    /// What can't be, and why.
    Nonsense(String),
}

impl Passed {
    /// What these variables say to the process `own`. As with listenfd, `LISTEN_PID` may be missing, and
    /// `LISTEN_FDS_FIRST_FD` may say where the sockets begin.
    pub fn read(variable: impl Fn(&str) -> Option<String>, own: u32) -> Self {
        let number = |name| variable(name)?.parse::<i32>().ok();
        let count = match number("LISTEN_FDS") {
            Some(count) if count > 0 => count,
            _ => return Self::Nothing,
        };
        let is_ours = match variable("LISTEN_PID").as_deref() {
            None | Some("") => true,
            Some(pid) => pid.parse() == Ok(own),
        };
        if !is_ours {
            return Self::Nothing;
        }
        if count > MOST {
            return Self::Nonsense(format!("LISTEN_FDS is {count}, and {MOST} is the most"));
        }
        let first = number("LISTEN_FDS_FIRST_FD").unwrap_or(3);
        match first >= 0 && first.checked_add(count).is_some() {
            true => Self::Sockets { first, count },
            false => Self::Nonsense(format!("LISTEN_FDS_FIRST_FD is {first}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Passed {
        let find = |name: &str| variables.iter().find(|variable| variable.0 == name);
        Passed::read(|name| Some(find(name)?.1.to_owned()), 42)
    }

    #[test]
    fn sockets_are_ours_unless_another_process_is_named() {
        let sockets = |first, count| Passed::Sockets { first, count };
        let one = ("LISTEN_FDS", "1");
        assert_eq!(read(&[one]), sockets(3, 1));
        assert_eq!(read(&[one, ("LISTEN_PID", "42")]), sockets(3, 1));
        assert_eq!(read(&[one, ("LISTEN_PID", "")]), sockets(3, 1));
        assert_eq!(read(&[one, ("LISTEN_FDS_FIRST_FD", "7")]), sockets(7, 1));
        for pid in ["43", "-42", "42 ", "4294967338", "self"] {
            assert_eq!(read(&[one, ("LISTEN_PID", pid)]), Passed::Nothing, "{pid}");
        }
    }

    #[test]
    fn what_claims_nothing_passes_nothing() {
        assert_eq!(read(&[]), Passed::Nothing);
        for count in ["", "0", "-1", "one", "4294967297"] {
            assert_eq!(read(&[("LISTEN_FDS", count)]), Passed::Nothing, "{count}");
        }
    }

    #[test]
    fn a_claim_that_nobody_could_back_is_nonsense() {
        let is_nonsense = |variables: &[_]| matches!(read(variables), Passed::Nonsense(_));
        assert!(is_nonsense(&[("LISTEN_FDS", "4097")]));
        assert!(is_nonsense(&[("LISTEN_FDS", "2147483647")]));
        for first in ["-1", "2147483647"] {
            let variables = [("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", first)];
            assert!(is_nonsense(&variables), "{first}");
        }
    }
}
