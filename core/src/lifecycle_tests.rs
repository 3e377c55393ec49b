//! The whole table as a reviewed snapshot, and every interleaving of what can happen.
//!
//! Longer than others: the lists of states and events, and the world that they act on, are used by every test here.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Write as _;

use super::*;

const STATES: [State; 35] = [
    Is::Idle,
    Is::Acquiring,
    Is::Waiting,
    Is::Recovering,
    Is::Binding,
    Is::Launching(Turn::First),
    Is::Launching(Turn::Again),
    Is::Probing(Turn::First),
    Is::Probing(Turn::Again),
    Is::Publishing(Turn::First),
    Is::Publishing(Turn::Again),
    Is::Ready,
    Is::Inspecting,
    Is::Republishing,
    Is::Reclaiming,
    Is::Retracting(Next::Launch),
    Is::Retracting(Next::Pause),
    Is::Replacing,
    Is::Clearing(Next::Launch),
    Is::Clearing(Next::Pause),
    Is::Pausing,
    Is::Settling(Holding::Nothing, Pace::Drain),
    Is::Settling(Holding::Nothing, Pace::Abort),
    Is::Settling(Holding::Lease, Pace::Drain),
    Is::Settling(Holding::Lease, Pace::Abort),
    Is::Settling(Holding::Server, Pace::Drain),
    Is::Settling(Holding::Server, Pace::Abort),
    Is::Withdrawing(Pace::Drain),
    Is::Withdrawing(Pace::Abort),
    Is::Draining,
    Is::Aborting(After::Release),
    Is::Aborting(After::Leave),
    Is::Releasing,
    Is::Stopped(End::Clean),
    Is::Stopped(End::Stuck),
];

const EVENTS: [Event; 14] = [
    On::Start,
    On::Stop(Pace::Drain),
    On::Stop(Pace::Abort),
    On::Done,
    On::Failed,
    On::Busy,
    On::RecordLost,
    On::OwnershipLost,
    On::ServerEnded,
    On::ServerFell,
    On::Restart,
    On::RetryDue,
    On::LookDue,
    On::DeadlinePassed,
];

