//! The copy takes the place of the data, and the old data goes once a server runs on the copy.
//!
//! Whoever starts the server again knows nothing of this and may do so at any moment after its end. So the directories
//! change places while the process stands still, in one step (rename(2), RENAME_EXCHANGE), and then it is killed:
//! every process that begins afterwards begins in the copy.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;
use std::time::Duration;

use model::{GtidSet, ReplicaReading, ReplicaThread};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{CopyError, CopyPlace, file};
use crate::act::replica::look;
use crate::act::stop::stop_replication;
use crate::deadline::Deadline;
use crate::endpoint::Endpoint;
use crate::outcome::{ActError, Stop};
use crate::process::{MysqldProcess, ServerFiles};
use crate::session::Session;

/// In the copy; its content tells it from the old data.
const MARK: &str = ".twofold-copied";
/// A process that is not stopped within this waits for its disk.
const PAUSE: Duration = Duration::from_secs(5);
/// One that was killed is gone within this.
const DEATH: Duration = Duration::from_secs(10);
/// Between two looks for a new process.
const TICK: Duration = Duration::from_millis(200);
/// One look at it.
const LOOK: Duration = Duration::from_secs(2);

/// A server that is to be copied over, as it stood when its copy began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    executed: GtidSet,
    replica: Option<ReplicaReading>,
    /// The base name of its binary logs.
    pub logs: String,
}

/// One exchange, as it is written down before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What changes places.
    pub place: CopyPlace,
    /// Names this copy and no other.
    pub mark: u64,
    /// What the copy has.
    pub state: GtidSet,
}

/// What became of an exchange that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchanged {
    /// It was not done: the data directory is what it was.
    No,
    /// It is done, the server runs on the copy, and the old data is gone.
    Done,
}

/// Stops replication of a server that takes no writes, and learns how it stands. It stays as it is until its copy is
/// there; [`still_stands`] tells. Refused where part of its data lies elsewhere.
pub async fn stand_still(
    session: &mut Session,
    place: &CopyPlace,
    deadline: Deadline,
) -> Result<Standing, CopyError> {
    let logs = place.holds_all(session, deadline).await?;
    stop_replication(session, deadline).await.map_err(stopped)?;
    let channel = look(session, deadline).await?;
    if !channel.super_read_only {
        return Err(CopyError::Changed { what: "it takes writes" });
    }
    Ok(Standing { executed: channel.executed, replica: channel.replica, logs })
}

/// Nobody has promoted, repointed or started it meanwhile, and nothing was written to it.
pub async fn still_stands(
    session: &mut Session,
    standing: &Standing,
    deadline: Deadline,
) -> Result<(), CopyError> {
    let channel = look(session, deadline).await?;
    let source = |r: &ReplicaReading| (r.source_host.clone(), r.source_port, r.source_uuid.clone());
    let runs = |r: &ReplicaReading| r.io != ReplicaThread::Stopped || r.sql != ReplicaThread::Stopped;
    let what = if !channel.super_read_only {
        "it takes writes"
    } else if channel.executed != standing.executed {
        "it has other transactions"
    } else if channel.replica.as_ref().is_some_and(runs) {
        "it replicates"
    } else if channel.replica.as_ref().map(source) != standing.replica.as_ref().map(source) {
        "it has another source"
    } else {
        return Ok(());
    };
    Err(CopyError::Changed { what })
}

fn stopped(stop: Stop) -> CopyError {
    match stop {
        Stop::Failed(ActError::Sql(error)) | Stop::Unknown(ActError::Sql(error)) => error.into(),
        Stop::Failed(ActError::Read(error)) | Stop::Unknown(ActError::Read(error)) => error.into(),
        _ => CopyError::Changed { what: "its replication does not stop" },
    }
}

/// Marks the copy, so that it can be told from the data by [`settle`]. Before the exchange is written down.
pub fn mark_copy(exchange: &Exchange) -> Result<(), CopyError> {
    let beside = &exchange.place.beside;
    let path = beside.join(MARK);
    let write = || {
        fs::write(&path, exchange.mark.to_string())?;
        let like = fs::metadata(beside)?;
        lchown(&path, Some(like.uid()), Some(like.gid()))?;
        fs::File::open(&path)?.sync_all()?;
        fs::File::open(beside)?.sync_all()
    };
    write().map_err(|e| file("write", &path, e))
}

/// Lets the copy take the data's place, and kills the server. It was written down before. An error says that it was not
/// done, and then the server runs on, or is started again, on its old data.
pub async fn exchange(process: &MysqldProcess, exchange: &Exchange) -> Result<(), CopyError> {
    let place = &exchange.place;
    process.pause(Deadline::after(PAUSE)).await?;
    if let Err(error) = renameat_with(CWD, &place.data, CWD, &place.beside, RenameFlags::EXCHANGE) {
        process.resume()?;
        return Err(file("exchange with its copy", &place.data, error.into()));
    }
    // Not woken whatever happens: from here on it would work in directories of two servers.
    let killed = process.kill_and_wait(Deadline::after(DEATH)).await;
    if let Some(parent) = place.data.parent() {
        fs::File::open(parent).and_then(|f| f.sync_all()).map_err(|e| file("sync", parent, e))?;
    }
    Ok(killed?)
}

/// The copy is where the data was.
fn is_exchanged(exchange: &Exchange) -> bool {
    let found = fs::read_to_string(exchange.place.data.join(MARK)).unwrap_or_default();
    found == exchange.mark.to_string()
}

/// Brings an exchange that was written down to its end, whoever began it: one that was not done is called off, and of
/// one that was done the old data goes, once a server on the copy has been read and has what the copy had.
pub async fn settle(
    exchange: &Exchange,
    pid_file: &Path,
    admin: &Endpoint,
    deadline: Deadline,
) -> Result<Exchanged, CopyError> {
    let place = &exchange.place;
    if !is_exchanged(exchange) {
        let files = ServerFiles { pid_file: pid_file.to_owned(), data_dir: place.data.clone() };
        if let Some(process) = MysqldProcess::find(&files)? {
            // It may have been stopped for an exchange whose author died.
            process.resume()?;
        }
        return Ok(Exchanged::No);
    }
    // The old process, if its end was not seen: it is never to wake.
    let old = ServerFiles { pid_file: pid_file.to_owned(), data_dir: place.beside.clone() };
    if place.beside.is_dir()
        && let Some(process) = MysqldProcess::find(&old)?
    {
        process.kill_and_wait(deadline.within(DEATH)).await?;
    }
    loop {
        match executed(admin, deadline.within(LOOK)).await {
            Ok(executed) if executed.contains(&exchange.state) => break,
            Ok(_) => {
                return Err(CopyError::Changed { what: "the server on the copy has less than the copy" });
            }
            Err(_) if deadline.left().is_zero() => {
                return Err(CopyError::Timeout { doing: "wait for the server to start on the copy" });
            }
            Err(_) => tokio::time::sleep(TICK.min(deadline.left())).await,
        }
    }
    place.clear().await?;
    let mark = place.data.join(MARK);
    fs::remove_file(&mark).map_err(|e| file("remove", &mark, e))?;
    Ok(Exchanged::Done)
}

async fn executed(admin: &Endpoint, deadline: Deadline) -> Result<GtidSet, CopyError> {
    let mut session = Session::connect(admin, deadline).await?;
    Ok(look(&mut session, deadline).await?.executed)
}
