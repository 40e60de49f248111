//! What probes saw, and what was made of it.

use serde::{Deserialize, Serialize};

use crate::{MemberId, PoolId, SiteId, Timestamp};

/// One probe's result, seen from one vantage site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The pool whose check was made.
    pub pool: PoolId,
    /// The endpoint probed.
    pub member: MemberId,
    /// The site the probe was made from.
    pub vantage: SiteId,
    /// When it ended, on the observing node's clock.
    pub at: Timestamp,
    /// `Ok(latency in microseconds)` or the reason it failed, as a person should read it.
    pub result: Result<u64, String>,
}

/// The damped judgement on one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictState {
    /// It serves.
    Up,
    /// It does not.
    Down,
    /// Nothing fresh is known: neither up nor down.
    Unknown,
}

/// A verdict and how soon it could change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Verdict {
    /// The judgement.
    pub state: VerdictState,
    /// Probes of the same opposite result that would change it (interval × this bounds a TTL).
    pub probes_to_change: u32,
}
