//! What processes say to one another over links: topics and bodies, version 1 (JSON; Raft's own bytes
//! as they are). A body that cannot be read is dropped and counted by its receiver, never guessed.

use failover_core::{Answer, Authority, Order, Renewal, Told};
use model::{Generation, Incarnation, ServerId, SiteId};
use runbooks_core::Outcome;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::generation_file::Committed;

/// Raft messages, node to node, each behind its incarnation ([`tag`]).
pub const RAFT: u8 = 1;
/// A guard's renewal and report, guard to every node.
pub const RENEW: u8 = 2;
/// A renewal passed on by a follower, node to leader.
pub const PASSED_ON: u8 = 3;
/// The leader's answer to a renewal.
pub const ANSWER: u8 = 4;
/// The leader tells a changed authority.
pub const TOLD: u8 = 5;
/// The leader's executor orders a guard: a call.
pub const ORDER: u8 = 6;
/// What a node hears and observes, node to node.
pub const VANTAGE: u8 = 7;
/// A follower asks the leader for a quorum-confirmed read index: a call.
pub const READ: u8 = 9;
/// An API request passed on to the leader: a call.
pub const API: u8 = 8;

/// The committed generation of the configuration, asked of a node: a call without a body.
pub const CONFIGURATION: u8 = 10;
/// Whether a node could use a configuration: a call.
pub const VALIDATE: u8 = 11;
/// A node tells a guard the committed generation's number.
pub const GENERATION: u8 = 12;

/// A configuration that a node is asked about.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Validate {
    /// The text.
    pub text: String,
}

/// What a node says of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Validated {
    /// Why it could not use it; empty when it could.
    pub problems: Vec<String>,
}

/// The configuration that a node goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SeenConfiguration {
    /// Its number.
    pub generation: Generation,
    /// How the file on its disk differs from it: `same`, or in words.
    pub file: String,
}

/// A renewal passed on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PassedOn {
    /// Whose it is; the passing node's own link authenticated it.
    pub guard: ServerId,
    /// It.
    pub renewal: Renewal,
}

/// An order with the authority it is given under.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ordered {
    /// The authority.
    pub authority: Authority,
    /// The order.
    pub order: Order,
}

/// What one node sees of the world.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Seen {
    /// Its life of the cluster.
    pub incarnation: Incarnation,
    /// Its site.
    pub site: SiteId,
    /// Guards it hears directly.
    pub hears: Vec<ServerId>,
    /// Newest probe results that it made itself.
    pub observations: Vec<Observed>,
    /// What it goes by.
    pub configuration: SeenConfiguration,
}

/// One probe's result on its way to other nodes. Its age travels, not its moment: clocks differ.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Observed {
    /// The pool.
    pub pool: model::PoolId,
    /// The member.
    pub member: model::MemberId,
    /// Age when it was sent, microseconds.
    pub age_us: u64,
    /// Latency in microseconds, or why it failed.
    pub result: Result<u64, String>,
}

/// An API request and who asks: the leader asks again whether they may.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AskedBy {
    /// Who, as the node that was asked has found.
    pub caller: crate::caller::Caller,
    /// What.
    pub request: ApiRequest,
}

/// An API request passed on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum ApiRequest {
    /// `GET /v1/status`.
    Status,
    /// `GET /v1/groups/{group}/explain`.
    Explain {
        /// The group.
        group: String,
    },
    /// `POST /v1/groups/{group}/failover`.
    Failover {
        /// The group.
        group: String,
        /// The request.
        body: app_api::v1::FailoverRequest,
    },
    /// `POST /v1/groups/{group}/switchover`.
    Switchover {
        /// The group.
        group: String,
        /// The request.
        body: app_api::v1::SwitchoverRequest,
    },
    /// `POST /v1/groups/{group}/servers/{server}/rebuild`.
    Rebuild {
        /// The group.
        group: String,
        /// The server.
        server: String,
        /// The request.
        body: app_api::v1::RebuildRequest,
    },
    /// `POST /v1/groups/{group}/servers/{server}/release`.
    Release {
        /// The group.
        group: String,
        /// The server.
        server: String,
        /// The request.
        body: app_api::v1::ReleaseRequest,
    },
    /// `GET /v1/config`.
    Config,
    /// `POST /v1/config`.
    Configure {
        /// The request.
        body: app_api::v1::ConfigRequest,
    },
    /// `POST` and `DELETE /v1/groups/{group}/maintenance`.
    Maintain {
        /// The group.
        group: String,
        /// What begins; none to end it.
        body: Option<app_api::v1::MaintenanceRequest>,
        /// Who.
        by: String,
        /// Why it is ended.
        reason: Option<String>,
    },
    /// `GET /v1/tokens`.
    Tokens,
    /// `POST /v1/tokens`.
    IssueToken {
        /// The request.
        body: app_api::v1::TokenRequest,
        /// Who.
        by: String,
    },
    /// `DELETE /v1/tokens/{token}`.
    RevokeToken {
        /// The token.
        token: String,
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// `POST /v1/tokens/{token}/acknowledge`.
    Acknowledge {
        /// The token.
        token: String,
        /// Who.
        by: String,
        /// What was found.
        reason: Option<String>,
    },
    /// A break-glass token was used: for a record, before anything else.
    BreakGlass {
        /// Method and path.
        what: String,
        /// Reads are put on record once a minute, what changes something every time.
        reads: bool,
    },
}

/// The leader's answer to a passed-on request: HTTP status and JSON body.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ApiResponse {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: serde_json::Value,
}

/// All body types, for `pack` and `unpack`.
pub trait Body: Serialize + DeserializeOwned {}
impl Body for Renewal {}
impl Body for PassedOn {}
impl Body for Answer {}
impl Body for Told {}
impl Body for Ordered {}
impl Body for Outcome {}
impl Body for Seen {}
impl Body for Validate {}
impl Body for Validated {}
impl Body for Committed {}
impl Body for AskedBy {}
impl Body for ApiResponse {}

/// A raft message behind the life of the cluster that it belongs to.
pub fn tag(incarnation: Incarnation, message: &[u8]) -> Vec<u8> {
    [&incarnation.0.to_le_bytes()[..], message].concat()
}

/// The life and the message in `body`; none where it is too short for either.
pub fn untag(body: &[u8]) -> Option<(Incarnation, &[u8])> {
    let (life, message) = body.split_first_chunk::<8>()?;
    Some((Incarnation(u64::from_le_bytes(*life)), message))
}

/// Bytes of a body.
pub fn pack<T: Body>(body: &T) -> Vec<u8> {
    serde_json::to_vec(body).expect("bodies are always representable")
}

/// The body in the bytes, or why there is none.
pub fn unpack<T: Body>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|e| e.to_string())
}
