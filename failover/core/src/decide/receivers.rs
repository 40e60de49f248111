//! What the replicas' receivers tell of the primary: the one witness of it that is neither on its host nor asks its
//! host. A guard that is silent, or that gets no answer, may be what is broken; a primary from which a replica still
//! gets *new* transactions commits, and clients are served.
//!
//! That a receiver says "running" is no evidence: it says so of a dead source until its network timeout. It only
//! ever makes `decide` hold still for longer, never act sooner, and where a lease is concerned never for longer
//! than the lease could last: behind its end nobody is served, whatever the receivers show.

use std::time::Duration;

use model::{ReplicaThread, ServerId};

use super::View;
use super::diagnose::ms;
use crate::Authority;

/// The shortest time in which some replica got something new from the primary: so long ago at most the primary sent
/// it. Only of replicas that are heard.
fn newest<'a>(view: &'a View, authority: &Authority) -> Option<(&'a ServerId, Duration)> {
    let others = view.group.servers.keys().filter(|s| **s != authority.primary.server);
    let flows = others.filter_map(|server| {
        view.report(server)?;
        let flow = view.facts.servers.get(server)?.flow.as_ref()?;
        (flow.source == authority.primary.uuid).then(|| (server, view.now.since(flow.after)))
    });
    flows.min_by_key(|(_, age)| *age)
}

/// The replica that got something new within a dwell: the primary commits.
pub(super) fn commits(view: &View, authority: &Authority) -> Option<String> {
    let (server, age) = newest(view, authority).filter(|(_, age)| *age < view.policy.timing.dwell)?;
    let primary = &authority.primary.server;
    Some(format!("{primary} commits: {server} has received new transactions of it in the last {}", ms(age)))
}

/// Each replica's receiver, for the record and for a person.
pub(super) fn told(view: &View, authority: &Authority) -> Vec<String> {
    let mut told = Vec::new();
    for server in view.group.servers.keys().filter(|s| **s != authority.primary.server) {
        let Some(replica) = view.reading(server).and_then(|r| r.replica.as_ref()) else { continue };
        if replica.source_uuid.as_ref() != Some(&authority.primary.uuid) {
            continue;
        }
        let does = match replica.io {
            ReplicaThread::Running => "is running",
            ReplicaThread::Connecting => "is connecting",
            ReplicaThread::Stopped => "is stopped",
        };
        let error = match (replica.io_errno, replica.io_error.as_str()) {
            (_, "") => String::new(),
            (0, text) => format!(" ({text})"),
            (number, text) => format!(" (error {number}: {text})"),
        };
        let flow = view.facts.servers.get(server).and_then(|f| f.flow.as_ref());
        let new = match flow.filter(|f| f.source == authority.primary.uuid) {
            Some(flow) => format!("new transactions within the last {}", ms(view.now.since(flow.after))),
            None => "nothing new is known".to_owned(),
        };
        told.push(format!("the receiver of {server} {does}{error}; {new}"));
    }
    told
}
