//! Runs in a world of memory, started, stopped, killed and robbed in every order that chance brings.
//!
//! What is checked after every step is a small model: who was killed is dead, who was stopped is gone, and a reader believes
//! only those who are neither.

use std::time::Duration;

use daymark_core::presence::{LockSeen, Observation};
use daymark_core::record::{HeldBy, InstanceId};
use daymark_core::{GRACE, Plan, RestartPolicy, Status};
use daymark_tests::sample;
use daymark_tests::scale::rounds;
use daymark_tests::world::{Run, World};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// So many places for runs.
const RUNS: usize = 3;

/// What differs between runs.
#[derive(Clone, Copy, Debug)]
struct Kind {
    held_by: HeldBy,
    restarts: Option<RestartPolicy>,
}

impl Kind {
    fn any() -> impl Strategy<Value = Self> {
        use RestartPolicy::{Always, Never, OnFailure};
        let held_by = prop_oneof![Just(HeldBy::Owner), Just(HeldBy::Child)];
        let restarts = prop_oneof![
            Just(None),
            Just(Some(Never)),
            Just(Some(OnFailure)),
            Just(Some(Always))
        ];
        (held_by, restarts).prop_map(|(held_by, restarts)| Self { held_by, restarts })
    }
}

#[derive(Clone, Debug)]
enum Step {
    Start(usize, Kind),
    Restart(usize),
    Stop(usize),
    StopAtOnce(usize),
    Kill(usize),
    ServerDies(usize),
    BeginRequest(usize),
    FinishRequest(usize),
    LoseRecord,
    LoseOwnership,
    Advance(Duration),
    /// Only one of them gets to do something.
    Settle(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..RUNS, Kind::any()).prop_map(|(i, kind)| Step::Start(i, kind)),
        2 => (0..RUNS).prop_map(Step::Restart),
        2 => (0..RUNS).prop_map(Step::Stop),
        1 => (0..RUNS).prop_map(Step::StopAtOnce),
        2 => (0..RUNS).prop_map(Step::Kill),
        1 => (0..RUNS).prop_map(Step::ServerDies),
        2 => (0..RUNS).prop_map(Step::BeginRequest),
        1 => (0..RUNS).prop_map(Step::FinishRequest),
        1 => Just(Step::LoseRecord),
        1 => Just(Step::LoseOwnership),
        2 => (0_u64..20_000).prop_map(|ms| Step::Advance(Duration::from_millis(ms))),
        4 => (0..RUNS).prop_map(Step::Settle),
    ]
}

/// The runs there are, and those that are killed.
struct Model {
    world: World,
    runs: [Option<(InstanceId, Run)>; RUNS],
    killed: Vec<InstanceId>,
    /// Whose server has died, and who hasn't had the time to notice.
    unaware: [bool; RUNS],
    next: u128,
}

impl Model {
    fn new() -> Self {
        Self {
            world: World::new(),
            runs: Default::default(),
            killed: Vec::new(),
            unaware: [false; RUNS],
            next: 1,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Start(i, kind) => self.start(i, kind),
            Step::Restart(i) => self.with(i, |run| run.handle.request_restart()),
            Step::Stop(i) => self.with(i, |run| run.handle.request_stop(None)),
            Step::StopAtOnce(i) => {
                self.with(i, |run| run.handle.request_stop(Some(Duration::ZERO)));
            }
            Step::Kill(i) => self.kill(i),
            Step::ServerDies(i) => {
                self.unaware[i] = true;
                self.with(i, |run| {
                    if let Some(server) = run.http.last() {
                        server.die("of a bug");
                    }
                });
            }
            Step::BeginRequest(i) => self.with(i, |run| {
                run.http.last().map(|server| server.begin_request());
            }),
            Step::FinishRequest(i) => self.with(i, |run| {
                run.http.last().map(|server| server.finish_request());
            }),
            Step::LoseRecord => self.world.store.lose_record(),
            Step::LoseOwnership => self.world.store.lose_ownership(),
            Step::Advance(span) => self.world.clock.advance(span),
            Step::Settle(i) => self.settle(i),
        }
        self.check();
    }

    fn with(&mut self, i: usize, act: impl FnOnce(&mut Run)) {
        if let Some((_, run)) = &mut self.runs[i] {
            act(run);
        }
    }

