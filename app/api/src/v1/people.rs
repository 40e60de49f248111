//! Tokens, and what became of those that break the glass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NAME;
use super::number::whole;

/// What somebody may do. Each may do all that those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Read everything, change nothing.
    Viewer,
    /// Failovers, switchovers and maintenance, where nothing acknowledged is lost.
    Operator,
    /// Accept a stated loss.
    Approver,
    /// Tokens.
    Admin,
}

impl From<model::Role> for Role {
    fn from(role: model::Role) -> Self {
        match role {
            model::Role::Viewer => Role::Viewer,
            model::Role::Operator => Role::Operator,
            model::Role::Approver => Role::Approver,
            model::Role::Admin => Role::Admin,
        }
    }
}

impl From<Role> for model::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => model::Role::Viewer,
            Role::Operator => model::Role::Operator,
            Role::Approver => model::Role::Approver,
            Role::Admin => model::Role::Admin,
        }
    }
}

/// The longest life of a token: a year, and the day that a leap year has more.
pub const TOKEN_MAX_S: u64 = 366 * 24 * 60 * 60;
/// The most groups that a token is for.
pub const TOKEN_GROUPS_MAX: usize = 64;

/// `POST /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TokenRequest {
    /// Its name, by which the audit names whoever uses it.
    #[schemars(regex(pattern = NAME))]
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// The groups that it is for; none: all of them, and the cluster.
    #[serde(default)]
    #[schemars(length(max = 64), inner(regex(pattern = NAME)))]
    pub groups: Vec<String>,
    /// For how long from now, in seconds.
    #[serde(deserialize_with = "whole")]
    #[schemars(range(min = 1, max = TOKEN_MAX_S))]
    pub expires_s: u64,
    /// It lies in an envelope and every use of it raises an alarm; role `admin`, all groups.
    #[serde(default)]
    pub break_glass: bool,
    /// What for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub reason: Option<String>,
    /// As in a failover.
    #[serde(default)]
    pub by: String,
}

/// A token that was just issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct IssuedToken {
    /// The secret. It is told this once and kept nowhere.
    pub secret: String,
    /// What it grants.
    pub token: TokenStatus,
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TokenStatus {
    /// Its name.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// The groups that it is for; none: all of them, and the cluster.
    pub groups: Vec<String>,
    /// Milliseconds since 1970 when it is worth nothing any more.
    pub expires_ms: i64,
    /// That is over, by the answering node's clock.
    pub expired: bool,
    /// Every use of it raises an alarm.
    pub break_glass: bool,
    /// Who issued it.
    pub by: String,
    /// Milliseconds since 1970.
    pub issued_ms: i64,
}

/// `GET /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TokenList {
    /// The node whose view this is.
    pub answered_by: String,
    /// A quorum confirmed this view.
    pub quorum: bool,
    /// The tokens that stand, expired ones too.
    pub tokens: Vec<TokenStatus>,
    /// Uses of break-glass tokens that nobody has acknowledged.
    pub break_glass: Vec<BreakGlassStatus>,
}

/// A break-glass token was used, and nobody has acknowledged it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BreakGlassStatus {
    /// The token; it may be revoked meanwhile.
    pub token: String,
    /// How many uses are on record since the last acknowledgement.
    pub uses: u64,
    /// Milliseconds since 1970 of the first of them.
    pub since_ms: i64,
    /// Milliseconds since 1970 of the last.
    pub last_ms: i64,
    /// What was asked for last.
    pub what: String,
}

/// `POST /v1/tokens/{token}/acknowledge`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AcknowledgeRequest {
    /// What was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub reason: Option<String>,
    /// As in a failover.
    #[serde(default)]
    pub by: String,
}

/// What was done with a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TokenAnswer {
    /// Its name.
    pub token: String,
}
