//! `daymark run`, with its supervisor, its guard and its children killed at any moment.
//!
//! Longer than others: all of it plays on one scene.
//!
//! By default a sample. All of it (200 kills of supervisors, 200 of what they supervise), in about ten minutes:
//!
//! ```text
//! DAYMARK_TEST_FULL=1 cargo test --release -p daymark-tests --test supervision
//! ```
#![cfg(target_os = "linux")]

use std::thread;
use std::time::{Duration, Instant};

use daymark::Presence;
use daymark_core::record::ServerRecord;
use daymark_tests::bystanders::Bystanders;
use daymark_tests::clients::Clients;
use daymark_tests::files::Ground;
use daymark_tests::scale::{random, rounds};
use daymark_tests::supervised::{Role, Start, Supervisor, eventually, gone, members};
use daymark_tests::watcher::{Answer, Seen, Watcher, ask};
use rustix::process::Signal;

/// How soon nothing is left of a tree whose supervisor or guard was killed, on a machine that has a lot else to do.
const SOON: Duration = Duration::from_secs(4);
/// A supervisor that has ended in order has left nothing.
const AT_ONCE: Duration = Duration::ZERO;
/// How long a supervisor may need to hear of its child's death, on such a machine.
const UNNOTICED: Duration = Duration::from_secs(1);

const SHAPES: [&[&str]; 4] = [
    &[],
    &["--workers", "2"],
    &["--daemon"],
    &["--workers", "1", "--daemon"],
];

/// One place, its port, and those who have nothing to do with it.
struct Scene {
    ground: Ground,
    start: Start,
    bystanders: Bystanders,
}

impl Scene {
    /// One whose port is known, because a first server has served there.
    fn new(pass_socket: bool) -> Self {
        let ground = Ground::new();
        let mut bystanders = Bystanders::default();
        let group = bystanders.add(&[]);
        let dir = ground.dir();
        let mut scene = Self {
            start: Start {
                program: env!("CARGO_BIN_EXE_supervisor"),
                servant: env!("CARGO_BIN_EXE_servant"),
                dir: dir.clone(),
                pass_socket,
                restart: "never",
                port: 0,
                shape: &[],
                group: Some(group),
                through: Vec::new(),
            },
            ground,
            bystanders,
        };
        let mut first = scene.start.go();
        let (record, _) = scene.ready(&first);
        scene.start.port = record.endpoint.port().get();
        scene.stop(&mut first);
        let dir = dir.to_str().expect("text");
        let instance = "0123456789abcdef0123456789abcdef";
        scene.bystanders.add(&[("DAYMARK_STATE_DIR", dir)]);
        scene.bystanders.add(&[("DAYMARK_INSTANCE_ID", instance)]);
        scene.bystanders.add(&[
            ("DAYMARK_STATE_DIR", "/nonexistent"),
            ("DAYMARK_INSTANCE_ID", instance),
        ]);
        scene
    }

    /// Starts the next one, between two strangers whose pids are close to its own.
    fn next(&mut self, random: &mut fastrand::Rng) -> Supervisor {
        self.start.shape = SHAPES[random.usize(..SHAPES.len())];
        self.start.restart = ["never", "on-failure", "always"][random.usize(..3)];
        self.bystanders.add(&[]);
        let supervisor = self.start.go();
        self.bystanders.add(&[]);
        supervisor
    }

    /// Waits until it is published; its record, and who answers.
    fn ready(&self, supervisor: &Supervisor) -> (ServerRecord, Answer) {
        let record = eventually("it is published", || {
            let sighting = self.ground.place().look();
            let record = sighting
                .record
                .filter(|_| sighting.presence == Presence::Live);
            record.filter(|record| record.pid == supervisor.pid())
        });
        let answer = ask(record.endpoint.port().get(), "/");
        (record, answer.expect("who is published answers"))
    }

