//! How many instructions things take, which depends on no machine's mood: a look, and a request.
//!
//! Each is done often, and twice as often, under callgrind (valgrind); the difference is what one costs. What a client costs
//! is measured with a server that does nothing, and taken off. The library's variants of memcpy and its kind for newer
//! processors are turned off, so that all machines run the same ones.
//!
//! It fails where a count has grown by more than a twentieth over `counts/baseline.txt`. If that is right,
//! `DAYMARK_ACCEPT_COUNTS=1 cargo bench -p daymark-tests --bench counts` accepts what is counted now.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing figures is what benches are for"
)]

mod workloads;

#[expect(dead_code, reason = "not all of it is needed here")]
#[path = "../figures/mod.rs"]
mod figures;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use self::figures::{Report, Target, figure, root};
use self::workloads::{ALL, Workload};

/// Which workload this process is to do, and how often.
const WORKLOAD: &str = "DAYMARK_COUNT";
const TIMES: &str = "DAYMARK_COUNT_TIMES";

/// Nothing that a processor may have or not (glibc's tunables; those of another architecture are ignored).
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD,-BMI1,-BMI2,-LZCNT,\
-MOVBE,-ERMS,-FSRM,-RTM,-SSE4_2,-SSE4_1,-SSSE3,-Fast_Unaligned_Copy,-Prefer_No_AVX512_Probing";

/// How much more a count may be than it was.
const MARGIN: f64 = 1.05;

fn main() -> ExitCode {
    if let (Ok(name), Ok(times)) = (std::env::var(WORKLOAD), std::env::var(TIMES)) {
        let workload = ALL.iter().find(|workload| workload.name == name);
        let times = times.parse().expect("how often");
        (workload.expect("a workload").run)(times);
        return ExitCode::SUCCESS;
    }
    let has_valgrind = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !has_valgrind.is_ok_and(|status| status.success()) {
        eprintln!("NOT COUNTED: valgrind is missing (Debian: apt-get install valgrind)");
        return match std::env::var_os("CI") {
            Some(_) => ExitCode::FAILURE,
            None => ExitCode::SUCCESS,
        };
    }
    let counts: BTreeMap<&str, f64> = ALL.iter().map(|w| (w.name, count(w))).collect();
    tell(&counts);
    if std::env::var_os("DAYMARK_ACCEPT_COUNTS").is_some() {
        accept(&counts);
        return ExitCode::SUCCESS;
    }
    match compare(&counts) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What doing it once costs.
fn count(workload: &Workload) -> f64 {
    let (few, many) = (workload.times, workload.times * 2);
    let [few_cost, many_cost] = [few, many].map(|times| instructions(workload.name, times));
    (many_cost - few_cost) as f64 / f64::from(many - few)
}

fn instructions(workload: &str, times: u32) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().expect("this program"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("GLIBC_TUNABLES", TUNABLES)
        .env(WORKLOAD, workload)
        .env(TIMES, times.to_string())
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{workload} failed: {said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let collected = collected.and_then(|(_, number)| number.trim().parse().ok());
    collected.unwrap_or_else(|| panic!("callgrind said nothing of its count: {said}"))
}

fn tell(counts: &BTreeMap<&str, f64>) {
    let mut report = Report::new("counts");
    let row = |name: &str, client: f64, target| {
        let count = counts[name] - client;
        (name.to_owned(), vec![count], target)
    };
    report.table("instructions of a look", vec![row("observe", 0.0, None)]);
    for kind in ["kept alive", "a connection each"] {
        let client = counts[format!("no server: {kind}").as_str()];
        let name = |server: &str| format!("{server}: {kind}");
        report.table(
            &format!("instructions of a request, {kind}, the client's taken off"),
            vec![
                row(&name("bare hyper"), client, None),
                row(&name("axum::serve"), client, None),
                row(
                    &name("daymark, no guard"),
                    client,
                    Some(Target::Times(1.03)),
                ),
                row(&name("daymark"), client, Some(Target::Times(1.08))),
            ],
        );
    }
    report.finish();
}

fn baseline_path() -> PathBuf {
    root().join("tests/benches/counts/baseline.txt")
}

fn compiler() -> String {
    let said = Command::new("rustc").arg("--version").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.unwrap_or_default()
}

fn accept(counts: &BTreeMap<&str, f64>) {
    let mut text = format!("# Instructions, as counted with {}.\n", compiler());
    for workload in ALL.iter().filter(|workload| workload.is_guarded) {
        text.push_str(&format!("{:.0} {}\n", counts[workload.name], workload.name));
    }
    std::fs::write(baseline_path(), text).expect("the baseline can be written");
    println!("\naccepted: {}", baseline_path().display());
}

/// Whether nothing has grown by much.
fn compare(counts: &BTreeMap<&str, f64>) -> bool {
    let text = std::fs::read_to_string(baseline_path()).expect("the baseline");
    let (heading, lines) = text.split_once('\n').expect("a heading");
    println!(
        "\nover the baseline ({}; now {})",
        heading.trim_start_matches("# "),
        compiler()
    );
    let mut holds = true;
    for line in lines.lines() {
        let (before, name) = line.split_once(' ').expect("a count and a name");
        let before: f64 = before.parse().expect("a count");
        let now = counts.get(name).copied().expect("it is still counted");
        let grown = now > before * MARGIN;
        holds &= !grown;
        println!(
            "  {name:44} {:>9} → {:>9}  {:+.1} %{}",
            figure(before),
            figure(now),
            (now / before - 1.0) * 100.0,
            if grown {
                "  GROWN by more than 5 %"
            } else {
                ""
            }
        );
    }
    holds
}
