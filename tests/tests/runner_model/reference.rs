//! What a caller may rely on, as a small machine of its own: it knows what was asked and when, and nothing of calls.
//!
//! As long as nothing goes wrong it says exactly what is to be seen. Once something did, it only says by when a stop is over.
//! That futures were dropped it never hears of: that is the point.

use std::time::Duration;

use daymark_core::RestartPolicy;
use daymark_core::record::HeldBy;
use daymark_tests::failing::{Call, Wrong};
use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

/// How far time goes at once. Every span here is a multiple of it.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// How long a stop leaves requests where it doesn't say.
pub(super) const DRAIN: Duration = Duration::from_secs(5);

/// What differs between runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) held_by: HeldBy,
    pub(super) restarts: Option<RestartPolicy>,
    /// Nothing goes wrong.
    pub(super) is_calm: bool,
}

/// Something that a run is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Start,
    Restart,
    Stop(Option<Duration>),
}

/// Something that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Start,
    Ready,
    Stop(Option<Duration>),
    Stopping,
    Stopped,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Asks, and doesn't wait.
    Ask(Ask),
    /// Begins to wait, and keeps the future.
    Begin(Wish),
    /// Drops one of the futures.
    DropFuture(usize),
    /// Drops every handle and every future.
    DropHandles,
    /// Drops the runner, as the end of its thread does.
    DropRunner,
    /// Lets everybody do all they can now.
    Settle,
    /// So many ticks.
    Pass(u32),
    BeginRequest,
    FinishRequest,
    /// The next such call goes wrong.
    Arm(Call, Wrong),
    /// What hangs goes on.
    Thaw,
    ServerDies,
    LoseRecord,
    LoseOwnership,
    /// Somebody else takes the place.
    TakeOver,
}

/// Where a run must stand, nothing having gone wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Idle,
    Ready,
    /// Its server finishes its requests, until then, and another one takes its place.
    Replacing(Duration),
    /// It stops, since and until.
    Draining(Duration, Duration),
    Stopped(Ended),
    /// Its runner was dropped.
    Gone,
}

/// What a report must say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) was_ready: bool,
    pub(super) drained: u64,
    pub(super) aborted: u64,
    pub(super) took: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) kind: Kind,
    pub(super) now: Duration,
    /// Holds while nothing went wrong.
    pub(super) stage: Stage,
    pub(super) is_rough: bool,
    /// By when requests must be finished, by what was asked and heard.
    pub(super) stop_until: Option<Duration>,
    pub(super) has_handles: bool,
    pub(super) has_runner: bool,
    pub(super) is_taken_over: bool,
    /// Requests that were accepted.
    pub(super) begun: u64,
    /// How often the server was replaced.
    pub(super) replaced: u64,
    /// What was asked and isn't heard yet.
    queue: Vec<Ask>,
    restart_asked: bool,
    in_flight: u64,
    /// Requests that were finished since the server was asked to.
    drained: u64,
}

