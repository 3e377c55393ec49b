//! A run against a model of it: whatever is asked, dropped, or goes wrong, in whatever order.

mod driver;
mod flaws;
mod reference;

use daymark_tests::scale::rounds;
use proptest::prelude::ProptestConfig;
use proptest::test_runner::FileFailurePersistence;
use proptest_state_machine::prop_state_machine;

use driver::Driver;

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: u32::try_from(rounds(400, 50_000)).unwrap_or(u32::MAX),
        // Steps that make no sense where they stand are drawn again.
        max_local_rejects: u32::MAX,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_run_does_what_its_model_says(sequential 1..60 => Driver);
}
