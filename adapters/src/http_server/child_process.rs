//! Any program that serves HTTP, as a server of ours: a tree of processes, watched from outside.
//!
//! One [`ChildProcess`] is one run's; each start is a new tree below a new guard, behind the same listener. What a child
//! does with its requests isn't known here, so none are counted: it drains for as long as it takes to end by itself.

mod adopted;
mod command;
mod elsewhere;
mod exec;
mod guard;
mod launch;
mod log_file;
mod notify;
mod orphans;
mod probe;
mod pump;
mod readiness;
mod running;
mod search;
mod sink;
mod sockets;
mod streams;
mod tail;
mod terminal;
mod tree;
mod trouble;
mod wire;
mod wish;

use std::ffi::OsString;
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use daymark_core::http_server::{HttpServer, RunningServer, ServeError, ServerEnd};
use daymark_core::port_picker::Listener;
use daymark_core::record::{InstanceId, Name};

use self::command::Arguments;
use self::notify::NotifySocket;
use self::running::Running;
use self::streams::Channels;
use self::tail::{Lines, Tail};
use self::wish::{Handover, Pace, Wish};
use crate::port_picker::BoundListener;
use crate::port_picker::HeldPort;

pub use command::Told;
pub use exec::itself;
pub use orphans::Orphans;
pub use readiness::Said;
pub use streams::{Passthrough, Warn};
pub use tail::{LONGEST_LINE, lines_of};
pub use tree::{Spawn, Tree};
pub use wire::{Ask, Exit};
pub use wish::{InvalidReadiness, Readiness};

/// Does what a process of ours was started for that stands between a supervisor and its command; none if these arguments
/// ask for nothing of the kind. A program that starts trees of processes calls this first of all, with its arguments after
/// its name: it starts itself again.
pub fn run_hidden_verb(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    match arguments.next()?.to_str()? {
        guard::VERB => Some(guard::guard_main(arguments)),
        exec::VERB => Some(exec::exec_main(arguments)),
        _ => None,
    }
}

/// Closes every descriptor but the standard streams: what whoever started this process has left open. For a process that
/// outlives them, and as the first thing that it does.
pub fn close_inherited() {
    exec::close_from(3);
}

/// What to run, and how.
#[derive(Clone)]
pub struct ChildConfig {
    /// The command and its arguments, in which `{port}`, `{host}` and `{url}` are replaced.
    pub command: Vec<OsString>,
    /// What the server is called.
    pub name: Name,
    /// Where its record and its log are: an absolute path.
    pub state_dir: PathBuf,
    /// Which run this is.
    pub instance_id: InstanceId,
    /// What has to be seen before it counts as ready.
    pub readiness: Readiness,
    /// Where its output goes.
    pub passthrough: Passthrough,
    /// Told when output is lost.
    pub warn: Warn,
    /// Whether a person has asked for the end, so that it is asked by SIGINT instead of SIGTERM.
    pub interrupted: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// A listener behind which a child may serve.
pub trait ChildListener: Listener {
    /// The socket to pass to the child; none if it is only told the port, and listens by itself.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left, or an earlier child has shut the socket down and the port is gone.
    fn to_pass(&self) -> io::Result<Option<OwnedFd>>;
}

impl ChildListener for BoundListener {
    /// It is made blocking, as who is passed a socket expects (sd_listen_fds(3) says nothing else, and systemd.socket(5) has
    /// `NonBlocking=` off). All who have it share that flag, and the last child may have changed it.
    fn to_pass(&self) -> io::Result<Option<OwnedFd>> {
        #[cfg(target_os = "linux")]
        self.revive().map_err(|error| {
            let what = format!("it was shut down, and cannot be listened on again: {error}");
            io::Error::new(error.kind(), what)
        })?;
        let socket = self.duplicate()?;
        socket.set_nonblocking(false)?;
        Ok(Some(socket.into()))
    }
}

impl ChildListener for HeldPort {
    fn to_pass(&self) -> io::Result<Option<OwnedFd>> {
        Ok(None)
    }
}

/// Starts a command, and starts it again for as often as is wanted.
pub struct ChildProcess<L> {
    shared: Arc<Shared>,
    listener: PhantomData<fn(L)>,
}

/// What can be seen of a run's children from outside. Clones see the same.
#[derive(Clone)]
pub struct ChildView(Arc<Shared>);

struct Shared {
    config: ChildConfig,
    tail: Tail,
    /// Opened by the first start: before that, log and streams may be another's.
    channels: OnceLock<Channels>,
    /// The newest child's pid; 0 while there is none.
    pid: AtomicU32,
}

impl<L> ChildProcess<L> {
    /// A way to start what `config` says, and a view of what comes of it.
    #[must_use]
    pub fn new(config: ChildConfig) -> (Self, ChildView) {
        let shared = Arc::new(Shared {
            config,
            tail: Tail::default(),
            channels: OnceLock::new(),
            pid: AtomicU32::new(0),
        });
        let view = ChildView(shared.clone());
        let listener = PhantomData;
        (Self { shared, listener }, view)
    }
}

impl ChildView {
    /// The pid of the command's own process, if it was started.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        Some(self.0.pid.load(Ordering::Relaxed)).filter(|&pid| pid != 0)
    }

