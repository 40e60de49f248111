//! How a step is performed, and how an unknown outcome is settled: values, so that the daemon's
//! executor and the simulator's do the same.

use model::{Epoch, GtidSet, ProcessStart, ServerId, Timestamp};
use std::time::Duration;

use runbooks_core::{Action, Evidence, Execution, settle_step};

use crate::{Change, Durability, Facts, Group, Order, Phase, Primary, Process, Timing};

/// A server whose process is gone for longer is not waited for: a supervisor would have started it again.
pub(crate) const GONE_FOR_GOOD: Duration = Duration::from_secs(2);

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
    /// The guard of `server` reports it drained in `epoch`.
    Drained { server: ServerId, epoch: Epoch },
    /// `server` has applied all that the drained `source` had executed.
    CaughtUp { server: ServerId, source: ServerId },
    /// `server` has applied all that `source`, fenced through `epoch`, is seen to have executed.
    Compared { server: ServerId, source: ServerId, epoch: Epoch },
    /// `server` acknowledges to the primary to come, or is known not to be there.
    Acker { server: ServerId },
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
            let sync = group.revoked.as_ref().is_some_and(|r| {
                r.epoch == *epoch && r.durability == Durability::Sync && r.leases.is_timed()
            });
            Perform::FenceOrOutwait { server: server.clone(), epoch: *epoch, wait_suffices: sync }
        }
        Action::DrainRelay { server } => {
            Perform::Order(vec![(server.clone(), Order::Drain { life: proven_life(group, server) })])
        }
        Action::Gather { server, source } => {
            let gtid = match execution.done(&settle_step(source).0) {
                Some(Evidence::Reached { gtid }) => gtid.clone(),
                _ => GtidSet::empty(),
            };
            Perform::Order(vec![(server.clone(), Order::Gather { source: source.clone(), gtid })])
        }
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
        Action::Rebuild { server, .. } => {
            let donor = primary.unwrap_or_else(|| server.clone());
            Perform::Order(vec![(server.clone(), Order::Rebuild { donor })])
        }
        Action::Rejoin { server } => {
            let source = primary.unwrap_or_else(|| server.clone());
            Perform::Order(vec![(server.clone(), Order::Rejoin { source, acks: false })])
        }
        Action::AwaitReplica { server } => Perform::Await(Await::Replica { server: server.clone() }),
        Action::AwaitDrained { .. }
        | Action::AwaitCaughtUp { .. }
        | Action::Compare { .. }
        | Action::AwaitAcker { .. } => {
            Perform::Await(awaits(execution, action).expect("each of these four is a wait"))
        }
        Action::Handover { server, uuid, site } => Perform::Propose(Change::Handover {
            execution: execution.id,
            candidate: Primary { server: server.clone(), uuid: uuid.clone(), site: site.clone() },
        }),
        Action::Reverse { server } => {
            let source = primary.unwrap_or_else(|| server.clone());
            Perform::Order(vec![(server.clone(), Order::Rejoin { source, acks: true })])
        }
    }
}

/// The life of `server` in which it acknowledged for the revoked epoch, when that was in `Sync`.
fn proven_life(group: &Group, server: &ServerId) -> Option<ProcessStart> {
    let revoked = group.revoked.as_ref().filter(|r| r.durability == Durability::Sync)?;
    revoked.ackers.iter().find(|a| a.server == *server).map(|a| a.process_start)
}

