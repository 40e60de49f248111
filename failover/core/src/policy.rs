//! What the operators decided beforehand. Resolved from the configuration; not replicated yet.

use std::collections::BTreeMap;

use model::{GroupId, SiteId};

use crate::{Defects, Timing};

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

/// Policy of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPolicy {
    /// Move by itself?
    pub failover: FailoverMode,
    /// Even in `Async`?
    pub async_failover: AsyncFailover,
    /// Site preferred at the first start.
    pub prefer: Option<SiteId>,
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
    /// Rules removed on purpose; `NONE` outside the simulator.
    pub defects: Defects,
}
