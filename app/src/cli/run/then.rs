//! `--then`: a command that needs the server, and decides how all of it ends.

use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::ServerRecord;
use crate::cli::output::Output;

/// How long it may take to end when the server is gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// The command, at work.
pub(super) struct Then(Child);

impl Then {
    /// Starts it in a shell. It finds the server as the server finds itself: by its environment.
    pub(super) fn start(
        command: &str,
        record: &ServerRecord,
        state_dir: &Path,
    ) -> io::Result<Self> {
        let endpoint = record.endpoint;
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", command])
            .env("PORT", endpoint.port().to_string())
            .env("HOST", endpoint.addr().ip().to_string())
            .env("DAYMARK_URL", endpoint.url())
            .env("DAYMARK_STATE_DIR", state_dir)
            .env_remove("DAYMARK_THEN")
            // It isn't a part of the server.
            .env_remove("DAYMARK_INSTANCE_ID")
            .kill_on_drop(true);
        if let Some(name) = &record.name {
            shell.env("DAYMARK_NAME", name.as_str());
        }
        Ok(Self(shell.spawn()?))
    }

    async fn end(mut self, how: Signal) -> Option<u8> {
        if let Some(pid) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // It isn't waited for yet, so the number is still its own.
            let _ = kill_process(pid, how);
        }
        // Dropped, it is killed.
        let ended = tokio::time::timeout(PATIENCE, self.0.wait()).await;
        ended.ok()?.ok().map(code)
    }
}

/// Waits for its end, and gives its exit code. If the server is gone first, so is the reason for it, and it is ended.
/// `gone` says by which signal.
pub(super) async fn status(
    then: io::Result<Then>,
    gone: impl Future<Output = Signal>,
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
        how = gone => then.end(how).await,
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
