//! The configuration of random tests, for all crates that have some: a file and not a
//! crate, because what they test has no operating system, and `proptest` needs one.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// Fixed in CI; `DORMOUSE_SEED` is another seed, `DORMOUSE_CASES` another number of
/// cases than `usual`.
pub fn config(usual: u32) -> ProptestConfig {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let seed = number("DORMOUSE_SEED").unwrap_or(1);
    let cases = number("DORMOUSE_CASES").unwrap_or(usual);
    println!("{cases} cases with DORMOUSE_SEED={seed}");
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(u64::from(seed)),
        ..ProptestConfig::default()
    }
}
