//! What a child is given: its arguments and its environment.
//!
//! Three words are replaced wherever they stand in an argument, and nothing else is: `{port}`, `{host}` and `{url}`. There
//! is no way to write them literally and none to escape a brace, so that JSON, shell code and templates pass through as they
//! are. The program's own name (the first word) is left alone.
//!
//! | word | for `127.0.0.1` | for `::1` |
//! |---|---|---|
//! | `{port}` | `41873` | `41873` |
//! | `{host}` | `127.0.0.1` | `::1`, as bind(2) and most options want it |
//! | `{url}` | `http://127.0.0.1:41873` | `http://[::1]:41873` |
//!
//! The URL ends without a slash, so that `{url}/health` is what it looks like; `DAYMARK_URL` is the same one as in the
//! record, with its slash.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use daymark_core::record::{Endpoint, InstanceId, Name};

/// Carries the instance that a process belongs to, to all that it starts.
pub(super) const INSTANCE_ID: &str = "DAYMARK_INSTANCE_ID";
/// Carries its state directory.
pub(super) const STATE_DIR: &str = "DAYMARK_STATE_DIR";

/// A command line with everything replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    /// The program and its arguments.
    pub(super) argv: Vec<OsString>,
    /// Whether the port stands in them, alone or in a URL: whoever ignores it then has only himself to blame.
    pub(super) port_is_passed: bool,
}

impl Arguments {
    /// Puts `endpoint` into `command`.
    pub(super) fn new(command: &[OsString], endpoint: Endpoint) -> Self {
        let url = endpoint.url();
        let words = [
            (&b"{port}"[..], endpoint.port().to_string()),
            (b"{host}", endpoint.addr().ip().to_string()),
            (b"{url}", url.trim_end_matches('/').to_owned()),
        ];
        let arguments = command.iter().skip(1);
        Self {
            port_is_passed: arguments
                .clone()
                .any(|a| contains(a, b"{port}") || contains(a, b"{url}")),
            argv: command
                .iter()
                .take(1)
                .cloned()
                .chain(arguments.map(|argument| replaced(argument, &words)))
                .collect(),
        }
    }
}

fn contains(argument: &OsStr, word: &[u8]) -> bool {
    argument.as_bytes().windows(word.len()).any(|w| w == word)
}

/// One pass from the left, so that what was put in is never looked at again.
fn replaced(argument: &OsStr, words: &[(&[u8], String)]) -> OsString {
    let mut rest = argument.as_bytes();
    let mut done = Vec::with_capacity(rest.len());
    while let Some((&first, others)) = rest.split_first() {
        match words.iter().find(|(word, _)| rest.starts_with(word)) {
            Some((word, value)) => {
                done.extend_from_slice(value.as_bytes());
                rest = &rest[word.len()..];
            }
            None => {
                done.push(first);
                rest = others;
            }
        }
    }
    OsString::from_vec(done)
}

/// What a child, or another program, is told of a server by its environment.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Where it is to listen.
    pub endpoint: Endpoint,
    /// Where its record is.
    pub state_dir: &'a Path,
    /// What it is called.
    pub name: Option<&'a Name>,
    /// Which run it is a part of, if it is of any.
    pub instance_id: Option<&'a InstanceId>,
    /// Whether the listening socket is passed as descriptor 3.
    pub listener: bool,
    /// Where it says that it is ready, in the form of `NOTIFY_SOCKET` (sd_notify(3)).
    pub notify: Option<&'a OsStr>,
}

