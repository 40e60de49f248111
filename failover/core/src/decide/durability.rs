//! When durability is weakened, armed again, and proven.

use std::collections::BTreeSet;
use std::time::Duration;

use super::View;
use super::diagnose::ms;
use crate::command::TWOFOLD;
use crate::{Acker, Authority, Change, Defect, Durability, Phase, Reason};

/// An acker that lacks more than this is not chosen yet: from then on it syncs its relay log for each transaction, and
/// receives some hundred a second; before, it receives thousands.
const LACKS_MAX: u64 = 2_000;

/// An acker that is not armed and lacks more than this receives more slowly than clients write: it is let go, to
/// receive at leisure again.
const LACKS_FAR: u64 = 10_000;

pub(super) fn durability(view: &View) -> Option<Change> {
    let authority = view.group.authority.as_ref()?;
    match authority.durability {
        Durability::Sync | Durability::CatchUp { .. } => {
            weaken(view, authority).or_else(|| prove(view, authority))
        }
        Durability::Async { .. } => arm(view, authority),
    }
}

/// Nothing is weakened while a failover is under way (interleaving 33), but for the defect that does it.
pub(super) fn weakened_while_moving(view: &View, authority: &Authority) -> Option<Change> {
    let silent =
        view.policy.defects.has(Defect::DeadPrimaryWeakens) && authority.durability == Durability::Sync;
    let acker = authority.acker_set.iter().filter(|_| silent).find(|acker| {
        let replica = view.reading(&acker.server).and_then(|r| r.replica.as_ref());
        replica.is_none_or(|r| r.io != model::ReplicaThread::Running)
    })?;
    let why = format!("acker {} does not receive", acker.server);
    let reason = Reason { why: "acks-missing".into(), by: TWOFOLD.into(), evidence: vec![why] };
    Some(Change::Async { reason })
}

/// On the report of a holder that renewed within T_H, and of nobody else.
fn weaken(view: &View, authority: &Authority) -> Option<Change> {
    let timing = &view.policy.timing;
    let (epoch, renewed) = view.facts.renewals.get(view.id)?;
    if *epoch != authority.epoch || view.now.since(*renewed) > timing.lease {
        return None;
    }
    let report = view.report(&authority.primary.server)?;
    let why = unalone(view, authority)
        .or_else(|| blocked(view, report))
        .or_else(|| restarted(view, authority))
        .or_else(|| quarantined(view, authority))
        .or_else(|| set_apart(view, authority))
        .or_else(|| outrun(view, authority, report))?;
    Some(Change::Async {
        reason: Reason { why: "acks-missing".into(), by: TWOFOLD.into(), evidence: vec![why] },
    })
}

/// Where leases do not end, `Sync` is for a site that is a quorum by itself: it alone could weaken it, and
/// let writes go on, when the other one is lost.
fn unalone(view: &View, authority: &Authority) -> Option<String> {
    let site = &authority.primary.site;
    let stuck = !authority.leases.is_timed() && !view.policy.alone.contains(site);
    stuck.then(|| format!("{site} is no quorum by itself, and could not let writes go on without acks"))
}

fn blocked(view: &View, report: &crate::GuardReport) -> Option<String> {
    let limit = view.policy.timing.sync_timeout;
    if view.policy.defects.has(Defect::SyncAcrossPromotion) {
        return None;
    }
    let waiting = Duration::from_micros(report.waiting_us);
    let absent = Duration::from_micros(report.absent_us);
    if waiting >= limit && !view.policy.defects.has(Defect::AsyncByDisconnection) {
        return Some(format!("a client has waited {} for an ack", ms(waiting)));
    }
    (absent >= limit).then(|| format!("an acker has been absent, behind or not alone for {}", ms(absent)))
}

fn restarted(view: &View, authority: &Authority) -> Option<String> {
    authority.acker_set.iter().find_map(|acker| {
        let start = view.report(&acker.server)?.process.start()?;
        (start != acker.process_start)
            .then(|| format!("acker {} restarted: what it had acknowledged is unproven", acker.server))
    })
}

/// What a quarantined server acknowledges is worth nothing.
fn quarantined(view: &View, authority: &Authority) -> Option<String> {
    let acker = authority.acker_set.iter().find(|a| view.group.returns.contains_key(&a.server))?;
    Some(format!("acker {} is quarantined", acker.server))
}

