//! May this server take over? Checked before Begin, so that nothing is revoked for a candidate that
//! cannot be promoted (interleaving 11).

use std::collections::BTreeSet;

use model::{GtidSet, ServerId, SiteId};
use runbooks_core::{Action, Step};

use super::View;
use crate::{AsyncFailover, Defect, Durability, FailoverMode, Primary, Promotion};

/// One server's standing as a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidacy {
    /// The server.
    pub server: ServerId,
    /// A person could move the group there (accepting a loss where one is stated).
    pub possible: bool,
    /// twofold may move it there by itself.
    pub automatic: bool,
    /// What stands against it.
    pub against: Vec<String>,
}

/// Every server but the primary, the one to prefer first.
pub(super) fn all(view: &View) -> Vec<Candidacy> {
    let Some(authority) = &view.group.authority else { return vec![] };
    let mut servers: Vec<_> =
        view.group.servers.iter().filter(|(s, _)| **s != authority.primary.server).collect();
    // In `Sync` nothing acknowledged is lost with any of them, and a move within the site costs no other site its
    // traffic; who is preferred comes first among those that are as near. Else whoever has most loses least.
    servers.sort_by_cached_key(|(server, spec)| {
        let elsewhere = u64::from(spec.site != authority.primary.site);
        let wanted = view.own.promotion(server) as u64;
        match authority.durability {
            Durability::Sync => (elsewhere, wanted, lacks(view, server)),
            _ => (lacks(view, server), elsewhere, wanted),
        }
    });
    servers.into_iter().map(|(s, _)| one(view, s)).collect()
}

/// The best of those in `site`, for a person who wants the group there.
pub(super) fn best_in<'a>(view: &View, all: &'a [Candidacy], site: &SiteId) -> Result<&'a Candidacy, String> {
    let here = all.iter().filter(|c| view.group.site_of(&c.server) == Some(site));
    // The first of the best: `max_by_key` takes the last.
    here.rev().max_by_key(|c| (c.automatic, c.possible)).ok_or_else(|| {
        let active = view.group.authority.as_ref().is_some_and(|a| a.primary.site == *site);
        match active {
            true => format!("the group is active in {site} already, and has no other server there"),
            false => format!("the group has no server in {site}"),
        }
    })
}

/// How many transactions that the primary was last seen to have executed, or another server to hold, are not held
/// there; of one that was not read nothing counts as held.
fn lacks(view: &View, server: &ServerId) -> u64 {
    let last = |s: &ServerId| view.facts.servers.get(s).and_then(|f| f.last.as_ref());
    let seen = view.group.servers.keys().filter_map(last);
    let all = seen.fold(GtidSet::empty(), |all, last| all.union(&last.held));
    match view.reading(server) {
        Some(mine) => all.subtract(&mine.gtid_held()).count(),
        None => u64::MAX,
    }
}

/// The ackers that a candidate which is none takes from what was acknowledged: those that are in the life in which
/// they acknowledged, and against which nothing stands. The second is why others cannot be taken from.
pub(super) fn fill(view: &View, candidate: &ServerId) -> (BTreeSet<ServerId>, Vec<String>) {
    let authority = view.group.authority.as_ref().expect("candidates exist only under an authority");
    let (mut fill, mut why) = (BTreeSet::new(), Vec::new());
    if authority.durability != Durability::Sync
        || authority.acker_set.iter().any(|a| a.server == *candidate)
        || view.policy.defects.has(Defect::FillsFromNobody)
    {
        return (fill, why);
    }
    for acker in &authority.acker_set {
        let start = view.report(&acker.server).and_then(|r| r.process.start());
        let mut hard = against(view, &acker.server);
        if start.is_some_and(|s| s != acker.process_start) {
            hard.push(format!("{} restarted since it was proven", acker.server));
        }
        match hard.is_empty() {
            true => _ = fill.insert(acker.server.clone()),
            false => why.extend(hard),
        }
    }
    (fill, why)
}

