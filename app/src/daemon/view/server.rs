//! One database server, as operators are shown it.

use std::time::Duration;

use app_api::v1::{ReplicationStatus, ServerDiagnosis, ServerStatus};
use failover_core::{Facts, Group, Process, Promotion, ServerFacts};
use model::{AccountsReading, GtidSet, ReplicaReading, ReplicaThread, ServerId, Timestamp};

use super::ms;

/// As last reported; without diagnoses, which the leader alone can tell.
pub(super) fn shown(
    g: &Group,
    id: &ServerId,
    facts: &Facts,
    fresh_within: Duration,
    now: Timestamp,
) -> ServerStatus {
    let authority = g.authority.as_ref();
    let known = facts.servers.get(id);
    let heard = known.is_some_and(|f| now.since(f.received) <= fresh_within);
    let reading = known.and_then(|f| f.report.reading.as_ref());
    let primary = authority.and_then(|a| facts.servers.get(&a.primary.server));
    let is_primary = authority.is_some_and(|a| a.primary.server == *id);
    let joined = authority.is_some_and(|a| {
        reading
            .and_then(|r| r.replica.as_ref())
            .is_some_and(|r| r.source_uuid.as_ref() == Some(&a.primary.uuid))
    });
    let role = if g.returns.contains_key(id) {
        "quarantined"
    } else if is_primary {
        if authority.is_some_and(|a| a.phase.grants()) { "primary" } else { "candidate" }
    } else if authority.is_some_and(|a| a.acker_set.iter().any(|x| x.server == *id)) {
        "acker"
    } else if !heard {
        "unknown"
    } else if joined {
        "replica"
    } else {
        "fenced"
    };
    let behind = match (primary.and_then(|f| f.report.reading.as_ref()), reading) {
        (Some(p), Some(r)) if !is_primary => Some(p.gtid_executed.subtract(&r.gtid_held()).count()),
        _ => None,
    };
    // Zero comes from a guard that does not count them yet.
    let counted = reading.filter(|r| r.max_connections > 0);
    ServerStatus {
        name: id.to_string(),
        site: g.site_of(id).map(ToString::to_string).unwrap_or_default(),
        role: role.into(),
        heard_ms: known.map(|f| ms(now.since(f.received))),
        process: match known.filter(|_| heard).map(|f| f.report.process) {
            Some(Process::Running { .. }) => "running",
            Some(Process::Gone { .. }) => "gone",
            Some(Process::Unseen) | None => "unseen",
        }
        .into(),
        uuid: reading.map(|r| r.server_uuid.to_string()),
        gtid_executed: reading.map(|r| r.gtid_executed.to_string()),
        behind,
        unapplied: reading
            .and_then(|r| r.replica.as_ref().map(|x| x.gtid_received.subtract(&r.gtid_executed)))
            .map(|set: GtidSet| set.count()),
        note: note(g, id, known),
        promotion: None,
        writable: reading.map(|r| !r.read_only),
        connections: counted.map(|r| r.connections),
        max_connections: counted.map(|r| r.max_connections),
        kine_revision: reading.and_then(|r| r.kine).map(|kine| kine.revision),
        accounts: reading.and_then(|r| r.accounts.as_ref()).map(|accounts| {
            match accounts {
                AccountsReading::Awaited => "awaited",
                AccountsReading::Unreadable => "unreadable",
                AccountsReading::Read { .. } => "read",
            }
            .into()
        }),
        replication: reading.and_then(|r| r.replica.as_ref()).map(replication),
        diagnoses: vec![],
    }
}

/// What the leader finds the matter with it.
pub(super) fn diagnoses(
    explained: Option<&failover_core::Explanation>,
    id: &ServerId,
) -> Vec<ServerDiagnosis> {
    let found = explained.iter().flat_map(|e| &e.servers).filter(|f| f.server == *id);
    let told = found.map(|f| ServerDiagnosis {
        name: f.diagnosis.name().into(),
        because: f.because.clone(),
        next: f.diagnosis.next().into(),
    });
    told.collect()
}

fn replication(channel: &ReplicaReading) -> ReplicationStatus {
    let thread = |state| match state {
        ReplicaThread::Running => "running".to_owned(),
        ReplicaThread::Connecting => "connecting".to_owned(),
        ReplicaThread::Stopped => "stopped".to_owned(),
    };
    ReplicationStatus {
        source: format!("{}:{}", channel.source_host, channel.source_port),
        receiver: thread(channel.io),
        applier: thread(channel.sql),
        lag_s: channel.lag_seconds,
        delay_s: channel.delay_s,
        filters: channel.filters.clone(),
        other_channels: channel.other_channels,
    }
}

/// As it is written; nothing of a server of which nothing is.
pub(super) fn promotion(wanted: Promotion) -> Option<String> {
    match wanted {
        Promotion::Prefer => Some("prefer".into()),
        Promotion::Neutral => None,
        Promotion::MustNot => Some("must-not".into()),
    }
}

fn note(g: &Group, id: &ServerId, known: Option<&ServerFacts>) -> Option<String> {
    if let Some(waiting) = g.returns.get(id) {
        return Some(format!("{}: {}", waiting.reason.why, waiting.reason.evidence.join("; ")));
    }
    let replica = known?.report.reading.as_ref()?.replica.as_ref()?;
    if !replica.sql_error.is_empty() {
        return Some(format!("applier: {}", replica.sql_error));
    }
    (!replica.io_error.is_empty()).then(|| format!("receiver: {}", replica.io_error))
}
