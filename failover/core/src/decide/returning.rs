//! A server that runs, is fenced and does not replicate: how it comes back (DESIGN §4, Return).

use model::{Flavour, ServerId};

use super::View;
use crate::command::TWOFOLD;
use crate::{Change, Durability, GuardReport, HowItEnded, Marked, Reason};

pub(super) fn returning(view: &View) -> Option<Change> {
    let authority = view.group.authority.as_ref()?;
    if view.group.running().is_some() {
        return None;
    }
    if view.report(&authority.primary.server)?.open != Some(authority.epoch) {
        return None;
    }
    let primary = view.reading(&authority.primary.server)?;
    let marked = view.report(&authority.primary.server)?.marked.as_ref();
    for server in view.group.servers.keys() {
        if *server == authority.primary.server || view.group.returns.contains_key(server) {
            continue;
        }
        // Whatever it has is being replaced; and the host of one that is copied may have stood still meanwhile, so that what
        // was read before looks fresh.
        let Some(report) = view.report(server).filter(|r| r.copy.is_none()) else { continue };
        let Some(reading) = view.reading(server) else { continue };
        if let Some(change) =
            marked.filter(|m| m.contradicts(primary, reading)).map(|m| other_history(server, m))
        {
            return Some(change);
        }
        let joined =
            reading.replica.as_ref().is_some_and(|r| r.source_uuid.as_ref() == Some(&authority.primary.uuid));
        let behind = primary.gtid_purged.subtract(&reading.gtid_held());
        // On a full disk it would wait a minute for room, holding its locks, even if room comes at once.
        let refuses = report.disk.is_some_and(|disk| disk.refused.is_some());
        if (joined && behind.is_empty()) || refuses || !harmless(view, server, report, reading) {
            continue;
        }
        let extra = reading.gtid_held().subtract(&primary.gtid_executed);
        let reason =
            |why: &str, evidence: Vec<String>| Reason { why: why.into(), by: TWOFOLD.into(), evidence };
        let lost = primary.gtid_executed.of(&reading.server_uuid).subtract(&reading.gtid_held());
        if !lost.is_empty() && reading.flavour() == Flavour::Mariadb {
            // It would pass over them by their server id, and say that it has them.
            let evidence = vec![
                format!(
                    "{server} wrote {lost} and lost it, and MariaDB takes nothing back that has its own server id"
                ),
                "on MariaDB a person decides whether it is copied anew".into(),
            ];
            let reason = reason("return-lost-its-own", evidence);
            return Some(Change::Quarantine { server: server.clone(), extra, reason });
        }
        if extra.is_empty() && !behind.is_empty() && reading.flavour() == Flavour::Mariadb {
            let evidence = vec![
                format!("{server} lacks {behind}, which is in no binary log of the primary"),
                "on MariaDB a person decides whether it is copied anew".into(),
            ];
            let reason = reason("return-too-far-behind", evidence);
            return Some(Change::Quarantine { server: server.clone(), extra, reason });
        }
        if extra.is_empty() && !behind.is_empty() {
            // No replication closes that gap, and copying anew loses nothing.
            let evidence = vec![format!("{server} lacks {behind}, which is in no binary log of the primary")];
            let reason = reason("return-too-far-behind", evidence);
            return Some(Change::Rebuild { server: server.clone(), extra, reason });
        }
        if extra.is_empty() {
            let evidence = vec![format!("{server} has nothing that the primary lacks")];
            return Some(Change::Rejoin { server: server.clone(), reason: reason("return-clean", evidence) });
        }
        let mut evidence = vec![format!("{server} has {extra} beyond the primary")];
        let told = match writer_of(view, server, &extra) {
            Some(writer) => never_told_by(view, &writer),
            None => Some(never_told(view, server, report, reading, &extra)),
        };
        let Some(told) = told else { continue };
        return Some(match told {
            Ok(why) => {
                evidence.push(why);
                Change::Rebuild { server: server.clone(), extra, reason: reason("return-ghosts", evidence) }
            }
            Err(why) => {
                evidence.push(why);
                Change::Quarantine { server: server.clone(), extra, reason: reason("return-extra", evidence) }
            }
        });
    }
    None
}

