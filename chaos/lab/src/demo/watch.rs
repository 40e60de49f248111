//! Notes every change of the cluster's own status while a run goes on, for the timeline.
//!
//! Nothing that is measured rests on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use model::Timestamp;

use crate::clock;
use crate::layout::Lab;
use crate::ready;
use crate::spec::LabSpec;
use crate::status_view::ClusterStatus;

/// Between two looks. Each look starts a process, which must not weigh on what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Watches until stopped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(Timestamp, String)>>,
}

impl Watch {
    /// Begins to watch.
    pub fn start(lab: &Lab, spec: &LabSpec) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let (lab, spec, stopped) = (lab.clone(), spec.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut seen: Vec<(Timestamp, String)> = Vec::new();
            while !stopped.load(Ordering::SeqCst) {
                let now = match ClusterStatus::ask(&lab, &spec) {
                    Ok(status) => ready::describe(&status),
                    Err(e) => format!("no status: {}", e.root_cause()),
                };
                if seen.last().is_none_or(|(_, last)| *last != now) {
                    seen.push((clock::now(), now));
                }
                std::thread::park_timeout(LOOK_EVERY);
            }
            seen
        });
        Watch { stop, thread }
    }

    /// Ends, and gives all changes.
    pub fn stop(self) -> Vec<(Timestamp, String)> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}
