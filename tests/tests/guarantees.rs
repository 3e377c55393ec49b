//! Every promise in GUARANTEES.md names the tests that keep it, and they exist.

use std::fs;
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A row `| number | promise | … | path::test, path::test |`.
struct Promise {
    number: usize,
    tests: Vec<(String, String)>,
}

/// The table's rows, which are the lines that begin with a number in a cell.
fn promises() -> Vec<Promise> {
    let path = Path::new(ROOT).join("GUARANTEES.md");
    let text = fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().filter_map(promise).collect()
}

fn promise(line: &str) -> Option<Promise> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.split('|').map(str::trim).collect();
    let number = cells.first()?.parse().ok()?;
    let [.., last, ""] = cells.as_slice() else {
        panic!("promise {number} doesn't end in a cell: {line}");
    };
    let named = last.split(',').map(|test| {
        let test = test.trim().trim_matches('`');
        let (path, function) = test
            .rsplit_once(".rs::")
            .unwrap_or_else(|| panic!("promise {number} names no test: {test:?}"));
        let function = function.rsplit("::").next().unwrap_or(function);
        (format!("{path}.rs"), function.to_owned())
    });
    Some(Promise {
        number,
        tests: named.collect(),
    })
}

#[test]
fn every_promise_names_tests_that_exist() {
    for Promise { number, tests } in promises() {
        for (path, function) in tests {
            let text = fs::read_to_string(Path::new(ROOT).join(&path));
            let text = text.unwrap_or_else(|error| panic!("promise {number}: {path}: {error}"));
            let exists = text.lines().any(|line| {
                let line = line.trim_start().trim_start_matches("pub ");
                let rest = line.trim_start_matches("async ").strip_prefix("fn ");
                let rest = rest.and_then(|rest| rest.strip_prefix(function.as_str()));
                rest.is_some_and(|rest| rest.starts_with(['(', '<']))
            });
            assert!(exists, "promise {number}: there is no {function} in {path}");
        }
    }
}

#[test]
fn promises_are_numbered_without_gaps() {
    let numbers: Vec<usize> = promises().iter().map(|promise| promise.number).collect();
    assert!(
        !numbers.is_empty(),
        "GUARANTEES.md has no table of promises"
    );
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
}
