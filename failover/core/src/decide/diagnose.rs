//! What is the matter with a group's primary: the table of diagnoses, first match wins.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{ServerId, SiteId};

use super::View;
use crate::report::{of_a_former_run, of_its_history};
use crate::{Authority, Defect, Phase, Process};

/// A named diagnosis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diagnosis {
    /// Nothing is the matter.
    Well,
    /// The group has no authority yet.
    NotStarted,
    /// A failover or a switchover is under way.
    Moving,
    /// The guard beside it sees no database process.
    DatabaseDead,
    /// The process is there but answers nothing.
    DatabaseHung,
    /// A write to the disk under its data does not come back: nor do commits.
    DiskStalled,
    /// No room is left under its data.
    DiskFull,
    /// The disk under its data cannot be written to.
    DiskFailing,
    /// It came back without transactions that a replica holds.
    PrimaryLacks,
    /// A quorum of vantage sites hears nothing of the primary's host, nor of its site.
    SiteDead,
    /// A quorum of vantage sites hears nothing of the primary's host, but hears its site.
    HostSilent,
    /// Renewals stopped, but no quorum of vantage sites agrees that the primary is unreachable.
    Unconfirmed,
    /// The other site cannot hear the primary, a third one can.
    LinkCut,
    /// Commits wait for acks that do not come.
    SemiSyncBlocked,
    /// Settings of a server would lose acknowledged writes in a crash.
    Misconfigured,
    /// No server of the other site replicates.
    ReplicaMissing,
    /// This leader has not led long enough to judge silence.
    Observing,
}

impl Diagnosis {
    /// Every one, in the order in which they are looked for.
    pub const ALL: [Diagnosis; 17] = [
        Diagnosis::NotStarted,
        Diagnosis::Observing,
        Diagnosis::Unconfirmed,
        Diagnosis::HostSilent,
        Diagnosis::SiteDead,
        Diagnosis::DatabaseDead,
        Diagnosis::DatabaseHung,
        Diagnosis::DiskStalled,
        Diagnosis::DiskFull,
        Diagnosis::DiskFailing,
        Diagnosis::PrimaryLacks,
        Diagnosis::Moving,
        Diagnosis::SemiSyncBlocked,
        Diagnosis::LinkCut,
        Diagnosis::Misconfigured,
        Diagnosis::ReplicaMissing,
        Diagnosis::Well,
    ];

    /// Stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Diagnosis::Well => "well",
            Diagnosis::NotStarted => "not-started",
            Diagnosis::Moving => "moving",
            Diagnosis::DatabaseDead => "database-dead",
            Diagnosis::DatabaseHung => "database-hung",
            Diagnosis::DiskStalled => "disk-stalled",
            Diagnosis::DiskFull => "disk-full",
            Diagnosis::DiskFailing => "disk-failing",
            Diagnosis::PrimaryLacks => "primary-lacks-transactions",
            Diagnosis::SiteDead => "site-dead",
            Diagnosis::HostSilent => "host-silent",
            Diagnosis::Unconfirmed => "silence-unconfirmed",
            Diagnosis::LinkCut => "link-cut",
            Diagnosis::SemiSyncBlocked => "semi-sync-blocked",
            Diagnosis::Misconfigured => "misconfigured",
            Diagnosis::ReplicaMissing => "replica-missing",
            Diagnosis::Observing => "observing",
        }
    }
}

pub(super) struct Finding {
    pub diagnosis: Diagnosis,
    pub because: Vec<String>,
    /// The primary should be left, and the dwell is over.
    pub move_now: bool,
}

fn found(diagnosis: Diagnosis, because: Vec<String>, move_now: bool) -> Finding {
    Finding { diagnosis, because, move_now }
}

pub(super) fn diagnose(view: &View) -> Finding {
    let Some(authority) = &view.group.authority else {
        return found(Diagnosis::NotStarted, vec![], false);
    };
    if !authority.phase.grants() {
        return found(Diagnosis::Moving, vec![format!("phase {}", authority.phase)], false);
    }
    silent(view, authority)
        .or_else(|| beside_it(view, authority))
        .or_else(|| {
            let moving = authority.phase == Phase::Draining;
            moving.then(|| found(Diagnosis::Moving, vec![format!("phase {}", authority.phase)], false))
        })
        .or_else(|| second_rank(view, authority))
        .unwrap_or_else(|| found(Diagnosis::Well, vec![], false))
}