impl Reference {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            now: Duration::ZERO,
            stage: Stage::Idle,
            is_rough: false,
            stop_until: None,
            has_handles: true,
            has_runner: true,
            is_taken_over: false,
            begun: 0,
            replaced: 0,
            queue: Vec::new(),
            restart_asked: false,
            in_flight: 0,
            drained: 0,
        }
    }

    fn ask(&mut self, ask: Ask) {
        if self.has_runner {
            self.queue.push(ask);
        }
    }

    /// What was asked is heard, all of it before anything is done.
    fn settle(&mut self) {
        let mut starts = false;
        for ask in std::mem::take(&mut self.queue) {
            if let Ask::Stop(drain) = ask {
                self.hear_stop(drain.unwrap_or(DRAIN));
                continue;
            }
            match self.stage {
                Stage::Idle if ask == Ask::Start => starts = true,
                _ if ask == Ask::Restart => self.restart_asked = self.kind.restarts.is_some(),
                // A second start changes nothing.
                _ => {}
            }
        }
        if starts && self.stage == Stage::Idle {
            self.stage = Stage::Ready;
        }
        self.go_on();
    }

    fn hear_stop(&mut self, drain: Duration) {
        let until = self.now + drain;
        self.stop_until = Some(self.stop_until.map_or(until, |before| before.min(until)));
        self.stage = match self.stage {
            // Nobody was ready yet, whether a start was asked for or not.
            Stage::Idle => Stage::Stopped(Ended::default()),
            Stage::Ready => {
                self.drained = 0;
                Stage::Draining(self.now, until)
            }
            Stage::Replacing(_) => Stage::Draining(self.now, until),
            Stage::Draining(since, before) => Stage::Draining(since, before.min(until)),
            over => over,
        };
    }

    /// What needs no asking.
    fn go_on(&mut self) {
        loop {
            match self.stage {
                Stage::Ready if self.restart_asked => {
                    (self.restart_asked, self.drained) = (false, 0);
                    self.stage = Stage::Replacing(self.now + DRAIN);
                }
                Stage::Replacing(until) if self.in_flight == 0 || self.now >= until => {
                    self.in_flight = 0;
                    self.replaced += 1;
                    self.stage = Stage::Ready;
                }
                Stage::Draining(since, until) if self.in_flight == 0 || self.now >= until => {
                    self.stage = Stage::Stopped(Ended {
                        was_ready: true,
                        drained: self.drained,
                        aborted: std::mem::take(&mut self.in_flight),
                        took: self.now - since,
                    });
                }
                _ => return,
            }
        }
    }

    fn begin_request(&mut self) {
        if self.stage == Stage::Ready {
            self.in_flight += 1;
            self.begun += 1;
        }
    }

    fn finish_request(&mut self) {
        if self.in_flight > 0 {
            self.in_flight -= 1;
            let counts = matches!(self.stage, Stage::Replacing(_) | Stage::Draining(..));
            self.drained += u64::from(counts);
        }
    }

    fn drop_handles(&mut self) {
        self.has_handles = false;
        self.ask(Ask::Stop(None));
    }

    fn drop_runner(&mut self) {
        self.has_runner = false;
        self.queue.clear();
        if !matches!(self.stage, Stage::Stopped(_)) {
            self.stage = Stage::Gone;
        }
    }

    fn begin(&mut self, wish: Wish) {
        match wish {
            Wish::Start if self.stage == Stage::Idle => self.ask(Ask::Start),
            Wish::Stop(drain) => self.ask(Ask::Stop(drain)),
            _ => {}
        }
    }

    pub(super) fn take(&mut self, step: &Step) {
        match *step {
            Step::Ask(ask) => self.ask(ask),
            Step::Begin(wish) => self.begin(wish),
            Step::DropFuture(_) | Step::Thaw => {}
            Step::DropHandles => self.drop_handles(),
            Step::DropRunner => self.drop_runner(),
            Step::Settle => self.settle(),
            Step::Pass(ticks) => {
                for _ in 0..ticks {
                    self.now += TICK;
                    self.settle();
                }
            }
            Step::BeginRequest => self.begin_request(),
            Step::FinishRequest => self.finish_request(),
            Step::TakeOver => (self.is_taken_over, self.is_rough) = (true, true),
            Step::Arm(..) | Step::ServerDies | Step::LoseRecord | Step::LoseOwnership => {
                self.is_rough = true;
            }
        }
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    use RestartPolicy::{Always, Never, OnFailure};
    let held_by = prop_oneof![Just(HeldBy::Owner), Just(HeldBy::Child)];
    let restarts = prop_oneof![
        Just(None),
        Just(Some(Never)),
        Just(Some(OnFailure)),
        Just(Some(Always))
    ];
    (held_by, restarts, any::<bool>()).prop_map(|(held_by, restarts, is_calm)| Kind {
        held_by,
        restarts,
        is_calm,
    })
}

fn any_drain() -> impl Strategy<Value = Option<Duration>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Duration::ZERO)),
        3 => (1_u32..80).prop_map(|ticks| Some(TICK * ticks)),
    ]
}

fn any_wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        4 => Just(Wish::Start),
        1 => Just(Wish::Ready),
        1 => any_drain().prop_map(Wish::Stop),
        1 => Just(Wish::Stopping),
        1 => Just(Wish::Stopped),
    ]
}

fn calm_step() -> BoxedStrategy<Step> {
    prop_oneof![
        2 => Just(Step::Ask(Ask::Start)),
        3 => Just(Step::Ask(Ask::Restart)),
        1 => any_drain().prop_map(|drain| Step::Ask(Ask::Stop(drain))),
        6 => any_wish().prop_map(Step::Begin),
        5 => (0_usize..8).prop_map(Step::DropFuture),
        8 => Just(Step::Settle),
        4 => (1_u32..60).prop_map(Step::Pass),
        6 => Just(Step::BeginRequest),
        4 => Just(Step::FinishRequest),
    ]
    .boxed()
}

fn rough_step() -> BoxedStrategy<Step> {
    let arm = (
        prop::sample::select(Call::ALL.to_vec()),
        prop::sample::select(Wrong::ALL.to_vec()),
    );
    prop_oneof![
        30 => calm_step(),
        10 => arm.prop_map(|(call, wrong)| Step::Arm(call, wrong)),
        4 => Just(Step::Thaw),
        2 => Just(Step::ServerDies),
        2 => Just(Step::LoseRecord),
        2 => Just(Step::LoseOwnership),
        1 => Just(Step::TakeOver),
    ]
    .boxed()
}

impl ReferenceStateMachine for Reference {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        any_kind().prop_map(Self::new).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        let often = match state.kind.is_calm {
            true => calm_step(),
            false => rough_step(),
        };
        prop_oneof![
            60 => often,
            1 => Just(Step::DropHandles),
            1 => Just(Step::DropRunner),
        ]
        .boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        match step {
            Step::Ask(_) | Step::Begin(_) | Step::DropHandles => state.has_handles,
            Step::DropRunner => state.has_runner,
            Step::TakeOver | Step::LoseRecord | Step::LoseOwnership => !state.is_taken_over,
            _ => true,
        }
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.take(step);
        state
    }
}
