//! What a program says about its server before it starts it.

use std::io;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daymark_adapters::http_server::{
    Access, Admission, AllowedHost, AllowedOrigin, App, AppContext, HostPolicy, HttpConfig,
    InProcess,
};
use daymark_adapters::identity;
use daymark_adapters::port_picker::{BoundListener, Inherited, Loopback};
use daymark_core::http_server::HttpServer;
use daymark_core::port_picker::PortPreference;
use daymark_core::record::{AppInfo, HeldBy, Name, Token};
use daymark_core::{Plan, StartError};

use crate::compose::{self, Parts, setup};
use crate::directories;
use crate::server::{Prepared, Server};
use crate::signals::FirstSignal;

/// Which port a server takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Port {
    /// Any free one.
    #[default]
    Any,
    /// This one, or the start fails. Zero means any.
    Exact(u16),
    /// The one of the last run if it is free, else any. Bookmarks and a browser's storage survive a restart this way.
    Sticky,
}

/// A server that isn't started yet. Made by [`Server::builder`].
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is started"]
pub struct Builder<A = ()> {
    settings: Settings,
    app: A,
}

#[derive(Clone, Debug)]
struct Settings {
    name: String,
    about: AppInfo,
    state_dir: Option<PathBuf>,
    port: Port,
    ipv6: bool,
    inherit: bool,
    drain: Duration,
    start_timeout: Duration,
    token: TokenWish,
    handle_signals: bool,
    hosts: Vec<String>,
    any_host: bool,
    origins: Vec<String>,
    http: HttpConfig,
}

#[derive(Clone, Debug)]
enum TokenWish {
    None,
    Fresh,
    This(Token),
}

/// An app that is there already.
#[derive(Clone, Debug)]
pub struct Given<S>(S);

impl Builder {
    pub(crate) fn new(name: String) -> Self {
        let settings = Settings {
            about: AppInfo {
                name: name.clone(),
                version: String::new(),
                dir: None,
            },
            name,
            state_dir: None,
            port: Port::Any,
            ipv6: false,
            inherit: false,
            drain: Duration::from_secs(10),
            start_timeout: Duration::from_secs(10),
            token: TokenWish::None,
            handle_signals: false,
            hosts: Vec::new(),
            any_host: false,
            origins: Vec::new(),
            http: HttpConfig::default(),
        };
        Self { settings, app: () }
    }

    /// Serves this app: an axum `Router`, or any other cloneable tower service over HTTP requests.
    pub fn app<S: App>(self, app: S) -> Builder<Given<S>> {
        Builder {
            settings: self.settings,
            app: Given(app),
        }
    }

    /// Starts the app that `make` returns. It is called once the port is bound, with the address and a signal that tells
    /// when the server begins to stop. Otherwise like [`Builder::start`].
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    pub fn start_with<F, S>(self, make: F) -> Result<Server, StartError>
    where
        F: FnOnce(AppContext) -> S + Send + 'static,
        S: App,
    {
        let http = |config| InProcess::new(make, config);
        self.settings.prepare(http)?.start()
    }

    /// Like [`start_with`](Self::start_with), for async code: doesn't block the thread.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    pub async fn start_with_async<F, S>(self, make: F) -> Result<Server, StartError>
    where
        F: FnOnce(AppContext) -> S + Send + 'static,
        S: App,
    {
        let http = |config| InProcess::new(make, config);
        self.settings.prepare(http)?.start_async().await
    }
}

impl<S: App> Builder<Given<S>> {
    /// Starts the server, and returns when it answers and is published. Whoever finds its record from now on is served.
    ///
    /// The server runs on threads of its own; the calling one is free. It may be called from async code as well, where it
    /// blocks for about a millisecond.
    ///
    /// # Errors
    ///
    /// [`StartError`], by the step that failed. Nothing is left behind then. If a server of this name is running already,
    /// [`StartError::already_running`] has its record.
    pub fn start(self) -> Result<Server, StartError> {
        self.prepare()?.start()
    }

