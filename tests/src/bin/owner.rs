//! `owner DIR`: serves "hello" from the state directory DIR, for tests to start, stop and kill.
//!
//! It waits for a first line on stdin, so that many can begin at the same moment; a second one, the end of stdin, SIGINT
//! or SIGTERM stops it. What it says is read by `daymark_tests::owner`.

use std::convert::Infallible;
use std::io::Write as _;
use std::process::ExitCode;

use bytes::Bytes;
use daymark::{Server, StartError};
use daymark_tests::owner::exit;
use http::Response;
use http_body_util::Full;

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        return code(exit::FAILED);
    };
    let app = tower::service_fn(|_request| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello\n"))))
    });
    let_yourself_be_traced();
    say("loaded");
    wait_for_line();
    let started = Server::builder("owner")
        .state_dir(dir)
        .handle_signals()
        .app(app)
        .start();
    let server = match started {
        Ok(server) => server,
        Err(error) => return code(explain(&error)),
    };
    let instance = server.record().instance_id.map(|id| id.to_string());
    say(&format!(
        "ready {} {}",
        server.url(),
        instance.unwrap_or_default()
    ));
    let handle = server.handle();
    std::thread::spawn(move || {
        wait_for_line();
        handle.request_stop(None);
    });
    let left = match server.wait() {
        Ok(report) => report.left.len(),
        Err(_) => usize::MAX,
    };
    say(&format!("stopped {left}"));
    code(if left == 0 { exit::CLEAN } else { exit::FAILED })
}

/// Where only ancestors may trace a process, by Yama's rules (ptrace(2)), lets the tests do so too.
fn let_yourself_be_traced() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{PTracer, set_ptracer};
        // Without Yama there is nothing to let.
        let _ = set_ptracer(PTracer::Any);
    }
}

/// A line, or the end of them.
fn wait_for_line() {
    drop(std::io::stdin().lines().next());
}

fn explain(error: &StartError) -> i32 {
    if let Some(record) = error.already_running() {
        let instance = record.instance_id.map(|id| id.to_string());
        say(&format!(
            "already {} {}",
            record.endpoint.url(),
            instance.unwrap_or_default()
        ));
        return exit::ALREADY_RUNNING;
    }
    let mut reasons = vec![error.to_string()];
    let mut source = std::error::Error::source(error);
    while let Some(reason) = source {
        reasons.push(reason.to_string());
        source = reason.source();
    }
    say(&format!("failed {}", reasons.join(": ")));
    exit::FAILED
}

/// One line on stdout. Whoever listened may be gone, and that stops nothing.
fn say(line: &str) {
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
