//! `daymark __guard`: stands between a supervisor and the command's whole tree of processes, and outlives none of it.
//!
//! It is in a session of its own and a subreaper (PR_SET_CHILD_SUBREAPER(2const)), so whatever loses its parent below comes
//! to it, daemons included. Its stdin is a socket to the supervisor: single bytes come in ([`Ask`]), lines go out
//! ([`Report`]), and when it ends, the supervisor is dead and the tree is killed.
//!
//! One thread reaps and signals, one after the other. So a pid that is signalled is always a child that isn't reaped yet,
//! and a group always that of such a child: nobody else's. It knows nothing of ports, output or restarts.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdStream;
use std::process::ExitCode;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::exec::{self, Orders};
use super::launch::{receive, spawn};
use super::wire::{Ask, Exit, Report};
#[cfg(target_os = "linux")]
use crate::proc_fs::processes::children;

/// The hidden verb.
pub(super) const VERB: &str = "__guard";

/// How long the rest of a tree has whose main process ended unasked.
const AFTERMATH: Duration = Duration::from_secs(1);
/// How long the tree has when the guard itself is asked to end, and not by its supervisor.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often to look for children that came meanwhile. An orphan comes without a signal.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long to try to kill what may not be killed. It may be about to end by itself.
const STUBBORN: Duration = Duration::from_millis(500);

/// Guards the command that the arguments after `__guard` name, until nothing is left of it.
pub(super) fn guard_main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // What others left open isn't kept open for as long as the tree lives.
    exec::close_from(3);
    let Some(orders) = Orders::read(arguments) else {
        return exec::complain("this is for its own use", 2);
    };
    match guard(&orders) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exec::complain(&format!("cannot guard a process: {error}"), 125),
    }
}

fn guard(orders: &Orders) -> io::Result<()> {
    rustix::process::setsid()?;
    become_subreaper()?;
    // How `ps` and `top` call it, instead of "exe".
    let _ = std::fs::write("/proc/self/comm", "daymark-guard");
    let socket = StdStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some(descriptors) = receive(&socket)? else {
        // The supervisor died before there was anything to guard.
        return Ok(());
    };
    // This thread is the one whose end the main process doesn't outlive, and there is no other.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        socket.set_nonblocking(true)?;
        let supervisor = Supervisor(UnixStream::from_std(socket)?);
        let signals = Handled::new()?;
        match spawn(orders, descriptors) {
            Ok(main) => Guard::new(main, supervisor).run(signals).await,
            Err(error) => supervisor.tell(&Report::Failed(error.raw_os_error().unwrap_or(0))),
        }
        Ok(())
    })
}

/// Orphans of the tree come to this process from now on.
pub(super) fn become_subreaper() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// The signals that concern a guard. That they are handled also gives what it starts their defaults, whatever the
/// supervisor's own starter ignored: a handled signal has its default after an exec, an ignored one stays so (execve(2)).
struct Handled {
    child: Signals,
    terminate: Signals,
}

impl Handled {
    fn new() -> io::Result<Self> {
        // They are for the supervisor, which decides. A handler stays when this is dropped.
        for ignored in [
            SignalKind::interrupt(),
            SignalKind::hangup(),
            SignalKind::quit(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
        ] {
            drop(signal(ignored)?);
        }
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }
}

/// The socket to the supervisor.
struct Supervisor(UnixStream);

impl Supervisor {
    fn tell(&self, report: &Report) {
        // A dead one doesn't hear, which the next read tells; the others read all the time. Past tokio, which would first
        // have to wait until it knows that it can write.
        let _ = rustix::io::write(&self.0, format!("{report}\n").as_bytes());
    }

    /// What it asks for next. When it is dead, everything is to be killed.
    async fn ask(&self) -> Ask {
        let mut byte = [0];
        loop {
            if self.0.readable().await.is_err() {
                return Ask::Kill;
            }
            match self.0.try_read(&mut byte) {
                Ok(1) => match Ask::from_byte(byte[0]) {
                    Some(ask) => return ask,
                    None => continue,
                },
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Ok(_) | Err(_) => return Ask::Kill,
            }
        }
    }
}

struct Guard {
    supervisor: Supervisor,
    main: Pid,
    /// Whether the main process is reaped, and its number perhaps another's.
    main_is_gone: bool,
    /// Whether the supervisor has asked for an end, and so sees to its deadline.
    is_asked: bool,
    is_killing: bool,
    /// When to kill; never of itself, if the supervisor decides.
    deadline: Option<Instant>,
    /// Whether the main process' whole group got a SIGTERM.
    group_is_asked: bool,
    /// Children other than the main process that have been asked to end.
    asked: HashSet<Pid>,
    /// Since when all that is left refuses to be killed.
    refused_since: Option<Instant>,
}

impl Guard {
    fn new(main: Pid, supervisor: Supervisor) -> Self {
        supervisor.tell(&Report::Main(main.as_raw_nonzero().get().unsigned_abs()));
        Self {
            supervisor,
            main,
            main_is_gone: false,
            is_asked: false,
            is_killing: false,
            deadline: None,
            group_is_asked: false,
            asked: HashSet::new(),
            refused_since: None,
        }
    }

