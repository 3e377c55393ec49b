//! Calls to the four traits: what each is made of, and what its end means.

use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::Poll;

use super::{Pending, ServerRunner, with_causes};
use crate::clock::Clock;
use crate::handle::{Leftover, LifecycleEvent, StartError, Status};
use crate::http_server::{DrainReport, HttpServer, RunningServer, ServeError, ServerEnd};
use crate::lifecycle::{Effect, Event, State, Turn};
use crate::port_picker::{Listener as _, PickError, Picked, PortPicker, PortPreference};
use crate::record::{Endpoint, HeldBy, ServerRecord};
use crate::state_store::{
    AcquireError, Custody, Lease, PublishError, Recovered, StateStore, WithdrawError,
};

/// What came of a call.
pub(super) enum Outcome<L> {
    Acquired(Result<Arc<dyn Lease>, AcquireError>),
    Recovered(Result<Recovered, AcquireError>),
    Bound(Result<Picked<L>, PickError>),
    Launched(Result<Arc<dyn RunningServer>, ServeError>),
    Probed(Result<Endpoint, ServeError>),
    Published(Result<(), PublishError>),
    Inspected(Custody),
    Reclaimed(Result<(), AcquireError>),
    Retracted,
    Withdrawn(Result<(), WithdrawError>),
    Ended(DrainReport),
    Released(Result<(), WithdrawError>),
}

