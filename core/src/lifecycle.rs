//! The lifecycle of one run, as a pure function: `State × Event → next State + Effects`.
//!
//! Nothing here waits, reads a clock or does I/O, so tests explore every interleaving. What it keeps:
//!
//! 1. Acquire, recover, bind, launch, probe, publish; then withdraw, drain, release. Never another order.
//! 2. At most one call is out at a time. Each completes with one of [`Done`](Event::Done), [`Failed`](Event::Failed),
//!    [`Busy`](Event::Busy), [`RecordLost`](Event::RecordLost) or [`OwnershipLost`](Event::OwnershipLost), unless it is
//!    cancelled. Calls to the store that change something are cancelled only when their deadline has passed.
//! 3. Nothing is believed that is published once a stop began, and a publish that failed may have landed: it is withdrawn
//!    all the same. The proof of life ends before the listener closes, on every path.
//! 4. Stop is legal in every state, and repeating it is a no-op; only a more urgent one says something new.
//! 5. Whatever waits has a deadline, [`Idle`](State::Idle) and [`Ready`](State::Ready) aside.
//! 6. A server is replaced behind the same listener, under the same ownership, and only once the old one is gone.
//!
//! Longer than others: states, events, effects and the whole table stand together.

use Effect as Do;
use Event as On;
use State as Is;

/// Where a run is. Every state but `Idle`, `Ready` and `Stopped` awaits the one call that it is named after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not started.
    Idle,
    /// Taking the ownership.
    Acquiring,
    /// Somebody else owns it and may be about to go; it will be tried again.
    Waiting,
    /// Clearing what a dead owner left.
    Recovering,
    /// Binding the port.
    Binding,
    /// Starting the server.
    Launching(Turn),
    /// Checking that the server answers.
    Probing(Turn),
    /// Publishing the record of a server that has become ready.
    Publishing(Turn),
    /// Published, and serving.
    Ready,
    /// Serving, and looking whether record and ownership are still ours.
    Inspecting,
    /// Serving, and publishing a record that was lost.
    Republishing,
    /// Serving, and taking an ownership again that was lost.
    Reclaiming,
    /// Taking the record back, because the server is being replaced.
    Retracting(Next),
    /// Letting the server that is being replaced finish its requests.
    Replacing,
    /// Cutting off what is left of the server that is being replaced.
    Clearing(Next),
    /// Waiting before the next start of a server that ended.
    Pausing,
    /// A stop came while a call to the store was out: its end is awaited first.
    Settling(Holding, Pace),
    /// Ending the proof of life and removing the record.
    Withdrawing(Pace),
    /// Finishing accepted requests.
    Draining,
    /// Cutting requests off.
    Aborting(After),
    /// Giving the ownership back.
    Releasing,
    /// Over.
    Stopped(End),
}

/// Whether it is the run's first server, or one that replaces another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// The first one: if it doesn't get ready, the run has failed.
    First,
    /// One that replaces another, behind the same listener.
    Again,
}

/// How a server is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// It was asked for: the server may finish its requests, and the next one is started at once.
    Launch,
    /// The server ended by itself: the next one is started after a pause.
    Pause,
}

/// What a run holds while it settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holding {
    /// Nothing yet.
    Nothing,
    /// The ownership.
    Lease,
    /// The ownership and a server, whose record may be published.
    Server,
}

/// How a run stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pace {
    /// Accepted requests may finish, until the deadline.
    Drain,
    /// Everything is cut off now.
    Abort,
}

/// What follows an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum After {
    /// The ownership is given back.
    Release,
    /// A call to the store never came back, so the ownership stays until the process ends.
    Leave,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Nothing is held any more.
    Clean,
    /// A call to the store never came back; the ownership stays with the process.
    Stuck,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A start was asked for.
    Start,
    /// A stop was asked for.
    Stop(Pace),
    /// The call that is out succeeded; for an inspection, all is well.
    Done,
    /// The call that is out failed.
    Failed,
    /// The ownership is somebody else's.
    Busy,
    /// The inspection found that the record isn't ours any more.
    RecordLost,
    /// The inspection found that the ownership isn't ours any more.
    OwnershipLost,
    /// The server ended without having been asked to, or didn't get ready again, and that is the end.
    ServerEnded,
    /// The same, and it is to be started again.
    ServerFell,
    /// It was asked that the server be replaced.
    Restart,
    /// It is time to try for the ownership again.
    RetryDue,
    /// It is time to look whether record and ownership are still ours.
    LookDue,
    /// The deadline that was armed last has passed.
    DeadlinePassed,
}