/// The guard is not heard: only a quorum of vantage sites turns silence into a verdict.
pub(super) fn silent(view: &View, authority: &Authority) -> Option<Finding> {
    let timing = &view.policy.timing;
    let server = &authority.primary.server;
    let elected = view.facts.elected?;
    let reported = view.facts.servers.get(server).map(|f| f.received);
    let renewed = view.facts.renewals.get(view.id).filter(|(e, _)| *e == authority.epoch).map(|(_, at)| *at);
    let last = reported.into_iter().chain(renewed).max();
    let age = last.map(|at| view.now.since(at));
    if age.is_some_and(|a| a <= timing.fresh()) {
        return None;
    }
    let led = view.now.since(elected);
    if last.is_none() && led < timing.dwell {
        return Some(found(Diagnosis::Observing, vec![format!("leading for {}", ms(led))], false));
    }
    let mut because = vec![match age {
        Some(a) => format!("guard of {server} last heard {} ago", ms(a)),
        None => format!("guard of {server} never heard in {} of leading", ms(led)),
    }];
    let opinions = opinions(view, authority);
    because.push(opinions.to_string());
    because.extend(super::receivers::told(view, authority));
    let mut dwelt = age.is_none_or(|a| a >= timing.dwell) && led >= timing.renew;
    if !opinions.unreachable(view.policy.sites, &authority.primary.site) {
        return Some(found(Diagnosis::Unconfirmed, because, false));
    }
    let site_heard = super::candidate::site_heard(view, &authority.primary.site);
    let diagnosis = if site_heard { Diagnosis::HostSilent } else { Diagnosis::SiteDead };
    // Its guard is silent and it is not: until its lease is over clients are served, and the guard may be back.
    if let Some(why) =
        age.filter(|a| *a < timing.lease).and_then(|_| super::receivers::commits(view, authority))
    {
        because.push(format!("{why}; it is not left before its lease is over"));
        dwelt = false;
    }
    Some(found(diagnosis, because, dwelt))
}

/// The guard is heard and says that its database does not serve.
fn beside_it(view: &View, authority: &Authority) -> Option<Finding> {
    let timing = &view.policy.timing;
    let server = &authority.primary.server;
    let facts = view.facts.servers.get(server)?;
    let report = &facts.report;
    let since = view.now.since(facts.received);
    if let Process::Gone { for_us } = report.process {
        let gone = Duration::from_micros(for_us) + since;
        let mut because = vec![format!("guard of {server} sees no database process for {}", ms(gone))];
        because.extend(super::receivers::told(view, authority));
        return Some(found(Diagnosis::DatabaseDead, because, gone >= timing.dwell_process()));
    }
    let reading_age = Duration::from_micros(report.reading_age_us) + since;
    let hung_after = timing.dwell * 3;
    if report.process.start().is_some() && report.latch.opened == authority.epoch && reading_age >= hung_after
    {
        let mut because =
            vec![format!("{server} has a process but answered nothing for {}", ms(reading_age))];
        because.extend(super::receivers::told(view, authority));
        let move_now = stands_still(view, authority, &mut because);
        return Some(found(Diagnosis::DatabaseHung, because, move_now));
    }
    if let Some(trouble) = super::disk::trouble(view, server) {
        let mut because = vec![trouble.told(&format!("{server}'s"))];
        because.extend(super::receivers::told(view, authority));
        let move_now =
            trouble.lasts() >= timing.disk_patience() && stands_still(view, authority, &mut because);
        return Some(found(trouble.of_primary(), because, move_now));
    }
    let shut = Duration::from_micros(report.shut_us);
    if let Some(mine) = view.reading(server)
        && report.open.is_none()
        && shut > Duration::ZERO
    {
        // What waits for a person to decide on it is no measure.
        let judged = |s: &&ServerId| *s != server && !view.group.returns.contains_key(*s);
        for other in view.group.servers.keys().filter(judged) {
            let Some(theirs) = view.reading(other).filter(|r| r.replica.is_some()) else { continue };
            let lacks = theirs.gtid_held().subtract(&mine.gtid_executed);
            let mark = theirs.opening.map(|mark| mark.epoch);
            let (promoted, others) = (report.promoted.as_ref(), view.group.last_of_others(server));
            let applied = (&theirs.gtid_executed, mark);
            let former = of_a_former_run(applied, &mine.server_uuid, promoted, &mine.gtid_held(), others);
            let lacks = match view.policy.defects.has(Defect::GivenUpHoldsShut) {
                true => lacks,
                false => lacks.subtract(&former),
            };
            let promoted =
                report.promoted.as_ref().filter(|_| !view.policy.defects.has(Defect::BesideHoldsShut));
            let mut lacks = of_its_history(lacks, &mine.server_uuid, promoted);
            // The life that wrote them still runs: they wait for their commit, and it has them.
            if report.latch.opened > model::Epoch(0) && report.opened_ended.is_none() {
                lacks = lacks.subtract(&lacks.of(&mine.server_uuid));
            }
            if !lacks.is_empty() {
                let because = vec![format!("{server} lacks {lacks}, which {other} holds"), shut_line(shut)];
                return Some(found(Diagnosis::PrimaryLacks, because, shut >= timing.dwell));
            }
        }
    }
    None
}

