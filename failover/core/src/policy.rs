//! What the operators decided beforehand. Resolved from the configuration; not replicated yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{GroupId, ServerId, SiteId};

use crate::{Defects, Desk, Timing};

/// Whether a group may be moved without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailoverMode {
    /// By twofold itself.
    Automatic,
    /// By a person only.
    Manual,
}

/// Whether an unplanned move may lose acknowledged writes without a person's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsyncFailover {
    /// Hold until somebody accepts the stated loss.
    Refuse,
    /// Move (with a confirmed fence, always).
    Allow,
}

/// What an administrator wants of a server when a primary is chosen (orchestrator's promotion rules).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Promotion {
    /// Before others, where nothing is lost by it.
    Prefer,
    /// As it comes.
    #[default]
    Neutral,
    /// Never: by nobody, and its acks do not count.
    MustNot,
}

/// Policy of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPolicy {
    /// Move by itself?
    pub failover: FailoverMode,
    /// Even in `Async`?
    pub async_failover: AsyncFailover,
    /// Site preferred at the first start.
    pub prefer: Option<SiteId>,
    /// `F_max`: what a holder without a gate may need after its lease ran out, part of its `T_H`; zero
    /// where every server has a gate.
    pub fence_max: Duration,
    /// Accounts, as `user@host`, that may hold rights by which a client could undo what is proven.
    pub privileged_accounts: BTreeSet<String>,
    /// Servers that are not neutral.
    pub promotion: BTreeMap<ServerId, Promotion>,
}

impl GroupPolicy {
    /// What is wanted of a server.
    #[must_use]
    pub fn promotion(&self, server: &ServerId) -> Promotion {
        self.promotion.get(server).copied().unwrap_or_default()
    }
}

/// Policy of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Timing.
    pub timing: Timing,
    /// Each group's.
    pub groups: BTreeMap<GroupId, GroupPolicy>,
    /// Number of sites that vote, for the quorum of vantages.
    pub sites: usize,
    /// Sites whose voters alone are a quorum. Where leases do not end, only these may be in `Sync`: any other
    /// could not weaken it when its counterpart is lost.
    pub alone: BTreeSet<SiteId>,
    /// Rules removed on purpose; `NONE` outside the simulator.
    pub defects: Defects,
}

impl Policy {
    /// An empty desk.
    #[must_use]
    pub fn desk(&self) -> Desk {
        Desk::new(self.timing, self.waits(), self.defects)
    }

    /// W of each group.
    pub(crate) fn waits(&self) -> BTreeMap<GroupId, Duration> {
        self.groups.iter().map(|(id, g)| (id.clone(), self.timing.wait_after(g.fence_max))).collect()
    }
}
