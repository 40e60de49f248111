//! Arming and disarming lossless semi-sync. When each is allowed is decided elsewhere: weakening is
//! committed before it is applied, strengthening is proven before it is committed (DESIGN §4).

use model::{ACK_TIMEOUT_MS, ReplicaThread, SemiSyncReading};

use crate::act::Switch;
use crate::act::replica::{look, run};
use crate::deadline::Deadline;
use crate::dialect::SourceNames;
use crate::outcome::{ActError, Outcome, Refusal, Stop};
use crate::read::{ReadError, SemiSync, look_semi_sync};
use crate::session::Session;

/// Makes commits wait for `wait_count` acknowledgements, after the flush and before the commit.
///
/// Refused unless exactly `wait_count` semi-sync replicas are attached: fewer would stall the next
/// commit, and with more a count does not prove who acknowledged. The timeout and the wait point are
/// set and read back before it is switched on; where it is on already they are set whoever is attached, since a timeout that
/// somebody set by hand would end the wait of whoever begins to wait under it. Idempotent. Armed is not yet safe: a sentinel written
/// afterwards proves that the ackers have everything up to it.
pub async fn arm_source_semi_sync(
    session: &mut Session,
    wait_count: u32,
    deadline: Deadline,
) -> Outcome<SemiSyncReading> {
    arm(session, wait_count, deadline).await.into()
}

async fn arm(session: &mut Session, wait_count: u32, deadline: Deadline) -> Result<SemiSyncReading, Stop> {
    assert!(wait_count >= 1, "semi-sync with no acknowledgement is asynchronous; disarm it instead");
    if !session.plugins().source {
        return Err(Refusal::Plugin { plugin: "rpl_semi_sync_source" }.into());
    }
    let source = &session.words().source;
    if source.wait_count.is_none() && wait_count != 1 {
        return Err(Refusal::WaitCount { wanted: wait_count }.into());
    }
    let before = look_semi_sync(session, deadline).await?;
    if before.source_enabled && (before.timeout_ms != ACK_TIMEOUT_MS || !before.wait_no_replica) {
        run(session, "have commits wait for acks for ever", &patience(source), deadline).await?;
    }
    if before.clients != wait_count {
        return Err(Refusal::SemiSyncClients { wanted: wait_count, connected: before.clients }.into());
    }
    run(session, "set the terms of semi-sync", &terms(source, wait_count), deadline).await?;
    check(source, &look_semi_sync(session, deadline).await?, wait_count)?;
    let on = format!("SET GLOBAL {} = ON", source.enabled);
    run(session, "switch semi-sync on", &on, deadline).await?;
    let after = look_semi_sync(session, deadline).await?;
    check(source, &after, wait_count)?;
    if !after.source_enabled {
        return Err(read_back(source.enabled, "ON", "OFF"));
    }
    Ok(after.reading())
}

fn patience(source: &SourceNames) -> String {
    let SourceNames { timeout, wait_no_replica, .. } = source;
    format!("SET GLOBAL {timeout} = {ACK_TIMEOUT_MS}, GLOBAL {wait_no_replica} = ON")
}

fn terms(source: &SourceNames, wait_count: u32) -> String {
    let terms = format!("{}, GLOBAL {} = 'AFTER_SYNC'", patience(source), source.wait_point);
    match source.wait_count {
        Some(name) => format!("{terms}, GLOBAL {name} = {wait_count}"),
        None => terms,
    }
}

fn check(source: &SourceNames, now: &SemiSync, wait_count: u32) -> Result<(), Stop> {
    if now.timeout_ms != ACK_TIMEOUT_MS {
        return Err(read_back(source.timeout, ACK_TIMEOUT_MS, now.timeout_ms));
    }
    if !now.wait_no_replica {
        return Err(read_back(source.wait_no_replica, "ON", "OFF"));
    }
    if now.wait_point != "AFTER_SYNC" {
        return Err(read_back(source.wait_point, "AFTER_SYNC", &now.wait_point));
    }
    if let Some(name) = source.wait_count.filter(|_| now.wait_count != wait_count) {
        return Err(read_back(name, wait_count, now.wait_count));
    }
    Ok(())
}

fn read_back(name: &'static str, wanted: impl ToString, found: impl ToString) -> Stop {
    Stop::Failed(ActError::ReadBack { name, wanted: wanted.to_string(), found: found.to_string() })
}

/// Makes commits wait no more. **All that wait now are told OK though no replica has them**: only
/// after `Async` is committed, and never to get a fence through. Idempotent.
pub async fn disarm_source_semi_sync(session: &mut Session, deadline: Deadline) -> Outcome {
    async {
        if !session.plugins().source {
            return Ok(());
        }
        let off = format!("SET GLOBAL {} = OFF", session.words().source.enabled);
        run(session, "switch semi-sync off", &off, deadline).await
    }
    .await
    .into()
}