    /// Like [`start`](Self::start), for async code: doesn't block the thread. Dropped midway, the server is stopped.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_async(self) -> Result<Server, StartError> {
        self.prepare()?.start_async().await
    }

    /// Sets everything up and starts nothing yet: for whoever wants to hear of every event, from the first one on.
    ///
    /// # Errors
    ///
    /// [`StartError::InvalidName`] and [`StartError::Setup`].
    pub fn prepare(self) -> Result<Prepared, StartError> {
        let Given(app) = self.app;
        self.settings
            .prepare(|config| InProcess::given(app, config))
    }
}

impl Settings {
    fn prepare<H>(self, http: impl FnOnce(HttpConfig) -> H) -> Result<Prepared, StartError>
    where
        H: HttpServer<Listener = BoundListener>,
    {
        let name: Name = self.name.parse()?;
        let state_dir = match self.state_dir {
            Some(dir) => dir,
            None => directories::state_dir(&name).map_err(setup("find the state directory"))?,
        };
        let random = || setup("get random numbers");
        let token = match self.token {
            TokenWish::None => None,
            TokenWish::Fresh => Some(identity::new_token().map_err(random())?),
            TokenWish::This(token) => Some(token),
        };
        let inherited = self.inherit.then(Inherited::from_env).flatten();
        let instance_id = identity::new_instance_id().map_err(random())?;
        let admission = match &token {
            Some(token) => Some(Admission::new(token.clone(), instance_id).map_err(random())?),
            None => None,
        };
        let mut config = self.http;
        config.access = access(&self.hosts, self.any_host, &self.origins)?;
        config.access.admission.clone_from(&admission);
        let plan = Plan {
            name,
            instance_id,
            pid: std::process::id(),
            origin: identity::origin().clone(),
            app: self.about,
            token,
            held_by: HeldBy::Owner,
            restarts: None,
            port: match self.port {
                Port::Exact(port) => {
                    NonZeroU16::new(port).map_or(PortPreference::Any, PortPreference::Exact)
                }
                Port::Any | Port::Sticky => PortPreference::Any,
            },
            sticky: self.port == Port::Sticky,
            own_timeout: self.start_timeout,
            start_timeout: self.start_timeout,
            drain: self.drain,
            look_every: LOOK_EVERY,
        };
        let parts = Parts {
            plan,
            state_dir,
            signals: self.handle_signals.then(FirstSignal::default),
        };
        let http = http(config);
        let launched = match inherited {
            Some(inherited) => compose::launch(inherited, http, parts),
            None if self.ipv6 => compose::launch(Loopback::V6, http, parts),
            None => compose::launch(Loopback::V4, http, parts),
        };
        launched.map(|launched| Prepared::new(launched, admission))
    }
}

