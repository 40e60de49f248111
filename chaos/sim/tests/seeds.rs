//! The simulator holds: a thousand seeds without a violation, and the same seed twice is the same run.

#![allow(clippy::unwrap_used)]

mod support;

use chaos_sim::{Options, run};
use support::hold;

/// Goal: issue A's promise: 1,000 seeds of at least 10 simulated minutes with at least 5 faults each,
/// a third of them with a failover, no violation.
#[test]
fn thousand_seeds_hold() {
    const SEEDS: u64 = 1_000;
    let options = Options::default();
    assert!(options.minutes >= 10);
    let outcomes = hold(1, SEEDS, &options);
    for outcome in &outcomes {
        assert!(outcome.faults >= 5, "seed {} had {} faults", outcome.seed, outcome.faults);
        assert_eq!(outcome.simulated, options.minutes * 60_000_000, "seed {} ended early", outcome.seed);
    }
    let with_failover = outcomes.iter().filter(|o| o.failovers > 0).count() as u64;
    assert!(with_failover * 3 >= SEEDS, "only {with_failover} of {SEEDS} seeds had a failover");
}

/// Goal: where faults come on top of one another nothing breaks either. Method: as many faults in 45 seconds as else in
/// eight minutes; a run ends when all has come together behind them.
#[test]
fn four_thousand_storms_hold() {
    const SEEDS: u64 = 4_000;
    let options = Options { minutes: 3, until_settled: true, ..Options::default() };
    let outcomes = hold(10_001, SEEDS, &options);
    for outcome in &outcomes {
        assert!(outcome.faults >= 5, "seed {} had {} faults", outcome.seed, outcome.faults);
    }
    let with_failover = outcomes.iter().filter(|o| o.failovers > 0).count() as u64;
    assert!(with_failover * 3 >= SEEDS, "only {with_failover} of {SEEDS} seeds had a failover");
}

/// Goal: what MariaDB keeps of MySQL's promises is enough (docs/design/0011). Method: one server a site, as it waits
/// for one ack at most.
#[test]
fn a_hundred_seeds_of_mariadb_hold() {
    const SEEDS: u64 = 100;
    let options = Options { flavour: model::Flavour::Mariadb, servers: Some(2), ..Options::default() };
    let outcomes = hold(1, SEEDS, &options);
    assert!(outcomes.iter().any(|o| o.failovers > 0) && outcomes.iter().any(|o| o.acknowledged > 0));
}

/// Goal: a seed and a commit reproduce a run to the last event.
#[test]
fn the_same_seed_twice_is_the_same_run() {
    for seed in [1, 7, 42] {
        let options = Options { minutes: 5, ..Options::default() };
        let (one, two) = (run(seed, &options), run(seed, &options));
        assert_eq!(one.hash, two.hash);
        assert_eq!(one.log, two.log);
        assert_ne!(one.hash, run(seed + 1_000, &options).hash);
    }
}

/// Goal: without faults nothing is shut, moved or lost, and durability stays `Sync`.
#[test]
fn a_calm_cluster_reaches_sync_and_stays_there() {
    // Among them two seeds with three servers and two with four.
    for seed in (1..=8).chain([16, 17, 24, 25]) {
        let options = Options { calm: true, minutes: 5, ..Options::default() };
        let outcome = run(seed, &options);
        assert_eq!(outcome.violation, None, "seed {seed}: {}", outcome.log.join("\n"));
        assert_eq!(outcome.failovers, 0);
        assert_eq!(outcome.counts.get("sync"), Some(&1), "seed {seed}: {}", outcome.log.join("\n"));
        assert!(outcome.acknowledged > 3_000, "seed {seed}: {} writes", outcome.acknowledged);
    }
}