/// What the waiting steps of a switchover wait for.
fn awaits(execution: &Execution, action: &Action) -> Option<Await> {
    let revoked = Epoch(execution.epoch.0 - 1);
    match action.clone() {
        Action::AwaitDrained { server } => Some(Await::Drained { server, epoch: revoked }),
        Action::AwaitCaughtUp { server, source } => Some(Await::CaughtUp { server, source }),
        Action::Compare { server, source } => Some(Await::Compared { server, source, epoch: revoked }),
        Action::AwaitAcker { server } => Some(Await::Acker { server }),
        _ => None,
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
        Action::Handover { .. } => {
            group.authority.as_ref().is_some_and(|a| a.epoch == execution.epoch && !a.phase.grants())
        }
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
                    // One that does not answer may receive all the same, and one that is gone receives nothing.
                    let stopped = match (r.process, r.fresh_reading(timing.fresh())) {
                        (Process::Gone { .. }, _) => true,
                        (_, Some(reading)) => {
                            reading.replica.as_ref().is_none_or(|x| x.io == model::ReplicaThread::Stopped)
                        }
                        (_, None) => false,
                    };
                    r.latch.no_source >= *epoch && stopped
                })
            });
            if stopped { note("latched and stopped") } else { not("not all ackers report it") }
        }
        Action::Open | Action::Route | Action::Handover { .. } => {
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
            now,
        ),
        Action::AwaitReplica { server } => {
            awaited(&Await::Replica { server: server.clone() }, group, facts, timing, now, now)
        }
        // What is compared is read after the wait began: a wait that nobody keeps begins anew.
        Action::AwaitDrained { .. }
        | Action::AwaitCaughtUp { .. }
        | Action::Compare { .. }
        | Action::AwaitAcker { .. } => match awaits(execution, action) {
            Some(wait) => awaited(&wait, group, facts, timing, now, now),
            None => not("it is no wait"),
        },
        Action::Rejoin { server } | Action::Reverse { server } => {
            let uuid = group.authority.as_ref().map(|a| &a.primary.uuid);
            let joined = report(server)
                .and_then(|r| r.fresh_reading(timing.fresh()))
                .and_then(|d| d.replica.as_ref())
                .is_some_and(|r| r.source_uuid.as_ref() == uuid);
            if joined { note("it has the source") } else { not("it has another source, or none") }
        }
        // That it has no source is not enough: its guard must know what it was promoted with (interleaving 54).
        Action::FenceOrOutwait { .. }
        | Action::DrainRelay { .. }
        | Action::Gather { .. }
        | Action::Promote { .. } => not("idempotent: it is asked again"),
        Action::Rebuild { server, life } => {
            let lives = report(server).and_then(|r| r.process.start());
            if life.is_some() && lives == *life {
                return Verified::NotDone(format!("{server} runs the process that was to be copied over"));
            }
            rebuilt(group, execution, server, facts, timing, now)
        }
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
    // What somebody has put into the primary since it was counted is copied along with the rest.
    let left = extra.map(|e| e.subtract(&e.subtract(&held)).subtract(&primary.gtid_executed));
    let left = left.unwrap_or_default();
    if !left.is_empty() {
        return Verified::NotDone(format!("{server} still has {left}"));
    }
    // While it is copied over it answers for a moment, with nothing in it.
    let theirs = &primary.gtid_executed;
    let earlier = theirs.subtract(&theirs.of(&primary.server_uuid));
    if !held.contains(&earlier) || (held.is_empty() && !theirs.is_empty()) {
        return Verified::NotDone(format!("{server} has not got what the primary had before it was one"));
    }
    if !held.contains(&primary.gtid_purged) {
        return Verified::NotDone(format!("{server} lacks what the primary cannot send any more"));
    }
    Verified::Done(Evidence::Reached { gtid: held })
}

/// Whether what is waited for has come; the wait began at `since`, on the clock of `now`.
#[must_use]
pub fn awaited(
    wait: &Await,
    group: &Group,
    facts: &Facts,
    timing: &Timing,
    since: Timestamp,
    now: Timestamp,
) -> Verified {
    let report = |s: &ServerId| facts.report(s, timing.fresh(), now);
    let reading = |s: &ServerId| report(s).and_then(|r| r.fresh_reading(timing.fresh()));
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
            let joined = reading(server).and_then(|d| d.replica.as_ref()).is_some_and(|r| {
                r.source_uuid.as_ref() == Some(&authority.primary.uuid)
                    && r.io == model::ReplicaThread::Running
            });
            match reading(server) {
                Some(d) if joined => Verified::Done(Evidence::Reached { gtid: d.gtid_held() }),
                _ => Verified::NotDone(format!("{server} does not receive from the primary")),
            }
        }
        Await::Drained { server, epoch } => match report(server) {
            Some(r) => match r.drained.as_ref().filter(|d| d.epoch == *epoch) {
                Some(drained) => Verified::Done(Evidence::Reached { gtid: drained.executed.clone() }),
                None => Verified::NotDone(format!("{server} is not drained yet{}", running(r))),
            },
            None => Verified::NotDone("its guard is not heard".into()),
        },
        Await::CaughtUp { server, source } => {
            let drained = report(source).and_then(|r| r.drained.as_ref());
            let (Some(drained), Some(mine)) = (drained, reading(server)) else {
                return Verified::NotDone(format!("{source} or {server} is not heard"));
            };
            applied(server, &mine.gtid_executed, &drained.executed)
        }
        Await::Compared { server, source, epoch } => {
            let Some(mine) = reading(server) else {
                return Verified::NotDone(format!("{server} has not been read lately"));
            };
            // What it reached when it was drained is later than its last look, perhaps.
            let drained = group.running().and_then(|e| e.done("drain"));
            let mine = match drained {
                Some(Evidence::Reached { gtid }) => mine.gtid_executed.union(gtid),
                _ => mine.gtid_executed.clone(),
            };
            match read_since(facts, source, timing, since, now) {
                Some(theirs) => applied(server, &mine, theirs),
                None => unread(group, source, *epoch, reading(source).is_some()),
            }
        }
        Await::Acker { server } => attached(group, server, facts, timing, now),
    }
}