/// Who may ask, apart from tokens.
fn access(hosts: &[String], any_host: bool, origins: &[String]) -> Result<Access, StartError> {
    let hosts: Result<Vec<AllowedHost>, _> = hosts.iter().map(|host| host.parse()).collect();
    let origins: Result<_, _> = origins.iter().map(|origin| origin.parse()).collect();
    let mut access = Access::default();
    let hosts = hosts.map_err(|error| setup("allow a host")(invalid(error)))?;
    access.hosts = match (any_host, hosts.is_empty()) {
        (true, _) => HostPolicy::Any,
        (false, true) => HostPolicy::Own,
        (false, false) => HostPolicy::Also(hosts),
    };
    let origins: Result<Vec<AllowedOrigin>, _> = origins;
    access.origins = origins.map_err(|error| setup("allow an origin")(invalid(error)))?;
    Ok(access)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// How often a server looks after its record even if the system tells of no change.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);

impl<A> Builder<A> {
    /// The state directory itself, which holds `server.json`, instead of `<root>/<name>`. It is made if it is missing, with
    /// its parents.
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.settings.state_dir = Some(dir.into());
        self
    }

    /// Which port to take. Any free one, if nothing is said.
    pub fn port(mut self, port: Port) -> Self {
        self.settings.port = port;
        self
    }

    /// Serves on `[::1]` instead of `127.0.0.1`.
    pub fn ipv6(mut self) -> Self {
        self.settings.ipv6 = true;
        self
    }

    /// Serves on the socket that was passed by `LISTEN_FDS` (sd_listen_fds(3)), where one was; else on a port as usual.
    pub fn inherit_socket(mut self) -> Self {
        self.settings.inherit = true;
        self
    }

    /// How long requests may take to finish when the server stops for another reason than [`Server::stop`]: a signal, a
    /// drop, an ownership that was lost. 10 s if nothing is said.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.settings.drain = drain;
        self
    }

    /// How long the start may take, including the wait for an old owner that is about to be gone. 10 s if nothing is said.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.settings.start_timeout = timeout;
        self
    }

    /// Asks clients for a secret of 256 bits, made fresh for this run. It stands in the record, which only this user can
    /// read. Programs show it as `Authorization: Bearer …`; browsers come by a [link](Server::one_time_link).
    ///
    /// Requests for the path `/.daymark/code` don't reach the app then.
    pub fn require_token(mut self) -> Self {
        self.settings.token = TokenWish::Fresh;
        self
    }

    /// Asks clients for this secret.
    pub fn require_this_token(mut self, token: Token) -> Self {
        self.settings.token = TokenWish::This(token);
        self
    }

    /// Stops on SIGINT, SIGTERM and, unless it is ignored, SIGHUP: the first drains, the second cuts off. After the run they
    /// stay caught, and do nothing. Without this no signal is touched.
    pub fn handle_signals(mut self) -> Self {
        self.settings.handle_signals = true;
        self
    }

    /// The program's name and version, for the record.
    pub fn about(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        let about = &mut self.settings.about;
        (about.name, about.version) = (name.into(), version.into());
        self
    }

    /// The directory that the server belongs to, for the record: it tells two projects apart that gave their servers the
    /// same name. What isn't UTF-8 in it is replaced.
    pub fn belongs_to(mut self, dir: impl AsRef<Path>) -> Self {
        self.settings.about.dir = Some(dir.as_ref().to_string_lossy().into_owned());
        self
    }

    /// Answers requests under this name too, not only under the server's own address with its port. `my.dev:3000` is meant in
    /// whole; without a port, `my.dev` means none or the server's own. A name that anybody can point at this machine opens it
    /// to web pages (DNS rebinding).
    ///
    /// What isn't a host makes the start fail.
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.settings.hosts.push(host.into());
        self
    }

    /// Answers requests under every host name. Only for what any web page may see and do.
    pub fn allow_any_host(mut self) -> Self {
        self.settings.any_host = true;
        self
    }

    /// Lets pages of this origin, as `http://localhost:5173`, send requests, not only the server's own. What they may read of
    /// the answers is said by CORS headers, and those are the app's: none is added here.
    ///
    /// What isn't an origin makes the start fail.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.settings.origins.push(origin.into());
        self
    }

    /// How many connections at a time; more wait in the kernel's queue, and take the places of those that are idle, or that
    /// keep the server waiting. 1,024 if nothing is said.
    pub fn max_connections(mut self, max: u32) -> Self {
        self.settings.http.limits.max_connections = max;
        self
    }

    /// How long a request's head may be, in bytes; more is answered with 431. 64 KiB if nothing is said, and never less than
    /// 8 KiB. A head has 100 headers at most.
    pub fn max_header_bytes(mut self, max: usize) -> Self {
        self.settings.http.limits.max_header_bytes = max;
        self
    }

    /// How long a client may take to send a request's head, and to stay silent between requests. 30 s if nothing is said.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.settings.http.limits.header_timeout = timeout;
        self
    }

    /// For how long a handler waits for a request's body, in all: then reading it fails. Each KiB that arrives gives a second
    /// of that back. 30 s if nothing is said.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.settings.http.limits.body_timeout = timeout;
        self
    }

    /// How long a client may read nothing of an answer, before it is cut off. 60 s if nothing is said.
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.settings.http.limits.send_timeout = timeout;
        self
    }

    /// How many threads run handlers; as many as there are processors if nothing is said.
    pub fn threads(mut self, threads: usize) -> Self {
        self.settings.http.threads = threads;
        self
    }
}
