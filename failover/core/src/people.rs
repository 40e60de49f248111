//! Who may act without a certificate: API tokens, and what became of those that break the glass.
//!
//! Only the SHA-256 of a secret is here. That needs no slow hash: the secret is 256 random bits made by
//! a node, not a word that somebody thought of, so there is nothing to guess that a faster machine
//! could guess sooner.

use std::collections::{BTreeMap, BTreeSet};

use model::{GroupId, Role, TokenId, WallTime};
use serde::{Deserialize, Serialize};

/// Tokens that stand at once. Every request with a token is held against all of them (they are found
/// without telling by time which one it is not), which at this many takes microseconds. Beyond it none
/// is issued until one is revoked.
pub const TOKENS_MAX: usize = 256;
/// Break-glass tokens and alarms that nobody acknowledged, together. An envelope for each on-call team
/// is a handful; beyond this none is issued, so an alarm is never dropped to make room.
pub const BREAK_GLASS_MAX: usize = 16;
/// The longest life of a token, in milliseconds: a year, so that whoever left is out by then.
pub const TOKEN_LIFE_MAX_MS: i64 = 366 * 24 * 60 * 60 * 1_000;
/// The longest text that is kept of a request or a reason, in bytes: 500 characters.
pub const TEXT_MAX: usize = 2_000;

/// The people's part of the state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct People {
    /// The tokens that stand, expired ones too: a person revokes those.
    pub tokens: BTreeMap<TokenId, Token>,
    /// What nobody has acknowledged yet, by the token that was used. It outlives the token.
    pub alarms: BTreeMap<TokenId, Alarm>,
    /// Uses of break-glass tokens on record since the cluster was founded.
    pub break_glass_uses: u64,
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Token {
    /// SHA-256 of the secret, in lower-case hex.
    pub hash: String,
    /// What it grants.
    pub terms: Terms,
    /// Who issued it.
    pub by: String,
    /// When.
    pub issued: WallTime,
}

/// What a token grants: the part of it that the audit tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Terms {
    /// What its bearer may do.
    pub role: Role,
    /// To which groups; empty: to all, and to the cluster.
    pub groups: BTreeSet<GroupId>,
    /// It is worth nothing from then on, by the wall clock of whoever checks it.
    pub expires: WallTime,
    /// It lies in an envelope, and every use of it raises an alarm.
    pub break_glass: bool,
}

/// A break-glass token was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Alarm {
    /// How many uses are on record since the last acknowledgement.
    pub uses: u64,
    /// The first of them.
    pub since: WallTime,
    /// The last of them.
    pub last: WallTime,
    /// What was asked for last.
    pub what: String,
}

/// What changes among people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "people")]
pub enum PeopleChange {
    /// A token stands from now on.
    Issue { token: TokenId, hash: String, terms: Terms, reason: Option<String> },
    /// It stands no more.
    Revoke { token: TokenId, reason: Option<String> },
    /// A break-glass token was used for this.
    BreakGlass { token: TokenId, what: String },
    /// Somebody has seen the alarm.
    Acknowledge { token: TokenId, reason: Option<String> },
}

impl People {
    /// Nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == People::default()
    }
}

impl Terms {
    /// It is worth nothing any more.
    #[must_use]
    pub fn expired(&self, wall: WallTime) -> bool {
        self.expires <= wall
    }

    /// It reaches this group.
    #[must_use]
    pub fn reaches(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|g| g.as_str() == group)
    }
}
