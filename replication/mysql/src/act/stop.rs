//! Stopping receiver and applier for good, also where the receiver was stopped within a transaction.
//!
//! The relay log then ends with a part of one, which is in no set of received transactions and will never be
//! whole. MySQL's applier, told to stop, waits a minute for the rest ("being stopped in the middle of assigning a
//! group of events; deferring to exit"), and a promotion with it. Killed, and gone before it is told, it does not
//! wait: the part is rolled back.

use std::time::Duration;

use model::ReplicaThread;

use crate::act::client::{GONE, classify};
use crate::act::replica::{look, run};
use crate::deadline::Deadline;
use crate::outcome::Stop;
use crate::session::Session;

/// What the coordinator of appliers says in the process list while it has nothing to hand on, waits for its
/// workers, or reads. A worker says none of these.
const COORDINATING: [&str; 3] = ["has read all relay log", "workers to process", "event from the relay log"];

/// Between two looks whether it is gone.
const TICK: Duration = Duration::from_millis(2);

/// Stops both threads. What was received whole and not applied is for the caller to have looked at.
pub(crate) async fn stop_replication(session: &mut Session, deadline: Deadline) -> Result<(), Stop> {
    let words = session.words();
    if words.waits_for_the_rest {
        run(session, "stop the receiver", words.stop_receiver, deadline).await?;
        if ends_within_a_transaction(session, deadline).await? && kill_the_applier(session, deadline).await? {
            // Told to stop before it has seen that it was killed, it would wait all the same.
            while look(session, deadline).await?.replica.is_some_and(|r| r.sql == ReplicaThread::Running) {
                tokio::time::sleep(TICK.min(deadline.left())).await;
            }
        }
    }
    run(session, "stop replication", words.stop_replica, deadline).await
}

/// The receiver, which is stopped, wrote further than the applier has come: a part of a transaction, or
/// transactions of which the applier has not said yet that they are done.
async fn ends_within_a_transaction(session: &mut Session, deadline: Deadline) -> Result<bool, Stop> {
    let sets = session.ask("read the replication channel", session.words().replica_status, deadline).await?;
    for row in sets.first().map_or(&[][..], Vec::as_slice) {
        if row.text("Channel_Name")?.is_empty() && row.text("Replica_SQL_Running")? == "Yes" {
            let read = (row.text("Source_Log_File")?, row.text("Read_Source_Log_Pos")?);
            return Ok(read != (row.text("Relay_Source_Log_File")?, row.text("Exec_Source_Log_Pos")?));
        }
    }
    Ok(false)
}

/// Says whether there was one to kill.
async fn kill_the_applier(session: &mut Session, deadline: Deadline) -> Result<bool, Stop> {
    let mut killed = false;
    let sets = session.ask("list the threads", "SHOW PROCESSLIST", deadline).await?;
    for row in sets.first().map_or(&[][..], Vec::as_slice) {
        let thread = classify(session, row)?;
        let coordinates = COORDINATING.iter().any(|state| thread.state.contains(state));
        if thread.user != "system user" || !coordinates {
            continue;
        }
        match session.run("end the applier", &format!("KILL CONNECTION {}", thread.id), deadline).await {
            Err(error) if error.code() != Some(GONE) => return Err(error.into()),
            _ => killed = true,
        }
    }
    Ok(killed)
}
