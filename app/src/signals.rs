//! Stopping when the system or a person says so: the first signal drains, the second cuts off.

use std::time::Duration;

use daymark_core::Handle;

/// Makes SIGINT and SIGTERM (Ctrl-C on Windows) stop the run, from now on. Needs the current runtime only as long as the
/// run lasts.
pub(crate) fn stop_on_signals(handle: Handle) {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        // Without them the signals do what they always did: end the process. Nobody believes its record then.
        Err(_) => return,
    };
    tokio::spawn(async move {
        signals.next().await;
        handle.request_stop(None);
        signals.next().await;
        handle.request_stop(Some(Duration::ZERO));
    });
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}