/// What keeps a server from being drained, as far as it is known.
fn running(report: &crate::GuardReport) -> String {
    let long = report.reading.as_ref().map_or(&[][..], |r| &r.long_transactions);
    match long.first() {
        Some(first) => format!(": {} transactions run for long, the longest is {first}", long.len()),
        None => String::new(),
    }
}

fn applied(server: &ServerId, mine: &model::GtidSet, wanted: &model::GtidSet) -> Verified {
    let missing = wanted.subtract(mine);
    if missing.is_empty() {
        Verified::Done(Evidence::Reached { gtid: mine.clone() })
    } else {
        Verified::NotDone(format!("{server} has {} transactions to apply: {missing}", missing.count()))
    }
}

/// The set that a server was seen to have executed in a look that began after `since`: a look takes
/// less than a renewal, and is told with the next one.
fn read_since<'a>(
    facts: &'a Facts,
    server: &ServerId,
    timing: &Timing,
    since: Timestamp,
    now: Timestamp,
) -> Option<&'a model::GtidSet> {
    let known = facts.servers.get(server).filter(|f| now.since(f.received) <= timing.fresh())?;
    let reading = known.report.reading.as_ref()?;
    let age = now.since(known.received) + Duration::from_micros(known.report.reading_age_us);
    (age < now.since(since)).then_some(&reading.gtid_executed)
}

/// DESIGN §4, Draining: the catch-up point is read after the confirmed fence. A server that cannot be
/// read any more was drained, and what it acknowledged in `Sync` was received before its ackers stopped.
fn unread(group: &Group, source: &ServerId, epoch: Epoch, answers: bool) -> Verified {
    let sync = group.revoked.as_ref().is_some_and(|r| r.epoch == epoch && r.durability == Durability::Sync);
    if answers || !sync {
        return Verified::NotDone(format!("{source} has not been read since epoch {epoch} was fenced"));
    }
    let text = format!("{source} cannot be read; epoch {epoch} was sync and drained, so nothing is missing");
    Verified::Done(Evidence::Note { text })
}

/// The former primary as an acker of the one to come; or a note that it is not there to be one.
fn attached(group: &Group, server: &ServerId, facts: &Facts, timing: &Timing, now: Timestamp) -> Verified {
    let Some(authority) = &group.authority else { return Verified::NotDone("no authority".into()) };
    let Some(report) = facts.report(server, timing.fresh(), now) else {
        return Verified::Done(Evidence::Note {
            text: format!("{server} is not heard: nobody acknowledges"),
        });
    };
    if let Process::Gone { for_us } = report.process
        && Duration::from_micros(for_us) >= GONE_FOR_GOOD
    {
        return Verified::Done(Evidence::Note {
            text: format!("{server} does not run: nobody acknowledges"),
        });
    }
    let (Some(process_start), Some(mine)) = (report.process.start(), report.fresh_reading(timing.fresh()))
    else {
        return Verified::NotDone(format!("{server} is not up"));
    };
    let receives = mine.replica.as_ref().is_some_and(|r| {
        r.source_uuid.as_ref() == Some(&authority.primary.uuid) && r.io == model::ReplicaThread::Running
    });
    if !receives {
        return Verified::NotDone(format!("{server} does not receive from {}", authority.primary.server));
    }
    if !mine.semi_sync.replica_enabled || mine.settings.sync_relay_log != 1 {
        return Verified::NotDone(format!("{server} does not acknowledge yet"));
    }
    let uuid = mine.server_uuid.clone();
    Verified::Done(Evidence::Attached { server: server.clone(), uuid, process_start })
}