    fn settle(&mut self, i: usize) {
        self.with(i, Run::settle);
        self.unaware[i] = false;
    }

    /// A start where nothing runs, or a second one, which must change nothing.
    fn start(&mut self, i: usize, kind: Kind) {
        let is_over = |(_, run): &(_, Run)| run.report().is_some();
        if self.runs[i].as_ref().is_none_or(is_over) {
            let plan = Plan {
                held_by: kind.held_by,
                restarts: kind.restarts,
                ..sample::plan(self.next)
            };
            let run = self.world.run_by(plan, self.world.store.clone());
            self.runs[i] = Some((InstanceId::from_bits(self.next), run));
            self.next += 1;
        }
        self.with(i, Run::start);
        self.unaware[i] = false;
    }

    /// `kill -9`: its locks go, its files stay, and it does nothing any more.
    fn kill(&mut self, i: usize) {
        let Some((instance, run)) = self.runs[i].take() else {
            return;
        };
        let owned = self.owns(instance);
        if owned {
            self.world.store.crash_owner();
        }
        self.killed.push(instance);
        drop(run);
        if owned {
            let seen = self.world.seen();
            let is_stale = matches!(seen, Observation::Record(_, LockSeen::Free));
            assert!(is_stale, "a kill removes no file: {seen:?}");
        }
    }

    fn owns(&self, instance: InstanceId) -> bool {
        self.world
            .believed()
            .is_some_and(|record| record.instance_id == Some(instance))
    }

    fn check(&self) {
        self.world.check();
        for (instance, run) in self.runs.iter().flatten() {
            let living = run.http.living();
            assert!(living <= 1, "{instance}: {living} servers at a time");
        }
        let Some(record) = self.world.believed() else {
            return;
        };
        let instance = record.instance_id.expect("we publish it");
        assert!(!self.killed.contains(&instance), "it was killed");
        let mut runs = self.runs.iter().zip(&self.unaware);
        let found = runs.find_map(|(run, unaware)| match run {
            Some((id, run)) if *id == instance => Some((run, *unaware)),
            _ => None,
        });
        let (run, unaware) = found.expect("there is such a run");
        assert!(run.report().is_none(), "it is stopped");
        // Whoever connects is answered, at the latest by the next server, if the owner holds the socket.
        let listens = run.http.last().is_some_and(|server| server.listens());
        let waits = record.held_by == HeldBy::Owner;
        assert!(listens || waits || unaware, "nobody listens");
    }

    /// Lets everybody do all they can, for so long.
    fn let_pass(&mut self, span: Duration) {
        const TICK: Duration = Duration::from_millis(100);
        let mut passed = Duration::ZERO;
        while passed < span {
            for i in 0..RUNS {
                self.settle(i);
                self.check();
            }
            self.world.clock.advance(TICK);
            passed += TICK;
        }
    }

    /// However it came to be: every stop ends, everything is given back, and the next start succeeds.
    fn end_well(mut self) {
        for i in 0..RUNS {
            self.with(i, |run| run.stop(None));
        }
        let plan = sample::plan(0);
        self.let_pass(plan.drain.max(plan.start_timeout) + 2 * GRACE);

        for (instance, run) in self.runs.iter().flatten() {
            let report = run.report();
            let report = report.unwrap_or_else(|| panic!("{instance}: its stop never ended"));
            assert!(report.left.is_empty(), "{instance}: {report:?}");
        }
        assert_eq!(self.world.believed(), None);
        assert_eq!(self.world.ports.held(), []);

        self.runs = Default::default();
        self.start(
            0,
            Kind {
                held_by: HeldBy::Owner,
                restarts: None,
            },
        );
        let (_, run) = self.runs[0].as_ref().expect("it was started");
        let status = run.handle.status();
        assert!(matches!(status, Status::Ready(_)), "{status:?}");
        self.with(0, |run| run.stop(None));
        assert_eq!(self.world.seen(), Observation::NoRecord(None));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: u32::try_from(rounds(500, 20_000)).unwrap_or(u32::MAX),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_in_whatever_order_nobody_is_believed_who_is_gone(
        steps in prop::collection::vec(step(), 0..60)
    ) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
        }
        model.end_well();
    }
}