/// It has other transactions under numbers that the primary gave out anew after it came back without
/// its tail (docs/design/0007). Which of the two clients were told of is not known: a person decides.
fn other_history(server: &ServerId, marked: &Marked) -> Change {
    let evidence = vec![format!(
        "{server} has executed {} but lacks the mark of the opening at epoch {}: the primary lost \
         transactions and gave their numbers out again",
        marked.covered, marked.mark.epoch
    )];
    let reason = Reason { why: "return-other-history".into(), by: TWOFOLD.into(), evidence };
    Change::Quarantine { server: server.clone(), extra: model::GtidSet::empty(), reason }
}

/// It knows the present epoch, is read-only and latched through every epoch that it served: only
/// then is it compared, and nothing of it is touched before.
pub(super) fn harmless(
    view: &View,
    server: &ServerId,
    report: &GuardReport,
    reading: &model::DatabaseReading,
) -> bool {
    let authority = view.group.authority.as_ref().expect("servers return only under an authority");
    let served = view.group.last_served(server).map_or(model::Epoch(0), |(e, _)| e);
    report.latch.seen.epoch == authority.epoch
        && report.latch.fenced_through >= served
        && report.open.is_none()
        && reading.super_read_only
}

/// The former primary that wrote all of `extra`, where that is another server than this one: it was received from
/// there.
fn writer_of(view: &View, server: &ServerId, extra: &model::GtidSet) -> Option<ServerId> {
    let writers =
        view.group.epochs.values().rev().filter(|record| record.served).map(|record| &record.primary);
    let mut writers = writers.filter(|primary| extra.of(&primary.uuid) == *extra);
    writers.next().map(|primary| primary.server.clone()).filter(|writer| writer != server)
}

/// Whether nobody can have been told of what another server wrote: its own return says. None until it is heard; this
/// one is compared again then.
fn never_told_by(view: &View, writer: &ServerId) -> Option<Result<String, String>> {
    let report = view.report(writer)?;
    if let Some(waiting) = view.group.returns.get(writer) {
        return Some(Err(format!("they are {writer}'s, which is quarantined: {}", waiting.reason.why)));
    }
    let reading = view.reading(writer)?;
    let extra = model::GtidSet::empty();
    let told = never_told(view, writer, report, reading, &extra);
    Some(
        told.map(|why| format!("they are {writer}'s: {why}"))
            .map_err(|why| format!("they are {writer}'s: {why}")),
    )
}

/// Whether nobody can have been told that these transactions committed.
fn never_told(
    view: &View,
    server: &ServerId,
    report: &GuardReport,
    reading: &model::DatabaseReading,
    extra: &model::GtidSet,
) -> Result<String, String> {
    let Some((epoch, record)) = view.group.last_served(server) else {
        return Err(format!("{server} never was primary on record: where they come from is unknown"));
    };
    if reading.kill_releases_waiters() {
        return Err(
            "a client of MariaDB whose session was killed while it waited was told OK, so they may be \
                    known: a person decides"
                .into(),
        );
    }
    if extra.of(&reading.server_uuid) != *extra {
        return Err("some are of another origin than the server itself".into());
    }
    match record.ended {
        Some(Durability::Sync) => {}
        Some(other) => {
            return Err(format!("epoch {epoch} was {other} when it was revoked: clients may know them"));
        }
        None => return Err(format!("epoch {epoch} has no recorded end")),
    }
    match report.opened_ended {
        Some(HowItEnded::Killed) => {
            Ok(format!("epoch {epoch} was sync when revoked and its process was killed"))
        }
        Some(HowItEnded::Graceful) => {
            Err("its process was shut down in order, which tells waiters OK".into())
        }
        Some(HowItEnded::Unknown) => Err("how its process ended is not known".into()),
        None => Err("the process that served still runs, or its end was not seen".into()),
    }
}
