//! From a process to its first answer, and from SIGTERM to its end.

use std::cell::RefCell;

use super::figures::{Contender, Report, Target, rounds};
use super::programs::{Peer, Programs};

/// What the runs of one peer showed, next to what is measured.
#[derive(Default)]
struct Seen {
    name: &'static str,
    published: Vec<f64>,
    refused: u32,
    runs: u32,
    withdrawn: Vec<f64>,
    ended: Vec<f64>,
}

pub(super) fn measure(programs: &Programs, report: &mut Report) {
    let bare = programs.bare();
    let hello = programs.hello();
    let mut quick = vec![bare, hello.clone()];
    quick.extend(programs.node());
    in_turns("", rounds(100), &quick, report);
    let mut slow = vec![hello];
    slow.extend(programs.original());
    slow.extend(programs.jupyter());
    if slow.len() > 1 {
        in_turns(", and what takes longer", rounds(20), &slow, report);
    }
    programs.missing().into_iter().for_each(|m| report.note(m));
}

fn in_turns(which: &str, rounds: usize, peers: &[Peer], report: &mut Report) {
    let seen: Vec<RefCell<Seen>> = peers.iter().map(|_| RefCell::default()).collect();
    let run = |peer: &Peer, seen: &RefCell<Seen>| {
        let running = peer.start();
        let mut seen = seen.borrow_mut();
        seen.name = peer.name;
        seen.runs += 1;
        seen.refused += u32::from(running.refused > 0);
        seen.published.push(millis(running.published));
        let answered = millis(running.answered);
        let (withdrawn, ended) = running.stop();
        seen.withdrawn.push(millis(withdrawn));
        seen.ended.push(millis(ended));
        answered
    };
    let is_ours = |name: &str| name.starts_with("daymark");
    let contenders = peers.iter().zip(&seen).map(|(peer, seen)| {
        let contender = Contender::counted(peer.name, || run(peer, seen));
        match is_ours(peer.name) && which.is_empty() {
            true => contender.target(Target::Times(1.5)),
            false => contender,
        }
    });
    report.compare(
        &format!("process start → first GET answered{which}, ms"),
        rounds,
        contenders.collect(),
    );
    let ours = |name: &str, target| (is_ours(name) && which.is_empty()).then_some(target);
    let column = |of: &dyn Fn(&mut Seen) -> Vec<f64>, target: Target| {
        let rows = seen.iter().map(|seen| {
            let mut seen = seen.borrow_mut();
            let values = of(&mut seen);
            (seen.name.to_owned(), values, ours(seen.name, target))
        });
        rows.collect::<Vec<_>>()
    };
    let published = column(
        &|seen| std::mem::take(&mut seen.published),
        Target::Times(1.5),
    );
    report.table(&format!("process start → record{which}, ms"), published);
    let withdrawn = column(
        &|seen| std::mem::take(&mut seen.withdrawn),
        Target::Times(2.0),
    );
    report.table(&format!("SIGTERM → record gone{which}, ms"), withdrawn);
    let ended = column(&|seen| std::mem::take(&mut seen.ended), Target::Times(2.0));
    report.table(&format!("SIGTERM → exit{which}, ms"), ended);
    let refused: Vec<String> = seen
        .iter()
        .map(|seen| {
            let seen = seen.borrow();
            format!("{} {} of {}", seen.name, seen.refused, seen.runs)
        })
        .collect();
    report.note(format!(
        "Refused who connected as soon as the record was there: {}.",
        refused.join(", ")
    ));
}

fn millis(span: std::time::Duration) -> f64 {
    span.as_secs_f64() * 1e3
}
