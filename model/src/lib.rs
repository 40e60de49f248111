//! The nouns of twofold, which every other crate speaks.
//!
//! This crate uses nothing of ours and does no I/O. A type lives here when two folders must agree
//! on it: identities, the fencing numbers that never go down, GTID sets, observations, readings.
//!
//! Identities, numbers and sets have one canonical text form, so they serialise as that form; the
//! version of a document that carries them stands in the document's own envelope.
//!
//! Deliberately absent: policy, state, time sources, anything that decides.

#![forbid(unsafe_code)]

mod accounts;
mod gtid;
mod id;
mod number;
mod observation;
mod reading;
mod role;
mod time;

pub use accounts::{AccountsReading, PrivilegedAccount};
pub use gtid::{GtidSet, GtidSetError};
pub use id::{
    BootId, GroupId, IdError, MemberId, NodeId, PoolId, ProcessStart, ServerId, ServerUuid, SiteId, TokenId,
};
pub use number::{Epoch, Generation, Incarnation, SyncGeneration, Version};
pub use observation::{Observation, Verdict, VerdictState};
pub use reading::{
    ACK_TIMEOUT_MS, DatabaseReading, Flavour, KINE_GAP, KineReading, LongTransaction, OpeningMark,
    ReplicaReading, ReplicaThread, SemiSyncReading, SettingsReading,
};
pub use role::{Role, RoleError};
pub use time::{Timestamp, WallTime};
