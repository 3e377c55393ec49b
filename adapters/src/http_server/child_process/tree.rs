//! A command's whole tree of processes, held by its guard.
//!
//! One guard, one tree, one socket between it and this process. When the socket ends, however this process does, the tree
//! is killed. If instead the guard is killed, the kernel kills the main process, and what else was below the guard comes
//! here: so this process is a subreaper too. A guard that doesn't end its tree in time is killed from here.
//!
//! Of the children of this process only those are touched which the guard left: whose session is the guard's, or whose
//! environment has the instance of this tree. What else it starts must not have that `DAYMARK_INSTANCE_ID`.

use std::ffi::OsString;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt as _;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::command::INSTANCE_ID;
use super::exec::itself;
use super::wire::{Ask, Exit, Report};
use super::{adopted, exec, guard};

/// How long whoever drops a tree waits for its end. A guard needs some milliseconds to kill it.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a guard has to kill its tree: longer than it tries to kill what it may not. One that hasn't ended then is stopped,
/// or stuck, and killed itself.
const GUARD_HAS: Duration = Duration::from_millis(800);

/// What to start, and with what.
#[derive(Debug)]
pub struct Spawn {
    /// The command and its arguments.
    pub argv: Vec<OsString>,
    /// What to set in its environment, or with none to remove from it.
    pub env: Vec<(OsString, Option<OsString>)>,
    /// Its standard input.
    pub stdin: OwnedFd,
    /// Its standard output.
    pub stdout: OwnedFd,
    /// Its standard error, also the guard's.
    pub stderr: OwnedFd,
    /// What it finds at descriptor 3.
    pub listener: Option<OwnedFd>,
    /// Whether stdin is a terminal that becomes its own.
    pub terminal: bool,
}

/// What is known of a tree.
#[derive(Clone, Copy, Debug, Default)]
struct News {
    main: Option<u32>,
    /// The error that kept the main process from being started.
    failed: Option<i32>,
    exit: Option<Exit>,
    /// When the tree is gone, how much of it couldn't be ended.
    left: Option<u64>,
}

/// A tree of processes. Dropping it kills it, and waits a moment for its end: nobody is to come in its place before that.
#[derive(Debug)]
pub struct Tree {
    socket: StdStream,
    guard: u32,
    main: u32,
    news: watch::Receiver<News>,
    /// Whether it is to be killed, as it also is when this is dropped.
    killing: watch::Sender<bool>,
}

impl Tree {
    /// Starts a command below a guard of its own. Needs a tokio runtime with I/O enabled.
    ///
    /// # Errors
    ///
    /// The system's, if the guard or the main process couldn't be started. That a command can't be executed isn't one: then
    /// it ends with 126 or 127.
    pub async fn spawn(spawn: Spawn) -> io::Result<Self> {
        if spawn.argv.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        guard::become_subreaper()?;
        let (socket, other) = StdStream::pair()?;
        socket.set_nonblocking(true)?;
        let mut tree = Self {
            news: watch::channel(News::default()).1,
            killing: watch::Sender::new(false),
            guard: 0,
            main: 0,
            socket,
        };
        let listen = UnixStream::from_std(tree.socket.try_clone()?)?;
        let child = start_guard(&spawn, other)?;
        tree.guard = child.id();
        let (sender, news) = watch::channel(News::default());
        tree.news = news;
        let instance = instance_of(&spawn);
        let overdue = overdue(tree.killing.subscribe());
        tokio::spawn(keep(child, listen, overdue, sender, instance));
        hand_over(&tree.socket, &spawn)?;
        drop(spawn);
        let first = tree.wait_for(|news| news.main.is_some() || news.left.is_some());
        let first = first.await;
        match (first.main, first.failed) {
            (Some(main), _) => tree.main = main,
            (None, Some(error)) => return Err(io::Error::from_raw_os_error(error)),
            (None, None) => return Err(io::Error::other("the guard process ended")),
        }
        Ok(tree)
    }

    /// The main process' pid, which may have ended.
    #[must_use]
    pub fn main(&self) -> u32 {
        self.main
    }

    /// The guard's pid: the root of the whole tree, for as long as that isn't gone.
    #[must_use]
    pub fn guard(&self) -> u32 {
        self.guard
    }

    /// Asks for the tree's end, in a way. Only the first gentle one counts; to be killed can be asked for at any time.
    pub fn ask(&self, how: Ask) {
        // It can't be full, and a guard that is gone has nothing left to do.
        let _ = (&self.socket).write(&[how.byte()]);
        if how == Ask::Kill {
            self.killing.send_replace(true);
        }
    }

    /// Waits until the main process has ended.
    pub async fn ended(&self) -> Exit {
        let news = self.wait_for(|news| news.exit.is_some()).await;
        news.exit.unwrap_or(Exit::Lost)
    }