    /// The last lines that were printed, at most `count`, without colours and control characters.
    #[must_use]
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        self.0.tail.last(count)
    }

    /// Waits a little until everything that was printed is written where it belongs. For a run that is over.
    pub async fn finish(&self) {
        if let Some(channels) = self.0.channels.get() {
            channels.finish().await;
        }
    }
}

#[async_trait]
impl<L: ChildListener> HttpServer for ChildProcess<L> {
    type Listener = L;

    async fn start(&self, listener: Arc<L>) -> Result<Arc<dyn RunningServer>, ServeError> {
        let failed = |what: &'static str| {
            move |source: io::Error| ServeError::Start {
                what: what.to_owned(),
                source: Arc::new(source),
            }
        };
        let shared = self.shared.clone();
        let config = &shared.config;
        let endpoint = listener.endpoint();
        let socket = listener.to_pass().map_err(failed("no socket to pass"))?;
        // From here on the child alone is to serve on it.
        drop(listener);

        let (lines, printed) = match config.readiness {
            Readiness::Log(_) => {
                let (lines, printed) = Lines::channel();
                (lines, Some(printed))
            }
            _ => (Lines::unheard(), None),
        };
        let notify = match config.readiness {
            Readiness::Notify => Some(
                NotifySocket::open()
                    .map_err(|error| failed("READY=1 cannot be heard")(io::Error::other(error)))?,
            ),
            _ => None,
        };
        let channels = shared.channels().map_err(failed("no pipes"))?;
        let (ends, carrying) = channels.connect(lines).map_err(failed("no pipes"))?;
        let arguments = Arguments::new(&config.command, endpoint);
        let told = Told {
            endpoint,
            state_dir: &config.state_dir,
            name: Some(&config.name),
            instance_id: Some(&config.instance_id),
            listener: socket.is_some(),
            notify: notify.as_ref().map(NotifySocket::name),
        };
        let wish = Wish {
            readiness: config.readiness.clone(),
            handover: match socket {
                Some(_) => Handover::Socket,
                None => Handover::Number,
            },
            endpoint,
            port_is_passed: arguments.port_is_passed,
            pace: Pace::default(),
        };
        let tree = Tree::spawn(Spawn {
            argv: arguments.argv,
            env: told.environment(),
            stdin: ends.stdin,
            stdout: ends.stdout,
            stderr: ends.stderr,
            listener: socket,
            terminal: ends.has_terminal,
        })
        .await
        .map_err(failed("no process"))?;
        shared.pid.store(tree.main(), Ordering::Relaxed);

        Ok(Arc::new(Running::new(
            shared, tree, wish, printed, notify, carrying,
        )))
    }
}

impl Shared {
    fn channels(&self) -> io::Result<&Channels> {
        if let Some(channels) = self.channels.get() {
            return Ok(channels);
        }
        let ChildConfig {
            state_dir,
            passthrough,
            warn,
            ..
        } = &self.config;
        let opened = Channels::open(state_dir, *passthrough, self.tail.clone(), warn)?;
        Ok(self.channels.get_or_init(|| opened))
    }

    fn explain(&self, exit: Exit) -> ServerEnd {
        let program = match self.config.command.first() {
            Some(program) => program.to_string_lossy().into_owned(),
            None => String::new(),
        };
        let (reason, exit_code) = match exit {
            Exit::Code(code) => (format!("{program} exited with code {code}"), code),
            Exit::Signal(signal) => (
                format!("{program} was ended by signal {signal}"),
                128_u8.saturating_add(signal),
            ),
            // SIGKILL, by the kernel.
            Exit::Lost => (
                format!("{program} was killed along with its guard"),
                128 + 9,
            ),
        };
        ServerEnd {
            reason,
            exit_code: Some(exit_code),
        }
    }
}
