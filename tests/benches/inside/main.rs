//! What Daymark costs in the program that uses it, next to the bare system calls and to bare hyper, measured in turns.
//!
//! `cargo bench -p daymark-tests --bench inside -- start list` measures only those.

mod list;
mod looking;
mod requests;
mod start;
mod stop;
mod waiting;

#[path = "../figures/mod.rs"]
mod figures;

use self::figures::Report;

type Part = (&'static str, fn(&mut Report));

const PARTS: [Part; 6] = [
    ("start", start::measure),
    ("looking", looking::measure),
    ("waiting", waiting::measure),
    ("stop", stop::measure),
    ("list", list::measure),
    ("requests", requests::measure),
];

fn main() {
    if list::is_measuring_process() {
        return list::in_a_process_of_its_own();
    }
    // What isn't a part's name is cargo's.
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted == name);
    let all = !PARTS.iter().any(|(name, _)| is_wanted(name));
    for (section, part) in PARTS {
        if all || is_wanted(section) {
            let mut report = Report::new(section);
            part(&mut report);
            report.finish();
        }
    }
}
