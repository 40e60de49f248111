//! Looks at the cluster's own status again and again while a run goes on: for the timeline, and for
//! when the group is in `Sync` again. Nothing else that is measured rests on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use model::Timestamp;

use crate::clock;
use crate::cluster;
use crate::layout::Lab;
use crate::ready;
use crate::spec::LabSpec;
use crate::status_view::{ClusterStatus, NoQuorum};

/// Between two looks. Each look starts a process, which must not weigh on what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// One look.
#[derive(Debug, Clone)]
pub struct Look {
    /// When the question was asked.
    pub began: Timestamp,
    /// When the answer was there.
    pub at: Timestamp,
    /// The answer, for people.
    pub what: String,
    /// The epoch, if the group served in `Sync`.
    pub in_sync_at: Option<u64>,
    /// A server that waits for a person.
    pub quarantined: Option<String>,
}

/// Watches until stopped or dropped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    looks: Arc<Mutex<Vec<Look>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to watch.
    pub fn start(lab: &Lab, spec: &LabSpec) -> Watch {
        let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (lab, spec, stopped, seen) = (lab.clone(), spec.clone(), Arc::clone(&stop), Arc::clone(&looks));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let look = look(&lab, &spec);
                seen.lock().expect("no holder of the looks panics").push(look);
                std::thread::park_timeout(LOOK_EVERY);
            }
        });
        Watch { stop, looks, thread: Some(thread) }
    }

    /// When an answer to a question asked after `since` first said `Sync`, at `epoch` or a later one.
    pub fn in_sync_since(&self, since: Timestamp, epoch: u64) -> Option<Timestamp> {
        let looks = self.looks.lock().expect("no holder of the looks panics");
        let found = looks.iter().find(|l| l.began >= since && l.in_sync_at.is_some_and(|e| e >= epoch));
        found.map(|l| l.at)
    }

    /// The server that waits for a person, by an answer to a question asked after `since`.
    pub fn quarantined_since(&self, since: Timestamp) -> Option<String> {
        let looks = self.looks.lock().expect("no holder of the looks panics");
        looks.iter().filter(|l| l.began >= since).find_map(|l| l.quarantined.clone())
    }

    /// The last answer, to a question asked after `since`.
    pub fn last_since(&self, since: Timestamp) -> Option<String> {
        let looks = self.looks.lock().expect("no holder of the looks panics");
        looks.last().filter(|l| l.began >= since).map(|l| l.what.clone())
    }

    /// Ends, and gives the looks at which something had changed.
    pub fn stop(mut self) -> Vec<Look> {
        self.end();
        let mut looks = std::mem::take(&mut *self.looks.lock().expect("no holder of the looks panics"));
        looks.dedup_by(|later, earlier| later.what == earlier.what);
        looks
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A look that panicked has said so on standard error; the looks before it count.
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

fn look(lab: &Lab, spec: &LabSpec) -> Look {
    let began = clock::now();
    let (what, in_sync_at, quarantined) = match ClusterStatus::ask(lab, spec) {
        Ok(status) => {
            let group = status.group(cluster::GROUP);
            let in_sync = group.filter(|g| ready::back_in_sync(g, spec)).and_then(|g| g.epoch());
            (ready::describe(&status), in_sync, group.and_then(|g| g.quarantined()))
        }
        Err(e) if e.is::<NoQuorum>() => (e.to_string(), None, None),
        Err(e) => (format!("no status: {}", e.root_cause()), None, None),
    };
    Look { began, at: clock::now(), what, in_sync_at, quarantined }
}
