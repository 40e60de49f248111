//! Arming and disarming lossless semi-sync. When each is allowed is decided elsewhere: weakening is
//! committed before it is applied, strengthening is proven before it is committed (DESIGN §4).

use model::{ReplicaThread, SemiSyncReading};

use crate::act::Switch;
use crate::act::replica::{look, run};
use crate::deadline::Deadline;
use crate::outcome::{ActError, Outcome, Refusal, Stop};
use crate::read::{ReadError, SemiSync, look_semi_sync};
use crate::session::Session;

/// `rpl_semi_sync_source_timeout` when armed: the greatest the server takes, 49.7 days in
/// milliseconds. After it commits go on without an ack, silently; nothing waits that long, since an
/// absent acker is weakened by a committed decision within seconds.
pub const ACK_TIMEOUT_MS: u64 = 4_294_967_295;

/// Makes commits wait for `wait_count` acknowledgements, after the flush and before the commit.
///
/// Refused unless exactly `wait_count` semi-sync replicas are attached: fewer would stall the next
/// commit, and with more a count does not prove who acknowledged. The timeout and the wait point are
/// set and read back before it is switched on. Idempotent. Armed is not yet safe: a sentinel written
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
    let before = look_semi_sync(session, deadline).await?;
    if before.clients != wait_count {
        return Err(Refusal::SemiSyncClients { wanted: wait_count, connected: before.clients }.into());
    }
    let sql = format!(
        "SET GLOBAL rpl_semi_sync_source_timeout = {ACK_TIMEOUT_MS}, \
         GLOBAL rpl_semi_sync_source_wait_no_replica = ON, \
         GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC', \
         GLOBAL rpl_semi_sync_source_wait_for_replica_count = {wait_count}"
    );
    run(session, "set the terms of semi-sync", &sql, deadline).await?;
    check(&look_semi_sync(session, deadline).await?, wait_count)?;
    run(session, "switch semi-sync on", "SET GLOBAL rpl_semi_sync_source_enabled = ON", deadline).await?;
    let after = look_semi_sync(session, deadline).await?;
    check(&after, wait_count)?;
    if !after.source_enabled {
        return Err(read_back("rpl_semi_sync_source_enabled", "ON", "OFF"));
    }
    Ok(after.reading())
}

fn check(now: &SemiSync, wait_count: u32) -> Result<(), Stop> {
    if now.timeout_ms != ACK_TIMEOUT_MS {
        return Err(read_back("rpl_semi_sync_source_timeout", ACK_TIMEOUT_MS, now.timeout_ms));
    }
    if !now.wait_no_replica {
        return Err(read_back("rpl_semi_sync_source_wait_no_replica", "ON", "OFF"));
    }
    if now.wait_point != "AFTER_SYNC" {
        return Err(read_back("rpl_semi_sync_source_wait_point", "AFTER_SYNC", &now.wait_point));
    }
    if now.wait_count != wait_count {
        return Err(read_back("rpl_semi_sync_source_wait_for_replica_count", wait_count, now.wait_count));
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
        run(session, "switch semi-sync off", "SET GLOBAL rpl_semi_sync_source_enabled = OFF", deadline).await
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

async fn replica_side(session: &mut Session, to: Switch, deadline: Deadline) -> Result<(), Stop> {
    if !session.plugins().replica {
        return match to {
            Switch::On => Err(Refusal::Plugin { plugin: "rpl_semi_sync_replica" }.into()),
            Switch::Off => sync_at_leisure(session, deadline).await,
        };
    }
    let now = look_semi_sync(session, deadline).await?;
    let wanted = to == Switch::On;
    if wanted {
        run(session, "sync every event", "SET GLOBAL sync_relay_log = 1", deadline).await?;
    }
    let io = look(session, deadline).await?.replica.map_or(ReplicaThread::Stopped, |r| r.io);
    let runs = io != ReplicaThread::Stopped;
    let as_wanted =
        now.replica_enabled == wanted && now.replica_attached == wanted && now.relay_synced == wanted;
    if as_wanted {
        return Ok(());
    }
    // A receiver that still connects may have asked for semi-sync already; it is restarted as well.
    if runs {
        run(session, "stop the receiver", "STOP REPLICA IO_THREAD", deadline).await?;
    }
    match stopped(session, wanted, runs, deadline).await {
        Ok(()) => Ok(()),
        // The receiver is stopped now and was not before. It goes on, without acknowledging, and the
        // first error is the one to tell.
        Err(Stop::Failed(error)) if runs => {
            let off = "SET GLOBAL rpl_semi_sync_replica_enabled = OFF";
            let _ = run(session, "acknowledge nothing", off, deadline).await;
            let _ = run(session, "start the receiver", "START REPLICA IO_THREAD", deadline).await;
            Err(Stop::Unknown(error))
        }
        Err(other) => Err(other),
    }
}

/// While nothing is received.
async fn stopped(session: &mut Session, wanted: bool, runs: bool, deadline: Deadline) -> Result<(), Stop> {
    if wanted {
        crate::relay_log::sync(session, deadline).await?;
    }
    let word = if wanted { "ON" } else { "OFF" };
    let sql = format!("SET GLOBAL rpl_semi_sync_replica_enabled = {word}");
    run(session, "set the replica's semi-sync", &sql, deadline).await?;
    if !wanted {
        sync_at_leisure(session, deadline).await?;
    }
    if runs {
        run(session, "start the receiver", "START REPLICA IO_THREAD", deadline).await?;
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
