//! How much to test, and with which random numbers.

/// `sample` by default, `full` when `DAYMARK_TEST_FULL` is set.
#[must_use]
pub fn rounds(sample: usize, full: usize) -> usize {
    match std::env::var_os("DAYMARK_TEST_FULL") {
        Some(_) => full,
        None => sample,
    }
}

/// As many of all that there are as `DAYMARK_TEST_CASES` says; without that, as [`rounds`].
///
/// # Panics
///
/// If that is no number.
#[must_use]
pub fn cases_of(sample: usize, all: usize) -> usize {
    match std::env::var("DAYMARK_TEST_CASES") {
        Ok(cases) => cases.parse().expect("DAYMARK_TEST_CASES is a number"),
        Err(_) => rounds(sample, all),
    }
}

/// Random numbers by a seed that is printed. `DAYMARK_TEST_SEED` gives a former one again.
#[expect(clippy::print_stderr, reason = "a failed test tells its seed")]
#[must_use]
pub fn random() -> fastrand::Rng {
    let seed = match std::env::var("DAYMARK_TEST_SEED") {
        Ok(seed) => seed.parse().expect("DAYMARK_TEST_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    eprintln!("DAYMARK_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
