//! Each rule removed on purpose is noticed, under the name of the invariant that it protects.
//!
//! The faults of each row are those that give the rule something to do; with all kinds it takes more
//! seeds. A mute in a row shows what a defect breaks besides, and thereby that the other checks bite.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use chaos_sim::{Invariant, Kind, Mutant, Options, Violation, run};
use failover_core::Defect;

/// Seeds tried for each row; the rarest is noticed at the 116th.
const SEEDS: u64 = 200;

/// The first seed that breaks something.
fn first_broken(first: u64, options: &Options) -> Option<(u64, Violation)> {
    (first..first + SEEDS).find_map(|seed| Some((seed, run(seed, options).violation?)))
}

fn check(what: &str, options: &Options, expected: &[Invariant]) {
    check_from(1, what, options, expected);
}

/// The same from a later seed on, where those before it are known to show nothing: that is time saved, not proof.
fn check_from(first: u64, what: &str, options: &Options, expected: &[Invariant]) {
    let Some((seed, violation)) = first_broken(first, options) else {
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
    use Invariant::{I1, I2, I3, I4, I5, I6, Liveness, Lost};
    let table: [(Defect, &[Kind], &[Invariant]); 13] = [
        (Defect::PromoteOnWaitAlone, &MOVES, &[I4]),
        (Defect::AckersNotStopped, &MOVES, &[I4]),
        (Defect::WeakenBeforeCommit, &[Kind::Cut, Kind::Isolate, Kind::LeaderKill], &[I3]),
        (Defect::SyncBeforeSentinel, &[Kind::Slow, Kind::AckerRestart, Kind::Cut], &[I3]),
        (Defect::FenceDoesNotLatch, &MOVES, &[I4, I1]),
        (Defect::OpenWithoutCoverage, &[Kind::MysqlDown, Kind::AckerRestart], &[I3, I5, Lost]),
        (Defect::NoWait, &MOVES, &[I4]),
        (Defect::LeaseFromTheAnswer, &[Kind::Slow, Kind::Isolate, Kind::IsolateAll], &[I2]),
        (Defect::OpensBeforeIntent, &[Kind::GuardCrash, Kind::MysqlDown, Kind::SiteKill], &[I6]),
        (Defect::StartWithoutSuperset, &[Kind::MysqlKill], &[I5]),
        (Defect::ActsOnEntries, &MOVES, &[I4]),
        (Defect::OneSentinel, &[Kind::AckLost, Kind::AckerRestart], &[Liveness]),
        (Defect::AdoptsAnyBoot, &[Kind::HostCrash, Kind::Isolate, Kind::Cut], &[I2, I1]),
    ];
    let covered: BTreeSet<Defect> = table.iter().map(|(defect, _, _)| *defect).collect();
    assert_eq!(covered.len(), Defect::ALL.len(), "every defect has its row");
    for (defect, kinds, expected) in table {
        // A defect may also keep the cluster from converging; what it endangers is looked for.
        let muted = BTreeSet::from([Liveness]).into_iter().filter(|i| !expected.contains(i)).collect();
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

/// A broken surrounding, how many servers, the first seed, the faults, and what may break.
type Row = (Mutant, usize, u64, &'static [Kind], &'static [Invariant]);

/// Goal: rows of the interleavings that are rules about servers, sessions and gates each have theirs broken and
/// noticed. Method: as above, with as many servers as the row takes; the first seed is one shortly before the rarest.
#[test]
fn every_rule_about_servers_and_gates_is_noticed_when_broken() {
    use Invariant::{I1, I2, I3, I4, Liveness};
    let table: [Row; 8] = [
        (Mutant::ArmsForOne, 4, 1, &[Kind::MysqlPause, Kind::AckerRestart, Kind::ApplierLag], &[I3]),
        (Mutant::StopsInOrder, 2, 1, &[Kind::MysqlShutdown, Kind::AckerRestart, Kind::Cut], &[I3]),
        (Mutant::ForgottenListener, 2, 1, &[Kind::GuardPause, Kind::IsolateAll], &[I2, I1]),
        (Mutant::StaleAnswers, 2, 100, &[Kind::Slow, Kind::AckerRestart, Kind::Cut], &[I3]),
        (Mutant::NoKeptSession, 2, 20, &[Kind::AccountChanges, Kind::AckerRestart], &[Liveness]),
        (Mutant::StartsWhatItFinds, 4, 1, &MOVES, &[Liveness]),
        (Mutant::BelievesTheVariable, 2, 15, &[Kind::Switchover, Kind::Slow], &[I4]),
        (
            Mutant::RulesNotAsserted,
            2,
            1,
            &[Kind::Flush, Kind::IsolateAll, Kind::Isolate, Kind::GuardPause],
            &[I2, I1],
        ),
    ];
    for (mutant, servers, first, kinds, expected) in table {
        let options = Options { mutant: Some(mutant), servers: Some(servers), ..faults(kinds) };
        check_from(first, &format!("{mutant:?}"), &options, expected);
    }
}
