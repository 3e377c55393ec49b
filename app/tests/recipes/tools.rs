//! What scripts and tools do with a server.

use crate::ground::Ground;
use crate::page;
use crate::processes::left_of;
use crate::programs::can_run;
use crate::running::await_nothing_left;

pub(crate) const TESTED: &[&str] = &["then", "reuse"];

#[test]
fn a_script_has_a_server_for_one_command() {
    if !can_run(&["python3", "curl"]) {
        return;
    }
    let ground = Ground::new("then");
    let mut command = ground.shell(&page::recipe("then"));
    let output = command
        .env_remove("DAYMARK_JSON")
        .output()
        .expect("a shell");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"hello\n", "{output:?}");
    assert_eq!(left_of(&[], &ground.mark()), [""; 0]);
}

#[test]
fn a_tool_takes_the_server_that_runs_already() {
    if !can_run(&["python3"]) {
        return;
    }
    let ground = Ground::new("reuse");
    let line = page::recipe("reuse");
    let _end = StopAtLast(&ground);
    ground.succeeds(&line);
    let first = ground.json("daymark status docs");
    assert_eq!(first["presence"], "live");
    ground.succeeds(&line);
    let second = ground.json("daymark status docs");
    assert_eq!(first["record"], second["record"]);

    assert_eq!(ground.json("daymark stop docs")["ok"], true);
    // The supervisor, which isn't this test's child, has let go of everything, and has yet to exit.
    await_nothing_left(&ground, &[]);
}

/// What is detached doesn't end with a test that fails.
struct StopAtLast<'a>(&'a Ground);

impl Drop for StopAtLast<'_> {
    fn drop(&mut self) {
        // It may have been stopped.
        let _ = self.0.shell("daymark stop --force docs").output();
    }
}
