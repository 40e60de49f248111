//! Each rule removed on purpose is noticed, under the name of the invariant that it protects.
//!
//! The faults of each row are those that give the rule something to do; with all kinds it takes more
//! seeds. A mute in a row shows what a defect breaks besides, and thereby that the other checks bite.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use chaos_sim::{Invariant, Kind, Mutant, Options, Sites, Violation, run};
use failover_core::Defect;
use model::Flavour;

/// Seeds tried for each row, from its first on; each is noticed within some tens.
const SEEDS: u64 = 200;

/// The first seed that breaks something.
fn first_broken(from: u64, options: &Options) -> Option<(u64, Violation)> {
    (from..from + SEEDS).find_map(|seed| Some((seed, run(seed, options).violation?)))
}

fn check(what: &str, options: &Options, expected: &[Invariant]) {
    check_from(1, what, options, expected);
}

fn check_from(from: u64, what: &str, options: &Options, expected: &[Invariant]) {
    let Some((seed, violation)) = first_broken(from, options) else {
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

/// Defects that stand in the first table.
const FIRST: usize = 13;

/// Faults that take a server, and those that take its whole site.
const LOSES_TWO: [Kind; 4] = [Kind::HostCrash, Kind::MysqlDown, Kind::SiteKill, Kind::IsolateAll];

/// Faults after which another server takes over.
const MOVES: [Kind; 6] =
    [Kind::SiteKill, Kind::IsolateAll, Kind::HostCrash, Kind::MysqlDown, Kind::HostPause, Kind::AckerRestart];

/// Goal: every defect of the core is caught and named. Method: the table; the rows of the interleavings follow below.
#[test]
fn every_defect_of_the_protocol_is_caught_and_named() {
    use Invariant::{I1, I2, I3, I4, I5, I6, Liveness, Lost};
    let table: [(Defect, &[Kind], &[Invariant]); FIRST] = [
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
    for (defect, kinds, expected) in table {
        // A defect may also keep the cluster from converging; what it endangers is looked for.
        let muted = BTreeSet::from([Liveness]).into_iter().filter(|i| !expected.contains(i)).collect();
        let options = Options { defect: Some(defect), muted, ..faults(kinds) };
        // Slow answers and an isolation at the right moment are rare.
        let from = if defect == Defect::LeaseFromTheAnswer { 170 } else { 1 };
        check_from(from, &format!("{defect:?}"), &options, expected);
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
        (
            Mutant::RelayForgotten,
            &[Kind::SiteKill, Kind::MysqlKill, Kind::ApplierLag, Kind::Slow],
            &[I3, I5, Lost],
        ),
    ];
    for (mutant, kinds, expected) in table {
        // Only one of several servers a site gathers.
        let servers = if mutant == Mutant::GathersNothing { Some(4) } else { Some(2) };
        let options = Options { mutant: Some(mutant), servers, ..faults(kinds) };
        // What takes several faults at once is rare.
        let from = match mutant {
            Mutant::WatchdogAsleep => 80,
            Mutant::GathersNothing => 60,
            _ => 1,
        };
        check_from(from, &format!("{mutant:?}"), &options, expected);
    }
}

/// A broken surrounding, how many servers, the first seed, the faults, and what may break.
type Broken = (Mutant, usize, u64, &'static [Kind], &'static [Invariant]);

/// Goal: rows of the interleavings that are rules about servers, sessions and gates each have theirs broken and
/// noticed. Method: as above, with as many servers as the row takes; the first seed is one shortly before the rarest.
#[test]
fn every_rule_about_servers_and_gates_is_noticed_when_broken() {
    use Invariant::{I1, I2, I3, I4, Liveness, Service};
    let table: [Broken; 8] = [
        (Mutant::ArmsForOne, 4, 1, &[Kind::MysqlPause, Kind::AckerRestart, Kind::ApplierLag], &[I3]),
        (Mutant::StopsInOrder, 2, 1, &[Kind::MysqlShutdown, Kind::AckerRestart, Kind::Cut], &[I3]),
        (Mutant::ForgottenListener, 2, 1, &[Kind::GuardPause, Kind::IsolateAll], &[I2, I1]),
        (Mutant::StaleAnswers, 2, 100, &[Kind::Slow, Kind::AckerRestart, Kind::Cut], &[I3]),
        (Mutant::NoKeptSession, 2, 20, &[Kind::AccountChanges, Kind::AckerRestart], &[Liveness, Service]),
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

/// A row of the interleavings: what is removed, and where it is looked for.
struct Row {
    defect: Defect,
    faults: &'static [Kind],
    expected: &'static [Invariant],
    /// The first seed that is tried.
    from: u64,
    /// How many there are; by the seed where it is 0.
    servers: usize,
    run: Run,
}

/// How long its runs are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    /// All faults within 45 seconds: what needs several at once.
    Storm,
    /// The same with MariaDB.
    MariadbStorm,
    /// Ten minutes: what needs one that lasts.
    Long,
}

impl Row {
    /// A storm of two servers, from the first seed on.
    const fn new(defect: Defect, faults: &'static [Kind], expected: &'static [Invariant]) -> Self {
        Row { defect, faults, expected, from: 1, servers: 2, run: Run::Storm }
    }

    fn options(&self) -> Options {
        let storm = self.run != Run::Long;
        // Whoever is to stand still is found at the end; else what a defect endangers is looked for.
        let muted = match self.expected.contains(&Invariant::Liveness) {
            true => BTreeSet::new(),
            false => BTreeSet::from([Invariant::Liveness]),
        };
        Options {
            defect: Some(self.defect),
            muted,
            servers: (self.servers > 0).then_some(self.servers),
            flavour: if self.run == Run::MariadbStorm { Flavour::Mariadb } else { Flavour::Mysql },
            minutes: if storm { 3 } else { chaos_sim::MINUTES },
            until_settled: storm,
            ..faults(self.faults)
        }
    }
}

/// The rows of research on interleavings that are rules of the cores, by their numbers.
fn rows() -> Vec<Row> {
    use Defect as D;
    use Invariant::{I1, I3, I4, I5, Liveness, Lost, Service};
    use Kind as K;
    vec![
        // 2. Behind it stands that a leader has one decision on its way; a person's is as old as that one thinks.
        Row::new(D::AnyVersion, &[K::Failover, K::Cut, K::Isolate, K::AckerRestart, K::MysqlPause], &[Lost]),
        // 8. With `PassesNothingOn` below.
        Row::new(D::LinkCutMoves, &[K::Cut, K::CutOneWay], &[Service]),
        // 9. Behind it stands that missing acks weaken after `sync_timeout` (19): removed with it.
        Row::new(D::SyncAcrossPromotion, &MOVES, &[Service]),
        // 10.
        Row::new(
            D::NeverOpensAgain,
            &[K::GuardPause, K::IsolateAll, K::NodePause, K::LeaderKill],
            &[Service, Liveness],
        ),
        // 11. Behind the candidate's checks stands that a failover is called off: removed with them.
        Row::new(D::NeverCalledOff, &MOVES, &[Liveness]),
        Row::new(D::CandidateUnchecked, &MOVES, &[Liveness]),
        // 12. With it goes the comparison behind the fence; in `Sync` the candidate's acks stand behind both.
        Row::new(D::OpensWhileDraining, &[K::Switchover], &[I4]),
        // 13. The desk, the guard's own question and what it takes for its own say the same: removed together.
        Row::new(D::LeaseForAnybody, &MOVES, &[I1, Lost]),
        // 19.
        Row {
            run: Run::Long,
            ..Row::new(D::AsyncByDisconnection, &[K::Cut, K::MysqlPause, K::HostPause], &[Service])
        },
        // 22. It takes an OK that was never true: of a finite timeout, behind a gate that is shut.
        Row {
            run: Run::Long,
            from: 1_160,
            ..Row::new(
                D::OldSocketsStay,
                &[K::Isolate, K::AckTimeout, K::Switchover, K::Failover],
                &[Lost, I1, I3],
            )
        },
        // 30.
        Row::new(D::OpenBehindFence, &[K::Failover, K::Switchover, K::MysqlKill], &[I4]),
        // 31. What was fenced stays so; below that, a server is fenced for an epoch that is its own.
        Row::new(
            D::AcceptsOlder,
            &[K::Double, K::Slow, K::AckerRestart, K::Switchover, K::MysqlKill],
            &[Service, I1, I3, I4],
        ),
        // 32.
        Row::new(D::OpensWithLess, &[K::DiskLies, K::AckerRestart], &[Lost, I3, I5]),
        // 33.
        Row { run: Run::Long, ..Row::new(D::DeadPrimaryWeakens, &[K::SiteKill, K::HostCrash], &[Service]) },
        // 34.
        Row::new(
            D::WithheldForEver,
            &[K::Failover, K::Switchover, K::SiteKill, K::AckerRestart],
            &[Service, Liveness],
        ),
        // 35.
        Row::new(D::ExpiryClimbs, &[K::IsolateAll, K::GuardPause, K::NodePause, K::LeaderKill], &[Service]),
        // 39.
        Row::new(D::OpensUnheard, &[K::Unheard, K::AckerRestart], &[I3]),
        // 40.
        Row {
            run: Run::MariadbStorm,
            from: 31,
            ..Row::new(
                D::ForgottenRelayDrains,
                &[K::SiteKill, K::MysqlKill, K::ApplierLag, K::Slow],
                &[I5, Lost],
            )
        },
        // 41. The leader's choice and the state's refusal: removed together.
        Row {
            servers: 4,
            ..Row::new(
                D::FillsFromNobody,
                &[K::MysqlKill, K::MysqlDown, K::MysqlPause, K::AckerRestart],
                &[I5, Lost],
            )
        },
        // 42.
        Row {
            servers: 4,
            ..Row::new(
                D::BesideHoldsShut,
                &[K::SiteKill, K::MysqlDown, K::IsolateAll, K::Cut, K::Slow],
                &[Liveness, Service],
            )
        },
        // 43.
        Row {
            servers: 4,
            from: 25,
            ..Row::new(
                D::GivenUpHoldsShut,
                &[K::SiteKill, K::MysqlDown, K::IsolateAll, K::Switchover, K::Cut],
                &[Liveness, Service],
            )
        },
        // 44.
        Row { servers: 4, ..Row::new(D::ReturnsAcknowledging, &[K::Switchover], &[I3]) },
        // 45.
        Row {
            from: 20,
            ..Row::new(D::DeafAckerUncounted, &[K::DiskFull, K::GuardPause, K::MysqlKill], &[Service])
        },
        // 46.
        Row::new(D::PromisedIsForgotten, &[K::DiskLies, K::DiskFull, K::DiskHangs], &[Lost, I3, I5]),
        // 47.
        Row {
            servers: 4,
            from: 20,
            ..Row::new(
                D::StrangersAcknowledge,
                &[K::MysqlPause, K::GuardPause, K::DiskFull, K::Loss],
                &[I3, I5, Lost],
            )
        },
        // 49.
        Row { servers: 0, from: 1_002_003, ..Row::new(D::OneCandidate, &[], &[Service]) },
        Row { servers: 4, ..Row::new(D::BegunAnewForgets, &LOSES_TWO, &[I4, I1]) },
        // 50.
        Row::new(D::UnansweredForEver, &[K::AccountChanges, K::GuardCrash, K::AckerRestart], &[Service]),
        // 51.
        Row::new(D::AckTimeoutStays, &[K::AckTimeout, K::GuardPause, K::Flush, K::MysqlDown], &[I3, I1]),
        // 52. All at once has to happen: the seed that found it.
        Row { servers: 0, from: 3_027_549, ..Row::new(D::StrangersPass, &[], &[I3]) },
        // 48.
        Row {
            servers: 4,
            from: 2_000_570,
            ..Row::new(
                D::AnotherRunPasses,
                &[K::HostCrash, K::MysqlKill, K::IsolateAll, K::Failover, K::LeaderKill],
                &[I5, I3, Lost],
            )
        },
        // 53, 54: as with 52.
        Row { servers: 0, from: 4_064_196, ..Row::new(D::FencedBefore, &[], &[I4]) },
        Row { servers: 0, from: 4_072_147, ..Row::new(D::PromotedUnseen, &[], &[Liveness, Service]) },
        // 55.
        Row { servers: 0, from: 5_148_210, ..Row::new(D::ReadOnlyStays, &[], &[Service]) },
    ]
}

/// Goal: every row of the interleavings that is a rule of the cores is caught and named. Method: the table; with the first
/// one it covers `Defect::ALL`.
#[test]
fn every_interleaving_is_caught_when_its_rule_is_removed() {
    let rows = rows();
    let covered: BTreeSet<Defect> = rows.iter().map(|row| row.defect).collect();
    assert_eq!(covered.len() + FIRST, Defect::ALL.len(), "every defect has its row");
    for row in rows {
        check_from(row.from, &format!("{:?}", row.defect), &row.options(), row.expected);
    }
}

/// Goal: where nobody passes anything on, a link cut is noticed (8).
#[test]
fn a_cut_link_shuts_a_healthy_primary_when_nobody_passes_renewals_on() {
    let muted = BTreeSet::from([Invariant::Liveness]);
    let options = Options { mutant: Some(Mutant::PassesNothingOn), muted, ..faults(&[Kind::Cut]) };
    check("PassesNothingOn", &options, &[Invariant::Service]);
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
