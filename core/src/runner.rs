//! Carries the lifecycle's effects out through the four traits, and feeds what comes of them back.
//!
//! One task owns everything that a run holds. It decides nothing (the [lifecycle](crate::lifecycle) does) and awaits one
//! thing at a time: the next event.
//!
//! What a call is made of stands in `calls`, what follows when a server ends in `restarting`.
//!
//! Longer than others: it is one state with one loop around it.

mod calls;
mod restarting;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};

use self::calls::Outcome;
use crate::clock::{Clock, Moment};
use crate::handle::{
    Command, Handle, Leftover, LifecycleEvent, RestartCause, SharedServer, StartError, Status,
    StopCause, StopReport,
};
use crate::http_server::{HttpServer, RunningServer, ServerEnd};
use crate::lifecycle::{Deadline, Effect, End, Event, Pace, State};
use crate::port_picker::{PortPicker, PortPreference};
use crate::record::{AppInfo, HeldBy, InstanceId, Name, Origin, ServerRecord, Token};
use crate::restart::{RestartPolicy, Restarts};
use crate::state_store::{Lease, StateStore};

/// What a run should be like.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the server is called.
    pub name: Name,
    /// Which run it is. Fresh for every run.
    pub instance_id: InstanceId,
    /// This process.
    pub pid: u32,
    /// Where this process lives.
    pub origin: Origin,
    /// The program.
    pub app: AppInfo,
    /// What clients must present.
    pub token: Option<Token>,
    /// Who holds the listening socket.
    pub held_by: HeldBy,
    /// What to do when the server ends by itself; none if a server of this kind can't be replaced at all.
    pub restarts: Option<RestartPolicy>,
    /// Which port is wanted.
    pub port: PortPreference,
    /// Whether the port of the last run is preferred, where [`port`](Self::port) is `Any`.
    pub sticky: bool,
    /// How long to wait for another owner that is coming or going; not longer than `start_timeout`.
    pub own_timeout: Duration,
    /// How long a start may take, waiting for another owner included.
    pub start_timeout: Duration,
    /// How long a stop lets requests finish, where it doesn't say otherwise.
    pub drain: Duration,
    /// How often to look after record and ownership, even if nothing seems to have changed.
    pub look_every: Duration,
}

/// How long a step may take that should take no time: the bound on what a hanging disk can add to a stop.
pub const GRACE: Duration = Duration::from_secs(1);

/// How long a server may take to be gone that was cut off. A process that is killed has memory to free first, or a core to
/// dump.
pub const CUT_OFF: Duration = Duration::from_secs(5);

/// How long to leave a busy owner alone before trying again.
const RETRY_EVERY: Duration = Duration::from_millis(10);

/// How many events a slow subscriber can fall behind before it misses some.
const EVENTS_KEPT: usize = 64;

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One run of a server, from start to stop.
///
/// Dropping it midway ends everything in the right order: the proof of life, the server, the listener, the ownership.
pub struct ServerRunner<P: PortPicker, H, S, C> {
    ports: Arc<P>,
    http: Arc<H>,
    store: Arc<S>,
    clock: Arc<C>,
    plan: Plan,

    state: State,
    call: Option<Pending<Outcome<P::Listener>>>,
    deadline: Option<(Moment, Pending<()>)>,
    retry: Option<Pending<()>>,
    look: Option<Pending<()>>,
    server_ended: Option<Pending<ServerEnd>>,
    commands: Option<mpsc::UnboundedReceiver<Command>>,

    lease: Option<Arc<dyn Lease>>,
    listener: Option<Arc<P::Listener>>,
    server: Option<Arc<dyn RunningServer>>,
    record: Option<Arc<ServerRecord>>,

    restarts: Restarts,
    restart_asked: bool,
    /// How often the server was replaced.
    restarted: u64,
    ready_since: Option<Moment>,
    /// How the last server ended that is to be started again.
    fall: Option<ServerEnd>,

    /// What the current stop was asked to leave requests.
    drain: Duration,
    start_began: Option<Moment>,
    stop_began: Option<Moment>,
    /// Why the last attempt to own or publish failed.
    failure: Option<StartError>,
    /// How often in a row putting something right has failed.
    failed_repairs: u32,
    /// Why repairs fail, as far as it was told already.
    exposed: Option<String>,
    report: StopReport,

    status: watch::Sender<Status>,
    events: broadcast::Sender<LifecycleEvent>,
    shared_server: SharedServer,
}