    /// Asks it to stop, which must leave nothing.
    fn stop(&self, supervisor: &mut Supervisor) {
        supervisor.signal(Signal::TERM);
        let status = supervisor.wait();
        assert!(status.success(), "{status}: {}", self.start.output());
        gone(
            supervisor.mark(),
            Duration::ZERO.max(Duration::from_millis(1)),
        );
        assert_eq!(self.ground.presence(), Presence::Absent);
        self.assert_port_is_closed();
    }

    fn assert_port_is_closed(&self) {
        if self.start.port != 0 {
            let answer = ask(self.start.port, "/");
            assert!(answer.is_err(), "nobody should answer: {answer:?}");
        }
    }

    /// A server that was started after another one was killed comes up on the same port and stops as any other.
    fn recovers(&mut self, random: &mut fastrand::Rng, killed: &Supervisor) {
        let mut next = self.next(random);
        let (record, _) = self.ready(&next);
        assert_eq!(record.endpoint.port().get(), self.start.port);
        // It has cleared away what was left, before it bound.
        let left = members(killed.mark());
        assert!(left.is_empty(), "{left:?}");
        self.stop(&mut next);
        self.bystanders.check();
    }
}

/// Lets a random time pass, up to `longest`: the random moment that a kill comes at.
fn pause(random: &mut fastrand::Rng, longest: Duration) {
    thread::sleep(longest.mul_f32(random.f32()));
}

/// Brings a supervisor to a random moment of its life.
fn to_some_moment(
    scene: &Scene,
    supervisor: &Supervisor,
    random: &mut fastrand::Rng,
) -> &'static str {
    const START: Duration = Duration::from_millis(150);
    const REPLACEMENT: Duration = Duration::from_millis(400);
    match random.u8(..6) {
        0 | 1 => {
            pause(random, START);
            "starting"
        }
        2 => {
            scene.ready(supervisor);
            "serving"
        }
        3 => {
            scene.ready(supervisor);
            supervisor.signal(Signal::USR2);
            pause(random, REPLACEMENT);
            "restarting"
        }
        4 => {
            scene.ready(supervisor);
            kill(supervisor, &[Role::Main]);
            pause(random, REPLACEMENT);
            "falling"
        }
        _ => {
            scene.ready(supervisor);
            supervisor.signal(Signal::TERM);
            pause(random, START);
            "stopping"
        }
    }
}

/// Kills all processes of its tree that have one of these roles; how many.
fn kill(supervisor: &Supervisor, roles: &[Role]) -> usize {
    let members = supervisor.members();
    let victims = members.iter().filter(|member| roles.contains(&member.role));
    victims.map(|victim| victim.kill(supervisor.mark())).count()
}

#[expect(clippy::print_stdout, reason = "a failed test tells what was done")]
fn supervisors_are_killed(pass_socket: bool) {
    let mut random = random();
    let mut scene = Scene::new(pass_socket);
    let watcher = Watcher::of(&scene.ground.dir(), scene.start.port, UNNOTICED);
    let (mut kills, mut longest) = (0, Duration::ZERO);
    while kills < rounds(5, 100) {
        let mut supervisor = scene.next(&mut random);
        let moment = to_some_moment(&scene, &supervisor, &mut random);
        let with: &[Role] = match random.u8(..4) {
            0 => &[Role::Supervisor, Role::Guard],
            1 => &[Role::Supervisor, Role::Main],
            _ => &[Role::Supervisor],
        };
        println!("{kills}: {moment}, {with:?}, {:?}", scene.start);
        kills += usize::from(kill(&supervisor, with) > 0);
        supervisor.wait();
        let presence = scene.ground.presence();
        assert!(
            matches!(presence, Presence::Absent | Presence::Stale),
            "{presence}"
        );
        // Either somebody looks at what is left, or the next one comes at once.
        if !with.contains(&Role::Guard) && random.bool() {
            longest = longest.max(gone(supervisor.mark(), SOON));
            scene.assert_port_is_closed();
        }
        scene.recovers(&mut random, &supervisor);
        watcher.check();
    }
    let seen = end_of_watch(watcher);
    println!(
        "{kills} kills; a tree was gone after at most {longest:?}; {} bystanders; {seen:?}",
        scene.bystanders.count
    );
}