/// What is to be done. Calls complete with an event; the others take no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Call: take the ownership.
    Acquire,
    /// Call: clear what a dead owner left.
    Recover,
    /// Call: bind the port.
    Bind,
    /// Call: start the server.
    Launch,
    /// Call: check that the server answers.
    Probe,
    /// Call: publish the record.
    Publish,
    /// Call: look whether record and ownership are still ours.
    Inspect,
    /// Call: take the ownership again.
    Reclaim,
    /// Call: take the record back, where nobody answers while the server is being replaced.
    Retract,
    /// Call: end the proof of life and remove the record.
    Withdraw,
    /// Call: finish accepted requests.
    Drain,
    /// Call: cut requests off.
    Abort,
    /// Call: give the ownership back.
    Release,
    /// Stop waiting for the call that is out.
    Cancel,
    /// End the proof of life without waiting for anything.
    Disown,
    /// Let go of the listening socket.
    CloseListener,
    /// Wake up to try for the ownership again.
    RetryLater,
    /// Wake up to start the server again.
    RestartLater,
    /// Tell everybody that the server is ready.
    Announce,
    /// Set the deadline, in place of any other.
    Arm(Deadline),
    /// Forget the deadline.
    Disarm,
}

/// Which deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// For the ownership to be free.
    Own,
    /// For the start as a whole.
    Start,
    /// For the withdrawal and for requests to finish.
    Drain,
    /// For a server to be gone that was cut off.
    CutOff,
    /// For a step that should take no time at all.
    Grace,
}

/// A transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state to be in.
    pub next: State,
    /// What to do, in this order; at most one of them is a call, and it is the last.
    pub effects: &'static [Effect],
}

/// Why an event changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It is so already, or no longer matters.
    NoOp,
    /// It can't happen here: whoever sent it is wrong.
    Invalid,
}

