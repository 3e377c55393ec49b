//! Whatever stands in the variables by which sockets are passed: reading them never panics, allocates nothing by what they
//! claim, and never takes for ours what was passed to another process.
//!
//! The input is an environment, a line for each variable.

#![no_main]

use std::collections::HashMap;

use daymark_adapters::port_picker::listen_fds::{MOST, Passed};
use libfuzzer_sys::fuzz_target;

const OWN_PID: u32 = 4242;

fuzz_target!(|text: &str| {
    let variables: HashMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let variable = |name: &str| variables.get(name).copied();
    let passed = Passed::read(|name| variable(name).map(str::to_owned), OWN_PID);

    let claimed = variable("LISTEN_FDS").and_then(|count| count.parse::<i32>().ok());
    let claims_some = claimed.is_some_and(|count| count > 0);
    // As a number, however it is written: with zeros before it, or a plus.
    let pid = variable("LISTEN_PID").unwrap_or_default();
    let is_ours = pid.is_empty() || pid.parse::<i64>() == Ok(i64::from(OWN_PID));
    match passed {
        Passed::Nothing => assert!(!(claims_some && is_ours), "{variables:?}"),
        Passed::Nonsense(reason) => {
            assert!(claims_some && is_ours, "{variables:?}");
            assert!(reason.starts_with("LISTEN_FDS"), "{reason}");
        }
        Passed::Sockets { first, count } => {
            assert!(is_ours && claimed == Some(count), "{variables:?}");
            assert!((1..=MOST).contains(&count) && first >= 0);
            assert!(i64::from(first) + i64::from(count) <= i64::from(i32::MAX));
        }
    }
});