impl<P, H, S, C> ServerRunner<P, H, S, C>
where
    P: PortPicker,
    H: HttpServer<Listener = P::Listener>,
    S: StateStore,
    C: Clock,
{
    /// The future of a call; none if what it needs isn't there, which the lifecycle rules out.
    pub(super) fn begin(&mut self, call: Effect) -> Option<Pending<Outcome<P::Listener>>> {
        let lease = self.lease.clone();
        let server = self.server.clone();
        Some(match call {
            Effect::Acquire => {
                let (store, http) = (self.store.clone(), self.http.clone());
                Box::pin(async move {
                    let mut acquiring = store.acquire();
                    let at_once = poll_fn(|cx| Poll::Ready(acquiring.as_mut().poll(cx))).await;
                    Outcome::Acquired(match at_once {
                        Poll::Ready(acquired) => acquired,
                        Poll::Pending => {
                            http.prepare();
                            acquiring.await
                        }
                    })
                })
            }
            Effect::Bind => {
                let (ports, preference) = (self.ports.clone(), self.plan.port);
                Box::pin(async move { Outcome::Bound(ports.pick(preference).await) })
            }
            Effect::Launch => {
                (self.retry, self.server_ended) = (None, None);
                let (http, listener) = (self.http.clone(), self.listener.clone()?);
                Box::pin(async move { Outcome::Launched(http.start(listener).await) })
            }
            Effect::Publish => {
                let (lease, listener, record) =
                    (lease?, self.listener.clone()?, self.record.clone()?);
                let above = listener.highest_descriptor();
                Box::pin(async move { Outcome::Published(lease.publish(&record, above).await) })
            }
            Effect::Drain => {
                let server = server?;
                if self.state.is_stopping() {
                    self.tell(LifecycleEvent::Draining(server.stats()));
                }
                Box::pin(async move { Outcome::Ended(server.drain().await) })
            }
            Effect::Abort => {
                let server = server?;
                Box::pin(async move { Outcome::Ended(server.abort().await) })
            }
            Effect::Probe => {
                let server = server?;
                Box::pin(async move { Outcome::Probed(server.ready().await) })
            }
            Effect::Recover => {
                let lease = lease?;
                Box::pin(async move { Outcome::Recovered(lease.recover().await) })
            }
            Effect::Inspect => {
                let lease = lease?;
                Box::pin(async move { Outcome::Inspected(lease.inspect().await) })
            }
            Effect::Reclaim => {
                let lease = lease?;
                Box::pin(async move { Outcome::Reclaimed(lease.reclaim().await) })
            }
            Effect::Retract => {
                self.status.send_replace(Status::Restarting);
                let lease = lease?;
                // Where the owner holds the socket, whoever connects meanwhile waits in its queue and is answered, unless
                // the next server doesn't get ready either.
                let stays = self.plan.held_by == HeldBy::Owner && self.ready_since.is_some();
                Box::pin(async move {
                    if !stays {
                        // Nobody believes it, and the next one takes its place.
                        drop(lease.retract().await);
                    }
                    Outcome::Retracted
                })
            }
            Effect::Withdraw => {
                let lease = lease?;
                Box::pin(async move { Outcome::Withdrawn(lease.withdraw().await) })
            }
            Effect::Release => {
                // Nothing of the server is left when the next owner comes.
                (self.server_ended, self.server) = (None, None);
                let lease = lease?;
                Box::pin(async move { Outcome::Released(lease.release().await) })
            }
            _ => return None,
        })
    }

    /// Keeps what a call brought, and names it as an event.
    pub(super) fn absorb(&mut self, outcome: Outcome<P::Listener>) -> Event {
        match outcome {
            Outcome::Acquired(Ok(lease)) => {
                self.lease = Some(lease);
                Event::Done
            }
            Outcome::Acquired(Err(error)) => {
                let busy = matches!(error, AcquireError::Busy(_));
                self.failure = Some(error.into());
                if busy { Event::Busy } else { Event::Failed }
            }
            Outcome::Recovered(Ok(recovered)) => self.recovered(recovered),
            Outcome::Bound(Ok(picked)) => {
                if let Some(from) = picked.moved_from {
                    let to = picked.listener.endpoint().port();
                    self.tell(LifecycleEvent::PortMoved { from, to });
                }
                self.listener = Some(Arc::new(picked.listener));
                Event::Done
            }
            Outcome::Launched(Ok(server)) => self.launched(server),
            Outcome::Published(Ok(())) => {
                self.failed_repairs = 0;
                if self.exposed.take().is_some() || self.state == State::Republishing {
                    self.tell(LifecycleEvent::Republished);
                }
                Event::Done
            }
            Outcome::Published(Err(error)) => self.failed(error.into()),
            Outcome::Recovered(Err(error)) => self.failed(error.into()),
            Outcome::Bound(Err(error)) => self.failed(error.into()),
            Outcome::Launched(Err(error)) | Outcome::Probed(Err(error)) => self.not_serving(error),
            Outcome::Probed(Ok(endpoint)) => {
                self.record = Some(self.record_at(endpoint));
                Event::Done
            }
            Outcome::Retracted => Event::Done,
            Outcome::Reclaimed(Err(
                error @ (AcquireError::Busy(_) | AcquireError::AlreadyRunning(_)),
            )) => {
                self.failure = Some(error.into());
                Event::Busy
            }
            Outcome::Reclaimed(Err(error)) => self.failed(error.into()),
            Outcome::Reclaimed(Ok(())) => Event::Done,
            Outcome::Inspected(Custody::Intact) => {
                self.failed_repairs = 0;
                Event::Done
            }
            Outcome::Inspected(Custody::RecordLost) => Event::RecordLost,
            Outcome::Inspected(Custody::OwnershipLost) => Event::OwnershipLost,
            Outcome::Withdrawn(Ok(())) | Outcome::Released(Ok(())) => Event::Done,
            Outcome::Withdrawn(Err(error)) => {
                self.report.left.push(Leftover::Record(error));
                Event::Failed
            }
            Outcome::Released(Err(error)) => {
                self.report.left.push(Leftover::Ownership(error));
                Event::Failed
            }
            Outcome::Ended(report) => self.server_is_gone(report),
        }
    }

    fn recovered(&mut self, recovered: Recovered) -> Event {
        if let (PortPreference::Any, true, Some(port)) =
            (self.plan.port, self.plan.sticky, recovered.last_port)
        {
            self.plan.port = PortPreference::Prefer(port);
        }
        if recovered.removed > 0 {
            self.tell(LifecycleEvent::Recovered(recovered));
        }
        Event::Done
    }

    fn launched(&mut self, server: Arc<dyn RunningServer>) -> Event {
        let shared = Some(Arc::downgrade(&server));
        *self
            .shared_server
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = shared;
        let watched = server.clone();
        self.server_ended = Some(Box::pin(async move { watched.ended().await }));
        self.server = Some(server);
        Event::Done
    }

    fn not_serving(&mut self, error: ServeError) -> Event {
        let end = match &error {
            ServeError::Ended(end) => end.clone(),
            other => ServerEnd::because(with_causes(other)),
        };
        self.fall = Some(end);
        self.failed(match error {
            ServeError::Ended(end) => StartError::ServerEnded(end),
            error => error.into(),
        })
    }

    fn failed(&mut self, error: StartError) -> Event {
        if matches!(
            self.state,
            State::Republishing | State::Reclaiming | State::Publishing(Turn::Again)
        ) {
            self.failed_repairs = self.failed_repairs.saturating_add(1);
            let reason = with_causes(&error);
            if self.exposed.as_ref() != Some(&reason) {
                self.exposed = Some(reason.clone());
                self.tell(LifecycleEvent::Exposed(reason));
            }
        }
        self.failure = Some(error);
        Event::Failed
    }

    /// What is left of a server that was asked to end.
    fn server_is_gone(&mut self, report: DrainReport) -> Event {
        let left = Leftover::Processes(report.survivors);
        if self.state.is_stopping() {
            self.report.drained = report.drained;
            self.report.aborted = report.aborted;
            self.report
                .left
                .extend((report.survivors > 0).then_some(left));
        } else if report.survivors > 0 {
            let end = ServerEnd::because(left.to_string());
            self.failure = Some(StartError::ServerEnded(end));
            return Event::Failed;
        }
        Event::Done
    }

    /// The record of the server that answers at `endpoint`.
    fn record_at(&mut self, endpoint: Endpoint) -> Arc<ServerRecord> {
        self.restarted += u64::from(self.state == State::Probing(Turn::Again));
        let plan = &self.plan;
        Arc::new(ServerRecord {
            endpoint,
            pid: plan.pid,
            started_at: match &self.record {
                Some(before) => before.started_at,
                None => self.clock.now(),
            },
            name: Some(plan.name.clone()),
            instance_id: Some(plan.instance_id),
            held_by: plan.held_by,
            restarts: plan.restarts.map(|_| self.restarted),
            origin: plan.origin.clone(),
            app: Some(plan.app.clone()),
            token: plan.token.clone(),
        })
    }
}
