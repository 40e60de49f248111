//! Each rule removed on purpose is noticed, under the name of the invariant that it protects.
//!
//! The faults of each row are those that give the rule something to do; with all kinds it takes more
//! seeds. A mute in a row shows what a defect breaks besides, and thereby that the other checks bite.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use chaos_sim::{Invariant, Kind, Mutant, Options, Sites, Violation, run};
use failover_core::Defect;

/// Seeds tried for each row; the rarest is noticed at the 116th.
const SEEDS: u64 = 200;

/// The first seed that breaks something.
fn first_broken(options: &Options) -> Option<(u64, Violation)> {
    (1..=SEEDS).find_map(|seed| Some((seed, run(seed, options).violation?)))
}

fn check(what: &str, options: &Options, expected: &[Invariant]) {
    let Some((seed, violation)) = first_broken(options) else {
        panic!("{what} was not noticed in {SEEDS} seeds");
    };
    println!("{what}: seed {seed}, {:?}: {}", violation.invariant, violation.text);
    assert!(
        expected.contains(&violation.invariant),
        "{what} broke {:?} in seed {seed} ({}), expected one of {expected:?}",
        violation.invariant,
        violation.text
    );
}

fn faults(kinds: &[Kind]) -> Options {
    // One server a site: fewer ways round what is broken.
    Options { faults: kinds.iter().copied().collect(), servers: Some(2), ..Options::default() }
}

/// Faults after which another server takes over.
const MOVES: [Kind; 6] =
    [Kind::SiteKill, Kind::IsolateAll, Kind::HostCrash, Kind::MysqlDown, Kind::HostPause, Kind::AckerRestart];

/// Goal: every defect of the core is caught and named. Method: the table; `Defect::ALL` is covered.
#[test]
fn every_defect_of_the_protocol_is_caught_and_named() {
    use Invariant::{I1, I2, I3, I4, I5, I6, Lost};
    let table: [(Defect, &[Kind], &[Invariant]); 9] = [
        (Defect::PromoteOnWaitAlone, &MOVES, &[I4]),
        (Defect::AckersNotStopped, &MOVES, &[I4]),
        (Defect::WeakenBeforeCommit, &[Kind::Cut, Kind::Isolate, Kind::LeaderKill], &[I3]),
        (Defect::SyncBeforeSentinel, &[Kind::Slow, Kind::AckerRestart, Kind::Cut], &[I3]),
        (Defect::FenceDoesNotLatch, &MOVES, &[I4, I1]),
        (Defect::OpenWithoutCoverage, &[Kind::MysqlDown, Kind::AckerRestart], &[I3, I5, Lost]),
        (Defect::NoWait, &MOVES, &[I4]),
        (Defect::LeaseFromTheAnswer, &[Kind::Slow, Kind::Isolate, Kind::IsolateAll], &[I2]),
        (Defect::OpensBeforeIntent, &[Kind::GuardCrash, Kind::MysqlDown, Kind::SiteKill], &[I6]),
    ];
    let covered: BTreeSet<Defect> = table.iter().map(|(defect, _, _)| *defect).collect();
    assert_eq!(covered.len(), Defect::ALL.len(), "every defect has its row");
    for (defect, kinds, expected) in table {
        // A defect may also keep the cluster from converging; what it endangers is looked for.
        let muted = BTreeSet::from([Invariant::Liveness]);
        let options = Options { defect: Some(defect), muted, ..faults(kinds) };
        check(&format!("{defect:?}"), &options, expected);
    }
}

/// Goal: where I4 is not looked at, what it guards against comes to pass and is noticed. (Without the
/// wait alone nothing comes to pass in `Sync`: the stopped ackers hold, as DESIGN §4 has it.)
#[test]
fn what_an_unsafe_opening_leads_to_is_noticed_too() {
    let muted = BTreeSet::from([Invariant::I4, Invariant::Liveness]);
    let options = Options { defect: Some(Defect::PromoteOnWaitAlone), muted, ..faults(&MOVES) };
    check("PromoteOnWaitAlone without I4", &options, &[Invariant::I1, Invariant::I5, Invariant::Lost]);
}

/// Goal: every check bites. Method: the surroundings that the cores rely on are broken, one by one.
#[test]
fn every_broken_surrounding_is_noticed() {
    use Invariant::{I1, I2, I3, I4, I5, I6, I7, I8, I9, Lost};
    let table: [(Mutant, &[Kind], &[Invariant]); 8] = [
        (Mutant::GateWithoutTimeout, &[Kind::GuardPause, Kind::IsolateAll], &[I2, I1]),
        (Mutant::WatchdogAsleep, &[Kind::GuardPause, Kind::AckerRestart, Kind::Cut], &[I2]),
        (Mutant::BootsWritable, &[Kind::MysqlKill], &[I6]),
        (Mutant::LatchForgotten, &[Kind::GuardCrash, Kind::MysqlDown, Kind::AckerRestart], &[I8, I4, I1]),
        (Mutant::ActsBeforeIntent, &[Kind::MysqlKill], &[I9]),
        (Mutant::NeverStale, &[Kind::IsolateAll, Kind::SiteKill, Kind::WitnessLoss], &[I7]),
        (
            Mutant::GathersNothing,
            &[Kind::MysqlKill, Kind::MysqlDown, Kind::MysqlPause, Kind::AckerRestart],
            &[I5, Lost],
        ),
        (Mutant::RelayForgotten, &[Kind::AckerRestart, Kind::SiteKill, Kind::ApplierLag], &[I3, I5, Lost]),
    ];
    for (mutant, kinds, expected) in table {
        // Only one of several servers a site gathers.
        let servers = if mutant == Mutant::GathersNothing { Some(4) } else { Some(2) };
        let options = Options { mutant: Some(mutant), servers, ..faults(kinds) };
        check(&format!("{mutant:?}"), &options, expected);
    }
}

/// Goal: what manual mode rests on is held by the checks as well (interleavings 15, 16, 36). Method: each rule removed
/// in worlds of two sites; `Defect::TWO_SITES` is covered.
#[test]
fn every_rule_of_manual_mode_is_missed_when_it_is_gone() {
    use Invariant::{I1, I2, I7, I8, Liveness};
    const GONE: [Kind; 3] = [Kind::SiteKill, Kind::IsolateAll, Kind::Cut];
    let broken = |defect, mutant| Options { sites: Sites::Two, defect, mutant, ..faults(&GONE) };
    let table: [(&str, Options, &[Invariant]); 3] = [
        ("OtherLivesPass", broken(Some(Defect::OtherLivesPass), None), &[I1, I7, I8]),
        ("EndlessLeasesExpire", broken(Some(Defect::EndlessLeasesExpire), None), &[Liveness]),
        ("BootUnnoticed", broken(None, Some(Mutant::BootUnnoticed)), &[I1, I2]),
    ];
    let covered: BTreeSet<Defect> = table.iter().filter_map(|(_, options, _)| options.defect).collect();
    assert_eq!(covered, BTreeSet::from(Defect::TWO_SITES), "every defect of manual mode has its row");
    for (name, options, expected) in table {
        check(name, &options, expected);
    }
}
