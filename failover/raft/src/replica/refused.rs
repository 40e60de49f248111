//! What a replica refuses, and what the caller may do then.

use super::{MAX_PROPOSAL_BYTES, MAX_SNAPSHOT_BYTES, MAX_UNCOMMITTED_BYTES};
use crate::image::ImageError;

/// Why a replica cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The ticks or the id make no sense.
    #[error("raft configuration of node {id} is not sound: {why}")]
    Config {
        /// The node.
        id: u64,
        /// As raft-rs or we say it.
        why: String,
    },
    /// The image contradicts itself.
    #[error("raft log of node {id} is not sound")]
    Image {
        /// The node.
        id: u64,
        /// How.
        #[source]
        source: ImageError,
    },
}

/// Why a proposal was not taken. It is in no log; the caller may try again as the variant says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposeRefused {
    /// Ask the leader, if one is known.
    #[error("this node does not lead (leader: {leader:?})")]
    NotLeader {
        /// Who does.
        leader: Option<u64>,
    },
    /// Leadership is being handed over; ask again, of whoever leads then.
    #[error("leadership is being handed to node {to}")]
    Transferring {
        /// To whom.
        to: u64,
    },
    /// Too much is waiting to be committed; try again later.
    #[error("over {MAX_UNCOMMITTED_BYTES} bytes of proposals wait for a quorum")]
    Busy,
    /// Longer than [`MAX_PROPOSAL_BYTES`], or empty.
    #[error("proposal of {bytes} bytes is not within 1 to {MAX_PROPOSAL_BYTES}")]
    Size {
        /// Its length.
        bytes: usize,
    },
}

/// Why a read round was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadRefused {
    /// Ask the leader, if one is known.
    #[error("this node does not lead (leader: {leader:?})")]
    NotLeader {
        /// Who does.
        leader: Option<u64>,
    },
    /// The leader has not committed an entry of its own term: it does not know yet what is
    /// committed. Try again after the next work.
    #[error("the leader has not committed in its term {term} yet")]
    NotYet {
        /// The term.
        term: u64,
    },
}

/// Why leadership is not being handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferRefused {
    /// Ask the leader, if one is known.
    #[error("this node does not lead (leader: {leader:?})")]
    NotLeader {
        /// Who does.
        leader: Option<u64>,
    },
    /// Only a voter can lead.
    #[error("node {to} is not a voter")]
    NotVoter {
        /// As asked.
        to: u64,
    },
}

/// Why a snapshot of the state machine was not taken over. The log stays as long as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotRefused {
    /// Only what is applied and newer than the last snapshot can be one.
    #[error("snapshot at {index} is not within {least} to {most}")]
    Index {
        /// As given.
        index: u64,
        /// One after the last snapshot.
        least: u64,
        /// The applied index.
        most: u64,
    },
    /// It would not fit into a message.
    #[error("snapshot of {bytes} bytes is over the limit of {MAX_SNAPSHOT_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// Why a change of members was not taken. It is in no log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepRefused {
    /// Ask the leader, if one is known.
    #[error("this node does not lead (leader: {leader:?})")]
    NotLeader {
        /// Who does.
        leader: Option<u64>,
    },
    /// Ask again, of whoever leads then.
    #[error("leadership is being handed to node {to}")]
    Transferring {
        /// To whom.
        to: u64,
    },
    /// An earlier change may not be applied yet. Try again after the next work.
    #[error("an earlier change of members is not applied yet")]
    Pending,
    /// It does not fit the members.
    #[error("the members cannot change so: {why}")]
    Rule {
        /// Why.
        why: String,
    },
    /// Too much is waiting to be committed; try again later.
    #[error("over {MAX_UNCOMMITTED_BYTES} bytes of proposals wait for a quorum")]
    Busy,
}