    /// Returns when no process is left, or none that this one may kill.
    async fn run(mut self, mut signals: Handled) {
        while self.reap() {
            if let Some(left) = self.press() {
                self.supervisor.tell(&Report::Left(left));
                return;
            }
            let is_ending = self.main_is_gone || self.is_killing;
            let next = match (is_ending, self.deadline) {
                (true, _) => LOOK_EVERY,
                (false, Some(deadline)) => deadline.saturating_duration_since(Instant::now()),
                (false, None) => Duration::MAX,
            };
            tokio::select! {
                _ = signals.child.recv() => {}
                _ = signals.terminate.recv() => self.farewell(),
                ask = self.supervisor.ask(), if !self.is_killing => self.obey(ask),
                () = sleep(next) => {}
            }
        }
    }

    /// Reaps what has ended; false when no child is left, dead or alive, and so no process of the tree (wait(2)).
    fn reap(&mut self) -> bool {
        loop {
            match reap_one(self.main, self.main_is_gone) {
                Ok(Some((pid, status))) => {
                    self.asked.remove(&pid);
                    if pid == self.main && !self.main_is_gone {
                        self.main_has_ended(status);
                    }
                }
                Ok(None) => return true,
                Err(Errno::INTR) => {}
                // No children.
                Err(_) => return false,
            }
        }
    }

    fn main_has_ended(&mut self, status: WaitStatus) {
        self.main_is_gone = true;
        let code = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
        let exit = match status.terminating_signal() {
            Some(signal) => Exit::Signal(code(signal)),
            None => Exit::Code(code(status.exit_status().unwrap_or(0))),
        };
        self.supervisor.tell(&Report::Ended(exit));
        if !self.is_asked && self.deadline.is_none() {
            self.deadline = Some(Instant::now() + AFTERMATH);
        }
    }

    /// Signals whoever should be by now; what is left if none of it may be killed.
    fn press(&mut self) -> Option<u64> {
        if self.deadline.is_some_and(|at| Instant::now() >= at) {
            self.is_killing = true;
        }
        if self.is_killing {
            return self.kill();
        }
        if self.main_is_gone {
            for child in children() {
                if self.asked.insert(child) && !self.is_asked_with_main(child) {
                    ask_to_end(child);
                }
            }
        }
        None
    }

    fn kill(&mut self) -> Option<u64> {
        let mut refused = 0;
        let mut killed = 0;
        if !self.main_is_gone {
            // Also what /proc doesn't show.
            self.signal_main(Signal::KILL);
        }
        for child in children() {
            match kill_process(child, Signal::KILL) {
                Err(Errno::PERM) => refused += 1,
                _ => killed += 1,
            }
        }
        if refused == 0 || killed > 0 {
            self.refused_since = None;
            return None;
        }
        let since = *self.refused_since.get_or_insert_with(Instant::now);
        (since.elapsed() >= STUBBORN).then_some(refused)
    }

    fn obey(&mut self, ask: Ask) {
        let signal = match ask {
            Ask::Terminate => Signal::TERM,
            Ask::Interrupt => Signal::INT,
            Ask::Kill => {
                self.is_killing = true;
                return;
            }
        };
        let is_first = !self.is_asked && self.deadline.is_none();
        self.is_asked = true;
        if !self.main_is_gone {
            self.deadline = None;
            // A second request to end makes many programs drop what they are doing. Only `Kill` says that.
            if is_first {
                self.end_main(signal);
            }
        }
    }

    /// Somebody wants this guard to end. So ends what it guards.
    fn farewell(&mut self) {
        if !self.is_asked && self.deadline.is_none() {
            self.deadline = Some(Instant::now() + FAREWELL);
            self.end_main(Signal::TERM);
        }
    }

    fn end_main(&mut self, signal: Signal) {
        self.group_is_asked = signal == Signal::TERM;
        self.signal_main(signal);
        // One that is stopped can't do what it is asked.
        self.signal_main(Signal::CONT);
    }

    /// Whether a child was in the group that got a SIGTERM. For as long as it has members, no other can have its number.
    fn is_asked_with_main(&self, child: Pid) -> bool {
        self.group_is_asked && rustix::process::getpgid(Some(child)) == Ok(self.main)
    }

    /// Signals the main process and its group; only to be called before it is reaped.
    fn signal_main(&self, signal: Signal) {
        // With a terminal it may not have come to its own group yet. Nobody else's can have that number.
        if kill_process_group(self.main, signal).is_err() {
            let _ = kill_process(self.main, signal);
        }
    }
}

/// They aren't shown.
#[cfg(not(target_os = "linux"))]
fn children() -> Vec<Pid> {
    Vec::new()
}

/// Signals a child that isn't reaped.
fn ask_to_end(child: Pid) {
    // One that may not be asked isn't, and is reported when it can't be killed either.
    let _ = kill_process(child, Signal::TERM);
    let _ = kill_process(child, Signal::CONT);
}

/// A child that has ended, if any has.
#[cfg(target_os = "linux")]
fn reap_one(_main: Pid, _main_is_gone: bool) -> rustix::io::Result<Option<(Pid, WaitStatus)>> {
    rustix::process::wait(WaitOptions::NOHANG)
}

/// Where orphans don't come to the guard, the main process' group is all that is known of the tree. So there it is ended
/// before its leader is reaped, while nobody else's can have its number.
#[cfg(not(target_os = "linux"))]
fn reap_one(main: Pid, main_is_gone: bool) -> rustix::io::Result<Option<(Pid, WaitStatus)>> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    if !main_is_gone {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        if waitid(WaitId::Pid(main), look)?.is_none() {
            return Ok(None);
        }
        let _ = kill_process_group(main, Signal::KILL);
    }
    rustix::process::wait(WaitOptions::NOHANG)
}
