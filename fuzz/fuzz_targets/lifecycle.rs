//! Any sequence of events: nothing panics, what can really happen is never refused as invalid, calls don't overlap,
//! and from wherever it got to, a stop comes to its end whichever calls come back.

#![no_main]

use arbitrary::Arbitrary;
use daymark_core::lifecycle::{Effect, Event, Pace, Rejection, State, Turn};
use libfuzzer_sys::fuzz_target;

/// No way from a stop to its end is longer than this.
const LONGEST_STOP: usize = 8;

#[derive(Arbitrary, Debug)]
struct Input {
    events: Vec<(AnyEvent, Manner)>,
    stop_at_once: bool,
    /// Bit by bit: whether the call comes back, or the deadline passes first.
    comes_back: u16,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Manner {
    OnlyWhatCanHappen,
    WhateverItIs,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum AnyEvent {
    Start,
    Stop,
    StopNow,
    Done,
    Failed,
    Busy,
    RecordLost,
    OwnershipLost,
    ServerEnded,
    RetryDue,
    LookDue,
    DeadlinePassed,
    ServerFell,
    Restart,
}

impl AnyEvent {
    const fn event(self) -> Event {
        match self {
            Self::Start => Event::Start,
            Self::Stop => Event::Stop(Pace::Drain),
            Self::StopNow => Event::Stop(Pace::Abort),
            Self::Done => Event::Done,
            Self::Failed => Event::Failed,
            Self::Busy => Event::Busy,
            Self::RecordLost => Event::RecordLost,
            Self::OwnershipLost => Event::OwnershipLost,
            Self::ServerEnded => Event::ServerEnded,
            Self::RetryDue => Event::RetryDue,
            Self::LookDue => Event::LookDue,
            Self::DeadlinePassed => Event::DeadlinePassed,
            Self::ServerFell => Event::ServerFell,
            Self::Restart => Event::Restart,
        }
    }
}

/// A run, and what is going on around it.
struct Run {
    state: State,
    call: Option<Effect>,
    deadline: bool,
    retry: bool,
    serves: bool,
}

impl Run {
    /// Whether the event is one that the world could bring about now.
    fn can_happen(&self, event: Event) -> bool {
        match event {
            Event::Stop(_) => true,
            Event::Start => self.state == State::Idle,
            Event::Done => self.call.is_some(),
            // These two report, and don't fail.
            Event::Failed => self
                .call
                .is_some_and(|call| !matches!(call, Effect::Drain | Effect::Abort)),
            Event::Busy => matches!(self.call, Some(Effect::Acquire | Effect::Reclaim)),
            Event::RecordLost | Event::OwnershipLost => self.call == Some(Effect::Inspect),
            Event::ServerEnded => self.serves || self.state == State::Pausing,
            Event::ServerFell => self.serves && self.heeds_falls(),
            Event::Restart => {
                matches!(
                    self.state,
                    State::Ready | State::Inspecting | State::Pausing
                )
            }
            Event::RetryDue => self.retry,
            Event::LookDue => self.state == State::Ready,
            Event::DeadlinePassed => self.deadline,
        }
    }

    /// Whether a server that is to be started again is told of now: not before it was ready, nor while the store is busy.
    const fn heeds_falls(&self) -> bool {
        !matches!(
            self.state,
            State::Launching(_)
                | State::Probing(Turn::First)
                | State::Publishing(_)
                | State::Republishing
                | State::Reclaiming
        )
    }

    fn take(&mut self, event: Event) -> Result<(), Rejection> {
        let completed = self.call.take_if(|_| is_completion(event));
        let step = match self.state.step(event) {
            Ok(step) => step,
            Err(rejection) => {
                self.call = completed.or(self.call);
                return Err(rejection);
            }
        };
        self.deadline &= event != Event::DeadlinePassed;
        self.retry &= event != Event::RetryDue;
        self.serves |= completed == Some(Effect::Launch) && event == Event::Done;
        self.serves &= !matches!(event, Event::ServerEnded | Event::ServerFell)
            && !matches!(completed, Some(Effect::Drain | Effect::Abort));
        self.state = step.next;
        self.serves &= !self.is_over();
        for (i, &effect) in step.effects.iter().enumerate() {
            match effect {
                Effect::Cancel => self.call = None,
                Effect::RetryLater | Effect::RestartLater => self.retry = true,
                Effect::Arm(_) => self.deadline = true,
                Effect::Disarm => self.deadline = false,
                call if call.is_call() => {
                    assert_eq!(i + 1, step.effects.len(), "a call comes last");
                    assert_eq!(self.call, None, "{call:?} while another is out");
                    self.serves &= call != Effect::Release;
                    self.call = Some(call);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Stopped(_))
    }
}

const fn is_completion(event: Event) -> bool {
    matches!(
        event,
        Event::Done | Event::Failed | Event::Busy | Event::RecordLost | Event::OwnershipLost
    )
}

fuzz_target!(|input: Input| {
    let mut run = Run {
        state: State::Idle,
        call: None,
        deadline: false,
        retry: false,
        serves: false,
    };
    for (event, manner) in input.events {
        let event = event.event();
        if run.can_happen(event) {
            let before = run.state;
            let taken = run.take(event);
            assert_ne!(taken, Err(Rejection::Invalid), "{event:?} in {before:?}");
        } else if manner == Manner::WhateverItIs {
            // It must not panic; what comes of it is of no interest.
            let _ = run.state.step(event);
        }
        let waits = !matches!(run.state, State::Idle | State::Ready) && !run.is_over();
        let serving = matches!(
            run.state,
            State::Inspecting | State::Republishing | State::Reclaiming
        );
        let serving = serving || run.state == State::Pausing && run.retry;
        assert!(!waits || serving || run.deadline, "{:?}", run.state);
    }

    let pace = match input.stop_at_once {
        true => Pace::Abort,
        false => Pace::Drain,
    };
    let stopped = run.take(Event::Stop(pace));
    assert_ne!(stopped, Err(Rejection::Invalid));
    for step in 0..LONGEST_STOP {
        if run.is_over() {
            break;
        }
        let comes_back = input.comes_back >> step & 1 == 1;
        let event = match comes_back && run.call.is_some() {
            true => Event::Done,
            false => Event::DeadlinePassed,
        };
        assert_eq!(run.take(event), Ok(()), "{event:?} in {:?}", run.state);
    }
    assert!(run.is_over(), "{:?}", run.state);
    assert_eq!(run.call, None);
    assert!(!run.deadline);
});
