//! Random facts through `decide`.

use std::time::Duration;

use failover_core::{
    AsyncFailover, Change, Command, Defects, Desk, DiskRefusal, DiskReport, Facts, FailoverMode, GateReport,
    Grant, GroupPolicy, GuardReport, HowItEnded, LatchReport, Marked, Nonce, Policy, Process, Promotion,
    Renewal, State, Timing, Vantage, apply, decide,
};
use model::{BootId, DatabaseReading, Epoch, GtidSet, OpeningMark, ProcessStart, SyncGeneration, Timestamp};
use proptest::prelude::*;

use crate::config;
use crate::rig::reading;
use crate::world::{COMMANDS, Op, authority, command, group_id, ops, server, started, uuid_of};

const NOW: Timestamp = Timestamp(1_000_000_000);

fn policy(odd: u8) -> Policy {
    let wanted = [Promotion::Neutral, Promotion::MustNot, Promotion::Prefer];
    let promotion = (0..4).map(|i| (server(i), wanted[usize::from(odd >> (2 * i) & 3) % 3])).collect();
    let own = GroupPolicy {
        fence_max: Duration::ZERO,
        failover: FailoverMode::Automatic,
        async_failover: if odd.is_multiple_of(2) { AsyncFailover::Allow } else { AsyncFailover::Refuse },
        prefer: None,
        privileged_accounts: Default::default(),
        promotion,
    };
    let groups = std::collections::BTreeMap::from([(group_id(), own)]);
    Policy { timing: Timing::METRO, groups, sites: 3, alone: Default::default(), defects: Defects::NONE }
}

/// The one mark that all have, or some have not.
const MARK: OpeningMark = OpeningMark { epoch: Epoch(1), life: ProcessStart(1), nonce: 1, count: 1, all: 1 };

fn read(state: &State, index: u8, bits: u16) -> DatabaseReading {
    let primary = authority(state).map(|a| a.primary.server.clone());
    let source = primary.clone().filter(|p| *p != server(index) && !bits.is_multiple_of(5));
    let mut reading = reading(&server(index), source.as_ref(), 50 + u64::from(bits % 4));
    if bits % 7 == 3 {
        let foreign = GtidSet::interval(uuid_of(&server(index)), 900, 901);
        reading.gtid_executed = reading.gtid_executed.union(&foreign);
    }
    reading.opening = (!bits.is_multiple_of(13)).then_some(MARK);
    let writable = primary == Some(server(index)) && bits & 64 == 0;
    (reading.read_only, reading.super_read_only) = (!writable, !writable);
    reading
}

fn report(state: &State, index: u8, bits: u16) -> GuardReport {
    let known = authority(state);
    let epoch = known.map_or(Epoch(0), |a| a.epoch);
    let mine = known.is_some_and(|a| a.primary.server == server(index));
    let start = ProcessStart(u64::from(bits % 3));
    let gone = bits & 0x300 == 0x300;
    let process =
        if gone { Process::Gone { for_us: u64::from(bits) * 20 } } else { Process::Running { start } };
    let open = (mine && !gone && bits & 32 == 0).then_some(epoch);
    let g = known.map_or(SyncGeneration(0), |a| a.g);
    GuardReport {
        promoted: None,
        server: server(index),
        sequence: 1,
        boot: BootId("boot".into()),
        process,
        reading: (!gone).then(|| read(state, index, bits)),
        reading_age_us: u64::from(bits % 11) * 400_000,
        gate: GateReport::Unknown,
        open,
        opened_ended: [None, Some(HowItEnded::Killed), Some(HowItEnded::Graceful)][usize::from(bits % 3)],
        latch: LatchReport {
            seen: known.map(failover_core::Authority::stamp).unwrap_or_default(),
            fenced_through: Epoch(epoch.0.saturating_sub(u64::from(bits % 2))),
            no_source: Epoch(0),
            opened: if open.is_some() { epoch } else { Epoch(0) },
            g,
        },
        armed: (bits & 8 == 0).then_some(g),
        proven: (bits & 24 == 0).then_some(g),
        drained: None,
        marked: (bits & 1024 == 0)
            .then(|| Marked { mark: MARK, covered: read(state, index, bits).gtid_executed }),
        waiting_us: if bits & 0x84 == 0x84 { 6_000_000 } else { 0 },
        absent_us: 0,
        lease_us: 0,
        shut_us: if open.is_none() { u64::from(bits) * 100 } else { 0 },
        shut_because: None,
        disk: (bits & 0x1040 == 0x1040).then(|| DiskReport {
            waiting_us: u64::from(bits) * 400,
            refused: (bits & 1 == 1).then_some(DiskRefusal::Full),
            refused_us: u64::from(bits & 1) * 20_000_000,
            free: 0,
        }),
    }
}

