//! Tells how far this host's server is copied anew, while it is.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use failover_core::CopyReport;
use replication_mysql::{Deadline, Session, clone_progress};
use tokio::sync::mpsc;

use super::Local;
use super::host::Host;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// One look at a CLONE.
const LOOK: Duration = Duration::from_secs(1);

/// Does the work, and tells meanwhile.
pub async fn told<T>(host: &Arc<Host>, local: &mpsc::Sender<Local>, work: impl Future<Output = T>) -> T {
    let teller = tokio::spawn(tell(host.clone(), local.clone()));
    let end = work.await;
    teller.abort();
    // It may be telling just now: what it says must not come behind the end.
    let _ = teller.await;
    // Nobody is there to hear it when the guard ends.
    let _ = local.send(Local::Copy(None)).await;
    end
}

async fn tell(host: Arc<Host>, local: mpsc::Sender<Local>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut session = None;
    loop {
        every.tick().await;
        let progress = match &host.copies {
            Some(copies) => copies.progress(),
            None => Some(cloned(&host, &mut session).await),
        };
        if local.send(Local::Copy(progress)).await.is_err() {
            return;
        }
    }
}

/// On a session of its own: the one that clones is busy with it. Where nobody answers, the server stops and starts.
async fn cloned(host: &Host, session: &mut Option<Session>) -> CopyReport {
    let starting = CopyReport { phase: failover_core::CopyPhase::Starting, bytes: 0, expected: 0 };
    let deadline = Deadline::after(LOOK);
    if session.as_ref().is_none_or(Session::is_broken) {
        *session = Session::connect(&host.admin(), deadline).await.ok();
    }
    let Some(open) = session.as_mut() else { return starting };
    match clone_progress(open, deadline).await {
        Ok(Some(progress)) => CopyReport {
            phase: match progress.copied {
                true => failover_core::CopyPhase::Preparing,
                false => failover_core::CopyPhase::Copying,
            },
            bytes: progress.bytes,
            expected: progress.expected,
        },
        // It answers and counts nothing: performance_schema is off there, or may not be read.
        Ok(None) => CopyReport { phase: failover_core::CopyPhase::Copying, ..starting },
        Err(error) if error.is_surely_not_done() => {
            CopyReport { phase: failover_core::CopyPhase::Copying, ..starting }
        }
        Err(_) => starting,
    }
}