/// What was seen; a watcher who has seen nothing proves nothing.
fn end_of_watch(watcher: Watcher) -> Seen {
    let seen = watcher.end();
    assert!(seen.answers > 0 && seen.live > 0, "{seen:?}");
    seen
}

#[test]
fn supervisors_that_hold_a_port_are_killed_at_any_moment() {
    supervisors_are_killed(false);
}

#[test]
fn supervisors_that_hold_a_socket_are_killed_at_any_moment() {
    supervisors_are_killed(true);
}

#[expect(clippy::print_stdout, reason = "a failed test tells what was done")]
fn children_are_killed(pass_socket: bool) {
    let mut random = random();
    let mut scene = Scene::new(pass_socket);
    let watcher = Watcher::of(&scene.ground.dir(), scene.start.port, UNNOTICED);
    let (mut kills, mut outlived) = (0, 0);
    while kills < rounds(5, 100) {
        let mut supervisor = scene.next(&mut random);
        let moment = to_some_moment(&scene, &supervisor, &mut random);
        let victims: &[Role] = match random.u8(..6) {
            0 => &[Role::Guard],
            1 => &[Role::Guard, Role::Main],
            2 => &[Role::Other],
            3 => &[Role::Main, Role::Other],
            _ => &[Role::Main],
        };
        println!("{kills}: {moment}, {victims:?}, {:?}", scene.start);
        kills += usize::from(kill(&supervisor, victims) > 0);
        // Either it comes back, or the run ends and leaves nothing.
        let stays = eventually("it has decided", || {
            if supervisor.ended().is_some() {
                return Some(false);
            }
            let lives = supervisor.members().iter().any(|m| m.role == Role::Main);
            let is_ready = scene.ground.presence() == Presence::Live && lives;
            (is_ready && moment != "stopping" && ask(scene.start.port, "/").is_ok()).then_some(true)
        });
        if stays {
            outlived += 1;
            supervisor.signal(Signal::TERM);
        }
        supervisor.wait();
        gone(supervisor.mark(), AT_ONCE);
        assert_eq!(scene.ground.presence(), Presence::Absent);
        scene.assert_port_is_closed();
        scene.recovers(&mut random, &supervisor);
        watcher.check();
    }
    let seen = end_of_watch(watcher);
    println!(
        "{kills} kills; {outlived} runs outlived theirs; {} bystanders; {seen:?}",
        scene.bystanders.count
    );
}

#[test]
fn children_that_are_told_a_port_are_killed_at_any_moment() {
    children_are_killed(false);
}

#[test]
fn children_that_are_passed_a_socket_are_killed_at_any_moment() {
    children_are_killed(true);
}

/// Waits until another launch answers than this one.
fn replaced(port: u16, before: Answer) -> Answer {
    eventually("another one answers", || {
        ask(port, "/")
            .ok()
            .filter(|answer| answer.launch != before.launch)
    })
}

#[test]
fn three_restarts_lose_no_request_where_a_socket_is_passed() {
    let mut scene = Scene::new(true);
    scene.start.shape = &["--workers", "1"];
    let mut supervisor = scene.start.go();
    let (record, mut answer) = scene.ready(&supervisor);
    let watcher = Watcher::of(&scene.ground.dir(), scene.start.port, UNNOTICED);
    let clients = Clients::of(scene.start.port, 6);
    for _ in 0..3 {
        clients.answered(20);
        supervisor.signal(Signal::USR2);
        answer = replaced(scene.start.port, answer);
    }
    clients.answered(20);
    let (answered, lost) = clients.end();
    assert!(lost.is_empty(), "of {answered} there were lost: {lost:?}");
    let now = eventually("it says so", || {
        let record = scene.ground.place().look().record?;
        (record.restarts == Some(3)).then_some(record)
    });
    assert_eq!(
        (now.endpoint, now.instance_id),
        (record.endpoint, record.instance_id)
    );
    println!("{answered} requests; {:?}", watcher.end());
    scene.stop(&mut supervisor);
}