/// `sync_relay_log` of a replica that acknowledges nothing: the server's default. A transaction is
/// some five events, and 1 syncs each of them, so an acker receives several times slower.
const RELAY_SYNC_AT_LEISURE: u32 = 10_000;

/// Makes this replica acknowledge, or not. The receiver tells the source when it attaches, so it is
/// restarted **if it runs**; one that is stopped stays stopped (a fence may have stopped it).
///
/// Before it acknowledges, `sync_relay_log` is 1 and all that was received is on disk: an ack says
/// that everything up to it would survive a power cut. Afterwards it is synced at leisure.
///
/// When the call breaks in the middle the receiver may be left stopped: the answer is then
/// `Unknown`, and whoever may start it starts it.
pub async fn replica_semi_sync(session: &mut Session, to: Switch, deadline: Deadline) -> Outcome {
    replica_side(session, to, deadline).await.into()
}

pub(crate) async fn replica_side(session: &mut Session, to: Switch, deadline: Deadline) -> Result<(), Stop> {
    if !session.plugins().replica {
        return match to {
            Switch::On => Err(Refusal::Plugin { plugin: "rpl_semi_sync_replica" }.into()),
            Switch::Off => sync_at_leisure(session, deadline).await,
        };
    }
    let words = session.words();
    let now = look_semi_sync(session, deadline).await?;
    let wanted = to == Switch::On;
    if wanted && !words.before_acknowledging.is_empty() {
        run(session, "bound the receiver's stop", words.before_acknowledging, deadline).await?;
    }
    if wanted {
        run(session, "sync every event", "SET GLOBAL sync_relay_log = 1", deadline).await?;
    }
    let replica = look(session, deadline).await?.replica;
    let runs = replica.as_ref().is_some_and(|r| r.io != ReplicaThread::Stopped);
    let as_wanted =
        now.replica_enabled == wanted && now.replica_attached == wanted && now.relay_synced == wanted;
    if as_wanted {
        return Ok(());
    }
    // Without its applier a receiver would start anew by dropping what was not applied.
    let stuck = replica.filter(|r| words.drops_relay_log && runs && r.sql == ReplicaThread::Stopped);
    if let Some(replica) = stuck {
        return Err(Refusal::ApplierStopped { error: replica.sql_error }.into());
    }
    // A receiver that still connects may have asked for semi-sync already; it is restarted as well.
    if runs {
        run(session, "stop the receiver", words.stop_receiver, deadline).await?;
    }
    match stopped(session, wanted, runs, deadline).await {
        Ok(()) => Ok(()),
        // The receiver is stopped now and was not before. It goes on, without acknowledging, and the
        // first error is the one to tell.
        Err(Stop::Failed(error)) if runs => {
            let off = format!("SET GLOBAL {} = OFF", words.replica_enabled);
            let _ = run(session, "acknowledge nothing", &off, deadline).await;
            let _ = run(session, "start the receiver", words.start_receiver, deadline).await;
            Err(Stop::Unknown(error))
        }
        Err(other) => Err(other),
    }
}

/// While nothing is received.
async fn stopped(session: &mut Session, wanted: bool, runs: bool, deadline: Deadline) -> Result<(), Stop> {
    let words = session.words();
    // What a server drops at its next start need not be on the disk before.
    if wanted && !words.drops_relay_log {
        crate::relay_log::sync(session, deadline).await?;
    }
    let word = if wanted { "ON" } else { "OFF" };
    let sql = format!("SET GLOBAL {} = {word}", words.replica_enabled);
    run(session, "set the replica's semi-sync", &sql, deadline).await?;
    if !wanted {
        sync_at_leisure(session, deadline).await?;
    }
    if runs {
        run(session, "start the receiver", words.start_receiver, deadline).await?;
    }
    Ok(())
}

/// A server before 9 does not cut a torn relay log at its start, so it goes on syncing (docs/design/0008).
async fn sync_at_leisure(session: &mut Session, deadline: Deadline) -> Result<(), Stop> {
    let period = if session.dialect().cuts_torn_relay_logs() { RELAY_SYNC_AT_LEISURE } else { 1 };
    let sql = format!("SET GLOBAL sync_relay_log = {period}");
    run(session, "sync at leisure", &sql, deadline).await
}

/// The semi-sync counters alone: cheaper than a whole reading while a sentinel waits.
pub async fn semi_sync_reading(
    session: &mut Session,
    deadline: Deadline,
) -> Result<SemiSyncReading, ReadError> {
    Ok(look_semi_sync(session, deadline).await?.reading())
}
