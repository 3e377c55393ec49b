//! Figures from measurements that take turns, for the machine's mood changes while they run: what counts is their ratio.
//!
//! Everything is printed. `DAYMARK_BENCH_WRITE=1` puts it into `BENCHMARKS.md` and `docs/plots/` too, and
//! `DAYMARK_BENCH_QUICK=1` takes a tenth of the rounds, which shows that all runs, and no more.

#![expect(
    clippy::print_stdout,
    reason = "printing figures is what benches are for"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) mod page;
pub(crate) mod plot;

/// One of the things that are compared, and what it took each time.
pub(crate) struct Contender<'a> {
    name: String,
    run: Box<dyn FnMut() -> f64 + 'a>,
    took: Vec<f64>,
    target: Option<Target>,
}

/// What a contender has to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// At most so many times what the first one takes.
    Times(f64),
    /// At most so much more than the first one takes.
    Plus(f64),
    /// At most this.
    AtMost(f64),
}

impl<'a> Contender<'a> {
    /// What is measured, by a function that says how much it was, preparations aside.
    pub(crate) fn counted(name: impl Into<String>, run: impl FnMut() -> f64 + 'a) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
            took: Vec::new(),
            target: None,
        }
    }

    /// The same for a time, which is told in microseconds.
    pub(crate) fn new(name: impl Into<String>, mut run: impl FnMut() -> Duration + 'a) -> Self {
        Self::counted(name, move || run().as_secs_f64() * 1e6)
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }
}

/// How often to measure: so many times, or a tenth where it is only tried out.
pub(crate) fn rounds(full: usize) -> usize {
    match std::env::var_os("DAYMARK_BENCH_QUICK") {
        Some(_) => full.div_ceil(10).max(2),
        None => full,
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A directory on the disk that the sources are built on, for temporary directories are often in memory.
pub(crate) fn on_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// One line of a table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) median: f64,
    low: f64,
    high: f64,
    n: usize,
    ratio: f64,
    verdict: String,
}

/// What a bench has found out.
pub(crate) struct Report {
    section: &'static str,
    groups: Vec<(String, Vec<Row>)>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) const fn new(section: &'static str) -> Self {
        Self {
            section,
            groups: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Lets the contenders take turns, in alternating order. Ratios are to the first of them.
    pub(crate) fn compare(
        &mut self,
        title: &str,
        rounds: usize,
        mut contenders: Vec<Contender<'_>>,
    ) -> Vec<Row> {
        for contender in &mut contenders {
            // Whatever is slow only the first time.
            (contender.run)();
        }
        for round in 0..rounds {
            let forwards = round % 2 == 0;
            for i in 0..contenders.len() {
                let turn = match forwards {
                    true => i,
                    false => contenders.len() - 1 - i,
                };
                let contender = &mut contenders[turn];
                contender.took.push((contender.run)());
            }
        }
        let measured = contenders
            .into_iter()
            .map(|c| (c.name, c.took, c.target))
            .collect();
        self.table(title, measured)
    }

    /// A table of what was measured elsewhere. Ratios are to the first line.
    pub(crate) fn table(
        &mut self,
        title: &str,
        measured: Vec<(String, Vec<f64>, Option<Target>)>,
    ) -> Vec<Row> {
        let mut floor = None;
        let rows: Vec<Row> = measured
            .into_iter()
            .filter(|(_, took, _)| !took.is_empty())
            .map(|(name, mut took, target)| {
                took.sort_by(f64::total_cmp);
                let [median, low, high] = [0.5, 0.1, 0.9].map(|q| quantile(&took, q));
                let floor = *floor.get_or_insert(median);
                Row {
                    name,
                    median,
                    low,
                    high,
                    n: took.len(),
                    ratio: median / floor,
                    verdict: target
                        .map(|t| verdict(t, median, floor))
                        .unwrap_or_default(),
                }
            })
            .collect();
        println!("\n{title}");
        println!(
            "  {:44} {:>11} {:>11} {:>11} {:>6} {:>8}  target",
            "", "median", "p10", "p90", "n", "ratio"
        );
        for row in &rows {
            println!(
                "  {:44} {:>11} {:>11} {:>11} {:>6} {:>8.2}  {}",
                row.name,
                figure(row.median),
                figure(row.low),
                figure(row.high),
                row.n,
                row.ratio,
                row.verdict
            );
        }
        self.groups.push((title.to_owned(), rows.clone()));
        rows
    }

    /// Something that has to be known of the figures.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        println!("\n{note}");
        self.notes.push(note);
    }

    /// Puts what was found out into `BENCHMARKS.md`, if that is asked for.
    pub(crate) fn finish(self) {
        if writes() {
            page::put(
                "BENCHMARKS.md",
                self.section,
                &page::markdown(&self.groups, &self.notes),
            );
        }
    }
}

/// Whether files are to be written.
pub(crate) fn writes() -> bool {
    std::env::var_os("DAYMARK_BENCH_WRITE").is_some()
}

fn verdict(target: Target, median: f64, floor: f64) -> String {
    let (bound, words) = match target {
        Target::Times(times) => (floor * times, format!("≤ {times} ×")),
        Target::Plus(more) => (floor + more, format!("≤ + {}", figure(more))),
        Target::AtMost(most) => (most, format!("≤ {}", figure(most))),
    };
    let word = if median <= bound { "met" } else { "missed" };
    format!("{words}: {word}")
}

/// The value below which a share of sorted values lies.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = (sorted.len() - 1) as f64 * q;
    sorted[at.round() as usize]
}

/// A number with as many digits as mean something.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => {
            let digits = format!("{value:.0}");
            let groups: Vec<&str> = digits
                .as_bytes()
                .rchunks(3)
                .rev()
                .map(|chunk| std::str::from_utf8(chunk).unwrap_or_default())
                .collect();
            groups.join(",")
        }
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
