//! The one list of things that happen. Audit, log lines, counters and timelines derive from it.

use model::{Epoch, Generation, GroupId, Incarnation, ServerId, SiteId, TokenId, Version, WallTime};
use runbooks_core::{ExecutionId, ExecutionStatus, Outcome, StepId};
use serde::{Deserialize, Serialize};

use crate::{Alarm, Durability, FencedByHand, Held, Maintenance, Phase, Reason, Terms};

/// Something that was committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// The cluster knows its groups.
    Founded { groups: Vec<GroupId> },
    /// Another life of the cluster began, by a person's word that the voters of the one before are fenced.
    Incarnated {
        from: Incarnation,
        incarnation: Incarnation,
        voters: Vec<String>,
        fenced: FencedByHand,
        at: WallTime,
    },
    /// Another generation of the configuration is in force.
    Configured {
        generation: Generation,
        changes: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restores: Option<Generation>,
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        at: WallTime,
    },
    /// Authority moved to another phase, epoch or holder.
    Authority {
        group: GroupId,
        from: Option<(Epoch, Phase)>,
        to: (Epoch, Phase),
        version: Version,
        primary: ServerId,
        site: SiteId,
        reason: Option<Reason>,
        at: WallTime,
    },
    /// Acknowledgements are worth more or less.
    Durability { group: GroupId, from: Durability, to: Durability, reason: Option<Reason>, at: WallTime },
    /// Bound names answer this site.
    Routed { group: GroupId, site: SiteId, epoch: Epoch, at: WallTime },
    /// An execution began.
    ExecutionStarted {
        group: GroupId,
        execution: ExecutionId,
        runbook: String,
        subject: ServerId,
        at: WallTime,
    },
    /// A step's intent.
    StepStarted { group: GroupId, execution: ExecutionId, step: StepId, by: String, at: WallTime },
    /// A step's outcome.
    StepEnded { group: GroupId, execution: ExecutionId, step: StepId, outcome: Outcome, at: WallTime },
    /// An execution is over.
    ExecutionEnded { group: GroupId, execution: ExecutionId, status: ExecutionStatus, at: WallTime },
    /// Maintenance began or was prolonged, or was ended by somebody.
    Maintenance {
        group: GroupId,
        maintenance: Option<Maintenance>,
        /// What was on until now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Maintenance>,
        by: String,
        /// Why it was ended, where somebody said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        at: WallTime,
    },
    /// Something is the matter and the leader holds still: with its inputs, and why.
    #[serde(rename = "held-still")]
    Held { group: GroupId, held: Held, at: WallTime },
    /// What it held still at is over.
    HeldNoMore { group: GroupId, at: WallTime },
    /// A server waits for a person.
    Quarantined { group: GroupId, server: ServerId, reason: Reason, at: WallTime },
    /// A person ended its quarantine.
    Released { group: GroupId, server: ServerId, reason: Reason, at: WallTime },
    /// A token stands.
    TokenIssued { token: TokenId, terms: Terms, by: String, reason: Option<String>, at: WallTime },
    /// A token stands no more.
    TokenRevoked { token: TokenId, before: Terms, by: String, reason: Option<String>, at: WallTime },
    /// A token from the envelope was used: somebody must look.
    BreakGlassUsed { token: TokenId, what: String, by: String, at: WallTime },
    /// Somebody has looked.
    BreakGlassAcknowledged { token: TokenId, before: Alarm, by: String, reason: Option<String>, at: WallTime },
}

impl Event {
    /// Stable name, for logs and counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Event::Founded { .. } => "founded",
            Event::Incarnated { .. } => "incarnated",
            Event::Configured { .. } => "configured",
            Event::Authority { .. } => "authority",
            Event::Durability { .. } => "durability",
            Event::Routed { .. } => "routed",
            Event::ExecutionStarted { .. } => "execution-started",
            Event::StepStarted { .. } => "step-started",
            Event::StepEnded { .. } => "step-ended",
            Event::ExecutionEnded { .. } => "execution-ended",
            Event::Maintenance { .. } => "maintenance",
            Event::Held { .. } => "held-still",
            Event::HeldNoMore { .. } => "held-no-more",
            Event::Quarantined { .. } => "quarantined",
            Event::Released { .. } => "released",
            Event::TokenIssued { .. } => "token-issued",
            Event::TokenRevoked { .. } => "token-revoked",
            Event::BreakGlassUsed { .. } => "break-glass-used",
            Event::BreakGlassAcknowledged { .. } => "break-glass-acknowledged",
        }
    }

    /// When it was proposed, if it says.
    #[must_use]
    pub fn at(&self) -> Option<WallTime> {
        match self {
            Event::Founded { .. } => None,
            Event::Incarnated { at, .. }
            | Event::Configured { at, .. }
            | Event::Authority { at, .. }
            | Event::Durability { at, .. }
            | Event::Routed { at, .. }
            | Event::ExecutionStarted { at, .. }
            | Event::StepStarted { at, .. }
            | Event::StepEnded { at, .. }
            | Event::ExecutionEnded { at, .. }
            | Event::Maintenance { at, .. }
            | Event::Held { at, .. }
            | Event::HeldNoMore { at, .. }
            | Event::Quarantined { at, .. }
            | Event::Released { at, .. }
            | Event::TokenIssued { at, .. }
            | Event::TokenRevoked { at, .. }
            | Event::BreakGlassUsed { at, .. }
            | Event::BreakGlassAcknowledged { at, .. } => Some(*at),
        }
    }
}
