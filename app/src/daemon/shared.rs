//! What the parts of a node share: handles, the published state, and the desk behind a short lock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use app_config::{Config, Node};
use app_link::Links;
use failover_core::{Command, Decision, Desk, Policy, Refusal, State, Timing, encode};
use failover_raft::{Handle, ProposeError, RaftStatus, Role};
use model::{Incarnation, NodeId};
use tokio::sync::watch;

use super::dns::Answers;
use super::machine::{Applied, Results};
use super::readings::Readings;
use super::settings::{InForce, Settings};
use crate::wire::SeenConfiguration;

/// Deadline of a proposal: a commit takes milliseconds, an election under one second.
pub const PROPOSE_WITHIN: Duration = Duration::from_secs(2);

/// See the module.
pub struct Shared {
    /// As the node started: for what never changes while it runs (cluster, folders, certificates).
    pub start: Arc<Config>,
    /// The person's file and the folder that paths in it are joined to.
    pub file: PathBuf,
    pub folder: PathBuf,
    pub own: Node,
    /// Life of the cluster that this node's log belongs to.
    pub incarnation: Incarnation,
    /// The configuration in force.
    pub in_force: InForce,
    pub links: Links,
    pub raft: Handle,
    pub applied: watch::Receiver<Applied>,
    /// What this node's DNS answers.
    pub answers: Answers,
    /// What its own probes of pool members saw last.
    pub readings: Readings,
    results: Results,
    pub timing: Timing,
    desk: Mutex<Desk>,
    /// The leader's last decision, for `status` and `explain`.
    pub decision: Mutex<Arc<Decision>>,
    /// What each node said last of the configuration it goes by.
    pub configured: Mutex<BTreeMap<NodeId, SeenConfiguration>>,
    /// Why the generation that is committed is not in force here.
    pub not_in_force: Mutex<Option<String>>,
}

/// What the composition root hands over once.
pub struct Parts {
    /// The configuration in force.
    pub in_force: InForce,
    /// The person's file.
    pub file: PathBuf,
    /// What paths in it are joined to.
    pub folder: PathBuf,
    /// This node.
    pub own: Node,
    /// Life of the cluster that its log belongs to.
    pub incarnation: Incarnation,
    /// What its DNS answers.
    pub answers: Answers,
    /// Where results of proposals are found.
    pub results: Results,
}

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Committed and applied.
    Applied,
    /// Committed and refused: nothing changed.
    Refused(Refusal),
    /// Not proposed.
    NotProposed(String),
    /// It may be committed, now, later or never.
    Unknown(String),
}

impl Shared {
    pub fn new(parts: Parts, links: Links, raft: Handle, applied: watch::Receiver<Applied>) -> Self {
        let settings = parts.in_force.get();
        Self {
            start: settings.config.clone(),
            file: parts.file,
            folder: parts.folder,
            own: parts.own,
            incarnation: parts.incarnation,
            links,
            raft,
            applied,
            answers: parts.answers,
            readings: Readings::new(&settings.config),
            results: parts.results,
            timing: settings.policy.timing,
            desk: Mutex::new(settings.policy.desk()),
            in_force: parts.in_force,
            decision: Mutex::default(),
            configured: Mutex::default(),
            not_in_force: Mutex::default(),
        }
    }

    /// The configuration in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.in_force.get()
    }

    /// Its configuration.
    pub fn config(&self) -> Arc<Config> {
        self.settings().config.clone()
    }

    /// Files what a node says of the configuration that it goes by.
    pub fn saw_configuration(&self, node: &NodeId, seen: &SeenConfiguration) {
        let mut all = self.configured.lock().expect("no holder of this lock panics");
        if all.get(node) != Some(seen) {
            all.insert(node.clone(), seen.clone());
        }
    }

    /// The desk, for a moment; never across an await.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().expect("no holder of this lock panics")
    }

    /// The state as applied here.
    pub fn state(&self) -> Arc<State> {
        self.applied.borrow().state.clone()
    }

    /// Raft's own view.
    pub fn raft_status(&self) -> RaftStatus {
        self.raft.status().borrow().clone()
    }

    /// What the configuration decided beforehand, with the sites that are a quorum by themselves at the moment.
    pub fn policy(&self) -> Policy {
        let settings = self.settings();
        let alone = settings.roster.alone(&self.raft.status().borrow().members);
        Policy { alone, ..settings.policy.clone() }
    }

    /// The term this node leads in.
    pub fn leading(&self) -> Option<u64> {
        let status = self.raft.status();
        let status = status.borrow();
        (status.role == Role::Leader && status.stopped.is_none()).then_some(status.term)
    }

    /// Proposes and waits for what it did.
    pub async fn propose(&self, command: &Command) -> Fate {
        let deadline = Instant::now() + PROPOSE_WITHIN;
        match self.raft.propose(encode(command), deadline).await {
            Ok(proposed) => {
                let results = self.results.lock().expect("no holder of this lock panics");
                match results.get(&proposed.index) {
                    Some(Ok(())) => Fate::Applied,
                    Some(Err(refusal)) => Fate::Refused(refusal.clone()),
                    None => Fate::Unknown("its result was forgotten".into()),
                }
            }
            Err(error @ (ProposeError::TimedOut | ProposeError::Unknown | ProposeError::Stopped { .. })) => {
                Fate::Unknown(error.to_string())
            }
            Err(error) => Fate::NotProposed(error.to_string()),
        }
    }
}
