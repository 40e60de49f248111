//! What Raft orders. Every entry carries the version of its form; an unknown one stops the node
//! with a clear message rather than being skipped, since skipping would make states differ.

use std::collections::{BTreeMap, BTreeSet};

use model::{GroupId, GtidSet, Incarnation, ProcessStart, ServerId, SiteId, Version, WallTime};
use runbooks_core::{ExecutionId, Outcome, Performer, StepId};
use serde::{Deserialize, Serialize};

use crate::{Acker, Held, Leases, Maintenance, NewConfiguration, PeopleChange, Primary};

/// A proposal, and when committed, a fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "command")]
pub enum Command {
    /// Names the groups and their servers, once in the life of a cluster.
    Found { incarnation: Incarnation, groups: BTreeMap<GroupId, GroupSpec> },
    /// Begins another life of the cluster, by a person's word that all voters who are not named are fenced:
    /// the first entry of its log (`twofold quorum force`).
    Incarnate { incarnation: Incarnation, voters: Vec<String>, fenced: FencedByHand, at: WallTime },
    /// Puts another generation of the configuration in force.
    Configure { new: NewConfiguration, at: WallTime },
    /// Changes one group; refused unless its version is `expect`.
    Change { group: GroupId, expect: Version, change: Change, at: WallTime },
    /// Notes that something is the matter and the leader holds still; none when that is over.
    Hold { group: GroupId, held: Option<Held>, at: WallTime },
    /// Begins or prolongs maintenance of a group, or ends it (`None`), whatever its version.
    Maintain {
        group: GroupId,
        maintenance: Option<Maintenance>,
        by: String,
        /// Why it is ended; beginning has its reason in the window.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        at: WallTime,
    },
    /// Changes who may do what; none of it belongs to a group.
    People { change: PeopleChange, by: String, at: WallTime },
    /// Intent of a step.
    StepStarted { group: GroupId, execution: ExecutionId, step: StepId, by: Performer, at: WallTime },
    /// Outcome of a step.
    StepEnded { group: GroupId, execution: ExecutionId, step: StepId, outcome: Outcome, at: WallTime },
}

/// A group as it is founded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GroupSpec {
    /// Its servers.
    pub servers: BTreeMap<ServerId, ServerSpec>,
    /// How long leases last, from the next epoch on.
    #[serde(default, skip_serializing_if = "Leases::is_timed")]
    pub leases: Leases,
}

/// A server as it is founded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServerSpec {
    /// Where it is.
    pub site: SiteId,
}

/// Who acts when no person does.
pub(crate) const TWOFOLD: &str = "twofold";

/// Why authority changes, for the audit and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Reason {
    /// Name of the diagnosis or of the operator's request.
    pub why: String,
    /// Who: `twofold`, or an operator's name.
    pub by: String,
    /// The inputs it rests on.
    pub evidence: Vec<String>,
}

/// A fence that a person confirms, since no guard can: the host was seen to be off, or cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FencedByHand {
    /// Who says so.
    pub by: String,
    /// What was seen.
    pub seen: String,
}

/// A change of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum Change {
    /// Epoch 1: all servers were read and this one has everything.
    Start { primary: Primary, reason: Reason },
    /// Revokes the epoch, starts the failover and names its candidate: one entry.
    /// With a person's word for the fence, its step is done from the first.
    Begin {
        candidate: Primary,
        reason: Reason,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fenced: Option<FencedByHand>,
        /// The newest revision of K3s's objects that the leader has heard of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kine: Option<u64>,
        /// Whom a candidate that is no acker takes what was acknowledged from, before it is promoted.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        fill: BTreeSet<ServerId>,
    },
    /// Starts a switchover: the primary takes no new writes from here on, and keeps its lease.
    Drain { candidate: Primary, reason: Reason },
    /// Revokes the epoch of a drained primary and goes on with the switchover under way: one entry.
    Handover { execution: ExecutionId, candidate: Primary },
    /// `Serving` for the candidate.
    Open { execution: ExecutionId },
    /// `Serving` for the old primary, one epoch on: nothing stays revoked or drained for ever.
    Abort { reason: Reason },
    /// Weakens durability; applied by the guard only after this is committed.
    Async { reason: Reason },
    /// Begins to strengthen it.
    CatchUp { ackers: BTreeSet<Acker> },
    /// It is proven strong. `gtid` is what the sentinel covered.
    Sync { gtid: GtidSet },
    /// Bound names follow the active site.
    Route,
    /// A server that is not the primary comes back without anything extra.
    Rejoin { server: ServerId, reason: Reason },
    /// It has extra transactions that nobody was ever told of.
    Rebuild { server: ServerId, extra: GtidSet, reason: Reason },
    /// It has extra transactions that somebody may have been told of: a person decides.
    Quarantine { server: ServerId, extra: GtidSet, reason: Reason },
    /// A person gives up exactly this: it is saved, and the server, whose process is `life`, is copied anew
    /// from the primary. Ends a quarantine.
    Discard { server: ServerId, extra: GtidSet, life: ProcessStart, reason: Reason },
    /// A person ends a quarantine without a copy: the server is compared again, and may be put back.
    Release { server: ServerId, reason: Reason },
}

/// An entry that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer twofold.
    #[error("log entry has form {0}; this binary reads forms up to 1: upgrade this node")]
    Newer(u32),
    /// Not an entry.
    #[error("log entry is not readable: {0}")]
    Malformed(String),
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    v: u32,
    body: T,
}

/// Bytes of a log entry, form 1.
#[must_use]
pub fn encode(command: &Command) -> Vec<u8> {
    serde_json::to_vec(&Envelope { v: 1, body: command }).expect("a command is always representable")
}

/// The command in a log entry.
///
/// # Errors
/// When the form is newer or the bytes are not an entry.
pub fn decode(bytes: &[u8]) -> Result<Command, DecodeError> {
    #[derive(Deserialize)]
    struct Head {
        v: u32,
    }
    let malformed = |e: serde_json::Error| DecodeError::Malformed(e.to_string());
    let head: Head = serde_json::from_slice(bytes).map_err(malformed)?;
    if head.v != 1 {
        return Err(DecodeError::Newer(head.v));
    }
    let envelope: Envelope<Command> = serde_json::from_slice(bytes).map_err(malformed)?;
    Ok(envelope.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: entries written by earlier builds stay readable. Method: read the checked-in samples.
    #[test]
    fn the_sample_of_form_1_is_read_back_to_the_letter() {
        for line in include_str!("../testdata/entries-v1.jsonl").lines() {
            let command = decode(line.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(encode(&command)).unwrap(), line);
        }
        assert_eq!(decode(br#"{"v":2,"body":{}}"#), Err(DecodeError::Newer(2)));
        assert!(matches!(decode(b"garbage"), Err(DecodeError::Malformed(_))));
    }
}
