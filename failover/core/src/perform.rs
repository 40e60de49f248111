//! How a step is performed, and how an unknown outcome is settled: values, so that the daemon's
//! executor and the simulator's do the same.

use model::{Epoch, ServerId, Timestamp};
use runbooks_core::{Action, Evidence, Execution};

use crate::{Change, Durability, Facts, Group, Order, Phase, Timing};

/// How to perform a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Perform {
    /// Give each of these guards its order; done when all are done.
    Order(Vec<(ServerId, Order)>),
    /// Order the fence again and again; meanwhile, where `wait_suffices`, W may run out.
    FenceOrOutwait { server: ServerId, epoch: Epoch, wait_suffices: bool },
    /// Propose this change; done when it is applied.
    Propose(Change),
    /// Wait for a report.
    Await(Await),
    /// Nothing is left to do: an earlier attempt did it, and did not live to tell.
    Nothing(Evidence),
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Await {
    /// The guard of `server` reports it open at `epoch`.
    Open { server: ServerId, epoch: Epoch },
    /// `server` receives from the primary and holds what the primary had.
    Replica { server: ServerId },
}

/// How `action` of the group's execution is performed.
#[must_use]
pub fn perform(group: &Group, execution: &Execution, action: &Action) -> Perform {
    if in_place(group, execution, action) {
        return Perform::Nothing(Evidence::Note { text: "it is in place".into() });
    }
    let primary = group.authority.as_ref().map(|a| a.primary.server.clone());
    match action {
        Action::StopAckers { servers, epoch } => {
            Perform::Order(servers.iter().map(|s| (s.clone(), Order::StopIo { no_source: *epoch })).collect())
        }
        Action::FenceOrOutwait { server, epoch } => {
            let sync =
                group.revoked.as_ref().is_some_and(|r| r.epoch == *epoch && r.durability == Durability::Sync);
            Perform::FenceOrOutwait { server: server.clone(), epoch: *epoch, wait_suffices: sync }
        }
        Action::DrainRelay { server } => Perform::Order(vec![(server.clone(), Order::Drain)]),
        Action::Promote { server } => {
            Perform::Order(vec![(server.clone(), Order::Promote { epoch: execution.epoch })])
        }
        Action::Open => Perform::Propose(Change::Open { execution: execution.id }),
        Action::AwaitOpen { server } => {
            Perform::Await(Await::Open { server: server.clone(), epoch: execution.epoch })
        }
        Action::Route => Perform::Propose(Change::Route),
        Action::SaveExtra { server, extra } => {
            Perform::Order(vec![(server.clone(), Order::SaveExtra { extra: extra.clone() })])
        }
        Action::Rebuild { server } => {
            let donor = primary.unwrap_or_else(|| server.clone());
            Perform::Order(vec![(server.clone(), Order::Rebuild { donor })])
        }
        Action::Rejoin { server } => {
            let source = primary.unwrap_or_else(|| server.clone());
            Perform::Order(vec![(server.clone(), Order::Rejoin { source })])
        }
        Action::AwaitReplica { server } => Perform::Await(Await::Replica { server: server.clone() }),
    }
}

/// Whether the change that `action` proposes is committed. Always false for an action that proposes
/// none: the state alone does not tell.
#[must_use]
pub fn in_place(group: &Group, execution: &Execution, action: &Action) -> bool {
    match action {
        Action::Open => {
            group.authority.as_ref().is_some_and(|a| a.epoch == execution.epoch && a.phase == Phase::Serving)
        }
        Action::Route => group.route.as_ref().is_some_and(|r| r.epoch >= execution.epoch),
        _ => false,
    }
}

/// What a verify reading tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// It is so.
    Done(Evidence),
    /// It is not; it may be tried again.
    NotDone(String),
}