fn facts(state: &State, bits: &[u16]) -> Facts {
    let mut desk = Desk::new(Timing::METRO, std::collections::BTreeMap::new(), Defects::NONE);
    desk.on_elected(NOW - Duration::from_secs(10));
    let age = |b: u16| Duration::from_millis(u64::from(b >> 12) * 150);
    for (index, b) in (0..4).zip(bits) {
        let (report, received) = (report(state, index, *b), NOW - age(*b));
        let renewal = Renewal {
            group: group_id(),
            nonce: Nonce(0),
            uuid: report.reading.as_ref().map(|r| r.server_uuid.clone()),
            epoch: report.open,
            report: report.clone(),
        };
        desk.on_report(report, received);
        if renewal.epoch.is_some() {
            let answer = desk.on_renewal(state, &renewal, received, NOW);
            assert!(answer.authority.is_some() || answer.grant != Grant::Held);
        }
    }
    for (site, b) in ["pdc", "mdc", "wit"].into_iter().zip(&bits[4..]) {
        let hears = (0..4).filter(|i| b >> i & 1 == 1).map(server).collect();
        desk.on_vantage(site.parse().unwrap(), Vantage { heard: NOW - age(*b), hears });
    }
    desk.facts().clone()
}

/// The Begin and the weakening that `decide` must never propose.
fn is_permitted(state: &State, facts: &Facts, change: &Change, policy: &Policy) {
    let a = authority(state).expect("changes but Start need an authority");
    let timing = &policy.timing;
    match change {
        Change::Begin { candidate, .. } => {
            assert_ne!(policy.groups[&group_id()].promotion(&candidate.server), Promotion::MustNot);
            assert_ne!(candidate.site, a.primary.site);
            let report = facts.report(&candidate.server, timing.fresh(), NOW).expect("it is heard");
            let theirs = report.fresh_reading(timing.fresh()).expect("it was read");
            assert!(theirs.replica.is_some(), "it replicates");
            if a.durability == failover_core::Durability::Sync {
                let life = report.process.start();
                let proven =
                    |k: &failover_core::Acker| k.server == candidate.server && Some(k.process_start) == life;
                assert!(a.acker_set.iter().any(proven), "in Sync only a proven acker");
            } else {
                assert!(facts.report(&a.primary.server, timing.fresh(), NOW).is_some(), "never W alone");
            }
        }
        Change::Async { .. } => {
            let (epoch, at) = facts.renewals[&group_id()];
            assert!(epoch == a.epoch && NOW.since(at) <= timing.lease, "a live holder's report");
        }
        Change::CatchUp { ackers } => {
            for acker in ackers {
                assert_ne!(policy.groups[&group_id()].promotion(&acker.server), Promotion::MustNot);
                let reading =
                    facts.report(&acker.server, timing.fresh(), NOW).and_then(|r| r.reading.as_ref());
                assert_eq!(reading.and_then(|r| r.opening), Some(MARK), "it has this primary's history");
            }
        }
        Change::Sync { .. } => {
            let report = facts.report(&a.primary.server, timing.fresh(), NOW).expect("it is heard");
            assert_eq!(report.proven, Some(a.g), "by a sentinel of this arming");
        }
        Change::Rebuild { server, .. } => {
            let (_, record) = state.groups[&group_id()].last_served(server).expect("it was primary");
            assert_eq!(record.ended, Some(failover_core::Durability::Sync));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(config())]

    /// Goal: what is decided on a state is taken by it, and breaks no rule of the design, whatever the
    /// facts are. Method: random state, random facts, ask, check, apply.
    #[test]
    fn what_is_decided_is_permitted_and_not_refused(
        ops in ops(COMMANDS, 60),
        bits in proptest::collection::vec(any::<u16>(), 7),
        odd in any::<u8>(),
    ) {
        let mut state = started(&server(0));
        for (at, op) in (1..).zip(&ops) {
            let command = command(&state, Op { ..*op }, at);
            let _ = apply(&mut state, command);
            let facts = facts(&state, &bits);
            let policy = policy(odd);
            let decision = decide(&state, &facts, &policy, NOW);
            assert_eq!(decision, decide(&state, &facts, &policy, NOW), "decide is a function");
            let explanation = &decision.groups[&group_id()];
            let Some(act) = &explanation.act else { continue };
            is_permitted(&state, &facts, &act.change, &policy);
            let change = Command::Change {
                group: group_id(),
                expect: act.expect,
                change: act.change.clone(),
                at: model::WallTime(at),
            };
            let mut after = state.clone();
            prop_assert!(apply(&mut after, change).is_ok(), "{explanation:?} was refused");
        }
    }
}
