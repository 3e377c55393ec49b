//! `--then`: a command that needs the server, and decides how all of it ends.

use std::future::Future;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use daymark_adapters::http_server::Told;
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout_at};

use crate::ServerRecord;
use crate::cli::output::Output;

/// How long it may take to end when the server is to end.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often to look whether all that it has started has ended. Those are others' children.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The command, at work.
pub(super) struct Then(Child);

impl Then {
    /// Starts it in a shell. It finds the server as the server finds itself: by its environment. With `--json` its output
    /// goes where it doesn't meet the events.
    pub(super) fn start(
        command: &str,
        record: &ServerRecord,
        state_dir: &Path,
        output: &Output,
    ) -> io::Result<Self> {
        let told = Told {
            endpoint: record.endpoint,
            state_dir,
            name: record.name.as_ref(),
            // It isn't a part of the server.
            instance_id: None,
            listener: false,
            notify: None,
        };
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", command]).kill_on_drop(true);
        for (name, value) in told.environment() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        if output.json {
            shell.stdout(io::stderr().as_fd().try_clone_to_owned()?);
        }
        Ok(Self(shell.spawn()?))
    }

    /// Ends it, and what it has started.
    async fn end(mut self, how: Signal) -> Option<u8> {
        // It isn't waited for yet, so the number is still its own.
        let shell = Pid::from_raw(self.0.id()?.cast_signed())?;
        let until = Instant::now() + PATIENCE;
        let mut family = Family::of(shell);
        family.signal(how);
        let ended = timeout_at(until, self.0.wait()).await;
        let all_ended = async {
            while !family.is_gone() {
                sleep(LOOK_EVERY).await;
            }
        };
        if timeout_at(until, all_ended).await.is_err() {
            family.signal(Signal::KILL);
        }
        let status = match ended {
            Ok(status) => status,
            Err(_) => {
                self.0.start_kill().ok()?;
                self.0.wait().await
            }
        };
        status.ok().map(code)
    }
}

#[cfg(target_os = "linux")]
use daymark_adapters::proc_fs::family::Family;

/// Elsewhere what the shell has started isn't known. It itself is, until it is waited for.
#[cfg(not(target_os = "linux"))]
struct Family(Option<Pid>);

#[cfg(not(target_os = "linux"))]
impl Family {
    const fn of(shell: Pid) -> Self {
        Self(Some(shell))
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(shell) = self.0.take() {
            let _ = rustix::process::kill_process(shell, signal);
        }
    }

    const fn is_gone(&self) -> bool {
        true
    }
}

/// Waits for its end, and gives its exit code. If the server's end comes first, so has that of the reason for it, and it is
/// ended. `ending` says by which signal.
pub(super) async fn status(
    then: io::Result<Then>,
    ending: impl Future<Output = Signal>,
    output: &Output,
) -> Option<u8> {
    let mut then = match then {
        Ok(then) => then,
        Err(error) => {
            output.warning(&format!("cannot run --then: {error}"));
            return Some(126);
        }
    };
    tokio::select! {
        biased;
        status = then.0.wait() => status.ok().map(code),
        // Cut short, it was no success, whatever it made of that.
        how = ending => match then.end(how).await {
            None | Some(0) => Some(128 + u8::try_from(how.as_raw()).unwrap_or_default()),
            code => code,
        },
    }
}

/// As shells give it: 128 and the signal's number if one ended it.
fn code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or_default(),
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}
