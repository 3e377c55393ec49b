//! What may not be in the code: the rules of the three storeys, read off the sources and the manifests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const LONGEST: usize = 400;

/// The workspace, as cargo sees it.
fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(ROOT)
        .output()
        .expect("run cargo");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}");
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

/// The names and features of what a package is built with, tests aside.
fn dependencies(package: &str) -> Vec<(String, Vec<String>)> {
    let metadata = metadata();
    let found = list(&metadata, "packages").find(|found| found["name"] == package);
    let package = found.unwrap_or_else(|| panic!("there is no package {package}"));
    list(package, "dependencies")
        .filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| {
            let features = list(dependency, "features").map(|f| f.as_str().unwrap_or_default());
            let name = dependency["name"].as_str().unwrap_or_default();
            (name.to_owned(), features.map(str::to_owned).collect())
        })
        .collect()
}

/// All Rust files below a folder of the repository.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut folders = vec![Path::new(ROOT).join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder);
        for entry in entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(!files.is_empty(), "nothing in {folder}");
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file without its comments.
fn code(path: &Path) -> String {
    let text = read(path);
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

fn is_test(path: &Path) -> bool {
    let name = path.file_stem().and_then(|stem| stem.to_str());
    name.is_some_and(|name| name.ends_with("_test") || name.ends_with("_tests"))
}

#[test]
fn the_core_is_built_of_next_to_nothing() {
    for (name, features) in dependencies("daymark-core") {
        match name.as_str() {
            "async-trait" | "thiserror" => {}
            "tokio" => assert_eq!(features, ["sync"], "core has no runtime"),
            _ => panic!("core depends on {name}"),
        }
    }
}

#[test]
fn imports_run_down_only() {
    let ours = |package: &str| -> BTreeSet<String> {
        let names = dependencies(package).into_iter().map(|(name, _)| name);
        names.filter(|name| name.starts_with("daymark")).collect()
    };
    assert_eq!(ours("daymark-core"), BTreeSet::new());
    assert_eq!(ours("daymark-adapters"), ["daymark-core".to_owned()].into());
    let below = ["daymark-adapters".to_owned(), "daymark-core".to_owned()];
    assert_eq!(ours("daymark"), below.into());
}

#[test]
fn the_core_does_no_io_and_reads_no_clock() {
    let banned = [
        "std::fs",
        "std::process",
        "std::thread",
        "std::env",
        "TcpListener",
        "TcpStream",
        "Instant",
        "SystemTime",
        "tokio::net",
        "tokio::fs",
        "tokio::time",
        "tokio::spawn",
        "tokio::task",
        "tokio::runtime",
    ];
    for path in sources("core/src")
        .into_iter()
        .filter(|path| !is_test(path))
    {
        let code = code(&path);
        for word in banned {
            assert!(!code.contains(word), "{} names {word}", path.display());
        }
    }
}

#[test]
fn adapters_do_not_import_each_other() {
    let folders = ["port_picker", "http_server", "state_store", "clock"];
    for folder in folders {
        for path in sources(&format!("adapters/src/{folder}")) {
            // What a port picker hands out is what a server serves on.
            let code = code(&path)
                .replace("crate::port_picker::BoundListener", "")
                .replace("crate::port_picker::HeldPort", "")
                .replace("crate::port_picker::MemoryListener", "");
            for other in folders.iter().filter(|other| **other != folder) {
                let import = format!("crate::{other}");
                assert!(!code.contains(&import), "{}: {import}", path.display());
                assert!(!code.contains("super::super::"), "{}", path.display());
            }
        }
    }
}

#[test]
fn the_file_store_touches_files_through_its_seam_alone() {
    // The watch sees the system's own events, and nothing rests on it.
    let beneath = [
        "disk_unix.rs",
        "disk_portable.rs",
        "dir_watch.rs",
        "events_linux.rs",
        "events_portable.rs",
    ];
    for path in sources("adapters/src/state_store") {
        if beneath.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        let code = code(&path);
        for word in ["std::fs", "std::os", "rustix", "File::open"] {
            assert!(!code.contains(word), "{} names {word}", path.display());
        }
    }
}

#[test]
fn every_trait_has_a_folder_of_adapters_with_one_in_memory() {
    for (name, twin) in [
        ("port_picker", "memory.rs"),
        ("http_server", "memory.rs"),
        ("state_store", "memory.rs"),
        ("clock", "manual.rs"),
    ] {
        let file = Path::new(ROOT).join(format!("core/src/{name}.rs"));
        assert!(read(&file).contains("pub trait "), "{}", file.display());
        let twin = Path::new(ROOT).join(format!("adapters/src/{name}/{twin}"));
        assert!(twin.is_file(), "{}", twin.display());
    }
}

#[test]
fn a_long_file_says_why_it_is_long() {
    for folder in ["core/src", "adapters/src", "app/src", "tests"] {
        for path in sources(folder) {
            let text = read(&path);
            let lines = text.lines().count();
            let header = text.lines().take_while(|line| line.starts_with("//!"));
            let says_why = header.collect::<String>().contains("Longer than others");
            assert!(
                lines <= LONGEST || says_why || is_test(&path),
                "{} has {lines} lines, and its header doesn't say why",
                path.display()
            );
        }
    }
}

#[test]
fn every_package_keeps_the_workspace_s_lints_and_those_forbid_unsafe_code() {
    let workspace = read(&Path::new(ROOT).join("Cargo.toml"));
    assert!(workspace.contains("\nunsafe_code = \"forbid\"\n"));
    let metadata = metadata();
    for package in list(&metadata, "packages") {
        let manifest = package["manifest_path"].as_str().expect("a path");
        let text = read(Path::new(manifest));
        assert!(text.contains("[lints]\nworkspace = true"), "{manifest}");
    }
}
