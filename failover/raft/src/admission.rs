//! What a peer may say: messages are judged here before raft-rs sees them.
//!
//! raft-rs panics on messages that a correct peer never sends (a commit index beyond the log,
//! entries with a gap, an empty proposal, …), takes some that only the node itself may give, and
//! treats term 0 as "from myself". A peer is authenticated but may run another version, or may
//! have lost its disk; so such a message is an error value here, and consensus goes on.
//!
//! Deliberately absent: authentication and the match of sender and connection (the driver's).

use raft::eraftpb::{EntryType, Message, MessageType};
use raft::{Raft, StateRole};

use crate::image::{Recovered, check_configuration};
use crate::membership::read_change;

/// A term that no cluster reaches by elections; above it arithmetic on terms could overflow.
const MAX_TERM: u64 = 1 << 48;
/// An index that no log reaches; above it arithmetic on indexes could overflow.
const MAX_INDEX: u64 = 1 << 56;

/// Why a message from a peer was not taken. Nothing changed; the message is dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is for another node.
    #[error("message is for node {to}, this is node {id}")]
    NotForUs {
        /// The addressee.
        to: u64,
        /// This node.
        id: u64,
    },
    /// The sender is no member, and what it says only members say.
    #[error("message is from node {from}, which is not in the configuration")]
    UnknownSender {
        /// The sender.
        from: u64,
    },
    /// Its kind is not sent between nodes, or not by this version.
    #[error("message of kind {kind:?} does not come from peers")]
    NotBetweenPeers {
        /// As it claims.
        kind: MessageType,
    },
    /// Term or index out of any sensible range.
    #[error("message has term {term} and index {index}, which is out of range")]
    OutOfRange {
        /// As it claims.
        term: u64,
        /// As it claims.
        index: u64,
    },
    /// It says that more is committed or matched than this log holds: one of the two nodes lost
    /// entries that it had acknowledged.
    #[error(
        "node {from} counts on entry {index}, but this log ends at {last}; if a log was lost, \
         replace that node"
    )]
    BeyondLog {
        /// The sender.
        from: u64,
        /// What it counts on.
        index: u64,
        /// Last index here.
        last: u64,
    },
    /// Entries out of order, of a kind that this version does not know, or of wrong terms.
    #[error("append from node {from} is not well formed at entry {index}")]
    MalformedAppend {
        /// The sender.
        from: u64,
        /// The first offending entry.
        index: u64,
    },
    /// It would overwrite a committed entry: consensus was broken somewhere.
    #[error(
        "append from node {from} contradicts committed entry {index}; compare the logs before \
         trusting either"
    )]
    ContradictsCommitted {
        /// The sender.
        from: u64,
        /// The entry.
        index: u64,
    },
    /// A snapshot without index, term or a plain configuration.
    #[error("snapshot from node {from} is not well formed")]
    MalformedSnapshot {
        /// The sender.
        from: u64,
    },
    /// A vote counted before the own log is on disk: it can only be an echo.
    #[error("vote from node {from} answers a question that was not asked yet")]
    EarlyVote {
        /// The sender.
        from: u64,
    },
    /// raft-rs itself refused.
    #[error("raft refused the message: {0}")]
    Raft(String),
}

/// Says whether `raft` may be given `message`.
pub(crate) fn admit(raft: &Raft<Recovered>, message: &Message) -> Result<(), Refused> {
    let from = message.from;
    if message.to != raft.id {
        return Err(Refused::NotForUs { to: message.to, id: raft.id });
    }
    if from == raft.id || (raft.prs().get(from).is_none() && !may_come_first(message.get_msg_type())) {
        return Err(Refused::UnknownSender { from });
    }
    if message.term == 0 || message.term > MAX_TERM || message.index > MAX_INDEX || message.commit > MAX_INDEX
    {
        return Err(Refused::OutOfRange { term: message.term, index: message.index });
    }
    match message.get_msg_type() {
        MessageType::MsgAppend => admit_append(raft, message),
        MessageType::MsgHeartbeat => admit_heartbeat(raft, message),
        MessageType::MsgSnapshot => admit_snapshot(message),
        MessageType::MsgAppendResponse => admit_append_response(raft, message),
        MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => {
            admit_vote_response(raft, message)
        }
        MessageType::MsgHeartbeatResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestPreVote
        | MessageType::MsgTimeoutNow => Ok(()),
        // The first five are a node's own; the rest would be forwarded calls, which this crate
        // does not make: callers are told who leads and ask there.
        kind @ (MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgPropose
        | MessageType::MsgTransferLeader
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp) => Err(Refused::NotBetweenPeers { kind }),
    }
}