impl State {
    /// What `event` leads to.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] that tells what is so already from what isn't allowed.
    pub const fn step(self, event: Event) -> Result<Step, Rejection> {
        use Deadline::{
            CutOff as UntilCutOff, Drain as UntilDrained, Grace, Own as UntilOwned,
            Start as UntilStarted,
        };
        use Pace::{Abort, Drain};
        use Turn::{Again, First};

        let (next, effects): (State, &'static [Effect]) = match (self, event) {
            // Starting.
            (Is::Idle, On::Start) => (Is::Acquiring, &[Do::Arm(UntilOwned), Do::Acquire]),
            (Is::Acquiring, On::Done) => (Is::Recovering, &[Do::Arm(UntilStarted), Do::Recover]),
            (Is::Acquiring, On::Busy) => (Is::Waiting, &[Do::RetryLater]),
            (Is::Waiting, On::RetryDue) => (Is::Acquiring, &[Do::Acquire]),
            (Is::Recovering, On::Done) => (Is::Binding, &[Do::Bind]),
            (Is::Binding, On::Done) => (Is::Launching(First), &[Do::Launch]),
            (Is::Launching(turn), On::Done) => (Is::Probing(turn), &[Do::Probe]),
            (Is::Probing(turn), On::Done) => (Is::Publishing(turn), &[Do::Publish]),
            (Is::Publishing(_), On::Done) => (Is::Ready, &[Do::Disarm, Do::Announce]),

            // A start that fails.
            (Is::Acquiring, On::Failed) => (Is::Stopped(End::Clean), &[Do::Disarm]),
            (Is::Waiting, On::DeadlinePassed) => (Is::Stopped(End::Clean), &[]),
            (Is::Acquiring, On::DeadlinePassed) => {
                (Is::Settling(Holding::Nothing, Abort), &[Do::Arm(Grace)])
            }
            (Is::Recovering, On::DeadlinePassed) => {
                (Is::Settling(Holding::Lease, Abort), &[Do::Arm(Grace)])
            }
            (Is::Recovering | Is::Binding, On::Failed) => {
                (Is::Releasing, &[Do::Arm(Grace), Do::Release])
            }
            (Is::Launching(First), On::Failed) => (
                Is::Releasing,
                &[Do::CloseListener, Do::Arm(Grace), Do::Release],
            ),
            (Is::Probing(First) | Is::Publishing(First), On::Failed) => {
                (Is::Withdrawing(Abort), &[Do::Arm(Grace), Do::Withdraw])
            }
            (Is::Probing(First), On::ServerEnded | On::DeadlinePassed) => (
                Is::Withdrawing(Abort),
                &[Do::Cancel, Do::Arm(Grace), Do::Withdraw],
            ),

            // Serving: what was lost is put right.
            (Is::Ready, On::LookDue) => (Is::Inspecting, &[Do::Inspect]),
            (Is::Inspecting, On::Done | On::Failed) => (Is::Ready, &[]),
            (Is::Inspecting, On::RecordLost) => (Is::Republishing, &[Do::Publish]),
            (Is::Inspecting, On::OwnershipLost) => (Is::Reclaiming, &[Do::Reclaim]),
            (Is::Republishing, On::Done | On::Failed) => (Is::Ready, &[]),
            (Is::Reclaiming, On::Done) => (Is::Republishing, &[Do::Publish]),
            (Is::Reclaiming, On::Failed) => (Is::Ready, &[]),
            (Is::Reclaiming, On::Busy) => (
                Is::Withdrawing(Drain),
                &[Do::Arm(UntilDrained), Do::Withdraw],
            ),

            // Serving: the server is replaced, because it was asked for or because it fell.
            (Is::Ready, On::Restart) => {
                (Is::Retracting(Next::Launch), &[Do::Arm(Grace), Do::Retract])
            }
            (Is::Inspecting, On::Restart) => (
                Is::Retracting(Next::Launch),
                &[Do::Cancel, Do::Arm(Grace), Do::Retract],
            ),
            (Is::Retracting(Next::Launch), On::Done | On::Failed) => {
                (Is::Replacing, &[Do::Arm(UntilDrained), Do::Drain])
            }
            (Is::Replacing, On::DeadlinePassed) => (
                Is::Clearing(Next::Launch),
                &[Do::Cancel, Do::Arm(UntilCutOff), Do::Abort],
            ),
            (Is::Ready, On::ServerFell) => {
                (Is::Retracting(Next::Pause), &[Do::Arm(Grace), Do::Retract])
            }
            (Is::Inspecting, On::ServerFell) => (
                Is::Retracting(Next::Pause),
                &[Do::Cancel, Do::Arm(Grace), Do::Retract],
            ),
            (Is::Launching(Again) | Is::Probing(Again), On::Failed) => {
                (Is::Retracting(Next::Pause), &[Do::Arm(Grace), Do::Retract])
            }
            (Is::Launching(Again) | Is::Probing(Again), On::DeadlinePassed)
            | (Is::Probing(Again), On::ServerFell | On::ServerEnded) => (
                Is::Retracting(Next::Pause),
                &[Do::Cancel, Do::Arm(Grace), Do::Retract],
            ),
            (Is::Retracting(Next::Pause), On::Done | On::Failed) => (
                Is::Clearing(Next::Pause),
                &[Do::Arm(UntilCutOff), Do::Abort],
            ),
            (Is::Clearing(Next::Pause), On::Done) => (Is::Pausing, &[Do::Disarm, Do::RestartLater]),
            (Is::Replacing | Is::Clearing(Next::Launch), On::Done)
            | (Is::Pausing, On::RetryDue | On::Restart) => {
                (Is::Launching(Again), &[Do::Arm(UntilStarted), Do::Launch])
            }
            (Is::Publishing(Again), On::Failed) => (Is::Ready, &[Do::Disarm, Do::Announce]),

            // It isn't replaced: it was tried often enough, or what is left of the old one doesn't end.
            (Is::Pausing, On::ServerEnded) | (Is::Replacing | Is::Clearing(_), On::Failed) => {
                (Is::Withdrawing(Abort), &[Do::Arm(Grace), Do::Withdraw])
            }
            (Is::Clearing(_), On::DeadlinePassed) => (
                Is::Withdrawing(Abort),
                &[Do::Cancel, Do::Arm(Grace), Do::Withdraw],
            ),

            // A stop before there is a server.
            (Is::Idle, On::Stop(_)) => (Is::Stopped(End::Clean), &[]),
            (Is::Waiting, On::Stop(_)) => (Is::Stopped(End::Clean), &[Do::Disarm]),
            (Is::Acquiring, On::Stop(pace)) => {
                (Is::Settling(Holding::Nothing, pace), &[Do::Arm(Grace)])
            }
            (Is::Recovering, On::Stop(pace)) => {
                (Is::Settling(Holding::Lease, pace), &[Do::Arm(Grace)])
            }
            (Is::Binding, On::Stop(_) | On::DeadlinePassed) => {
                (Is::Releasing, &[Do::Cancel, Do::Arm(Grace), Do::Release])
            }
            (Is::Launching(First), On::Stop(_) | On::DeadlinePassed) => (
                Is::Releasing,
                &[Do::Cancel, Do::CloseListener, Do::Arm(Grace), Do::Release],
            ),

            // A stop with a server, whose record may be out.
            (Is::Ready | Is::Pausing, On::Stop(Drain)) => (
                Is::Withdrawing(Drain),
                &[Do::Arm(UntilDrained), Do::Withdraw],
            ),
            (Is::Ready | Is::Pausing, On::Stop(Abort)) | (Is::Ready, On::ServerEnded) => {
                (Is::Withdrawing(Abort), &[Do::Arm(Grace), Do::Withdraw])
            }
            (
                Is::Probing(_) | Is::Inspecting | Is::Replacing | Is::Launching(Again),
                On::Stop(Drain),
            ) => (
                Is::Withdrawing(Drain),
                &[Do::Cancel, Do::Arm(UntilDrained), Do::Withdraw],
            ),
            (
                Is::Probing(_) | Is::Inspecting | Is::Replacing | Is::Launching(Again),
                On::Stop(Abort),
            )
            | (Is::Clearing(_), On::Stop(_))
            | (Is::Inspecting, On::ServerEnded) => (
                Is::Withdrawing(Abort),
                &[Do::Cancel, Do::Arm(Grace), Do::Withdraw],
            ),
            (
                Is::Publishing(_) | Is::Republishing | Is::Reclaiming | Is::Retracting(_),
                On::Stop(Drain),
            ) => (
                Is::Settling(Holding::Server, Drain),
                &[Do::Disown, Do::Arm(UntilDrained)],
            ),
            (
                Is::Publishing(_) | Is::Republishing | Is::Reclaiming | Is::Retracting(_),
                On::Stop(Abort),
            )
            | (Is::Publishing(_) | Is::Republishing | Is::Reclaiming, On::ServerEnded)
            | (Is::Publishing(_), On::DeadlinePassed) => (
                Is::Settling(Holding::Server, Abort),
                &[Do::Disown, Do::Arm(Grace)],
            ),

            // Waiting for the store before anything else.
            (Is::Settling(Holding::Nothing, _), On::Done)
            | (Is::Settling(Holding::Lease, _), On::Done | On::Failed) => {
                (Is::Releasing, &[Do::Arm(Grace), Do::Release])
            }
            (Is::Settling(Holding::Nothing, _), On::Failed | On::Busy) => {
                (Is::Stopped(End::Clean), &[Do::Disarm])
            }
            (Is::Settling(Holding::Nothing | Holding::Lease, _), On::DeadlinePassed) => {
                (Is::Stopped(End::Stuck), &[Do::Cancel])
            }
            (Is::Settling(Holding::Server, pace), On::Done | On::Failed | On::Busy) => {
                (Is::Withdrawing(pace), &[Do::Withdraw])
            }
            (Is::Settling(Holding::Server, Drain), On::DeadlinePassed | On::Stop(Abort)) => {
                (Is::Settling(Holding::Server, Abort), &[Do::Arm(Grace)])
            }
            (
                Is::Settling(Holding::Server, Abort) | Is::Withdrawing(Abort) | Is::Retracting(_),
                On::DeadlinePassed,
            ) => (
                Is::Aborting(After::Leave),
                &[
                    Do::Cancel,
                    Do::Disown,
                    Do::CloseListener,
                    Do::Arm(UntilCutOff),
                    Do::Abort,
                ],
            ),

            // Stopping.
            (Is::Withdrawing(Drain), On::Done | On::Failed) => {
                (Is::Draining, &[Do::CloseListener, Do::Drain])
            }
            (Is::Withdrawing(Drain), On::DeadlinePassed | On::Stop(Abort)) => {
                (Is::Withdrawing(Abort), &[Do::Arm(Grace)])
            }
            (Is::Withdrawing(Abort), On::Done | On::Failed) => (
                Is::Aborting(After::Release),
                &[Do::CloseListener, Do::Arm(UntilCutOff), Do::Abort],
            ),
            (Is::Draining, On::DeadlinePassed | On::Stop(Abort)) => (
                Is::Aborting(After::Release),
                &[Do::Cancel, Do::Arm(UntilCutOff), Do::Abort],
            ),
            (Is::Draining | Is::Aborting(After::Release), On::Done) => {
                (Is::Releasing, &[Do::Arm(Grace), Do::Release])
            }
            (Is::Aborting(After::Release), On::DeadlinePassed) => {
                (Is::Releasing, &[Do::Cancel, Do::Arm(Grace), Do::Release])
            }
            (Is::Aborting(After::Leave), On::Done) => (Is::Stopped(End::Stuck), &[Do::Disarm]),
            (Is::Aborting(After::Leave), On::DeadlinePassed) => {
                (Is::Stopped(End::Stuck), &[Do::Cancel])
            }
            (Is::Releasing, On::Done | On::Failed) => (Is::Stopped(End::Clean), &[Do::Disarm]),
            (Is::Releasing, On::DeadlinePassed) => (Is::Stopped(End::Stuck), &[Do::Cancel]),

            // What is so already, and what came too late to matter.
            (
                Is::Settling(..)
                | Is::Withdrawing(_)
                | Is::Draining
                | Is::Aborting(_)
                | Is::Releasing
                | Is::Stopped(_),
                On::Stop(_),
            )
            | (
                Is::Settling(Holding::Server, _)
                | Is::Withdrawing(_)
                | Is::Draining
                | Is::Aborting(_)
                | Is::Retracting(_)
                | Is::Replacing
                | Is::Clearing(_),
                On::ServerEnded | On::ServerFell,
            )
            | (_, On::RetryDue) => return Err(Rejection::NoOp),

            _ => return Err(Rejection::Invalid),
        };
        Ok(Step { next, effects })
    }

    /// Whether a stop has begun, or is over.
    #[must_use]
    pub const fn is_stopping(self) -> bool {
        matches!(
            self,
            Is::Settling(..)
                | Is::Withdrawing(_)
                | Is::Draining
                | Is::Aborting(_)
                | Is::Releasing
                | Is::Stopped(_)
        )
    }
}

impl Effect {
    /// Whether it is a call, which completes with an event.
    #[must_use]
    pub const fn is_call(self) -> bool {
        !matches!(
            self,
            Do::Cancel
                | Do::Disown
                | Do::CloseListener
                | Do::RetryLater
                | Do::RestartLater
                | Do::Announce
                | Do::Arm(_)
                | Do::Disarm
        )
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