impl Told<'_> {
    /// Changes to our own environment; none removes. What speaks of *our* sockets and *our* supervisor never goes through to
    /// the child. `LISTEN_PID` is set by the child itself, just before it becomes the program (sd_listen_fds(3)).
    #[must_use]
    pub fn environment(&self) -> Vec<(OsString, Option<OsString>)> {
        let listen = |value: &str| self.listener.then(|| value.into());
        let all: [(&str, Option<OsString>); 13] = [
            ("PORT", Some(self.endpoint.port().to_string().into())),
            ("HOST", Some(self.endpoint.addr().ip().to_string().into())),
            ("DAYMARK_URL", Some(self.endpoint.url().into())),
            (STATE_DIR, Some(self.state_dir.into())),
            ("DAYMARK_NAME", self.name.map(|n| n.as_str().into())),
            (
                INSTANCE_ID,
                self.instance_id.map(|id| id.to_string().into()),
            ),
            ("LISTEN_PID", None),
            ("LISTEN_PIDFDID", None),
            ("LISTEN_FDS", listen("1")),
            ("LISTEN_FDNAMES", listen("http")),
            ("NOTIFY_SOCKET", self.notify.map(OsStr::to_owned)),
            ("WATCHDOG_PID", None),
            ("WATCHDOG_USEC", None),
        ];
        // What was said to this supervisor isn't said to whatever the child may run.
        let ours = std::env::vars_os().map(|(name, _)| name);
        let ours = ours.filter(|name| name.as_bytes().starts_with(b"DAYMARK_"));
        let removed = ours.map(|name| (name, None));
        let told = all.into_iter().map(|(k, v)| (k.into(), v));
        removed.chain(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use proptest::prelude::*;

    use super::*;

    const PORT: NonZeroU16 = NonZeroU16::new(41873).unwrap();

    fn with(endpoint: Endpoint, arguments: &[&str]) -> (Vec<String>, bool) {
        let command: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let done = Arguments::new(&command, endpoint);
        let argv = done.argv.into_iter().map(|a| a.into_string().unwrap());
        (argv.collect(), done.port_is_passed)
    }

    #[test]
    fn every_occurrence_is_replaced_but_none_in_the_name() {
        let (argv, passed) = with(
            Endpoint::v4(PORT),
            &["{port}", "-l={host}:{port},{port}", "{url}/x", "{url}"],
        );
        assert_eq!(
            argv,
            [
                "{port}",
                "-l=127.0.0.1:41873,41873",
                "http://127.0.0.1:41873/x",
                "http://127.0.0.1:41873"
            ]
        );
        assert!(passed);
    }

    #[test]
    fn ipv6_has_brackets_in_urls_only() {
        let (argv, _) = with(Endpoint::v6(PORT), &["x", "{host}", "{url}"]);
        assert_eq!(argv, ["x", "::1", "http://[::1]:41873"]);
    }

    #[test]
    fn other_braces_stay_as_they_are() {
        let same = [
            "x",
            r#"{"port": 1, "a": {"host": {}}}"#,
            "{{",
            "${PORT}",
            "{Port}",
            "{port",
            "",
        ];
        let (argv, passed) = with(Endpoint::v4(PORT), &same);
        assert_eq!(argv, same);
        assert!(!passed);
        let (argv, _) = with(Endpoint::v4(PORT), &["x", "{{port}}", r#"{"p":{port}}"#]);
        assert_eq!(argv, ["x", "{41873}", r#"{"p":41873}"#]);
    }

    #[test]
    fn whether_the_port_is_passed_is_told() {
        let passed = |a: &str| with(Endpoint::v4(PORT), &["{port}", a]).1;
        assert!(passed("--port={port}") && passed("{url}"));
        assert!(!passed("{host}") && !passed("41873"));
    }

    #[test]
    fn arguments_need_not_be_text() {
        let command = ["x".into(), OsString::from_vec(b"\xff{port}\xfe".to_vec())];
        let done = Arguments::new(&command, Endpoint::v4(PORT));
        assert_eq!(done.argv[1].as_bytes(), b"\xff41873\xfe");
        assert!(Arguments::new(&[], Endpoint::v4(PORT)).argv.is_empty());
    }

    proptest! {
        #[test]
        fn what_has_none_of_the_words_is_never_changed(bytes: Vec<u8>) {
            let argument = OsString::from_vec(bytes);
            let none = [&b"{port}"[..], b"{host}", b"{url}"].iter().all(|w| !contains(&argument, w));
            let done = Arguments::new(&["x".into(), argument.clone()], Endpoint::v4(PORT));
            prop_assert!(!none || done.argv[1] == argument);
        }
    }

    fn environment(listener: bool, notify: Option<&OsStr>) -> Vec<(String, Option<String>)> {
        let told = Told {
            endpoint: Endpoint::v6(PORT),
            state_dir: Path::new("/state/api"),
            name: None,
            instance_id: Some(&"0123456789abcdef0123456789abcdef".parse().unwrap()),
            listener,
            notify,
        };
        let text = |s: OsString| s.into_string().unwrap();
        told.environment()
            .into_iter()
            .map(|(k, v)| (text(k), v.map(text)))
            .collect()
    }

    fn value(all: &[(String, Option<String>)], name: &str) -> Option<String> {
        all.iter().find(|(k, _)| k == name).unwrap().1.clone()
    }

    #[test]
    fn a_child_is_told_where_to_listen_and_who_it_is() {
        let all = environment(false, None);
        assert_eq!(value(&all, "PORT").as_deref(), Some("41873"));
        assert_eq!(value(&all, "HOST").as_deref(), Some("::1"));
        assert_eq!(
            value(&all, "DAYMARK_URL").as_deref(),
            Some("http://[::1]:41873/")
        );
        assert_eq!(
            value(&all, "DAYMARK_STATE_DIR").as_deref(),
            Some("/state/api")
        );
        assert_eq!(
            value(&all, "DAYMARK_INSTANCE_ID").as_deref(),
            Some("0123456789abcdef0123456789abcdef")
        );
    }

    #[test]
    fn what_was_said_to_us_is_not_said_to_the_child() {
        let all = environment(false, None);
        for name in [
            "LISTEN_FDS",
            "LISTEN_FDNAMES",
            "LISTEN_PID",
            "NOTIFY_SOCKET",
            "DAYMARK_NAME",
        ] {
            assert_eq!(value(&all, name), None, "{name}");
        }
        let all = environment(true, Some(OsStr::new("@x")));
        assert_eq!(value(&all, "LISTEN_FDS").as_deref(), Some("1"));
        assert_eq!(value(&all, "LISTEN_FDNAMES").as_deref(), Some("http"));
        assert_eq!(value(&all, "NOTIFY_SOCKET").as_deref(), Some("@x"));
        assert_eq!(value(&all, "LISTEN_PID"), None);
    }
}
