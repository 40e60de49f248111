//! Two sites with two servers each, and commands made of small random numbers so that they fit the
//! state that they meet more often than not.

use std::collections::{BTreeMap, BTreeSet};

use failover_core::{
    Acker, Authority, Change, Command, Group, GroupSpec, Phase, Primary, Reason, ServerSpec, State, apply,
};
use model::{GroupId, GtidSet, Incarnation, ProcessStart, ServerId, ServerUuid, SiteId, Version, WallTime};
use proptest::prelude::*;
use runbooks_core::{Evidence, ExecutionId, Outcome, Performer, StepId};

pub const SERVERS: [&str; 4] = ["pdc-db", "pdc-db2", "mdc-db", "mdc-db2"];

/// One random number for what, one for which, one for whether something is odd about it.
#[derive(Debug, Clone, Copy)]
pub struct Op {
    pub kind: u8,
    pub pick: u8,
    pub odd: u8,
}

pub fn ops(kinds: u8, max: usize) -> impl Strategy<Value = Vec<Op>> {
    let op = (0..kinds, any::<u8>(), any::<u8>()).prop_map(|(kind, pick, odd)| Op { kind, pick, odd });
    proptest::collection::vec(op, 1..max)
}

pub fn group_id() -> GroupId {
    "shop".parse().unwrap()
}

pub fn server(index: u8) -> ServerId {
    SERVERS[usize::from(index) % SERVERS.len()].parse().unwrap()
}

pub fn site_of(server: &ServerId) -> SiteId {
    server.as_str()[..3].parse().unwrap()
}

pub fn uuid_of(server: &ServerId) -> ServerUuid {
    let digit = SERVERS.iter().position(|s| *s == server.as_str()).unwrap().to_string();
    [8, 4, 4, 4, 12].map(|n| digit.repeat(n)).join("-").parse().unwrap()
}

pub fn primary(server: &ServerId) -> Primary {
    Primary { server: server.clone(), uuid: uuid_of(server), site: site_of(server) }
}

pub fn reason() -> Reason {
    Reason { why: "random".into(), by: "proptest".into(), evidence: vec![] }
}

/// A founded cluster.
pub fn founded() -> State {
    let mut state = State::default();
    let spec = |s: &str| {
        let id: ServerId = s.parse().unwrap();
        (id.clone(), ServerSpec { site: site_of(&id) })
    };
    let servers = SERVERS.iter().map(|s| spec(s)).collect();
    let groups = BTreeMap::from([(group_id(), GroupSpec { servers, leases: failover_core::Leases::Timed })]);
    apply(&mut state, Command::Found { incarnation: Incarnation(1), groups }).unwrap();
    state
}

/// A cluster with its first primary.
pub fn started(first: &ServerId) -> State {
    let mut state = founded();
    let change = Change::Start { primary: primary(first), reason: reason() };
    apply(&mut state, change_command(Version(0), change, 1)).unwrap();
    state
}

pub fn group(state: &State) -> &Group {
    &state.groups[&group_id()]
}

pub fn authority(state: &State) -> Option<&Authority> {
    group(state).authority.as_ref()
}

pub fn change_command(expect: Version, change: Change, at: i64) -> Command {
    Command::Change { group: group_id(), expect, change, at: WallTime(at) }
}

/// Number of kinds that `command` knows.
pub const COMMANDS: u8 = 24;

