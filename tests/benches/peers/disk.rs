//! What lies on the disk: a large file through `serve`, the size of the program, and a build from nothing.

#![expect(
    clippy::print_stdout,
    reason = "printing figures is what benches are for"
)]

use std::fs::File;
use std::process::Command;
use std::time::Instant;

use super::figures::{Report, on_disk, root, rounds};
use super::process::get;
use super::programs::Programs;

const LARGE: u64 = 4 * 1024 * 1024 * 1024;

pub(super) fn measure(programs: &Programs, report: &mut Report) {
    let dir = on_disk();
    let large = File::create(dir.path().join("large")).expect("a file");
    // It has no blocks, and takes no room.
    large.set_len(LARGE).expect("a sparse file");
    let running = programs.serve().start_in(dir);
    let before = running.memory("VmHWM");
    let mut gigabytes_per_second = Vec::new();
    let mut used = Vec::new();
    for _ in 0..rounds(5) {
        let client = running.connect();
        let (began, before) = (Instant::now(), running.processor_time());
        get(&client, "/large", LARGE as usize);
        gigabytes_per_second.push(LARGE as f64 / 1e9 / began.elapsed().as_secs_f64());
        used.push((running.processor_time() - before).as_secs_f64() * 1e9 / LARGE as f64 * 1e3);
    }
    let after = running.memory("VmHWM");
    report.table(
        "most memory of daymark serve, MiB",
        vec![
            ("before".to_owned(), vec![before], None),
            ("after a file of 4 GiB".to_owned(), vec![after], None),
        ],
    );
    report.table(
        "that file, GB a second",
        vec![("daymark serve".to_owned(), gigabytes_per_second, None)],
    );
    report.table(
        "that file, processor time of daymark serve for a MB, µs",
        vec![("daymark serve".to_owned(), used, None)],
    );
    let size = |path: std::path::PathBuf| {
        let bytes = std::fs::metadata(path).expect("it is built").len();
        vec![bytes as f64 / 1024.0 / 1024.0]
    };
    let example = programs.daymark().with_file_name("examples").join("hello");
    report.table(
        "size of the program, MiB",
        vec![
            ("bare hyper".to_owned(), size(programs.bare_path()), None),
            ("daymark (hello, with axum)".to_owned(), size(example), None),
            (
                "daymark, the command".to_owned(),
                size(programs.daymark()),
                None,
            ),
        ],
    );
}

/// The command, from nothing but downloaded sources.
pub(super) fn cold_build() {
    let target = on_disk();
    let began = Instant::now();
    let built = Command::new("cargo")
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "-p",
            "daymark",
            "--bin",
            "daymark",
        ])
        .arg("--target-dir")
        .arg(target.path())
        .current_dir(root())
        .status();
    assert!(built.is_ok_and(|status| status.success()), "it builds");
    println!(
        "\na cold release build of the command took {:.0} s",
        began.elapsed().as_secs_f64()
    );
}
