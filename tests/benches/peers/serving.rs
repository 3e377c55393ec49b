//! What a request costs a whole process, and what it keeps in memory when it has nothing to do.

use std::thread;
use std::time::Duration;

use super::figures::{Contender, Report, Target, rounds};
use super::process::{Running, greet};
use super::programs::{Peer, Programs};

const REQUESTS: u32 = 2_000;

pub(super) fn measure(programs: &Programs, report: &mut Report) {
    let mut peers = vec![programs.bare(), programs.hello()];
    peers.extend(programs.node());
    peers.extend(programs.original());
    let running: Vec<(&Peer, Running)> = peers.iter().map(|peer| (peer, peer.start())).collect();
    let contenders = running.iter().map(|(peer, running)| {
        Contender::new(peer.name, || {
            let client = running.connect();
            let before = running.processor_time();
            (0..REQUESTS).for_each(|_| greet(&client));
            (running.processor_time() - before) / REQUESTS
        })
    });
    report.compare(
        "processor time of the server for a request, kept alive, µs",
        rounds(30),
        contenders.collect(),
    );
    drop(running);

    let mut peers = vec![programs.bare(), programs.hello(), programs.serve()];
    peers.extend(programs.static_serve());
    peers.extend(programs.node());
    peers.extend(programs.original());
    peers.extend(programs.jupyter());
    let idle = peers.iter().map(|peer| {
        let contender = Contender::counted(peer.name, || {
            let running = peer.start();
            thread::sleep(Duration::from_millis(300));
            running.memory("VmRSS")
        });
        match peer.name {
            "daymark (hello)" => contender.target(Target::AtMost(4.0)),
            "daymark serve" | "daymark serve, linked statically" => {
                contender.target(Target::AtMost(6.0))
            }
            _ => contender,
        }
    });
    report.compare(
        "resident memory, idle after one answer, MiB",
        rounds(10),
        idle.collect(),
    );
}
