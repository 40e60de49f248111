//! What a replica hands out: its work, and what it knows of itself. Plain values.

use bytes::Bytes;
use raft::StateRole;
use raft::eraftpb::Message;

use crate::image::Persist;
use crate::membership::Members;

/// What a replica is in its term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Hears a leader, or waits for one.
    Follower,
    /// Asks whether an election would succeed; its term has not grown.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Elected in its term. A reader must still ask for a quorum's confirmation.
    Leader,
}

impl From<StateRole> for Role {
    fn from(role: StateRole) -> Self {
        match role {
            StateRole::Follower => Self::Follower,
            StateRole::PreCandidate => Self::PreCandidate,
            StateRole::Candidate => Self::Candidate,
            StateRole::Leader => Self::Leader,
        }
    }
}

/// Role, term and leader after a change of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Who leads, as far as this replica knows.
    pub leader: Option<u64>,
    /// The current term.
    pub term: u64,
    /// Its own part in that term.
    pub role: Role,
}

/// Where an entry stands: both numbers name it for ever once it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Its place in the log.
    pub index: u64,
    /// The term of the leader that made it. Another term at the index is another entry.
    pub term: u64,
}

/// A committed entry with a payload. Entries without (one for each new leader) are not handed
/// out; [`Work::applied`] counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its place in the log.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    /// As proposed.
    pub data: Bytes,
}

/// What the caller must do now, in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Work {
    /// Role, term or leader changed.
    pub change: Option<Change>,
    /// May be sent before or while `persist` is written.
    pub send_before: Vec<Message>,
    /// To be written as one unit; synced if it says so.
    pub persist: Persist,
    /// May be sent only after `persist` is on disk.
    pub send_after: Vec<Message>,
    /// State that replaces the state machine's, from a leader's snapshot. Comes before `committed`.
    pub restored: Option<Bytes>,
    /// To be applied, in this order.
    pub committed: Vec<Committed>,
    /// Once the above is applied, the state machine is at this index.
    pub applied: u64,
    /// Confirmed reads: the context as given, and the index that must be applied before reading.
    pub reads: Vec<(Vec<u8>, u64)>,
}

/// How far a peer is, as the leader knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The peer.
    pub id: u64,
    /// It has this much of the leader's log on disk.
    pub matched: u64,
    /// It was heard since the leader last checked for a quorum.
    pub active: bool,
    /// It is being sent a snapshot.
    pub snapshot: bool,
}

/// What a replica knows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// This node.
    pub id: u64,
    /// Role, term, leader.
    pub change: Change,
    /// Known to be on a quorum.
    pub commit: u64,
    /// Handed out and acknowledged by [`Replica::persisted`].
    pub applied: u64,
    /// See [`crate::Replica::is_current`].
    pub current: bool,
    /// End of the log.
    pub last_index: u64,
    /// Index of the snapshot in the log.
    pub snapshot_index: u64,
    /// The leader's view of every member, itself included, by id; empty elsewhere.
    pub progress: Vec<Progress>,
    /// The members as applied here.
    pub members: Members,
}
