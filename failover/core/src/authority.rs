//! The replicated answer to "who may write".

use std::collections::BTreeSet;
use std::fmt;

use model::{
    Epoch, Incarnation, ProcessStart, ServerId, ServerUuid, SiteId, SyncGeneration, Version, WallTime,
};
use serde::{Deserialize, Serialize};

/// The server that holds, or shall hold, the right to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Primary {
    /// Configured name.
    pub server: ServerId,
    /// Identity of its data.
    pub uuid: ServerUuid,
    /// Where it is.
    pub site: SiteId,
}

/// Phase of a group's authority.
///
/// ```text
///            Begin                 promote begins            Open
///  Serving ─────────► Revoked ────────────────► Promoting ─────────► Serving (same epoch)
///     ▲                  │                          │
///     └──────────────────┴───── Abort (epoch+1) ────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The primary may hold a lease and write.
    Serving,
    /// It may hold a lease for answers on their way, but takes no new writes (switchover).
    Draining,
    /// The epoch before is revoked; the candidate is named and may not write yet.
    Revoked,
    /// The candidate is being promoted; it may not write yet.
    Promoting,
}

impl Phase {
    /// A lease may be granted in this phase.
    #[must_use]
    pub fn grants(self) -> bool {
        matches!(self, Phase::Serving | Phase::Draining)
    }
}

/// How long a lease lasts. An epoch keeps its term: a revoked one is outwaited, or not, by the term that
/// it was granted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leases {
    /// For T_H; then it is outwaited by W.
    #[default]
    Timed,
    /// Until a fence, or the boot of its host: two sites without a witness (manual mode). Nobody ever
    /// outwaits it.
    Endless,
}

impl Leases {
    /// It runs out by itself.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        *self == Leases::Timed
    }
}

/// What an acknowledgement to a client is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "mode")]
pub enum Durability {
    /// Every acknowledged transaction is on every acker of the other site.
    Sync,
    /// It is on the primary alone, perhaps.
    Async { since: WallTime },
    /// Semi-sync is being armed and proven; it is worth no more than `Async` until then.
    CatchUp { since: WallTime },
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Durability::Sync => "sync",
            Durability::Async { .. } => "async",
            Durability::CatchUp { .. } => "catch-up",
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Serving => "serving",
            Phase::Draining => "draining",
            Phase::Revoked => "revoked",
            Phase::Promoting => "promoting",
        })
    }
}

/// One life of one replica of the other site whose acks count. A restarted one is another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Acker {
    /// Configured name.
    pub server: ServerId,
    /// Identity of its data.
    pub uuid: ServerUuid,
    /// Its process.
    pub process_start: ProcessStart,
}

/// The authority of one group (DESIGN §4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Authority {
    /// Life of the cluster that granted it.
    pub incarnation: Incarnation,
    /// Fencing token.
    pub epoch: Epoch,
    /// Raised by every change; what commands compare and set.
    pub version: Version,
    /// Who.
    pub primary: Primary,
    /// In which phase.
    pub phase: Phase,
    /// What acknowledgements are worth. While `Revoked` or `Promoting`: of the revoked epoch.
    pub durability: Durability,
    /// Whose acks count. While `Revoked` or `Promoting`: of the revoked epoch.
    pub acker_set: BTreeSet<Acker>,
    /// Number of the last arming of semi-sync.
    pub g: SyncGeneration,
    /// How long a lease of this epoch lasts.
    #[serde(default, skip_serializing_if = "Leases::is_timed")]
    pub leases: Leases,
    /// The newest revision of K3s's objects that was heard of anywhere when an unplanned move began this epoch: none
    /// up to it may be given out again. None where no server has kine's table, and when nothing was lost, since the
    /// move was planned or the primary stayed the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kine: Option<u64>,
}

/// Order of authorities: a receiver keeps the highest and refuses less. The version alone orders
/// authorities of one incarnation; the epoch rides along so that a latch can name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stamp {
    /// Life of the cluster.
    pub incarnation: Incarnation,
    /// Version.
    pub version: Version,
    /// Epoch.
    pub epoch: Epoch,
}

impl Authority {
    /// Its place in the order.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp { incarnation: self.incarnation, version: self.version, epoch: self.epoch }
    }

    /// True when `server`, with this identity, is the named primary.
    #[must_use]
    pub fn names(&self, server: &ServerId, uuid: &ServerUuid) -> bool {
        self.primary.server == *server && self.primary.uuid == *uuid
    }
}
