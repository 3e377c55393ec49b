//! What a run does when its server has ended, or is to be replaced.

use std::time::Duration;

use super::ServerRunner;
use crate::clock::Clock;
use crate::handle::{LifecycleEvent, RestartCause, StartError};
use crate::http_server::{HttpServer, ServerEnd};
use crate::lifecycle::{Event, State, Turn};
use crate::port_picker::PortPicker;
use crate::restart::ATTEMPTS;
use crate::state_store::StateStore;

impl<P, H, S, C> ServerRunner<P, H, S, C>
where
    P: PortPicker,
    H: HttpServer<Listener = P::Listener>,
    S: StateStore,
    C: Clock,
{
    pub(super) const fn can_restart(&self) -> bool {
        matches!(
            self.state,
            State::Ready | State::Inspecting | State::Pausing
        )
    }

    /// Whether a server that is going to be replaced may stay dead until the store has answered.
    pub(super) fn ends_can_wait(&self) -> bool {
        self.restarts.are_possible()
            && matches!(
                self.state,
                State::Publishing(Turn::Again) | State::Republishing | State::Reclaiming
            )
    }

    /// What it means that the server has ended by itself.
    pub(super) fn server_has_ended(&mut self, end: ServerEnd) -> Event {
        let given_up = self.state == State::Pausing;
        self.fall = Some(end.clone());
        if self.was_ready() && self.restarts.are_possible() && !given_up {
            return Event::ServerFell;
        }
        self.failure = Some(StartError::ServerEnded(end));
        Event::ServerEnded
    }

    /// Waits before the server is started again, or gives it up.
    pub(super) fn restart_later(&mut self) {
        let up = match self.ready_since.take() {
            Some(since) => self.clock.monotonic().0.saturating_sub(since.0),
            None => Duration::ZERO,
        };
        let mut end = self
            .fall
            .take()
            .unwrap_or_else(|| ServerEnd::because("it ended"));
        match self.restarts.after(&end, up) {
            Some(pause) => {
                self.tell(LifecycleEvent::Restarting(RestartCause::Ended(end, pause)));
                self.retry = Some(self.sleep(pause));
            }
            None => {
                if self.restarts.are_exhausted(&end) {
                    end.reason = format!("{}, after {ATTEMPTS} restarts in a row", end.reason);
                }
                self.server_ended = Some(Box::pin(std::future::ready(end)));
            }
        }
    }
}