#[test]
fn a_child_s_death_refuses_no_connection_where_a_socket_is_passed() {
    let mut scene = Scene::new(true);
    scene.start.restart = "always";
    let mut supervisor = scene.start.go();
    let (_, mut answer) = scene.ready(&supervisor);
    let clients = Clients::of(scene.start.port, 6);
    for _ in 0..3 {
        clients.answered(20);
        assert_eq!(kill(&supervisor, &[Role::Main]), 1);
        answer = replaced(scene.start.port, answer);
    }
    clients.answered(20);
    let (answered, lost) = clients.end();
    // What it had accepted is lost with it, and nothing else.
    let refused = lost
        .iter()
        .find(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
    assert!(refused.is_none(), "{refused:?}");
    assert!(
        lost.len() <= 3 * 6,
        "of {answered} there were lost: {lost:?}"
    );
    scene.stop(&mut supervisor);
}

#[test]
fn a_record_of_a_told_port_is_taken_back_when_its_child_is_gone() {
    let mut scene = Scene::new(false);
    scene.start.restart = "always";
    let mut supervisor = scene.start.go();
    let (_, before) = scene.ready(&supervisor);
    let watcher = Watcher::of(&scene.ground.dir(), scene.start.port, UNNOTICED);
    let begun = Instant::now();
    assert_eq!(kill(&supervisor, &[Role::Main]), 1);
    eventually("it isn't believed", || {
        (scene.ground.presence() != Presence::Live).then_some(())
    });
    let took = begun.elapsed();
    assert!(took < UNNOTICED, "{took:?}");
    replaced(scene.start.port, before);
    println!("not believed after {took:?}; {:?}", watcher.end());
    scene.ready(&supervisor);
    scene.stop(&mut supervisor);
}

#[test]
fn a_dead_supervisor_is_not_believed_while_its_port_refuses() {
    for pass_socket in [false, true] {
        let scene = Scene::new(pass_socket);
        for _ in 0..rounds(3, 50) {
            let mut supervisor = scene.start.go();
            scene.ready(&supervisor);
            let watcher = Watcher::of(&scene.ground.dir(), scene.start.port, Duration::ZERO);
            assert_eq!(kill(&supervisor, &[Role::Supervisor]), 1);
            supervisor.wait();
            gone(supervisor.mark(), SOON);
            println!("{:?}", watcher.end());
        }
    }
}

#[test]
fn a_run_ends_as_its_command_did() {
    let scene = Scene::new(false);
    let mut supervisor = scene.start.go();
    scene.ready(&supervisor);
    assert_eq!(kill(&supervisor, &[Role::Main]), 1);
    assert_eq!(supervisor.wait().code(), Some(128 + 9));
    let mut supervisor = scene.start.go();
    scene.ready(&supervisor);
    scene.stop(&mut supervisor);
}

#[test]
fn a_start_that_is_called_off_leaves_nothing() {
    let mut random = random();
    let mut scene = Scene::new(false);
    for _ in 0..rounds(10, 200) {
        let mut supervisor = scene.next(&mut random);
        eventually("its guard is there", || {
            let members = supervisor.members();
            members.iter().any(|m| m.role == Role::Guard).then_some(())
        });
        pause(&mut random, Duration::from_millis(5));
        supervisor.signal(Signal::TERM);
        assert_eq!(supervisor.wait().code(), Some(0));
        gone(supervisor.mark(), AT_ONCE);
        assert_eq!(scene.ground.presence(), Presence::Absent);
    }
    scene.bystanders.check();
}
