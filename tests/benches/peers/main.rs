//! Whole processes side by side: Daymark, the fewest lines around bare hyper, and what else people run.
//!
//! What is measured is what is shipped: this builds the release profile first, and peers go into a throw-away place below the
//! target directory. A peer that can't be had is said to be missing, and the rest is measured.
//!
//! `cargo bench -p daymark-tests --bench peers -- starts memory` measures only those; `builds` (a cold build, some minutes) is
//! done only if it is named.

mod commands;
mod connections;
mod disk;
mod process;
mod programs;
mod running;
mod serving;
mod starts;

#[expect(dead_code, reason = "not all of it is needed here")]
#[path = "../figures/mod.rs"]
mod figures;

use self::figures::Report;
use self::programs::Programs;

type Part = (&'static str, fn(&Programs, &mut Report));

const PARTS: [Part; 6] = [
    ("starts", starts::measure),
    ("serving", serving::measure),
    ("connections", connections::measure),
    ("commands", commands::measure),
    ("run", running::measure),
    ("disk", disk::measure),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted == name);
    let all = !PARTS.iter().any(|(name, _)| is_wanted(name));
    let programs = Programs::get();
    for (section, part) in PARTS {
        if all || is_wanted(section) {
            let mut report = Report::new(section);
            part(&programs, &mut report);
            report.finish();
        }
    }
    if is_wanted("builds") {
        disk::cold_build();
    }
}