/// What stands against the server itself, whoever wants to move the group there.
pub(super) fn against(view: &View, server: &ServerId) -> Vec<String> {
    let authority = view.group.authority.as_ref().expect("candidates exist only under an authority");
    let mut hard = Vec::new();
    if view.policy.defects.has(Defect::CandidateUnchecked) {
        return hard;
    }
    if let Some(waiting) = view.group.returns.get(server) {
        hard.push(format!("quarantined: {}", waiting.reason.why));
    }
    // What an acker acknowledged in the life that counts it has, whatever is wrong with it besides.
    let acker = authority.acker_set.iter().any(|a| a.server == *server);
    let rebuild = view.group.running().filter(|e| e.runbook.name == "rebuild" && e.subject == *server);
    let copies = view.report(server).is_some_and(|r| r.copy.is_some());
    let passes = view.policy.defects.has(Defect::AnotherRunPasses);
    if !acker && !passes && (rebuild.is_some() || copies) {
        hard.push(format!("{server} is being copied anew"));
    }
    hard.extend(super::disk::trouble(view, server).map(|t| t.told(&format!("{server}'s"))));
    match view.report(server) {
        None => hard.push(format!("the guard of {server} is not heard")),
        Some(report) if report.process.start().is_none() => {
            hard.push(format!("the database of {server} is not running"));
        }
        Some(report) if report.latch.seen.incarnation > authority.incarnation => {
            hard.push(format!("{server} has seen a newer incarnation of the cluster"));
        }
        Some(_) => match view.reading(server) {
            None => hard.push(format!("the database of {server} has not answered lately")),
            Some(reading) => against_reading(view, server, reading, &mut hard),
        },
    }
    hard
}

fn one(view: &View, server: &ServerId) -> Candidacy {
    let authority = view.group.authority.as_ref().expect("candidates exist only under an authority");
    let mut hard = against(view, server);
    let mut soft = Vec::new();
    if let Some(m) = view.group.maintained(view.facts.wall) {
        soft.push(format!("the group is in maintenance by {}: {}", m.by, m.reason));
    }
    let beside = view.group.site_of(server) == Some(&authority.primary.site);
    if beside && !site_heard(view, &authority.primary.site) {
        soft.push(format!("no node of {} is heard: the site is not well", authority.primary.site));
    }
    if view.own.failover == FailoverMode::Manual {
        soft.push("the group's policy leaves failovers to a person".into());
    }
    soft.extend(of_another_run(view, server));
    if authority.durability == Durability::Sync {
        let acker = authority.acker_set.iter().find(|a| a.server == *server);
        let start = view.report(server).and_then(|r| r.process.start());
        match acker {
            None if beside => {
                let why = fill(view, server).1;
                soft.extend(
                    why.into_iter().map(|why| format!("{server} must take from every acker first: {why}")),
                );
            }
            None => soft.push(format!("{server} is not an acker")),
            Some(a) if start.is_some_and(|s| s != a.process_start) => {
                soft.push(format!("{server} restarted since it was proven: its position is unknown"));
            }
            Some(_) => {}
        }
    } else {
        if view.own.async_failover == AsyncFailover::Refuse {
            // A person can accept a loss, but nothing that stands against the server itself.
            let who = if hard.is_empty() { ": a person must accept the loss" } else { "" };
            soft.push(format!("durability is {}{who}", authority.durability));
        }
        let wait_alone = view.policy.defects.has(Defect::PromoteOnWaitAlone);
        let primary = &authority.primary.server;
        if view.report(primary).is_none() && !wait_alone {
            soft.push(format!(
                "the guard of {primary} is not heard: it cannot confirm a fence, and W alone is not enough"
            ));
        }
    }
    let possible = hard.is_empty();
    let automatic = possible && soft.is_empty();
    hard.append(&mut soft);
    Candidacy { server: server.clone(), possible, automatic, against: hard }
}

