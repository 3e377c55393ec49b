//! The command line itself.

use crate::sandbox::Sandbox;

#[test]
fn it_knows_its_version() {
    let done = Sandbox::new().run(&["--version"]).exits(0);
    assert_eq!(
        done.out,
        concat!("daymark ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn help_is_a_result() {
    let sandbox = Sandbox::new();
    for args in [
        &["--help"] as &[_],
        &["help", "serve"],
        &["serve", "--help"],
    ] {
        let done = sandbox.run(args).exits(0);
        assert!(
            done.out.contains("Usage: daymark") && done.err.is_empty(),
            "{done:?}"
        );
    }
}

#[test]
fn wrong_usage_is_told_on_the_other_stream() {
    let sandbox = Sandbox::new();
    let wrong: [&[&str]; 9] = [
        &[],
        &["juggle"],
        &["status", "--juggle"],
        &["serve", "-p", "70000"],
        &["serve", "--drain", "soon"],
        &["wait"],
        &["wait", "api", "--for", "tea"],
        &["completions"],
        &["--color", "blue", "list"],
    ];
    for args in wrong {
        let done = sandbox.run(args).exits(2);
        assert!(
            done.out.is_empty() && !done.err.is_empty(),
            "{args:?} {done:?}"
        );
    }
}

#[test]
fn a_name_that_is_none_is_wrong_usage() {
    let sandbox = Sandbox::new();
    let wrong: [&[&str]; 7] = [
        &["serve", "-n", "No Name"],
        &["status", "../x"],
        &["url", "No Name"],
        &["open", ".hidden"],
        &["stop", "ok", "No Name"],
        &["wait", "No Name"],
        &["watch", "a/b"],
    ];
    for args in wrong {
        sandbox
            .run(args)
            .exits(2)
            .fails_saying("is not a valid name", "my-app");
    }
}

#[test]
fn global_flags_stand_before_or_after_the_verb() {
    let sandbox = Sandbox::new();
    let before = sandbox.run(&["--json", "status", "api"]).exits(3);
    let after = sandbox.run(&["status", "api", "--json"]).exits(3);
    assert_eq!(before.json(), after.json());
    let dir = sandbox.path("none");
    let dir = dir.to_str().unwrap();
    sandbox.run(&["--state-dir", dir, "status"]).exits(3);
    sandbox.run(&["--state-dir", dir, "-q", "stop"]).exits(0);
}

#[test]
fn shells_can_complete_it_and_people_can_read_about_it() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let done = sandbox.run(&["completions", shell]).exits(0);
        assert!(done.out.contains("require-token"), "{shell}");
    }
    let page = sandbox.run(&["man"]).exits(0).out;
    for part in [
        ".TH daymark 1",
        ".SS \"daymark serve\"",
        ".SS \"daymark prune\"",
        "EXIT STATUS",
    ] {
        assert!(page.contains(part), "{part}");
    }
}