/// What a member may have to say to a node that does not know yet that it is one: a leader and a
/// candidate speak first, and the log that names them comes after. That they belong to the cluster at
/// all is the connection's business.
fn may_come_first(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgAppend
            | MessageType::MsgHeartbeat
            | MessageType::MsgSnapshot
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestPreVote
    )
}

fn admit_append(raft: &Raft<Recovered>, message: &Message) -> Result<(), Refused> {
    let from = message.from;
    let malformed = |index| Refused::MalformedAppend { from, index };
    // raft-rs reads term 0 beyond its log as a match, so only the empty log may claim it.
    if (message.log_term == 0) != (message.index == 0) || message.log_term > message.term {
        return Err(malformed(message.index));
    }
    let (mut index, mut term) = (message.index, message.log_term);
    for entry in message.get_entries() {
        if entry.index != index + 1 || entry.term < term || entry.term > message.term {
            return Err(malformed(entry.index));
        }
        let sound = match entry.get_entry_type() {
            EntryType::EntryNormal => true,
            EntryType::EntryConfChangeV2 => read_change(&entry.data).is_some(),
            EntryType::EntryConfChange => false,
        };
        if !sound {
            return Err(malformed(entry.index));
        }
        (index, term) = (entry.index, entry.term);
    }
    // raft-rs looks at nothing below its commit index, so a contradiction shows at it or nowhere.
    // It would only answer with a hint that makes the leader count us as caught up.
    let contradicts = message.term >= raft.term
        && message.index == raft.raft_log.committed
        && !raft.raft_log.match_term(message.index, message.log_term);
    if contradicts {
        return Err(Refused::ContradictsCommitted { from, index: message.index });
    }
    Ok(())
}

fn admit_heartbeat(raft: &Raft<Recovered>, message: &Message) -> Result<(), Refused> {
    let last = raft.raft_log.last_index();
    if message.term >= raft.term && message.commit > last {
        return Err(Refused::BeyondLog { from: message.from, index: message.commit, last });
    }
    Ok(())
}

fn admit_snapshot(message: &Message) -> Result<(), Refused> {
    let metadata = message.get_snapshot().get_metadata();
    let sound = metadata.index > 0
        && metadata.index <= MAX_INDEX
        && metadata.term > 0
        && metadata.term <= message.term
        && check_configuration(metadata.get_conf_state()).is_ok();
    if sound { Ok(()) } else { Err(Refused::MalformedSnapshot { from: message.from }) }
}

fn admit_append_response(raft: &Raft<Recovered>, message: &Message) -> Result<(), Refused> {
    // We never ask for snapshots, so nobody of this version does.
    if message.request_snapshot != 0 {
        return Err(Refused::NotBetweenPeers { kind: message.get_msg_type() });
    }
    let last = raft.raft_log.last_index();
    let counted = message.term == raft.term && raft.state == StateRole::Leader;
    if counted && !message.reject && message.index > last {
        return Err(Refused::BeyondLog { from: message.from, index: message.index, last });
    }
    if message.reject && message.reject_hint > message.index {
        return Err(Refused::OutOfRange { term: message.term, index: message.reject_hint });
    }
    Ok(())
}

fn admit_vote_response(raft: &Raft<Recovered>, message: &Message) -> Result<(), Refused> {
    let campaigning = matches!(raft.state, StateRole::Candidate | StateRole::PreCandidate);
    // raft-rs asserts on becoming leader that its log is on disk. It is, when requests for votes
    // leave after persisting; so such an answer is an echo of another life.
    if campaigning && raft.raft_log.persisted != raft.raft_log.last_index() {
        return Err(Refused::EarlyVote { from: message.from });
    }
    Ok(())
}
