//! Epoch 1: only after every server was read, only for one that has everything (interleaving 18), and over no
//! account that could undo it.

use super::View;
use crate::command::TWOFOLD;
use crate::{Change, Defect, Primary, Promotion, Reason};

pub(super) fn start(view: &View) -> Result<Change, String> {
    let mut read = Vec::new();
    for (server, spec) in &view.group.servers {
        match view.reading(server) {
            Some(reading) => read.push((server, &spec.site, reading)),
            None => {
                return Err(format!("server {server} has not been read: all are, before the first start"));
            }
        }
    }
    for (server, _, reading) in &read {
        if let Some(why) = super::accounts::against(view, reading) {
            return Err(format!("server {server}: {why}"));
        }
    }
    let writable: Vec<_> = read.iter().filter(|(_, _, r)| !r.read_only).collect();
    if writable.len() > 1 {
        let names: Vec<String> = writable.iter().map(|(s, _, _)| s.to_string()).collect();
        return Err(format!("{} are all writable: make all but one read-only", names.join(" and ")));
    }
    let covers = |one: &model::DatabaseReading| {
        view.policy.defects.has(Defect::StartWithoutSuperset)
            || read.iter().all(|(_, _, other)| one.gtid_executed.contains(&other.gtid_held()))
    };
    // A live primary is adopted as it is: its replicas hold nothing that it has not, but its newest
    // transactions move on between two readings, so only foreign origins are compared.
    if let Some((server, site, reading)) = writable.first() {
        let foreign = read.iter().find_map(|(other, _, r)| {
            let extra = r.gtid_held().subtract(&reading.gtid_executed);
            let errant = extra.subtract(&extra.of(&reading.server_uuid));
            (!errant.is_empty()).then(|| format!("{other} holds {errant}, which the writable {server} lacks"))
        });
        if let Some(why) = foreign {
            return Err(why);
        }
        return Ok(chosen(server, site, reading, "it is writable and has everything"));
    }
    let wanted = |server: &model::ServerId| view.own.promotion(server);
    let mut whole: Vec<_> = read.iter().filter(|(_, _, r)| covers(r)).collect();
    if let (Some((server, ..)), true) =
        (whole.first(), whole.iter().all(|(server, ..)| wanted(server) == Promotion::MustNot))
    {
        return Err(format!("only {server} has everything the others have, and must not be promoted"));
    }
    whole.retain(|(server, ..)| wanted(server) != Promotion::MustNot);
    let elsewhere = |site: &model::SiteId| Some(site) != view.own.prefer.as_ref();
    whole.sort_by_key(|(server, site, _)| (elsewhere(site), wanted(server), (*server).clone()));
    match whole.first() {
        Some((server, site, reading)) => {
            Ok(chosen(server, site, reading, "it has everything the others have"))
        }
        None => Err("no server has everything the others have: a person must choose".into()),
    }
}

fn chosen(
    server: &model::ServerId,
    site: &model::SiteId,
    reading: &model::DatabaseReading,
    why: &str,
) -> Change {
    let executed = match reading.gtid_executed.is_empty() {
        true => "it has executed nothing yet".to_owned(),
        false => format!("gtid_executed {}", reading.gtid_executed),
    };
    Change::Start {
        primary: Primary { server: server.clone(), uuid: reading.server_uuid.clone(), site: site.clone() },
        reason: Reason {
            why: "first-start".into(),
            by: TWOFOLD.into(),
            evidence: vec![format!("{server}: {why}"), executed],
        },
    }
}