    /// Waits until the whole tree is gone, and says how many processes couldn't be ended. One that hangs in the kernel holds
    /// this up.
    pub async fn gone(&self) -> u64 {
        let news = self.wait_for(|news| news.left.is_some()).await;
        news.left.unwrap_or(0)
    }

    async fn wait_for(&self, known: impl FnMut(&News) -> bool) -> News {
        let mut news = self.news.clone();
        let found = news.wait_for(known).await.map(|news| *news);
        // Nobody listens to the guard any more: the runtime is shutting down.
        found.unwrap_or_else(|_| *self.news.borrow())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // A close wouldn't do: whoever listens to the guard has the socket too, to see it out and reap it.
        let _ = self.socket.shutdown(Shutdown::Write);
        see_out(&self.socket);
    }
}

/// Waits until the guard has ended, for a while. Others may read what it says meanwhile.
fn see_out(socket: &StdStream) {
    let until = Instant::now() + FAREWELL;
    let mut said = [0; 64];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or_default();
        let mut wanted = [PollFd::new(socket, PollFlags::IN)];
        match poll(&mut wanted, Some(&left)) {
            Ok(1..) => {}
            Err(Errno::INTR) => continue,
            Ok(0) | Err(_) => return,
        }
        match (&mut &*socket).read(&mut said) {
            Ok(0) => return,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn start_guard(spawn: &Spawn, socket: StdStream) -> io::Result<Child> {
    let mut command = Command::new(itself()?);
    command.arg0("daymark").arg(guard::VERB);
    if spawn.terminal {
        command.arg(exec::TERMINAL);
    }
    command.arg(exec::COMMAND).args(&spawn.argv);
    for (name, value) in &spawn.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .stdin(OwnedFd::from(socket))
        .stdout(Stdio::null())
        .stderr(spawn.stderr.try_clone()?)
        .spawn()
}

fn instance_of(spawn: &Spawn) -> Option<Vec<u8>> {
    let set = spawn.env.iter().rev();
    let mut set = set.filter(|(name, _)| name == INSTANCE_ID);
    let (_, value) = set.next()?;
    Some(value.as_ref()?.as_encoded_bytes().to_vec())
}

/// Sends the guard what its main process gets.
fn hand_over(socket: &StdStream, spawn: &Spawn) -> io::Result<()> {
    let mut descriptors = vec![
        spawn.stdin.as_fd(),
        spawn.stdout.as_fd(),
        spawn.stderr.as_fd(),
    ];
    descriptors.extend(spawn.listener.as_ref().map(OwnedFd::as_fd));
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let byte = [IoSlice::new(b"!")];
    rustix::io::retry_on_intr(|| sendmsg(socket, &byte, &mut control, SendFlags::empty()))?;
    Ok(())
}

/// Waits until the guard should have ended.
async fn overdue(mut killing: watch::Receiver<bool>) {
    // An error tells of a tree that was dropped.
    let _ = killing.wait_for(|&is_killing| is_killing).await;
    tokio::time::sleep(GUARD_HAS).await;
}

/// Listens to the guard until it ends, clears away what it left, and reaps it.
async fn keep(
    mut guard: Child,
    socket: UnixStream,
    overdue: impl Future<Output = ()>,
    news: watch::Sender<News>,
    instance: Option<Vec<u8>>,
) {
    let mut lines = BufReader::new(socket).lines();
    let mut left = None;
    let mut overdue = pin!(overdue);
    let mut is_killed = false;
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line,
            () = &mut overdue, if !is_killed => {
                is_killed = true;
                // It isn't reaped yet, so the number is still its own.
                let _ = guard.kill();
                continue;
            }
        };
        let Ok(Some(line)) = line else { break };
        match Report::parse(&line) {
            Some(Report::Left(number)) => left = Some(number),
            Some(report) => news.send_modify(|news| news.hear(report)),
            None => {}
        }
    }
    // The guard ends, and the kernel has closed its files already.
    let main = news.borrow().main;
    if news.borrow().exit.is_none() {
        news.send_modify(|news| news.exit = Some(Exit::Lost));
    }
    let ending = tokio::task::spawn_blocking(move || {
        let adopted = adopted::clear(&guard, main, instance.as_deref());
        // That it was reaped already, because SIGCHLD is ignored here, is fine too.
        let _ = guard.wait();
        adopted
    });
    let adopted = ending.await.unwrap_or(0);
    news.send_modify(|news| news.left = Some(left.unwrap_or(adopted)));
}

impl News {
    fn hear(&mut self, report: Report) {
        match report {
            Report::Main(pid) => self.main = Some(pid),
            Report::Failed(error) => self.failed = Some(error),
            Report::Ended(exit) => self.exit = Some(exit),
            Report::Left(_) => {}
        }
    }
}
