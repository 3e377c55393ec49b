//! Figures from measurements that take turns, for the machine's mood changes while they run: what counts is their ratio.

#![expect(
    clippy::print_stdout,
    reason = "printing figures is what benches are for"
)]

use std::time::Duration;

/// One of the things that are compared, and what it took each time.
pub(crate) struct Contender<'a> {
    name: &'static str,
    run: Box<dyn FnMut() -> Duration + 'a>,
    took: Vec<Duration>,
}

impl<'a> Contender<'a> {
    /// What is measured, by a function that says how long it took, preparations aside.
    pub(crate) fn new(name: &'static str, run: impl FnMut() -> Duration + 'a) -> Self {
        Self {
            name,
            run: Box::new(run),
            took: Vec::new(),
        }
    }
}

/// Lets the contenders take turns, in alternating order, and prints a table. Ratios are to the first of them.
pub(crate) fn compare(title: &str, rounds: usize, mut contenders: Vec<Contender<'_>>) {
    for contender in &mut contenders {
        // Whatever is slow only the first time.
        (contender.run)();
    }
    for round in 0..rounds {
        let forwards = round % 2 == 0;
        for i in 0..contenders.len() {
            let turn = if forwards {
                i
            } else {
                contenders.len() - 1 - i
            };
            let contender = &mut contenders[turn];
            contender.took.push((contender.run)());
        }
    }
    println!("\n{title} (n = {rounds}, in µs)");
    println!(
        "{:32} {:>10} {:>10} {:>10} {:>7}",
        "", "median", "p10", "p90", "ratio"
    );
    let first = quantile(&mut contenders[0].took, 0.5);
    for contender in &mut contenders {
        let [median, low, high] = [0.5, 0.1, 0.9].map(|q| quantile(&mut contender.took, q));
        println!(
            "{:32} {median:>10.1} {low:>10.1} {high:>10.1} {:>7.2}",
            contender.name,
            median / first
        );
    }
}

fn quantile(took: &mut [Duration], q: f64) -> f64 {
    took.sort();
    let at = (took.len() - 1) as f64 * q;
    took[at.round() as usize].as_secs_f64() * 1e6
}