/// What its guard sees, a full connection table or a disk of another kind may explain; what its replicas receive,
/// nothing but commits. One that commits serves its clients, and is not left on its guard's word alone.
fn stands_still(view: &View, authority: &Authority, because: &mut Vec<String>) -> bool {
    let commits = super::receivers::commits(view, authority);
    let still = commits.is_none();
    because.extend(commits.map(|why| format!("{why}; it is not left while that goes on")));
    still
}

fn shut_line(shut: Duration) -> String {
    format!("it has been shut for {}", ms(shut))
}

/// The primary serves; something else is the matter.
fn second_rank(view: &View, authority: &Authority) -> Option<Finding> {
    let report = view.report(&authority.primary.server)?;
    let waiting = Duration::from_micros(report.waiting_us);
    if waiting > view.policy.timing.renew {
        let because = vec![format!("a client has waited {} for an ack", ms(waiting))];
        return Some(found(Diagnosis::SemiSyncBlocked, because, false));
    }
    let opinions = opinions(view, authority);
    if !opinions.no.is_empty() && !opinions.yes.is_empty() {
        let moves = view.policy.defects.has(Defect::LinkCutMoves);
        return Some(found(Diagnosis::LinkCut, vec![opinions.to_string()], moves));
    }
    if report.open == Some(authority.epoch) && report.marked.is_none() && report.reading.is_some() {
        let because = vec![format!(
            "the opening of {} at epoch {} is not marked yet, and nothing is proven without (where that lasts: \
             its guard's log says why, and the next opening is marked)",
            authority.primary.server, authority.epoch
        )];
        return Some(found(Diagnosis::Misconfigured, because, false));
    }
    let weak: Vec<String> = view
        .group
        .servers
        .keys()
        .filter_map(|s| Some((s, super::candidate::weak_settings(view.reading(s)?))))
        .filter(|(_, weak)| !weak.is_empty())
        .map(|(s, weak)| format!("{s}: {}", weak.join(", ")))
        .collect();
    if !weak.is_empty() {
        return Some(found(Diagnosis::Misconfigured, weak, false));
    }
    let replicas = view.group.servers.iter().filter(|(_, spec)| spec.site != authority.primary.site);
    let readings = replicas.filter_map(|(s, _)| Some((s, view.reading(s)?)));
    let joined: Vec<_> = readings
        .filter(|(_, reading)| {
            reading.replica.as_ref().is_some_and(|r| {
                r.source_uuid.as_ref() == Some(&authority.primary.uuid)
                    && r.io == model::ReplicaThread::Running
            })
        })
        .map(|(s, reading)| (s, super::candidate::set_apart(view, s, reading)))
        .collect();
    if joined.is_empty() {
        let because = vec!["no server of the other site replicates from the primary".to_owned()];
        return Some(found(Diagnosis::ReplicaMissing, because, false));
    }
    if joined.iter().all(|(_, why)| !why.is_empty()) {
        let told = joined.iter().map(|(s, why)| format!("{s} {}", why.join(", and ")));
        let mut because = vec!["no server of the other site that replicates may take over".to_owned()];
        because.extend(told);
        return Some(found(Diagnosis::ReplicaMissing, because, false));
    }
    None
}

/// Which vantage sites hear the primary's guard, and which do not.
struct Opinions {
    yes: BTreeSet<SiteId>,
    no: BTreeSet<SiteId>,
}

impl Opinions {
    /// A quorum of the vantage sites says no, at least one of them outside the primary's own site.
    fn unreachable(&self, sites: usize, own: &SiteId) -> bool {
        self.no.len() > sites / 2 && self.no.iter().any(|s| s != own)
    }
}

impl std::fmt::Display for Opinions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |set: &BTreeSet<SiteId>| {
            let names: Vec<&str> = set.iter().map(SiteId::as_str).collect();
            if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
        };
        write!(f, "its guard is heard from {}; not heard from {}", list(&self.yes), list(&self.no))
    }
}

fn opinions(view: &View, authority: &Authority) -> Opinions {
    let mut opinions = Opinions { yes: BTreeSet::new(), no: BTreeSet::new() };
    for (site, vantage) in &view.facts.vantages {
        if view.now.since(vantage.heard) > view.policy.timing.fresh() {
            continue;
        }
        let heard = vantage.hears.contains(&authority.primary.server);
        if heard { &mut opinions.yes } else { &mut opinions.no }.insert(site.clone());
    }
    opinions
}

pub(super) fn ms(d: Duration) -> String {
    format!("{} ms", d.as_millis())
}
