//! What the parts of a node share: handles, the published state, and the desk behind a short lock.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use app_config::{Config, Node};
use app_link::Links;
use failover_core::{
    AsyncFailover, Command, Decision, Defects, Desk, FailoverMode, GroupPolicy, Policy, Refusal, State,
    Timing, encode,
};
use failover_raft::{Handle, ProposeError, RaftStatus, Role};
use tokio::sync::watch;

use super::dns::Answers;
use super::machine::{Applied, Results};
use super::readings::Readings;
use super::roster::Roster;

/// Deadline of a proposal: a commit takes milliseconds, an election under one second.
pub const PROPOSE_WITHIN: Duration = Duration::from_secs(2);

/// See the module.
pub struct Shared {
    pub config: Arc<Config>,
    pub own: Node,
    pub roster: Arc<Roster>,
    pub links: Links,
    pub raft: Handle,
    pub applied: watch::Receiver<Applied>,
    /// What this node's DNS answers.
    pub answers: Answers,
    /// What its own probes of pool members saw last.
    pub readings: Readings,
    results: Results,
    pub timing: Timing,
    pub policy: Policy,
    desk: Mutex<Desk>,
    /// The leader's last decision, for `status` and `explain`.
    pub decision: Mutex<Arc<Decision>>,
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
    #[expect(clippy::too_many_arguments, reason = "the composition root hands each part over once")]
    pub fn new(
        config: Arc<Config>,
        own: Node,
        roster: Arc<Roster>,
        links: Links,
        raft: Handle,
        applied: watch::Receiver<Applied>,
        answers: Answers,
        results: Results,
        timing: Timing,
        defects: Defects,
    ) -> Self {
        let policy = policy(&config, timing, defects);
        let desk = Mutex::new(policy.desk());
        let readings = Readings::new(&config);
        Self {
            config,
            own,
            roster,
            links,
            raft,
            applied,
            answers,
            readings,
            results,
            timing,
            policy,
            desk,
            decision: Mutex::default(),
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

fn policy(config: &Config, timing: Timing, defects: Defects) -> Policy {
    let groups = config
        .groups()
        .values()
        .map(|g| {
            let failover = match g.failover {
                app_config::Failover::Automatic => FailoverMode::Automatic,
                app_config::Failover::Manual => FailoverMode::Manual,
            };
            let async_failover = match g.async_failover {
                app_config::AsyncFailover::Refuse => AsyncFailover::Refuse,
                app_config::AsyncFailover::Allow => AsyncFailover::Allow,
            };
            let prefer = Some(g.prefer.clone());
            let fence_max = g.timing.fence_max;
            (g.id.clone(), GroupPolicy { failover, async_failover, prefer, fence_max })
        })
        .collect();
    let sites = config.sites().values().filter(|s| config.nodes().values().any(|n| n.site == s.id)).count();
    Policy { timing, groups, sites, defects }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: W of a group counts what its ladder may take, and that of another does not. Method: the
    /// smallest configuration with a second group behind the ladder.
    #[test]
    fn a_group_waits_for_what_its_ladder_may_take() {
        let text = include_str!("../../config/testdata/smallest.yaml");
        let config =
            |text: &str| app_config::check(text, std::path::Path::new("/")).config.expect("it is well");
        let waits = |text: &str| {
            let config = config(text);
            let policy = policy(&config, crate::links::timing(&config.timing()), Defects::NONE);
            let max = policy.groups.values().map(|g| policy.timing.wait_after(g.fence_max)).max();
            (max.expect("it has a group"), config.groups().values().map(|g| g.timing.wait()).max())
        };
        let (gated, said) = waits(text);
        assert_eq!(Some(gated), said, "as `check` prints it");
        let (waits, said) = waits(&text.replace("192.0.2.11", "192.0.2.11, fence: {ladder: 2s}"));
        assert_eq!(Some(waits), said, "as `check` prints it");
        assert!(waits > gated + std::time::Duration::from_secs(2));
    }
}
