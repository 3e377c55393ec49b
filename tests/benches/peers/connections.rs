//! What an idle connection costs in memory, from one to ten thousand.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::figures::plot::Plot;
use super::figures::{Report, figure};
use super::process::greet;
use super::programs::{Peer, Programs};

const CONNECTIONS: [usize; 5] = [1, 10, 100, 1_000, 10_000];

/// So many descriptors a program needs that isn't the connections.
const OTHERS: usize = 500;

pub(super) fn measure(programs: &Programs, report: &mut Report) {
    let most = descriptors().saturating_sub(OTHERS) * 3 / 4;
    let steps: Vec<usize> = CONNECTIONS.into_iter().filter(|n| *n <= most).collect();
    if steps.len() < CONNECTIONS.len() {
        report.note(format!(
            "Not measured with more than {most} connections: this process may have no more descriptors (ulimit -n)."
        ));
    }
    let mut lines = Vec::new();
    let mut each = Vec::new();
    let peers = [
        Some(programs.bare()),
        Some(programs.roomy()),
        programs.node(),
    ];
    for peer in peers.into_iter().flatten() {
        let points = grow(&peer, &steps);
        if let (Some(first), Some(last)) = (points.first(), points.last()) {
            let bytes = (last.1 - first.1) * 1024.0 / (last.0 - first.0);
            each.push((peer.name.to_owned(), vec![bytes], None));
        }
        lines.push((peer.name.to_owned(), points));
    }
    let last = steps.last().copied().unwrap_or_default();
    report.table(
        &format!(
            "resident memory for one of {} idle connections, KiB",
            figure(last as f64)
        ),
        each,
    );
    Plot {
        title: "Idle connections",
        across: "connections",
        up: "MiB resident",
        lines,
    }
    .write("connections");
}

fn grow(peer: &Peer, steps: &[usize]) -> Vec<(f64, f64)> {
    let running = peer.start();
    let mut clients: Vec<TcpStream> = Vec::new();
    let mut points = Vec::new();
    for &step in steps {
        while clients.len() < step {
            let client = running.connect();
            greet(&client);
            clients.push(client);
        }
        thread::sleep(Duration::from_millis(300));
        points.push((step as f64, running.memory("VmRSS")));
    }
    points
}

/// As many as this process may have, and what it starts.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // If it may not have more, it has what it has.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(now).unwrap_or(usize::MAX)
}
