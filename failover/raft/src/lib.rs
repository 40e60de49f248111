//! Consensus: drives raft-rs, keeps its log on disk, and carries opaque bytes.
//!
//! Place in the picture: `app/daemon` proposes commands and answers reads through [`Handle`];
//! `chaos/sim` drives [`Replica`] itself, with virtual time. Payloads are bytes and nodes are
//! numbers: this crate knows no other crate of ours.
//!
//! Three layers, each of which forbids the next one's means:
//! - [`Replica`]: raft-rs over a log in memory; no clock, thread, file, socket or free randomness;
//! - [`Store`]: the log on disk; damage is an error, never a fresh start;
//! - [`Driver`]: the one thread that owns both, and [`Handle`], the way to ask it.
//!
//! Deliberately absent: what an entry means, how frames travel, who the leader ought to be.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod driver;
mod image;
mod membership;
mod replica;
mod store;
pub mod wire;

pub use admission::Refused;
pub use bytes::Bytes;
pub use driver::{
    Driver, DriverConfig, Handle, MemberError, ProposeError, Proposed, RaftStatus, ReadError, SNAPSHOT_EVERY,
    StartError, StateMachine, StepError, StopError, Stopped, TransferError,
};
pub use image::{Compaction, ImageError, Persist, Recovered};
pub use membership::{MemberStep, Members, Next, Waiting, next_step};
pub use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType, Snapshot};
pub use replica::{
    Change, Committed, ENTRIES_KEPT, MAX_PROPOSAL_BYTES, MAX_SNAPSHOT_BYTES, Position, Progress,
    ProposeRefused, ReadRefused, Replica, ReplicaConfig, ReplicaError, ReplicaStatus, Role, SnapshotRefused,
    StepRefused, TransferRefused, Work,
};
pub use store::{Identity, Store, StoreError};