/// The command that an op means in this state. More than half of the kinds are steps of the journal,
/// since a failover needs ten of them in order.
pub fn command(state: &State, op: Op, at: i64) -> Command {
    let version = authority(state).map_or(Version(0), |a| a.version);
    let odd = op.odd.is_multiple_of(16);
    let expect = if odd { Version(version.0.saturating_sub(u64::from(op.odd >> 6))) } else { version };
    let running = group(state).execution.as_ref().map_or(ExecutionId(1), |e| e.id);
    let execution = if odd { ExecutionId(u64::from(op.pick % 4)) } else { running };
    let who = server(op.pick);
    let acker = |i: u8| Acker {
        server: server(i),
        uuid: uuid_of(&server(i)),
        process_start: ProcessStart(u64::from(op.odd % 3)),
    };
    let extra = || GtidSet::interval(uuid_of(&server(op.odd)), 51, 51 + u64::from(op.pick));
    let change = match op.kind {
        0 => Change::Start { primary: primary(&who), reason: reason() },
        1 if op.pick.is_multiple_of(5) => Change::Drain { candidate: primary(&who), reason: reason() },
        1 => Change::Begin {
            candidate: primary(&who),
            reason: reason(),
            fenced: None,
            kine: None,
            fill: BTreeSet::new(),
        },
        2 if authority(state).is_some_and(|a| a.phase == Phase::Draining) => {
            let subject = group(state).execution.as_ref().map_or(who.clone(), |e| e.subject.clone());
            Change::Handover { execution, candidate: primary(&subject) }
        }
        2 => Change::Open { execution },
        3 if op.pick < 64 => Change::Abort { reason: reason() },
        3 | 4 => Change::Async { reason: reason() },
        5 => {
            let ackers = SERVERS.iter().enumerate().map(|(i, _)| u8::try_from(i).unwrap());
            let other = authority(state).map(|a| a.primary.site.clone());
            let fits = |i: &u8| odd || other.as_ref().is_none_or(|o| site_of(&server(*i)) != *o);
            let chosen = ackers.filter(fits).filter(|i| op.pick >> i & 1 == 1);
            Change::CatchUp { ackers: chosen.map(acker).collect::<BTreeSet<_>>() }
        }
        6 => Change::Sync { gtid: GtidSet::empty() },
        7 => Change::Route,
        8 => Change::Rejoin { server: who, reason: reason() },
        9 if op.pick < 128 => Change::Rebuild { server: who, extra: extra(), reason: reason() },
        9 if op.pick < 144 => Change::Quarantine { server: who, extra: extra(), reason: reason() },
        9 if op.pick < 160 => {
            Change::Discard { server: who, extra: extra(), life: ProcessStart(1), reason: reason() }
        }
        9 if op.pick < 176 => Change::Release { server: who, reason: reason() },
        _ => return step(state, op, execution, at),
    };
    change_command(expect, change, at)
}

/// An intent or an outcome of a step that is likely to be next.
fn step(state: &State, op: Op, execution: ExecutionId, at: i64) -> Command {
    let steps: Vec<StepId> = group(state)
        .execution
        .iter()
        .flat_map(|e| e.runbook.steps.iter())
        .filter(|s| group(state).execution.as_ref().is_some_and(|e| e.done(&s.id.0).is_none()))
        .map(|s| s.id.clone())
        .collect();
    let near = usize::from(op.pick) % 3;
    let step = steps.get(near).or(steps.first()).cloned().unwrap_or_else(|| "fence".into());
    let (group, at) = (group_id(), WallTime(at));
    if op.kind.is_multiple_of(2) {
        let node = if op.odd < 32 { "wit-1" } else { "mdc-1" };
        let by = Performer { node: node.parse().unwrap(), term: u64::from(op.odd / 128) };
        return Command::StepStarted { group, execution, step, by, at };
    }
    let done = |evidence| Outcome::Done { evidence };
    let outcome = match op.odd % 16 {
        0 => Outcome::Failed { why: "random".into() },
        1 => Outcome::Unknown { why: "random".into() },
        2 if op.pick < 32 => Outcome::Refused { why: "random".into() },
        3..6 => done(Evidence::Outwaited { waited_ms: 1704 }),
        6 => done(Evidence::Note { text: "random".into() }),
        _ => done(Evidence::Fenced { by: "random".into() }),
    };
    Command::StepEnded { group, execution, step, outcome, at }
}