/// The verify reading of a step, from state and fresh facts. Where nothing fresh tells, it is not
/// done: every act is idempotent, so trying again is safe once its performer is known to be gone.
#[must_use]
pub fn verify(
    group: &Group,
    execution: &Execution,
    action: &Action,
    facts: &Facts,
    timing: &Timing,
    now: Timestamp,
) -> Verified {
    let report = |s: &ServerId| facts.report(s, timing.fresh(), now);
    let note = |text: &str| Verified::Done(Evidence::Note { text: text.into() });
    let not = |text: &str| Verified::NotDone(text.into());
    match action {
        Action::StopAckers { servers, epoch } => {
            let stopped = servers.iter().all(|s| {
                report(s).is_some_and(|r| {
                    let io = r.fresh_reading(timing.fresh()).and_then(|d| d.replica.as_ref()).map(|x| x.io);
                    r.latch.no_source >= *epoch && io.is_none_or(|io| io == model::ReplicaThread::Stopped)
                })
            });
            if stopped { note("latched and stopped") } else { not("not all ackers report it") }
        }
        Action::Promote { server } => {
            let promoted = report(server)
                .and_then(|r| r.fresh_reading(timing.fresh()))
                .is_some_and(|d| d.replica.is_none() && d.super_read_only);
            if promoted { note("it has no source") } else { not("it still has a source, or is not heard") }
        }
        Action::Open | Action::Route => {
            if in_place(group, execution, action) {
                note("committed")
            } else {
                not("not committed")
            }
        }
        Action::AwaitOpen { server } => awaited(
            &Await::Open { server: server.clone(), epoch: execution.epoch },
            group,
            facts,
            timing,
            now,
        ),
        Action::AwaitReplica { server } => {
            awaited(&Await::Replica { server: server.clone() }, group, facts, timing, now)
        }
        Action::Rejoin { server } => {
            let uuid = group.authority.as_ref().map(|a| &a.primary.uuid);
            let joined = report(server)
                .and_then(|r| r.fresh_reading(timing.fresh()))
                .and_then(|d| d.replica.as_ref())
                .is_some_and(|r| r.source_uuid.as_ref() == uuid);
            if joined { note("it has the source") } else { not("it has another source, or none") }
        }
        Action::FenceOrOutwait { .. } | Action::DrainRelay { .. } => not("idempotent: it is asked again"),
        Action::Rebuild { server } => rebuilt(group, execution, server, facts, timing, now),
        Action::SaveExtra { .. } => not("idempotent: it is done again"),
    }
}

/// A clone ends its server, and often the connection that would have told: what it has after its
/// restart tells instead. It has been copied when nothing extra is left, and nothing is missing that
/// the primary could not send any more.
fn rebuilt(
    group: &Group,
    execution: &Execution,
    server: &ServerId,
    facts: &Facts,
    timing: &Timing,
    now: Timestamp,
) -> Verified {
    let reading = |s: &ServerId| facts.report(s, timing.fresh(), now)?.fresh_reading(timing.fresh());
    let primary = group.authority.as_ref().and_then(|a| reading(&a.primary.server));
    let (Some(mine), Some(primary)) = (reading(server), primary) else {
        return Verified::NotDone(format!("{server} or the primary has not been read lately"));
    };
    let held = mine.gtid_held();
    let extra = execution.runbook.steps.iter().find_map(|s| match &s.action {
        Action::SaveExtra { extra, .. } => Some(extra),
        _ => None,
    });
    let left = extra.map(|e| e.subtract(&e.subtract(&held))).unwrap_or_default();
    if !left.is_empty() {
        return Verified::NotDone(format!("{server} still has {left}"));
    }
    if !held.contains(&primary.gtid_purged) {
        return Verified::NotDone(format!("{server} lacks what the primary cannot send any more"));
    }
    Verified::Done(Evidence::Reached { gtid: held })
}

/// Whether what is waited for has come.
#[must_use]
pub fn awaited(wait: &Await, group: &Group, facts: &Facts, timing: &Timing, now: Timestamp) -> Verified {
    let report = |s: &ServerId| facts.report(s, timing.fresh(), now);
    match wait {
        Await::Open { server, epoch } => match report(server) {
            Some(r) if r.open == Some(*epoch) => {
                Verified::Done(Evidence::Note { text: format!("{server} is open at epoch {epoch}") })
            }
            Some(r) => Verified::NotDone(r.shut_because.clone().unwrap_or_else(|| "it is shut".into())),
            None => Verified::NotDone("its guard is not heard".into()),
        },
        Await::Replica { server } => {
            let Some(authority) = &group.authority else { return Verified::NotDone("no authority".into()) };
            let reading = report(server).and_then(|r| r.fresh_reading(timing.fresh()));
            let joined = reading.and_then(|d| d.replica.as_ref()).is_some_and(|r| {
                r.source_uuid.as_ref() == Some(&authority.primary.uuid)
                    && r.io == model::ReplicaThread::Running
            });
            match reading {
                Some(d) if joined => Verified::Done(Evidence::Reached { gtid: d.gtid_held() }),
                _ => Verified::NotDone(format!("{server} does not receive from the primary")),
            }
        }
    }
}
