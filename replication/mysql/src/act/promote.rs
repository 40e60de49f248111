//! Making a replica the head of its own history.

use model::{GtidSet, ReplicaThread};

use crate::act::replica::{look, run};
use crate::act::stop::stop_replication;
use crate::deadline::Deadline;
use crate::outcome::{Outcome, Refusal, Stop};
use crate::session::Session;

/// What a promoted server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promoted {
    /// `gtid_executed` after the channel was removed: the point from which its own history goes on.
    pub executed: GtidSet,
}

/// Removes the replication channel of a server whose receiver is stopped and whose relay log is
/// drained, and leaves it read only: who may open it decides elsewhere.
///
/// Refused while the receiver runs (it could bring more after the look), while anything received is
/// not executed, and when the server takes writes though it still has a source: such a server has a
/// history that nobody ordered. Idempotent: without a channel there is nothing to do.
pub async fn promote(session: &mut Session, deadline: Deadline) -> Outcome<Promoted> {
    steps(session, deadline).await.into()
}

/// Takes a server off its source, receiver and all: of a primary that was turned round and is primary
/// again. What it received is applied first, as for [`promote`]; until then it is `Refused`.
pub async fn leave_source(session: &mut Session, deadline: Deadline) -> Outcome<Promoted> {
    async {
        run(session, "stop the receiver", session.words().stop_receiver, deadline).await?;
        steps(session, deadline).await
    }
    .await
    .into()
}

async fn steps(session: &mut Session, deadline: Deadline) -> Result<Promoted, Stop> {
    let channel = look(session, deadline).await?;
    let missing = channel.undrained();
    let Some(replica) = channel.replica else {
        return Ok(Promoted { executed: channel.executed });
    };
    if !channel.super_read_only {
        return Err(Refusal::Writable.into());
    }
    if replica.io != ReplicaThread::Stopped {
        return Err(Refusal::ReceiverRuns.into());
    }
    if !missing.is_empty() {
        return Err(match replica.sql {
            ReplicaThread::Stopped => Refusal::ApplierStopped { error: replica.sql_error },
            _ => Refusal::NotDrained { missing },
        }
        .into());
    }
    let words = session.words();
    stop_replication(session, deadline).await?;
    run(session, "remove the channel", words.reset_channel, deadline).await?;
    Ok(Promoted { executed: look(session, deadline).await?.executed })
}
