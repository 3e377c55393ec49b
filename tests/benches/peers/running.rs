//! What `daymark run` adds to a server: at its start, and for all that it prints.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::figures::{Contender, Report, on_disk, rounds};
use super::process::start;
use super::programs::Programs;

/// So much is printed.
const PRINTED: u64 = 256 * 1024 * 1024;

pub(super) fn measure(programs: &Programs, report: &mut Report) {
    let alone = programs.bare();
    let bare = programs.bare_path();
    let run = || {
        let dir = on_disk();
        let record = dir.path().join("daymark/run/web/server.json");
        let mut command = Command::new(programs.daymark());
        command
            .args(["run", "-n", "web", "--"])
            .arg(&bare)
            .arg(dir.path());
        let running = start(command, dir, record);
        let answered = running.answered;
        running.stop();
        answered
    };
    report.compare(
        "spawn → ready and answered, µs",
        rounds(60),
        vec![
            Contender::new("bare hyper alone", || {
                let running = alone.start();
                let answered = running.answered;
                running.stop();
                answered
            }),
            Contender::new("the same by daymark run", run),
        ],
    );
    report.compare(
        "processor time for a MiB of output, µs",
        rounds(10),
        vec![
            Contender::counted("cat into a file", || print_through(None, programs)),
            Contender::counted("daymark run: shown and logged", || {
                print_through(Some(&programs.daymark()), programs)
            }),
        ],
    );
}

/// Has a server print a lot, and tells what its reader used for a MiB of it.
fn print_through(daymark: Option<&Path>, programs: &Programs) -> f64 {
    let dir = on_disk();
    let place = dir.path().display();
    let bare = programs.bare_path();
    let printing = format!(
        "{} {place}/bare & yes 'sixty-three bytes of what a server has to say, over and over again' | head -c {PRINTED}; \
         touch {place}/done; wait",
        bare.display()
    );
    let (command, record) = match daymark {
        Some(daymark) => {
            let mut command = Command::new(daymark);
            command.args(["run", "-n", "web", "--", "sh", "-c", &printing]);
            (command, dir.path().join("daymark/run/web/server.json"))
        }
        None => {
            let mut command = Command::new("sh");
            // The shell becomes cat, whose time is taken.
            let script = format!(
                "exec 3<&0; mkfifo {place}/pipe; ({printing}) >{place}/pipe & exec cat <{place}/pipe >{place}/log"
            );
            command.args(["-c", &script]);
            (command, dir.path().join("bare/server.json"))
        }
    };
    let done = dir.path().join("done");
    let running = start(command, dir, record);
    while !done.exists() {
        thread::sleep(Duration::from_millis(5));
    }
    let used = running.processor_time();
    let per_mib = used.as_secs_f64() * 1e6 / (PRINTED / 1024 / 1024) as f64;
    running.stop();
    per_mib
}