impl<P, H, S, C> ServerRunner<P, H, S, C>
where
    P: PortPicker,
    H: HttpServer<Listener = P::Listener>,
    S: StateStore,
    C: Clock,
{
    /// A run that waits to be started, and the way to talk to it.
    pub fn new(ports: P, http: H, store: S, clock: C, plan: Plan) -> (Self, Handle) {
        let (command_sender, commands) = mpsc::unbounded_channel();
        let (status, status_receiver) = watch::channel(Status::Idle);
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let shared_server = SharedServer::default();
        let handle = Handle {
            commands: command_sender,
            status: status_receiver,
            events: events.downgrade(),
            server: shared_server.clone(),
        };
        let runner = Self {
            ports: Arc::new(ports),
            http: Arc::new(http),
            store: Arc::new(store),
            clock: Arc::new(clock),
            drain: plan.drain,
            restarts: Restarts::new(plan.restarts.unwrap_or_default()),
            plan,
            state: State::Idle,
            call: None,
            deadline: None,
            retry: None,
            look: None,
            server_ended: None,
            commands: Some(commands),
            lease: None,
            listener: None,
            server: None,
            record: None,
            restart_asked: false,
            restarted: 0,
            ready_since: None,
            fall: None,
            start_began: None,
            stop_began: None,
            failure: None,
            failed_repairs: 0,
            exposed: None,
            report: StopReport::default(),
            status,
            events,
            shared_server,
        };
        (runner, handle)
    }

    /// Runs until it is stopped. When every [`Handle`] is gone, so is the last one who could ask for a stop, and that
    /// counts as asking.
    pub async fn run(mut self) -> Arc<StopReport> {
        loop {
            if let State::Stopped(end) = self.state {
                return self.finish(end);
            }
            let event = poll_fn(|cx| self.poll_event(cx)).await;
            self.take(event);
        }
    }

    fn take(&mut self, event: Event) {
        let before = self.state;
        // A rejected event changes nothing, be it late or wrong.
        let Ok(step) = before.step(event) else { return };
        self.state = step.next;
        if step.next.is_stopping() && !before.is_stopping() {
            self.stop_began = Some(self.clock.monotonic());
            self.explain_stop(before, event);
            self.status.send_replace(Status::Stopping);
        }
        for &effect in step.effects {
            self.carry_out(effect);
        }
        if self.state == State::Ready && self.look.is_none() {
            self.look = self.next_look();
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Cancel => self.call = None,
            Effect::Disown => self.lease.iter().for_each(|lease| lease.disown()),
            Effect::CloseListener => self.listener = None,
            Effect::RetryLater => self.retry = Some(self.sleep(RETRY_EVERY)),
            Effect::RestartLater => self.restart_later(),
            Effect::Announce => self.announce(),
            Effect::Arm(Deadline::Own) => {
                self.status.send_if_modified(|status| {
                    *status = Status::Starting;
                    // Nobody waits for that, and who waits for more is left to sleep.
                    false
                });
                self.start_began = Some(self.clock.monotonic());
                self.arm(self.plan.own_timeout.min(self.plan.start_timeout));
            }
            Effect::Arm(Deadline::Start) => {
                let now = self.clock.monotonic();
                // A replacement has all of the time for itself.
                let spent = self
                    .start_began
                    .take()
                    .map_or(Duration::ZERO, |began| now.0.saturating_sub(began.0));
                self.arm(self.plan.start_timeout.saturating_sub(spent));
            }
            Effect::Arm(Deadline::Drain) => self.arm(self.drain),
            Effect::Arm(Deadline::CutOff) => self.arm(CUT_OFF),
            Effect::Arm(Deadline::Grace) => self.arm(GRACE),
            Effect::Disarm => self.deadline = None,
            call => self.call = self.begin(call),
        }
    }

    /// The next thing that happens. What people ask comes first, what is due last.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        while let Some(commands) = &mut self.commands
            && let Poll::Ready(command) = commands.poll_recv(cx)
        {
            return Poll::Ready(match command {
                Some(Command::Start) => Event::Start,
                Some(Command::Stop(drain)) => self.stop_asked(drain),
                Some(Command::Restart) => {
                    self.restart_asked = self.plan.restarts.is_some();
                    continue;
                }
                None => {
                    self.commands = None;
                    self.stop_asked(None)
                }
            });
        }
        if self.restart_asked && self.can_restart() {
            self.restart_asked = false;
            self.tell(LifecycleEvent::Restarting(RestartCause::Asked));
            return Poll::Ready(Event::Restart);
        }
        if let Poll::Ready(outcome) = poll_slot(&mut self.call, cx) {
            return Poll::Ready(self.absorb(outcome));
        }
        if !self.ends_can_wait()
            && let Poll::Ready(end) = poll_slot(&mut self.server_ended, cx)
        {
            return Poll::Ready(self.server_has_ended(end));
        }
        if let Some((_, alarm)) = &mut self.deadline
            && alarm.as_mut().poll(cx).is_ready()
        {
            self.deadline = None;
            self.deadline_has_passed();
            return Poll::Ready(Event::DeadlinePassed);
        }
        if poll_slot(&mut self.retry, cx).is_ready() {
            return Poll::Ready(Event::RetryDue);
        }
        ready!(poll_slot(&mut self.look, cx));
        Poll::Ready(Event::LookDue)
    }

    fn stop_asked(&mut self, drain: Option<Duration>) -> Event {
        let drain = drain.unwrap_or(self.plan.drain);
        if drain.is_zero() {
            return Event::Stop(Pace::Abort);
        }
        if !self.state.is_stopping() {
            self.drain = drain;
        } else if let (Some((until, _)), true) = (&self.deadline, self.is_draining())
            && self.clock.monotonic() + drain < *until
        {
            self.arm(drain);
        }
        Event::Stop(Pace::Drain)
    }

    const fn is_draining(&self) -> bool {
        use crate::lifecycle::Holding::Server;
        matches!(
            self.state,
            State::Settling(Server, Pace::Drain)
                | State::Withdrawing(Pace::Drain)
                | State::Draining
        )
    }

    fn explain_stop(&mut self, before: State, event: Event) {
        let failed = StopCause::StartFailed;
        self.report.cause = match (self.was_ready(), before, event, self.failure.take()) {
            (true, State::Reclaiming, Event::Busy, _) => StopCause::OwnershipLost,
            (true, _, Event::Stop(_), _) => StopCause::Asked,
            (true, _, _, Some(StartError::ServerEnded(end))) => StopCause::ServerEnded(end),
            (true, ..) => StopCause::ServerEnded(ServerEnd::because("it could not be replaced")),
            (false, _, Event::Stop(_), _) => failed(StartError::Stopped),
            (false, State::Waiting | State::Acquiring, Event::DeadlinePassed, Some(busy)) => {
                failed(busy)
            }
            (false, _, Event::DeadlinePassed, _) => failed(self.timed_out()),
            (false, _, _, Some(error)) => failed(error),
            (false, _, _, None) => failed(StartError::Stopped),
        };
    }

    /// Keeps what it means that the current step took too long.
    fn deadline_has_passed(&mut self) {
        match self.state {
            State::Aborting(_) => self.report.left.push(Leftover::Server),
            State::Clearing(_) => {
                let end = ServerEnd::because(Leftover::Server.to_string());
                self.failure = Some(StartError::ServerEnded(end));
            }
            _ => self.fall = Some(ServerEnd::because(self.timed_out().to_string())),
        }
    }

    fn timed_out(&self) -> StartError {
        StartError::TimedOut {
            after: self.plan.start_timeout,
            trouble: self.server.as_ref().and_then(|server| server.trouble()),
        }
    }

    fn was_ready(&self) -> bool {
        matches!(*self.status.borrow(), Status::Ready(_) | Status::Restarting)
    }

    fn announce(&mut self) {
        let Some(record) = self.record.clone() else {
            return;
        };
        self.failure = None;
        self.ready_since = Some(self.clock.monotonic());
        self.tell(match self.was_ready() {
            true => LifecycleEvent::Restarted(record.clone()),
            false => LifecycleEvent::Ready(record.clone()),
        });
        self.status.send_replace(Status::Ready(record));
    }

    fn finish(mut self, end: End) -> Arc<StopReport> {
        if end == End::Stuck {
            // Somebody may still be writing: nobody else must own the place before this process has ended.
            std::mem::forget(self.lease.take());
            self.report.left.push(Leftover::Stuck);
        }
        self.let_go();
        let now = self.clock.monotonic();
        let began = self.stop_began.unwrap_or(now);
        self.report.took = now.0.saturating_sub(began.0);
        let report = Arc::new(std::mem::take(&mut self.report));
        self.tell(LifecycleEvent::Stopped(report.clone()));
        self.status.send_replace(Status::Stopped(report.clone()));
        report
    }

    fn next_look(&mut self) -> Option<Pending<()>> {
        let tick = self.sleep(self.plan.look_every);
        if self.failed_repairs > 0 {
            // Only the clock wakes the next attempt, for the last one has changed the directory itself. What failed because
            // the directory was being removed succeeds soon; a full disk is left alone longer and longer.
            let pause = RETRY_EVERY.saturating_mul(2_u32.saturating_pow(self.failed_repairs));
            return Some(self.sleep(pause.min(self.plan.look_every)));
        }
        let lease = self.lease.clone()?;
        Some(Box::pin(async move {
            let (mut tick, mut changed) = (tick, pin!(lease.changed()));
            poll_fn(|cx| match changed.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => tick.as_mut().poll(cx),
            })
            .await;
        }))
    }

    fn arm(&mut self, span: Duration) {
        let until = self.clock.monotonic() + span;
        self.deadline = Some((until, self.sleep(span)));
    }

    fn sleep(&self, span: Duration) -> Pending<()> {
        let (clock, until) = (self.clock.clone(), self.clock.monotonic() + span);
        Box::pin(async move { clock.sleep_until(until).await })
    }

    fn tell(&self, event: LifecycleEvent) {
        // Nobody has to listen.
        let _ = self.events.send(event);
    }
}

impl<P: PortPicker, H, S, C> ServerRunner<P, H, S, C> {
    fn let_go(&mut self) {
        if let Some(lease) = &self.lease {
            lease.disown();
        }
        (self.call, self.look) = (None, None);
        (self.server_ended, self.server) = (None, None);
        self.listener = None;
        self.lease = None;
    }
}

impl<P: PortPicker, H, S, C> Drop for ServerRunner<P, H, S, C> {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_causes(cause)),
        None => error.to_string(),
    }
}

fn poll_slot<T>(slot: &mut Option<Pending<T>>, cx: &mut Context<'_>) -> Poll<T> {
    let Some(future) = slot else {
        return Poll::Pending;
    };
    let value = ready!(future.as_mut().poll(cx));
    *slot = None;
    Poll::Ready(value)
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
