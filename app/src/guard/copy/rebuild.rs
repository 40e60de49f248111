//! A server is copied anew: fetched, prepared, exchanged, and its old data removed once it runs on the copy.
//!
//! `rebuild.json` in the guard's folder stands from before the exchange until the old data is gone. Whoever finds it,
//! this act or a guard that was started anew, brings it to its end first.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use failover_core::{ActEnd, CopyPhase, CopyReport};
use model::{GtidSet, ServerId};
use replication_mysql::{
    CopyPlace, Deadline, Exchange, Exchanged, MysqldProcess, Session, exchange, mark_copy, prepare, settle,
    stand_still, still_stands,
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tracing::{info, warn};

use super::super::host::Host;
use super::Copies;
use super::fetch::fetch;
use super::serve::WHOLE;

/// A look at the server, and stopping its replication.
const SHORT: Duration = Duration::from_secs(10);
/// A server that was killed is there again within this: it applies nothing, but its supervisor takes its time.
const START: Duration = Duration::from_secs(300);
/// The executor orders again at once what failed, a few hundred times: whatever stands against a copy now shall have
/// time to go.
const AGAIN: Duration = Duration::from_secs(10);
/// The first look for what was left unfinished: enough to end a process that stands still.
const FIRST: Duration = Duration::from_millis(200);
/// Each one of a guard that goes on: two looks at the server.
const EACH: Duration = Duration::from_secs(4);
/// The last one before another copy is begun.
const LATER: Duration = Duration::from_secs(60);

/// The file's form.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    v: u32,
    data: PathBuf,
    beside: PathBuf,
    mark: u64,
    state: GtidSet,
}

/// How a copy ended that is not there.
enum NotDone {
    /// The old data stands.
    Kept(anyhow::Error),
    /// The copy may be in its place; the old data is kept until it is known to be good.
    Perhaps(anyhow::Error),
}

/// Copies `donor` over this host's server, which takes no writes and was permitted to be copied over.
pub async fn rebuild(host: &Host, donor: &ServerId) -> ActEnd {
    let Some(copies) = &host.copies else {
        return ActEnd::Failed { why: "this server copies itself".into() };
    };
    let Ok(_alone) = timeout(SHORT, copies.busy.lock()).await else {
        return ActEnd::Failed { why: "an earlier copy is still being brought to its end".into() };
    };
    let ended = steps(host, copies, donor).await;
    copies.tell(None);
    if let Err(NotDone::Kept(_)) = &ended {
        clear(host).await;
    }
    if ended.is_err() {
        tokio::time::sleep(AGAIN).await;
    }
    match ended {
        Ok(state) => ActEnd::Done { reached: Some(state) },
        Err(NotDone::Kept(why)) => ActEnd::Failed { why: format!("{why:#}") },
        Err(NotDone::Perhaps(why)) => ActEnd::Unknown { why: format!("{why:#}") },
    }
}

async fn steps(host: &Host, copies: &Copies, donor: &ServerId) -> Result<GtidSet, NotDone> {
    finish(host, copies, LATER).await.map_err(NotDone::Perhaps)?;
    let (copy, process) = copied(host, copies, donor).await.map_err(NotDone::Kept)?;
    warn!(process = %process.start(), "the copy takes the data's place, and SIGKILL to the database");
    exchange(&process, &copy).await.map_err(|error| NotDone::Perhaps(error.into()))?;
    copies.tell(Some(CopyReport { phase: CopyPhase::Starting, bytes: 0, expected: 0 }));
    let at = copy.place.beside.display().to_string();
    finish(host, copies, START)
        .await
        .with_context(|| {
            format!("the copy is in place, and the old data is kept in {at} until it is seen to run")
        })
        .map_err(NotDone::Perhaps)?;
    info!(state = %copy.state, "the server runs on its copy, and its old data is gone");
    Ok(copy.state)
}

