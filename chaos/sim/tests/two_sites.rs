//! Two sites without a witness: endless leases, a person who fences, forces, fails over and joins, and the same
//! invariants.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use chaos_sim::{Options, Sites, run};
use support::hold;

/// Goal: nothing breaks in manual mode either, and everything that a person does there comes to pass. Method: seeds as
/// long as those with a witness; what happened is counted.
#[test]
fn two_hundred_seeds_of_two_sites_hold() {
    const SEEDS: u64 = 200;
    let options = Options { sites: Sites::Two, ..Options::default() };
    let outcomes = hold(1, SEEDS, &options);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, count) in outcomes.iter().flat_map(|o| &o.counts) {
        *counts.entry(*name).or_default() += count;
    }
    for what in ["site-fenced", "force", "incarnated", "failover-by-word", "superseded", "joined", "sync"] {
        assert!(counts.get(what).is_some_and(|n| *n >= SEEDS / 20), "{what} is rare: {counts:?}");
    }
    let forced = outcomes.iter().filter(|o| o.counts.contains_key("force")).count() as u64;
    assert!(forced * 4 >= SEEDS, "only {forced} of {SEEDS} seeds had a force");
}

/// Goal: without faults nobody is called for: nothing is moved or forced, and a site is in `Sync` only where it is a
/// quorum by itself.
#[test]
fn two_calm_sites_call_for_nobody() {
    let mut synced = 0;
    for seed in [1, 2, 3, 6, 10, 16, 24] {
        let options = Options { calm: true, minutes: 5, sites: Sites::Two, ..Options::default() };
        let outcome = run(seed, &options);
        assert_eq!(outcome.violation, None, "seed {seed}: {}", outcome.log.join("\n"));
        assert_eq!((outcome.failovers, outcome.counts.get("force")), (0, None));
        // Where the second site has more at first, the group is started there, and that one is never a quorum.
        let alone = seed % 3 == 0;
        let sync = outcome.counts.contains_key("sync");
        assert!(alone || !sync, "seed {seed}: {}", outcome.log.join("\n"));
        synced += u32::from(sync);
        assert!(outcome.acknowledged > 3_000, "seed {seed}: {} writes", outcome.acknowledged);
    }
    assert!(synced > 0, "no site that is a quorum by itself was in sync");
}

/// Goal: a seed and a commit reproduce a run of two sites as well.
#[test]
fn the_same_seed_of_two_sites_twice_is_the_same_run() {
    for seed in [1, 5, 7] {
        let options = Options { minutes: 6, sites: Sites::Two, ..Options::default() };
        let (one, two) = (run(seed, &options), run(seed, &options));
        assert_eq!((one.hash, one.log), (two.hash, two.log));
        assert_ne!(two.hash, run(seed, &Options { sites: Sites::WithWitness, ..options }).hash);
    }
}
