//! A question as a process of its own: what a script pays that asks where the server is.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::figures::{Contender, Report, Target, rounds};
use super::programs::{Programs, script};

pub(super) fn measure(programs: &Programs, report: &mut Report) {
    let running = programs.hello().start();
    let home = running.dir.path().to_owned();
    let state = home.join("daymark/run/hello");
    let ask = |program: &Path, words: &[&str]| {
        let mut command = Command::new(program);
        command
            .args(words)
            .env("XDG_STATE_HOME", &home)
            .env("JUPYTER_RUNTIME_DIR", &home)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        move || time(&mut command)
    };
    let daymark = programs.daymark();
    let reader = script("reader.py");
    let state = state.display().to_string();
    let mut ours = vec![
        Contender::new("/bin/true", ask(Path::new("/bin/true"), &[])),
        Contender::new("daymark status", ask(&daymark, &["status", "hello"]))
            .target(Target::Times(1.6)),
        Contender::new("daymark --version", ask(&daymark, &["--version"])),
    ];
    if let Some(program) = &programs.linked_statically {
        let status = ask(program, &["status", "hello"]);
        let contender = Contender::new("daymark status, linked statically", status);
        ours.push(contender.target(Target::Times(1.6)));
    }
    report.compare(
        "daymark status as a process of its own, µs",
        rounds(300),
        ours,
    );
    let mut others = vec![
        Contender::new("daymark status", ask(&daymark, &["status", "hello"])),
        Contender::new(
            "a reader in Python",
            ask(Path::new("python3"), &[&reader, &state]),
        ),
    ];
    if let Some(python) = &programs.python {
        let words = ["-m", "jupyter_server.serverapp", "list"];
        others.push(Contender::new("jupyter server list", ask(python, &words)));
    }
    report.compare("the same, and what others do, µs", rounds(20), others);
}

fn time(command: &mut Command) -> Duration {
    let began = Instant::now();
    command.status().expect("it can be run");
    began.elapsed()
}
