//! `daymark serve`: a directory, served by this library as any program would use it.
//!
//! Everything is said from another thread. So a stream that nobody reads keeps neither the server from serving nor the
//! command from ending.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use crate::directory::Directory;
use crate::{Port, Prepared, Server, StartError, StopReport};

use super::args::ServeArgs;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::place::{self, parse_name};
use super::telling::{Manner, Telling, conclude, report_of, without_failure};
use super::{Context, block_on, browser, explain};

pub(super) fn run(args: &ServeArgs, context: Context) -> Exit {
    let made = Serving::make(args, &context);
    // Not before: sockets are taken from the environment while there is one thread.
    let output = context.output.into_background();
    let (name, served) = match made {
        Ok((serving, prepared)) => {
            let served = serving.serve(prepared, &output);
            (Some(serving.telling.name), served)
        }
        Err(failure) => (None, Err(failure)),
    };
    let exit = conclude(served, name.as_ref(), &output);
    output.finish();
    exit
}

struct Serving {
    telling: Telling,
    open: bool,
    /// The directory that lent its name, where none was given.
    lent_by: Option<PathBuf>,
}

impl Serving {
    fn make(args: &ServeArgs, context: &Context) -> Result<(Self, Prepared), Failure> {
        let dir =
            std::fs::canonicalize(&args.dir).map_err(|error| not_served(&args.dir, &error))?;
        let app = Directory::open(&dir)
            .map_err(|error| not_served(&args.dir, &error))?
            .spa(args.spa)
            .hidden_files(args.hidden);
        let name = match &args.name {
            Some(name) => parse_name(name)?,
            None => place::name_of(&dir)?,
        };
        let port = match args.port {
            None => Port::Sticky,
            Some(0) => Port::Any,
            Some(port) => Port::Exact(port),
        };
        let mut builder = Server::builder(name.as_str())
            .about("daymark", env!("CARGO_PKG_VERSION"))
            .belongs_to(&dir)
            .port(port)
            .inherit_socket()
            .drain(args.drain)
            .handle_signals()
            .app(app);
        for host in &args.allow_host {
            builder = builder.allow_host(host.to_string());
        }
        if args.require_token {
            builder = builder.require_token();
        }
        let selector = match &context.state_dir {
            Some(dir) => {
                builder = builder.state_dir(dir);
                place::state_dir_option(dir)
            }
            None => name.to_string(),
        };
        let prepared = builder
            .prepare()
            .map_err(|error| explain::start(&error, name.as_str(), &selector))?;
        let serving = Self {
            telling: Telling {
                begun: context.begun,
                selector,
                state_file: place::text(prepared.state_file()),
                name,
                manner: Manner::Serve,
                child: Box::new(|| None),
            },
            open: args.open,
            lent_by: (args.name.is_none() && context.state_dir.is_none()).then_some(dir),
        };
        Ok((serving, prepared))
    }

    fn serve(&self, prepared: Prepared, output: &Output) -> Result<Exit, Failure> {
        let first_signal = prepared.first_signal();
        let handle = prepared.handle();
        let events = prepared.subscribe();
        let running = self.run(prepared, output);
        let ended = block_on(self.telling.during(running, events, output))?;
        let Telling { name, selector, .. } = &self.telling;
        let report = match report_of(ended, &handle) {
            Ok(report) => report,
            Err(error) => {
                let lent_by = self.lent_by.as_deref();
                let there = error.already_running();
                return Err(there
                    .and_then(|record| place::namesake(record, lent_by, name))
                    .unwrap_or_else(|| explain::start(&error, name.as_str(), selector)));
            }
        };
        let failure = explain::unclean(&report).or_else(|| explain::cause(&report.cause, selector));
        Ok(match failure {
            Some(failure) => {
                output.failure(&failure);
                failure.exit
            }
            None => without_failure(&first_signal),
        })
    }

    /// Starts the server, and waits for its end.
    async fn run(
        &self,
        prepared: Prepared,
        output: &Output,
    ) -> Result<Arc<StopReport>, StartError> {
        let starting = format!("starting {}", self.telling.name);
        let server = output.meanwhile(&starting, prepared.start_async()).await?;
        let handle = server.handle();
        let mut stopped = pin!(handle.wait_stopped());
        let report = tokio::select! {
            report = &mut stopped => report,
            () = self.open(&server, output) => stopped.await,
        };
        report.map_err(|_| StartError::Gone)
    }

    async fn open(&self, server: &Server, output: &Output) {
        if !self.open {
            return;
        }
        let link = server.one_time_link();
        let opened = tokio::task::spawn_blocking(move || browser::show(&link?)).await;
        if let Ok(Err(error)) = opened {
            let failure = explain::browser(&error, &self.telling.selector);
            output.warning(&format!("{}; {}", failure.sentence, failure.hint));
        }
    }
}

fn not_served(dir: &Path, error: &std::io::Error) -> Failure {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
        std::io::ErrorKind::NotADirectory => "it is not a directory".to_owned(),
        _ => error.to_string(),
    };
    Failure::new(
        Exit::Failed,
        format!("cannot serve {}: {why}", dir.display()),
        "name a directory that you can read: daymark serve DIR",
    )
}