/// To change the table, change the code, run the tests with `UPDATE_SNAPSHOTS=1`, and review what became of the file.
#[test]
fn the_table_is_the_reviewed_one() {
    let mut table = String::new();
    for state in STATES {
        writeln!(table, "{state:?}").unwrap();
        for event in EVENTS {
            let event_name = format!("{event:?}");
            match state.step(event) {
                Ok(step) => {
                    let effects: Vec<String> =
                        step.effects.iter().map(|e| format!("{e:?}")).collect();
                    let line = format!(
                        "    {event_name:<15} -> {:?}  [{}]",
                        step.next,
                        effects.join(", ")
                    );
                    writeln!(table, "{line}").unwrap();
                }
                Err(Rejection::NoOp) => writeln!(table, "    {event_name:<15} no-op").unwrap(),
                Err(Rejection::Invalid) => {}
            }
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lifecycle.table");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    let reviewed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(table, reviewed, "{path} differs");
}

/// What a run holds in the world, next to the state that the lifecycle is in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    state: State,
    call: Option<Effect>,
    armed: bool,
    retry: bool,
    lease: bool,
    listener: bool,
    server: bool,
    /// The owner holds the listening socket, so that the record may stay while the server is replaced.
    keeps_socket: bool,
    /// It was ready since the last pause.
    was_ready: bool,
    /// Readers may believe a record.
    believed: bool,
    announced: bool,
    /// Store calls that were given up while they were out.
    abandoned_store_call: bool,
}

impl World {
    const fn start(keeps_socket: bool) -> Self {
        Self {
            state: State::Idle,
            call: None,
            armed: false,
            retry: false,
            lease: false,
            listener: false,
            server: false,
            keeps_socket,
            was_ready: false,
            believed: false,
            announced: false,
            abandoned_store_call: false,
        }
    }

    /// Whatever can happen now.
    fn possible(&self) -> Vec<Event> {
        let mut events = vec![On::Stop(Pace::Drain), On::Stop(Pace::Abort)];
        events.extend((self.state == State::Idle).then_some(On::Start));
        events.extend((self.state == State::Ready).then_some(On::LookDue));
        events.extend(self.armed.then_some(On::DeadlinePassed));
        events.extend(self.retry.then_some(On::RetryDue));
        events.extend(self.server.then_some(On::ServerEnded));
        events.extend((self.server && self.heeds_falls()).then_some(On::ServerFell));
        let can_restart = matches!(self.state, Is::Ready | Is::Inspecting | Is::Pausing);
        events.extend(can_restart.then_some(On::Restart));
        // It was tried often enough.
        events.extend((self.state == State::Pausing).then_some(On::ServerEnded));
        events.extend(self.completions());
        events
    }

    /// Whether a server that is to be started again is told of now: not before it was ready, nor while the store is busy.
    fn heeds_falls(&self) -> bool {
        let busy = matches!(
            self.state,
            Is::Publishing(_) | Is::Republishing | Is::Reclaiming
        );
        self.announced && !busy
    }

    fn completions(&self) -> Vec<Event> {
        match self.call {
            None => vec![],
            Some(Do::Acquire | Do::Reclaim) => vec![On::Done, On::Failed, On::Busy],
            Some(Do::Inspect) => vec![On::Done, On::RecordLost, On::OwnershipLost],
            Some(Do::Retract) => vec![On::Done],
            Some(Do::Drain | Do::Abort) if self.state.is_stopping() => vec![On::Done],
            Some(_) => vec![On::Done, On::Failed],
        }
    }

    /// The world after `event`, with every law checked on the way.
    fn after(&self, event: Event) -> Self {
        let mut world = self.clone();
        match event {
            On::DeadlinePassed => world.armed = false,
            On::RetryDue => world.retry = false,
            On::ServerEnded | On::ServerFell => world.server = false,
            On::Done | On::Failed | On::Busy | On::RecordLost | On::OwnershipLost => {
                world.complete(event);
            }
            _ => {}
        }
        let step = match self.state.step(event) {
            Ok(step) => step,
            Err(Rejection::NoOp) => return world,
            Err(Rejection::Invalid) => panic!("{event:?} can happen in {self:?}"),
        };
        world.state = step.next;
        let (last, others) = step
            .effects
            .split_last()
            .map_or((None, step.effects), |(l, o)| (Some(l), o));
        assert!(
            !others.iter().any(|e| e.is_call()),
            "a call is the last effect"
        );
        for effect in others.iter().chain(last) {
            world.carry_out(*effect);
        }
        if matches!(world.state, State::Stopped(_)) {
            // The runner is dropped with its handle on the server, and that aborts it.
            world.server = false;
        }
        let unsettled = matches!(world.state, State::Settling(..));
        assert!(
            !(unsettled && world.believed),
            "believed though a stop began"
        );
        world.check();
        world
    }

    fn complete(&mut self, event: Event) {
        let done = event == On::Done;
        match self.call.take() {
            Some(Do::Acquire) => self.lease = done,
            Some(Do::Bind) => self.listener = done,
            Some(Do::Launch) => self.server = done,
            // Failed or not, nobody believes the record any more: the proof goes first.
            Some(Do::Withdraw) => self.believed = false,
            Some(Do::Retract) => self.believed &= self.keeps_socket && self.was_ready,
            Some(Do::Drain | Do::Abort) => self.server = false,
            Some(Do::Release) => self.lease = false,
            Some(_) => {}
            None => panic!("{event:?} completes nothing"),
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Do::Cancel => {
                let call = self.call.take().expect("something to cancel");
                let changes_store = matches!(
                    call,
                    Do::Acquire
                        | Do::Recover
                        | Do::Publish
                        | Do::Reclaim
                        | Do::Retract
                        | Do::Withdraw
                        | Do::Release
                );
                self.abandoned_store_call |= changes_store;
            }
            Do::Disown => self.believed = false,
            Do::CloseListener => {
                assert!(!self.believed, "the proof ends before the listener closes");
                self.listener = false;
            }
            Do::RetryLater => self.retry = true,
            Do::RestartLater => (self.retry, self.was_ready) = (true, false),
            Do::Announce => (self.announced, self.was_ready) = (true, true),
            Do::Arm(_) => self.armed = true,
            Do::Disarm => self.armed = false,
            call => {
                assert_eq!(self.call, None, "one call at a time");
                self.begin(call);
                self.call = Some(call);
            }
        }
    }

    fn begin(&mut self, call: Effect) {
        let stopping = self.state.is_stopping();
        match call {
            Do::Acquire => assert!(!self.lease && !stopping),
            Do::Recover => assert!(self.lease && !self.listener),
            Do::Bind => assert!(self.lease && !self.listener),
            Do::Launch => {
                assert!(self.listener && !self.server, "one server at a time");
                // The runner forgets what it waited for.
                self.retry = false;
            }
            Do::Probe => assert!(self.server && (!self.believed || self.keeps_socket)),
            Do::Publish => {
                assert!(
                    self.lease && self.listener && !stopping,
                    "nothing is published once a stop began"
                );
                // It may land at once, and even if it fails.
                self.believed = true;
            }
            Do::Drain | Do::Abort if !stopping => {
                assert!(self.listener, "a server is replaced behind its listener");
                assert!(!self.believed || self.keeps_socket, "nobody would answer");
            }
            Do::Drain | Do::Abort => {
                assert!(!self.believed, "nothing drains while it is discoverable");
                assert!(!self.listener, "a draining server accepts nobody");
            }
            Do::Release => {
                assert!(self.lease && !self.believed, "the ownership goes last");
                assert!(
                    !self.abandoned_store_call,
                    "it stays if a store call never came back"
                );
                // The runner drops the server before it releases; its listener may be there if it never launched.
                self.server = false;
                self.listener = false;
            }
            _ => {}
        }
    }

    fn check(&self) {
        let waits_for_people = matches!(self.state, State::Idle | State::Ready);
        if let State::Stopped(end) = self.state {
            assert!(!self.listener && !self.believed, "leaked: {self:?}");
            assert!(self.call.is_none() && !self.armed, "unfinished: {self:?}");
            match end {
                End::Clean => assert!(!self.lease && !self.abandoned_store_call, "{self:?}"),
                End::Stuck => assert!(self.abandoned_store_call, "{self:?}"),
            }
        } else if !waits_for_people && self.announced && !self.state.is_stopping() {
            // A look or a repair may take as long as the disk does: it serves meanwhile, and a stop has a deadline.
            let waits = self.call.is_some() || self.retry;
            assert!(waits, "{self:?} waits for nothing");
        } else if !waits_for_people {
            assert!(self.armed, "{self:?} could wait for ever");
        }
    }
}

fn explore() -> HashMap<World, Vec<(Event, World)>> {
    let mut graph = HashMap::new();
    let mut queue = VecDeque::from([World::start(false), World::start(true)]);
    while let Some(world) = queue.pop_front() {
        if graph.contains_key(&world) {
            continue;
        }
        let next: Vec<(Event, World)> = world
            .possible()
            .into_iter()
            .map(|event| (event, world.after(event)))
            .collect();
        queue.extend(next.iter().map(|(_, world)| world.clone()));
        graph.insert(world, next);
    }
    graph
}

#[test]
fn no_interleaving_leaks_or_waits_for_ever() {
    let graph = explore();
    let reached: HashSet<State> = graph.keys().map(|world| world.state).collect();
    for state in STATES {
        assert!(reached.contains(&state), "{state:?} is never reached");
    }
}

/// Nobody needs to answer for a stop to end: the longest way, by deadlines alone, is short.
#[test]
fn a_stop_ends_by_deadlines_alone() {
    for world in explore().into_keys() {
        let mut world = world.after(On::Stop(Pace::Drain));
        let mut deadlines = 0;
        while !matches!(world.state, State::Stopped(_)) {
            world = world.after(On::DeadlinePassed);
            deadlines += 1;
            assert!(deadlines <= 4, "{world:?}");
        }
    }
}

/// Once a stop began, every path leads forward: no event, repeated or not, comes back to where it was.
#[test]
fn a_stop_never_goes_in_circles() {
    let graph = explore();
    let stopping: BTreeMap<String, &World> = graph
        .keys()
        .filter(|world| world.state.is_stopping())
        .map(|world| (format!("{world:?}"), world))
        .collect();
    let mut finished = HashSet::new();
    for world in stopping.values() {
        visit(world, &graph, &mut Vec::new(), &mut finished);
    }
}

fn visit<'a>(
    world: &'a World,
    graph: &'a HashMap<World, Vec<(Event, World)>>,
    path: &mut Vec<&'a World>,
    finished: &mut HashSet<&'a World>,
) {
    if finished.contains(world) {
        return;
    }
    assert!(!path.contains(&world), "a circle through {world:?}");
    path.push(world);
    for (_, next) in &graph[world] {
        if next != world {
            visit(next, graph, path, finished);
        }
    }
    path.pop();
    finished.insert(world);
}

#[test]
fn stop_is_legal_everywhere_and_repeating_it_changes_nothing() {
    for state in STATES {
        for pace in [Pace::Drain, Pace::Abort] {
            let once = match state.step(On::Stop(pace)) {
                Ok(step) => step.next,
                Err(Rejection::NoOp) => state,
                Err(Rejection::Invalid) => panic!("a stop is refused in {state:?}"),
            };
            assert_eq!(once.step(On::Stop(pace)), Err(Rejection::NoOp), "{state:?}");
        }
    }
}

#[test]
fn what_is_done_at_once_is_no_call() {
    for call in [
        Do::Acquire,
        Do::Publish,
        Do::Withdraw,
        Do::Abort,
        Do::Release,
    ] {
        assert!(call.is_call(), "{call:?}");
    }
    for effect in [Do::Cancel, Do::Disown, Do::CloseListener, Do::Disarm] {
        assert!(!effect.is_call(), "{effect:?}");
    }
}
