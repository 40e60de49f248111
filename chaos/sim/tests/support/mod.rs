//! What tests of many seeds have in common.

use std::sync::Mutex;

use chaos_sim::{Options, Outcome, cli::run_seeds};

/// Runs so many seeds, on both cores, and shows the first that breaks something.
pub fn hold(first: u64, seeds: u64, options: &Options) -> Vec<Outcome> {
    let outcomes = Mutex::new(Vec::new());
    run_seeds(first, seeds, 2, options, |mut outcome| {
        // The log is wanted of the failing ones only.
        if outcome.violation.is_none() {
            outcome.log = Vec::new();
        }
        outcomes.lock().unwrap().push(outcome);
    });
    let outcomes = outcomes.into_inner().unwrap();
    assert_eq!(outcomes.len() as u64, seeds);
    if let Some(broken) = outcomes.iter().filter(|o| o.violation.is_some()).min_by_key(|o| o.seed) {
        let from = broken.log.len().saturating_sub(120);
        panic!(
            "seed {} breaks {:?}\nagain: {}\n{}",
            broken.seed,
            broken.violation,
            options.again(broken.seed),
            broken.log[from..].join("\n")
        );
    }
    outcomes
}