/// The primary was primary before: whoever has no mark of this epoch may have, under the primary's own numbers, what that
/// wrote in its earlier run and gave up. Where its mark is known it can be told of whoever has all that was there when the
/// mark was first read, and of nobody who has less (interleaving 56). An acker of `Sync` has what was proven with it.
fn of_another_run(view: &View, server: &ServerId) -> Option<String> {
    let authority = view.group.authority.as_ref()?;
    let primary = &authority.primary.server;
    let marked = view.facts.servers.get(primary).is_some_and(|f| f.report.marked.is_some());
    let before = view.group.epochs.range(..authority.epoch);
    let again = before.rev().any(|(_, e)| e.served && e.primary.uuid == authority.primary.uuid);
    let reading = view.reading(server)?;
    let theirs = !reading.gtid_held().of(&authority.primary.uuid).is_empty();
    let here = reading.opening.map(|mark| mark.epoch) == Some(authority.epoch);
    let passes = view.policy.defects.has(Defect::AnotherRunPasses);
    let acker =
        authority.durability == Durability::Sync && authority.acker_set.iter().any(|a| a.server == *server);
    let proven = marked && acker;
    (!proven && again && theirs && !here && !passes).then(|| {
        format!(
            "{server} has not the mark of epoch {}, and {primary} was primary before: what it has of {primary} may be of \
             that run",
            authority.epoch
        )
    })
}

/// A node of `site` was heard a moment ago.
pub(super) fn site_heard(view: &View, site: &SiteId) -> bool {
    let vantage = view.facts.vantages.get(site);
    vantage.is_some_and(|v| view.now.since(v.heard) <= view.policy.timing.dwell / 2)
}

fn against_reading(view: &View, server: &ServerId, reading: &model::DatabaseReading, hard: &mut Vec<String>) {
    let authority = view.group.authority.as_ref().expect("candidates exist only under an authority");
    match &reading.replica {
        None => hard.push(format!("{server} does not replicate")),
        Some(r) if r.source_uuid.as_ref().is_some_and(|u| *u != authority.primary.uuid) => {
            hard.push(format!("{server} replicates from another server than the primary"));
        }
        Some(r) if !r.sql_error.is_empty() && !settled(view, server) => {
            hard.push(format!("the applier of {server} stopped: {}", r.sql_error))
        }
        Some(_) => {}
    }
    hard.extend(set_apart(view, server, reading).iter().map(|why| format!("{server} {why}")));
    hard.extend(weak_settings(reading));
    let last = view.facts.servers.get(&authority.primary.server).map(|f| &f.report);
    let told = last.and_then(|r| Some((r.marked.as_ref()?, r.reading.as_ref()?)));
    let passes = view.policy.defects.has(Defect::AnotherRunPasses);
    if !passes && told.is_some_and(|(marked, primary)| marked.contradicts(primary, reading)) {
        hard.push(format!("{server} has other transactions under numbers that the primary gave out again"));
    }
    let errant = errant(view, &authority.primary, reading);
    hard.extend(errant.map(|errant| format!("errant transactions on {server}: {errant}")));
}

/// Settings under which what was acknowledged does not survive a crash (DESIGN §4, Durability). The
/// relay log counts while the server acknowledges: its guard syncs it before, and relaxes it after.
pub(super) fn weak_settings(reading: &model::DatabaseReading) -> Vec<String> {
    let s = &reading.settings;
    let wanted = [
        (s.sync_relay_log == 1 || !reading.semi_sync.replica_enabled, "sync_relay_log must be 1"),
        (!s.relay_log_recovery, "relay_log_recovery must be off"),
        (s.sync_binlog == 1, "sync_binlog must be 1"),
        (s.flush_log_at_commit == 1, "innodb_flush_log_at_trx_commit must be 1"),
    ];
    wanted.iter().filter(|(holds, _)| !holds).map(|(_, text)| (*text).to_owned()).collect()
}