/// Somebody made of an acker what may not take over: `Sync` would promise what no failover could keep.
fn set_apart(view: &View, authority: &Authority) -> Option<String> {
    authority.acker_set.iter().find_map(|acker| {
        let why = super::candidate::set_apart(view, &acker.server, view.reading(&acker.server)?);
        (!why.is_empty()).then(|| format!("acker {} {}", acker.server, why.join(", and ")))
    })
}

/// Before it is armed nobody waits for an acker, so nothing slows the clients that it cannot follow.
fn outrun(view: &View, authority: &Authority, report: &crate::GuardReport) -> Option<String> {
    let waits =
        !matches!(authority.durability, Durability::CatchUp { .. }) || report.armed == Some(authority.g);
    if waits || report.open != Some(authority.epoch) {
        return None;
    }
    let executed = &report.reading.as_ref()?.gtid_executed;
    authority.acker_set.iter().find_map(|acker| {
        let lacks = executed.subtract(&view.reading(&acker.server)?.gtid_held()).count();
        (lacks > LACKS_FAR).then(|| {
            format!("acker {} lacks {lacks} transactions and receives them too slowly", acker.server)
        })
    })
}

/// `CatchUp(g)` → `Sync(g)` on the sentinel's proof.
fn prove(view: &View, authority: &Authority) -> Option<Change> {
    if !matches!(authority.durability, Durability::CatchUp { .. }) {
        return None;
    }
    let report = view.report(&authority.primary.server)?;
    let unproven = view.policy.defects.has(Defect::SyncBeforeSentinel);
    let proof = if unproven { report.armed } else { report.proven };
    // What an acker acknowledges is on its disk.
    let mark = report.marked.as_ref().map(|m| m.mark);
    let synced = authority.acker_set.iter().all(|acker| {
        view.reading(&acker.server).is_some_and(|r| {
            r.semi_sync.replica_enabled
                && r.settings.sync_relay_log == 1
                && r.opening == mark
                && !view.group.returns.contains_key(&acker.server)
        })
    });
    // Attached are the ackers and nobody else: a stranger's ack would stand for one of theirs.
    let clients = report.reading.as_ref().map(|r| r.semi_sync.clients as usize);
    let alone =
        clients == Some(authority.acker_set.len()) || view.policy.defects.has(Defect::StrangersAcknowledge);
    let whole =
        report.open == Some(authority.epoch) && proof == Some(authority.g) && (synced && alone || unproven);
    whole.then(|| Change::Sync {
        gtid: report.reading.as_ref().map(|r| r.gtid_executed.clone()).unwrap_or_default(),
    })
}

/// `Async` → `CatchUp(g+1)` when every server of the other sites that may ack is connected.
fn arm(view: &View, authority: &Authority) -> Option<Change> {
    if authority.phase != Phase::Serving
        || view.group.running().is_some()
        || unalone(view, authority).is_some()
    {
        return None;
    }
    let report = view.report(&authority.primary.server)?;
    // A wait that has just ended `Sync` or `CatchUp` is in the last report yet, and would end the next one.
    if report.open != Some(authority.epoch) || blocked(view, report).is_some() {
        return None;
    }
    // Without the mark a replica's numbers do not prove that it has this primary's transactions.
    let mark = report.marked.as_ref()?.mark;
    let primary = view.reading(&authority.primary.server)?;
    if !super::candidate::weak_settings(primary).is_empty()
        || super::accounts::against(view, primary).is_some()
    {
        return None;
    }
    let mut ackers = BTreeSet::new();
    for (server, spec) in &view.group.servers {
        if spec.site == authority.primary.site || view.group.returns.contains_key(server) {
            continue;
        }
        let Some(report) = view.report(server) else { continue };
        let (Some(start), Some(reading)) = (report.process.start(), view.reading(server)) else { continue };
        let Some(replica) = &reading.replica else { continue };
        let connected = replica.source_uuid.as_ref() == Some(&authority.primary.uuid)
            && replica.io == model::ReplicaThread::Running
            && replica.sql == model::ReplicaThread::Running;
        let durable = super::candidate::weak_settings(reading).is_empty();
        let lacks = primary.gtid_executed.subtract(&reading.gtid_held()).count();
        let same_history = reading.opening == Some(mark);
        let whole = super::candidate::set_apart(view, server, reading).is_empty()
            && super::accounts::against(view, reading).is_none();
        if connected && durable && whole && same_history && lacks <= LACKS_MAX {
            ackers.insert(Acker {
                server: server.clone(),
                uuid: reading.server_uuid.clone(),
                process_start: start,
            });
        }
    }
    (!ackers.is_empty()).then_some(Change::CatchUp { ackers })
}