/// Up to the exchange, which is written down. An error says that the old data stands.
async fn copied(host: &Host, copies: &Copies, donor: &ServerId) -> Result<(Exchange, MysqldProcess)> {
    let place = CopyPlace::of(&host.files.data_dir)?;
    let mut session = Session::connect(&host.admin(), Deadline::after(SHORT)).await?;
    let standing = stand_still(&mut session, &place, Deadline::after(SHORT)).await?;
    // Copied and prepared: what comes behind fits into the hour that the runbook has.
    let whole = Deadline::after(WHOLE);
    let states = timeout(whole.left(), fetch(copies, donor, &place)).await;
    let states = states.unwrap_or_else(|_| bail!("not done within {WHOLE:?}"));
    let states = states.with_context(|| format!("copy {donor}"))?;
    copies.tell(Some(CopyReport { phase: CopyPhase::Preparing, bytes: 0, expected: 0 }));
    info!(%donor, "the copy has arrived and is made consistent");
    let state = prepare(&place, &copies.tools.backup, &standing.logs, &states, whole).await?;
    copies.tell(Some(CopyReport { phase: CopyPhase::Swapping, bytes: 0, expected: 0 }));
    let copy = Exchange { place, mark: rand::random(), state };
    mark_copy(&copy)?;
    let process = MysqldProcess::find(&host.files)?.context("no server works in the data directory")?;
    // The session of then may have been closed for having been silent.
    let mut session = Session::connect(&host.admin(), Deadline::after(SHORT)).await?;
    still_stands(&mut session, &standing, Deadline::after(SHORT)).await?;
    write(&copies.folder, &copy)?;
    Ok((copy, process))
}

/// Before this guard looks at its server: whatever an earlier one had begun to exchange is told apart, and a process
/// that stands still is woken or ended.
pub async fn settle_first(host: &Host) {
    let Some(copies) = &host.copies else { return };
    let _alone = copies.busy.lock().await;
    if let Err(why) = finish(host, copies, FIRST).await {
        info!(why = format!("{why:#}"), "a copy was left unfinished");
    }
}

/// Brings what was left behind to its end, whoever left it: a copy that never came so far that it was written down is
/// removed, and the old data behind one that did, once its server answers.
pub fn resume(host: &Arc<Host>) {
    let host = host.clone();
    tokio::spawn(async move {
        let Some(copies) = &host.copies else { return };
        let alone = copies.busy.lock().await;
        if matches!(written(&copies.folder), Ok(None)) {
            clear(&host).await;
        }
        drop(alone);
        let mut told = false;
        loop {
            tokio::time::sleep(SHORT).await;
            let _alone = copies.busy.lock().await;
            match finish(&host, copies, EACH).await {
                Ok(()) => told = false,
                Err(why) if !std::mem::replace(&mut told, true) => {
                    let why = format!("{why:#}");
                    warn!(why, "the server is not seen to run on its copy, and its old data is kept");
                }
                Err(_) => {}
            }
        }
    });
}

/// Nothing is written down, so what is beside the data is a copy that nobody will use.
async fn clear(host: &Host) {
    let Ok(place) = CopyPlace::of(&host.files.data_dir) else { return };
    if let Err(error) = place.clear().await {
        warn!(%error, "a copy that was not finished stays behind");
    }
}

/// What is written down is brought to its end, if that can be within this time.
async fn finish(host: &Host, copies: &Copies, within: Duration) -> Result<()> {
    let Some(copy) = written(&copies.folder)? else { return Ok(()) };
    let deadline = Deadline::after(within);
    let ended = settle(&copy, &host.files.pid_file, &host.admin(), deadline).await?;
    if ended == Exchanged::No {
        info!("an exchange that was begun was not done: the server has its old data");
    }
    let path = file(&copies.folder);
    fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
}

fn file(folder: &Path) -> PathBuf {
    folder.join("rebuild.json")
}

fn write(folder: &Path, copy: &Exchange) -> Result<()> {
    let (part, path) = (folder.join("rebuild.json.part"), file(folder));
    let CopyPlace { data, beside } = copy.place.clone();
    let document = Document { v: 1, data, beside, mark: copy.mark, state: copy.state.clone() };
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&part)?;
        file.write_all(&serde_json::to_vec_pretty(&document)?)?;
        file.sync_all()?;
        fs::rename(&part, &path)?;
        File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("write {}", path.display()))
}

fn written(folder: &Path) -> Result<Option<Exchange>> {
    let path = file(folder);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("read {}", path.display())),
    };
    let Document { v, data, beside, mark, state } =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    if v != 1 {
        bail!("{} has form {v}; this binary reads form 1: upgrade this guard", path.display());
    }
    Ok(Some(Exchange { place: CopyPlace { data, beside }, mark, state }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_read_again_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(written(folder.path()).unwrap(), None);
        let place = CopyPlace { data: "/d/mysql".into(), beside: "/d/mysql.twofold-copy".into() };
        let state = "00000000-6d61-80db-8000-000000000002:1-9".parse().unwrap();
        let copy = Exchange { place, mark: u64::MAX, state };
        write(folder.path(), &copy).unwrap();
        assert_eq!(written(folder.path()).unwrap(), Some(copy));
        fs::write(file(folder.path()), "{").unwrap();
        assert!(written(folder.path()).unwrap_err().to_string().contains("damaged"));
    }
}
