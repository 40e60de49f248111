//! Properties of the authority core under random sequences.
//!
//! `commands` drives `apply` and `decide`, `guards` drives a guard with a leader, a kernel and a
//! database that do whatever they may. Runs are the same every time; `PROPTEST_CASES` asks for more of
//! them and `PROPTEST_RNG_SEED` for others. A failure prints the smallest sequence that shows it.

#![allow(clippy::unwrap_used)]

mod commands;
mod decisions;
mod guards;
mod rig;
mod world;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// Cases of each property, unless the environment asks for another number: a few seconds in all.
const CASES: u32 = 256;

fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { CASES };
    let rng_seed = match asked.rng_seed {
        RngSeed::Random => RngSeed::Fixed(20_260_301),
        fixed => fixed,
    };
    ProptestConfig { cases, rng_seed, failure_persistence: None, ..asked }
}
