//! The state machine behind Raft: decodes, applies, publishes the new state, keeps results for
//! proposers, and carries the audit chain.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use failover_core::{Event, Refusal, State, apply, decode};
use failover_raft::StateMachine;
use tokio::sync::watch;
use tracing::info;

use super::audit_file::AuditFile;
use crate::audit::Head;

/// Results of the newest entries that proposers may ask for. A proposer asks at once, so this is far
/// more than can be waited for.
const RESULTS_MAX: usize = 1_024;
/// Events kept for `explain`.
const EVENTS_MAX: usize = 256;

/// The state after an entry.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// The state.
    pub state: Arc<State>,
    /// The newest events, oldest first.
    pub events: Arc<VecDeque<Event>>,
    /// Where the audit chain stands; its lines are written.
    pub audit: Head,
}

/// What the newest entries did.
pub type Results = Arc<Mutex<BTreeMap<u64, Result<(), Refusal>>>>;

/// See the module.
pub struct Machine {
    state: State,
    events: VecDeque<Event>,
    applied: watch::Sender<Applied>,
    results: Results,
    /// Where the audit chain stands; part of every snapshot.
    chain: Head,
    audit: AuditFile,
}

/// Bytes of the state that every new cluster begins with.
pub fn genesis() -> Vec<u8> {
    to_bytes(&State::default(), &Head::default())
}

impl Machine {
    /// An empty machine and what it publishes.
    pub fn new(audit: AuditFile) -> (Self, watch::Receiver<Applied>) {
        let (applied, watched) = watch::channel(Applied::default());
        let machine = Self {
            state: State::default(),
            events: VecDeque::new(),
            applied,
            results: Results::default(),
            chain: Head::default(),
            audit,
        };
        (machine, watched)
    }

    /// Where results are found.
    pub fn results(&self) -> Results {
        self.results.clone()
    }

    fn publish(&self) {
        self.applied.send_replace(Applied {
            state: Arc::new(self.state.clone()),
            events: Arc::new(self.events.clone()),
            audit: self.chain.clone(),
        });
    }

    fn tell(&mut self, index: u64, event: Event) {
        info!(index, event = event.name(), detail = %serde_json::to_string(&event).unwrap_or_default(), "event");
        let (line, head) = self.chain.seal(index, serde_json::json!(event));
        self.audit.put(&line, &self.chain, &head);
        self.chain = head;
        self.events.push_back(event);
        while self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }
}

impl StateMachine for Machine {
    fn apply(&mut self, index: u64, data: &[u8]) {
        // An entry that cannot be read must stop this node: skipping it would make states differ.
        // The driver catches the panic, ends the role and keeps the reason in its status.
        let command = decode(data).unwrap_or_else(|error| panic!("entry {index}: {error}"));
        let result = apply(&mut self.state, command);
        let outcome = match result {
            Ok(events) => {
                for event in events {
                    self.tell(index, event);
                }
                Ok(())
            }
            Err(refusal) => {
                info!(index, %refusal, "command refused");
                Err(refusal)
            }
        };
        {
            let mut results = self.results.lock().expect("no holder of this lock panics");
            results.insert(index, outcome);
            while results.len() > RESULTS_MAX {
                results.pop_first();
            }
        }
        self.publish();
    }

    fn snapshot(&self) -> Vec<u8> {
        // What the snapshot lets Raft forget cannot be told again.
        self.audit.sync();
        to_bytes(&self.state, &self.chain)
    }

    fn restore(&mut self, data: &[u8]) {
        (self.state, self.chain) = from_bytes(data).unwrap_or_else(|why| panic!("snapshot: {why}"));
        self.audit.skip_to(&self.chain);
        self.publish();
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Envelope {
    v: u32,
    state: State,
    #[serde(default)]
    audit: Head,
}

fn to_bytes(state: &State, audit: &Head) -> Vec<u8> {
    let envelope = Envelope { v: 1, state: state.clone(), audit: audit.clone() };
    serde_json::to_vec(&envelope).expect("the state is always representable")
}

fn from_bytes(bytes: &[u8]) -> Result<(State, Head), String> {
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if envelope.v != 1 {
        return Err(format!("form {}; this binary reads form 1: upgrade this node", envelope.v));
    }
    Ok((envelope.state, envelope.audit))
}
