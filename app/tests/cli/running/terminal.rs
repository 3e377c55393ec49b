//! A run in a terminal: its command sits in one, too.

use std::fs;

use crate::sandbox::{Done, Sandbox};

/// Runs `daymark` with these arguments in a terminal of 30 rows and 100 columns, and does what `script` says to it.
fn in_a_terminal(sandbox: &Sandbox, script: &str, args: &[&str]) -> Done {
    let player = format!("{}\n{script}", include_str!("terminal.py"));
    fs::write(sandbox.path("player"), player).expect("it can be done");
    let mut command = sandbox.command("python3");
    command
        .arg(sandbox.path("player"))
        .arg(env!("CARGO_BIN_EXE_daymark"))
        .args(args);
    command.env("TERM", "xterm");
    let output = command.output().expect("python3 is needed");
    Done {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

const LOOK: &str = "import os, sys; print('ttys', [os.isatty(fd) for fd in range(3)], 'size', \
                    os.get_terminal_size(1), flush=True); open('/dev/tty', 'w').write('tty opened\\n')";

#[test]
fn the_command_has_a_terminal_of_the_same_size() {
    let sandbox = Sandbox::with_server();
    let done = in_a_terminal(
        &sandbox,
        "until('opened'); finish()",
        &["run", "--", "python3", "-c", LOOK],
    );
    assert!(
        done.out
            .contains("ttys [True, True, True] size os.terminal_size(columns=100, lines=30)"),
        "{done:?}"
    );
    assert!(done.out.contains("tty opened"), "{done:?}");
}

#[test]
fn colours_pass_through_untouched() {
    let sandbox = Sandbox::with_server();
    let script = "until('end'); finish()";
    let print = "printf '\\033[31mred\\033[0m\\r\\nend'; exit 3";
    let done = in_a_terminal(&sandbox, script, &["run", "-q", "--", "sh", "-c", print]);
    assert!(done.out.contains("\u{1b}[31mred\u{1b}[0m\r"), "{done:?}");
    assert_eq!(done.code, Some(3), "{done:?}");
}

#[test]
fn ctrl_c_reaches_the_command_once() {
    let sandbox = Sandbox::with_server();
    let script = "until('stop it with'); type('\\x03'); finish()";
    let done = in_a_terminal(
        &sandbox,
        script,
        &["run", "-n", "api", "--", "server", "graceful"],
    );
    assert_eq!(done.code, Some(130), "{done:?}");
    assert_eq!(done.out.matches("SIGINT").count(), 1, "{done:?}");
    assert_eq!(sandbox.presence("api"), "absent");
}

#[test]
fn another_ctrl_c_kills_it() {
    let sandbox = Sandbox::with_server();
    let script =
        "until('stop it with'); type('\\x03'); until('another Ctrl-C'); type('\\x03'); finish()";
    let args = [
        "run", "-n", "api", "--drain", "1h", "--", "server", "ignore",
    ];
    let done = in_a_terminal(&sandbox, script, &args);
    assert_eq!(done.code, Some(130), "{done:?}");
    assert_eq!(sandbox.presence("api"), "absent");
}

#[test]
fn the_size_follows() {
    let sandbox = Sandbox::with_server();
    let look = "import os, signal\n\
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})\n\
                print('waiting', flush=True)\n\
                while os.get_terminal_size(1).columns != 66:\n    signal.sigwait({signal.SIGWINCH})\n\
                print('now', os.get_terminal_size(1).columns, flush=True)";
    let script = "until('waiting'); resize(40, 66); until('now 66'); finish()";
    let done = in_a_terminal(&sandbox, script, &["run", "--", "python3", "-c", look]);
    assert!(done.out.contains("now 66"), "{done:?}");
}

#[test]
fn a_closed_terminal_ends_it() {
    let sandbox = Sandbox::with_server();
    let script = "until('stop it with'); hang_up()";
    in_a_terminal(&sandbox, script, &["run", "-n", "api", "--", "server"]);
    sandbox.run(&["wait", "api", "--for", "down"]).exits(0);
}
