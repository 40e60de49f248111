//! A failover whose candidate cannot take over goes on with another server, where there is one: the old primary gets
//! the next epoch only if it may be of use in it (interleaving 49).

use std::time::Duration;

use model::ServerId;

use super::{View, candidate, diagnose, move_away};
use crate::command::TWOFOLD;
use crate::perform::GONE_FOR_GOOD;
use crate::{Change, Defect, Durability, Group};

/// What is done about a failover that would be called `off`, or whose candidate is lost: it is begun anew with another
/// server, if the primary is still to be left and one may take over; else it is called off, or waited for.
pub(super) fn begun(view: &View, off: Option<Change>) -> Option<Change> {
    let why = match &off {
        Some(Change::Abort { reason }) => reason.evidence.clone(),
        _ => lost(view)?,
    };
    another(view, why).or(off)
}

/// Whom one cannot take hold of is not known to be unfit: steps have their own limits, which span a supervisor's restart.
/// With somebody else at hand nobody waits so long.
fn lost(view: &View) -> Option<Vec<String>> {
    let authority = view.group.authority.as_ref()?;
    let server = &authority.primary.server;
    if let Some(silent) = diagnose::silent(view, authority) {
        return silent.move_now.then_some(silent.because);
    }
    let known = view.facts.servers.get(server)?;
    let since = view.now.since(known.received);
    if let crate::Process::Gone { for_us } = known.report.process {
        let gone = Duration::from_micros(for_us) + since;
        let why = format!("guard of {server} sees no database process for {}", diagnose::ms(gone));
        return (gone >= GONE_FOR_GOOD).then(|| vec![why]);
    }
    let age = Duration::from_micros(known.report.reading_age_us) + since;
    let why = format!("{server} has a process but answered nothing for {}", diagnose::ms(age));
    (age >= view.policy.timing.dwell * 3).then(|| vec![why])
}

/// A person's failover is to where that person wants it, and out of `Async` the primary's own guard is needed anyway: both are
/// called off, and begun again from there.
fn another(view: &View, why: Vec<String>) -> Option<Change> {
    if view.policy.defects.has(Defect::OneCandidate) {
        return None;
    }
    let (authority, revoked) = (view.group.authority.as_ref()?, view.group.revoked.as_ref()?);
    if revoked.durability != Durability::Sync || revoked.reason.by != TWOFOLD {
        return None;
    }
    // With the eyes of before Begin.
    let before = Group { authority: Some(revoked.serving(authority)), ..view.group.clone() };
    let view = View { group: &before, ..*view };
    let found = diagnose::diagnose(&view);
    if !found.move_now {
        return None;
    }
    let mut candidates = candidate::all(&view);
    // Each is tried once: whose steps fail may look well all the same.
    let tried =
        |s: &ServerId| view.group.epochs.range(revoked.epoch.next()..).any(|(_, e)| e.primary.server == *s);
    candidates.retain(|c| !tried(&c.server));
    let because: Vec<String> = why.into_iter().chain(found.because).collect();
    move_away(&view, (found.diagnosis, &because), &candidates).ok()
}