/// What an administrator made of a replica that is to be no primary: it never takes over, and its acks do not
/// count.
pub(super) fn set_apart(view: &View, server: &ServerId, reading: &model::DatabaseReading) -> Vec<String> {
    let mut why = Vec::new();
    if view.own.promotion(server) == Promotion::MustNot {
        why.push("must not be promoted, by the configuration".into());
    }
    let Some(replica) = &reading.replica else { return why };
    if replica.delay_s > 0 {
        why.push(format!("is delayed by {} s on purpose", replica.delay_s));
    }
    if !replica.filters.is_empty() {
        why.push(format!("does not apply all it receives ({})", replica.filters.join("; ")));
    }
    if replica.other_channels > 0 {
        why.push(format!("replicates from other sources as well: {} more channels", replica.other_channels));
    }
    why
}

/// What has come to stand against the candidate of the move that is under way, by what is fresh. That it is silent,
/// or down for a moment, is for the steps' own limits: they span a supervisor's restart.
pub(super) fn turned(view: &View) -> Vec<String> {
    let mut why = Vec::new();
    let (Some(authority), Some(revoked)) = (&view.group.authority, &view.group.revoked) else { return why };
    let server = &authority.primary.server;
    if let Some(waiting) = view.group.returns.get(server) {
        why.push(format!("{server} is quarantined: {}", waiting.reason.why));
    }
    why.extend(super::disk::trouble(view, server).map(|t| t.told(&format!("{server}'s"))));
    let Some(reading) = view.reading(server) else { return why };
    if let Some(replica) =
        reading.replica.as_ref().filter(|r| !settled(view, server) && !r.sql_error.is_empty())
    {
        why.push(format!("the applier of {server} stopped: {}", replica.sql_error));
    }
    why.extend(set_apart(view, server, reading).iter().map(|what| format!("{server} {what}")));
    why.extend(weak_settings(reading).iter().map(|what| format!("{server}: {what}")));
    why.extend(
        errant(view, &revoked.primary, reading).map(|e| format!("errant transactions on {server}: {e}")),
    );
    why
}

/// The move under way, or the one that came to nothing, has had it apply all it received: then its applier ends by our own
/// hand, and may say so in an error.
fn settled(view: &View, server: &ServerId) -> bool {
    let Some(authority) = &view.group.authority else { return false };
    // Seen from the epoch that is left, or from the one that was promised.
    let moved = view.group.execution.as_ref().filter(|e| match authority.phase.grants() {
        true => e.epoch > authority.epoch,
        false => e.epoch == authority.epoch,
    });
    moved.is_some_and(|execution| {
        let drains = |s: &&Step| matches!(&s.action, Action::DrainRelay { server: s } if s == server);
        execution.runbook.steps.iter().filter(drains).any(|s| execution.done(&s.id.0).is_some())
    })
}

/// I5: what it has and the primary never had. The primary's own newest transactions may be missing from its last
/// reading; those of any other origin may not.
pub(super) fn errant(view: &View, primary: &Primary, reading: &model::DatabaseReading) -> Option<GtidSet> {
    // Also of one whose process is gone: what it had, it had.
    let last = view.facts.servers.get(&primary.server)?.last.as_ref().filter(|l| l.uuid == primary.uuid)?;
    let extra = reading.gtid_held().subtract(&last.executed);
    let errant = extra.subtract(&extra.of(&primary.uuid));
    (!errant.is_empty()).then_some(errant)
}

/// The candidate as Begin names it.
pub(super) fn as_primary(view: &View, server: &ServerId) -> Option<Primary> {
    let mut known = view.reading(server);
    if view.policy.defects.has(Defect::CandidateUnchecked) {
        known = view.facts.servers.get(server).and_then(|f| f.report.reading.as_ref());
    }
    let uuid = known?.server_uuid.clone();
    let site = view.group.site_of(server)?.clone();
    Some(Primary { server: server.clone(), uuid, site })
}
