//! Stopping when the system or a person says so: the first signal drains, the second cuts off.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use daymark_core::Handle;

/// A signal that asks a server to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// SIGINT, or Ctrl-C on Windows: a person at the terminal.
    Interrupt,
    /// SIGTERM: another program.
    Terminate,
    /// SIGHUP: the terminal was closed.
    Hangup,
}

/// The first signal that a server has heeded. Clones tell of the same server, and may outlive it.
#[derive(Clone, Debug, Default)]
pub struct FirstSignal(Arc<OnceLock<Signal>>);

impl FirstSignal {
    /// Which one it was; none if none has come.
    #[must_use]
    pub fn get(&self) -> Option<Signal> {
        self.0.get().copied()
    }
}

/// Waits for a signal that asks to stop. For what is done outside of a run: once one was heeded by a run, none of them ends
/// the process by itself any more.
#[cfg(all(unix, feature = "cli"))]
pub(crate) async fn next() -> Signal {
    match Signals::new() {
        Ok(mut signals) => signals.next().await,
        Err(_) => std::future::pending().await,
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP (Ctrl-C on Windows) stop the run, from now on. Needs the current runtime only as long as the
/// run lasts.
pub(crate) fn stop_on_signals(handle: Handle, first: FirstSignal) {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        // Without them the signals do what they always did: end the process. Nobody believes its record then.
        Err(_) => return,
    };
    tokio::spawn(async move {
        let signal = signals.next().await;
        // Nobody else sets it.
        let _ = first.0.set(signal);
        handle.request_stop(None);
        signals.next().await;
        handle.request_stop(Some(Duration::ZERO));
    });
}

/// Makes SIGUSR2 replace the server of the run, from now on. Whoever finds `restarts` in a record may send it.
#[cfg(unix)]
pub(crate) fn restart_on_signal(handle: Handle) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut asked) = signal(SignalKind::user_defined2()) else {
        return;
    };
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            handle.request_restart();
        }
    });
}

/// Windows has no signal for it.
#[cfg(not(unix))]
pub(crate) fn restart_on_signal(_handle: Handle) {}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// None where it is ignored, as under nohup(1), and must stay so.
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: match hangup_is_ignored() {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
        })
    }

    async fn next(&mut self) -> Signal {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            _ = hangup => Signal::Hangup,
        }
    }
}

/// Whether SIGHUP is ignored, by the mask in `/proc/self/status` (proc_pid_status(5)). Where there is none, it is better
/// left alone.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask & 1 == 1)
}

#[cfg(not(unix))]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) -> Signal {
        self.0.recv().await;
        Signal::Interrupt
    }
}
