//! Figures as Markdown, and their place in a page: between two comments that name the section.

use std::fmt::Write as _;

use super::{Row, figure, root};

pub(super) fn markdown(groups: &[(String, Vec<Row>)], notes: &[String]) -> String {
    let mut text = String::from("| | | median | p10 – p90 | n | ratio | target |\n");
    text.push_str("|---|---|---:|---:|---:|---:|---|\n");
    for (title, rows) in groups {
        let mut title = title.as_str();
        for row in rows {
            let _ = writeln!(
                text,
                "| {title} | {} | {} | {} – {} | {} | {:.2} | {} |",
                row.name,
                figure(row.median),
                figure(row.low),
                figure(row.high),
                row.n,
                row.ratio,
                row.verdict,
            );
            title = "";
        }
    }
    for note in notes {
        let _ = write!(text, "\n{note}\n");
    }
    let _ = write!(text, "\n{}\n", place_and_time());
    text
}

/// What a reader has to know of the machine: the figures are nobody else's.
fn place_and_time() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unknown processor", |(_, model)| model);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "*{processors} × {model}, Linux {}, load {} at the end.{}*",
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
        match std::env::var_os("DAYMARK_BENCH_QUICK") {
            Some(_) => " A quick run, which shows that all of it runs, and no more.",
            None => "",
        }
    )
}

/// Replaces what stands between the section's comments in a page of this repository.
pub(crate) fn put(page: &str, section: &str, text: &str) {
    let path = root().join(page);
    let page = std::fs::read_to_string(&path).expect("the page");
    let (begin, end) = (
        format!("<!-- figures: {section} -->\n"),
        format!("<!-- end: {section} -->"),
    );
    let from = page.find(&begin).expect("the section's beginning") + begin.len();
    let to = page.find(&end).expect("the section's end");
    let page = format!("{}\n{text}\n{}", &page[..from], &page[to..]);
    std::fs::write(&path, page).expect("it can be written");
}
