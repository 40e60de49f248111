//! Version 1 of requests and responses.

mod number;
mod people;
mod problem;

use number::{whole, whole_maybe};
pub use people::*;
pub use problem::{Code, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One screen: `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// The node whose view this is.
    pub answered_by: String,
    /// Milliseconds since 1970 when it was made.
    pub at_ms: i64,
    /// The leader, if one is known.
    pub leader: Option<String>,
    /// A quorum confirmed this view: it is the leader's own, after a read index.
    pub quorum: bool,
    /// Milliseconds since a quorum last confirmed what the answering node shows; 0 with `quorum`, none
    /// when it never did since the node's start.
    #[serde(default)]
    pub confirmed_ms: Option<u64>,
    /// Life of the cluster that the answering node's log belongs to.
    #[serde(default)]
    pub incarnation: u64,
    /// Term and index of the last entry in the answering node's log, committed or not.
    #[serde(default)]
    pub log_end: (u64, u64),
    /// Raft's term.
    pub term: u64,
    /// Last applied entry.
    pub applied: u64,
    /// What a person should know first when something is wrong with the cluster itself.
    pub trouble: Option<String>,
    /// All nodes.
    pub nodes: Vec<NodeStatus>,
    /// All groups; to a token that is for some of them, those.
    pub groups: Vec<GroupStatus>,
    /// Uses of break-glass tokens that nobody has acknowledged.
    #[serde(default)]
    pub break_glass: Vec<BreakGlassStatus>,
    /// Uses of break-glass tokens on record since the cluster was founded.
    #[serde(default)]
    pub break_glass_uses: u64,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its site.
    pub site: String,
    /// It is heard, directly or through another node.
    pub up: bool,
    /// It leads.
    pub leader: bool,
    /// Through which node it is reached, when not directly.
    pub via: Option<String>,
    /// Milliseconds since it was heard directly.
    pub heard_ms: Option<u64>,
    /// `voter`, `learner` (it gets the log and has no vote yet), `leaving`, `joins` (no member yet).
    #[serde(default = "voter")]
    pub member: String,
    /// The generation of the configuration in force there; none when it is not heard.
    #[serde(default)]
    pub generation: Option<u64>,
    /// How the file on its disk differs from that; none where it does not, or it is not heard.
    #[serde(default)]
    pub drift: Option<String>,
}

fn voter() -> String {
    "voter".to_owned()
}

/// One protection group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// Life of the cluster.
    pub incarnation: u64,
    /// Fencing token; 0 before the start.
    pub epoch: u64,
    /// Compare-and-set version.
    pub version: u64,
    /// `not-started`, `serving`, `draining`, `revoked`, `promoting`.
    pub phase: String,
    /// Milliseconds since 1970 when this phase and epoch began.
    pub since_ms: i64,
    /// The primary's site.
    pub active_site: Option<String>,
    /// The primary.
    pub primary: Option<String>,
    /// The primary is open for clients: it reported lease, write permission and gate.
    pub open: bool,
    /// Why it is not, as its guard says.
    pub shut_because: Option<String>,
    /// Milliseconds left of the lease when its guard last reported.
    pub lease_left_ms: Option<u64>,
    /// Its lease does not run out: manual mode.
    #[serde(default)]
    pub lease_endless: bool,
    /// `sync`, `catch-up`, `async`; none before the start.
    pub durability: Option<String>,
    /// Milliseconds since 1970 when it became async or began to catch up.
    pub durability_since_ms: Option<i64>,
    /// Whose acks count.
    pub ackers: Vec<String>,
    /// What the loss of the active site would cost now; none before the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<ExposureStatus>,
    /// Whose writes `sync` promises nothing for; none where it is nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except: Option<String>,
    /// Site that bound names were last committed to. What a node answers can differ: see `names`.
    pub route: Option<String>,
    /// What the answering node's own DNS answers now for each name bound to the group; empty where it
    /// serves no DNS.
    #[serde(default)]
    pub names: Vec<NameStatus>,
    /// Its servers.
    pub servers: Vec<ServerStatus>,
    /// Somebody works at it: it does not move by itself.
    #[serde(default)]
    pub maintenance: Option<MaintenanceStatus>,
    /// Would a failover work now?
    pub failover: FailoverStatus,
    /// Name of what is the matter; `well` when nothing is.
    pub diagnosis: String,
    /// The inputs of the diagnosis.
    pub because: Vec<String>,
    /// Why the leader holds still though something is the matter.
    pub holds: Option<String>,
    /// The operation under way.
    pub execution: Option<ExecutionStatus>,
    /// The last ones that ended, newest first.
    pub finished: Vec<FinishedExecution>,
}

/// What clients were told is done and would be gone with the active site, as last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ExposureStatus {
    /// What the primary had at its last look and `server` does not hold; 0 in `sync`; none when it is not
    /// known, or while the group moves.
    pub transactions: Option<u64>,
    /// For how long acknowledged writes have been on one site only, in milliseconds; 0 in `sync`. None of
    /// the transactions was acknowledged earlier.
    pub unprotected_ms: u64,
    /// The server of another site that holds most; none in `sync`.
    pub server: Option<String>,
}

/// What one node's DNS answers for a bound name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NameStatus {
    /// The name.
    pub name: String,
    /// The site whose addresses are answered; none for SERVFAIL.
    pub site: Option<String>,
}

/// One database server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ServerStatus {
    /// Its name.
    pub name: String,
    /// Its site.
    pub site: String,
    /// `primary`, `candidate` (it is to become the primary and is not open yet), `acker`, `replica`,
    /// `fenced`, `quarantined`, `unknown` (its guard is not heard).
    pub role: String,
    /// Milliseconds since its guard was heard; none when never.
    pub heard_ms: Option<u64>,
    /// `running`, `gone`, `unseen` (also when its guard is not heard).
    pub process: String,
    /// Identity of its data.
    pub uuid: Option<String>,
    /// `gtid_executed`.
    pub gtid_executed: Option<String>,
    /// Transactions the primary has and this server does not hold, as last reported.
    pub behind: Option<u64>,
    /// Received and not applied yet.
    pub unapplied: Option<u64>,
    /// What a person should know of it.
    pub note: Option<String>,
    /// `prefer` or `must-not`, where the configuration says so of its promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<String>,
    /// It takes writes (`read_only` is off), as last reported; none when it was never read.
    #[serde(default)]
    pub writable: Option<bool>,
    /// Connections that are taken.
    #[serde(default)]
    pub connections: Option<u32>,
    /// `max_connections`.
    #[serde(default)]
    pub max_connections: Option<u32>,
    /// Newest revision of K3s's objects here, where the database is their datastore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kine_revision: Option<u64>,
    /// `read`: its accounts were looked at, and those that hold too much are a diagnosis; `unreadable`: its guard may
    /// not look; `awaited`: it will within seconds. None when its guard tells nothing of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<String>,
    /// Its replication channel, where one is configured.
    #[serde(default)]
    pub replication: Option<ReplicationStatus>,
    /// What is the matter with it; only a leader that a quorum confirms tells.
    #[serde(default)]
    pub diagnoses: Vec<ServerDiagnosis>,
}

/// The channel by which a server replicates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ReplicationStatus {
    /// Host and port of its source.
    pub source: String,
    /// The receiver (IO thread): `running`, `connecting`, `stopped`.
    pub receiver: String,
    /// The applier (SQL thread): `running`, `connecting`, `stopped`.
    pub applier: String,
    /// Seconds behind its source; none when the server cannot tell.
    pub lag_s: Option<u64>,
    /// So many of them are on purpose (`SQL_Delay`).
    #[serde(default)]
    pub delay_s: u64,
    /// What it leaves out or renames, as `COLUMN: VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// How many other channels it has.
    #[serde(default)]
    pub other_channels: u32,
}

/// What is the matter with a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ServerDiagnosis {
    /// Its name, such as `replication-stopped`.
    pub name: String,
    /// The evidence.
    pub because: String,
    /// What a person does about it.
    pub next: String,
}

/// Whether a failover would work now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FailoverStatus {
    /// By itself.
    pub automatic: bool,
    /// The server that would take over.
    pub to: Option<String>,
    /// What stands against it.
    pub against: Vec<String>,
}

/// An operation under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ExecutionStatus {
    /// Its number in the group.
    pub id: u64,
    /// Its runbook.
    pub runbook: String,
    /// Whom it is about.
    pub subject: String,
    /// Why it was started.
    pub reason: String,
    /// `running`, `succeeded`, `failed`, `superseded`.
    pub status: String,
    /// Milliseconds since 1970.
    pub started_ms: i64,
    /// Its steps.
    pub steps: Vec<StepStatus>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StepStatus {
    /// Its name.
    pub name: String,
    /// `pending`, `started`, `done`, `failed`, `unknown`, `refused`, `skipped`.
    pub state: String,
    /// Evidence, or why not.
    pub detail: Option<String>,
    /// Attempts begun.
    pub attempts: u32,
    /// Milliseconds since 1970.
    pub started_ms: Option<i64>,
    /// Milliseconds since 1970.
    pub ended_ms: Option<i64>,
}

/// An operation that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FinishedExecution {
    /// Its number.
    pub id: u64,
    /// Its runbook.
    pub runbook: String,
    /// Whom it was about.
    pub subject: String,
    /// Why it was started.
    pub reason: String,
    /// How it ended.
    pub status: String,
    /// Milliseconds since 1970.
    pub started_ms: i64,
    /// Milliseconds since 1970.
    pub ended_ms: i64,
}

/// `GET /v1/groups/{group}/explain`: why it did or did not fail over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// The node whose view this is.
    #[serde(default)]
    pub answered_by: String,
    /// A quorum confirmed this view.
    #[serde(default)]
    pub quorum: bool,
    /// As in `status`.
    #[serde(default)]
    pub confirmed_ms: Option<u64>,
    /// As in `status`.
    #[serde(default)]
    pub trouble: Option<String>,
    /// The group as in `status`.
    pub group: GroupStatus,
    /// Every candidate and what stands against it.
    pub candidates: Vec<CandidateStatus>,
    /// What the leader would propose now.
    pub act: Option<String>,
    /// The last committed events of the group, newest last.
    pub events: Vec<EventLine>,
}

/// One candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CandidateStatus {
    /// The server.
    pub server: String,
    /// A person could move the group there.
    pub possible: bool,
    /// twofold may by itself.
    pub automatic: bool,
    /// What stands against it.
    pub against: Vec<String>,
}

/// Something that was committed, as a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct EventLine {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Stable name.
    pub name: String,
    /// For people.
    pub text: String,
}

/// `POST /v1/groups/{group}/failover`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FailoverRequest {
    /// Site to move to.
    #[schemars(regex(pattern = NAME), example = &"mdc")]
    pub to: String,
    /// Id of the loss that is accepted; needs the role `approver`.
    pub accept_loss: Option<String>,
    /// What was seen of the primary's host, where nobody else can confirm its fence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fenced: Option<String>,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub reason: Option<String>,
    /// Under which account the command runs; the audit names it beside who has proven to ask.
    #[serde(default)]
    pub by: String,
}

/// `POST /v1/groups/{group}/switchover`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SwitchoverRequest {
    /// Site to move to.
    #[schemars(regex(pattern = NAME), example = &"mdc")]
    pub to: String,
    /// Plan, and begin nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub reason: Option<String>,
    /// As in a failover.
    #[serde(default)]
    pub by: String,
}

/// What a switchover would do, or does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SwitchoverPlan {
    /// The group.
    pub group: String,
    /// The primary.
    pub from: String,
    /// Site to move to.
    pub to: String,
    /// The server that takes over.
    pub candidate: Option<String>,
    /// The new epoch.
    pub epoch: u64,
    /// Every precondition holds.
    pub ready: bool,
    /// All of them.
    pub preconditions: Vec<Precondition>,
    /// Its steps, in an order that respects what each needs.
    pub steps: Vec<PlannedStep>,
    /// Number of the execution that was begun; none where nothing was.
    pub execution: Option<u64>,
}

/// One thing that must be so before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Precondition {
    /// Stable name.
    pub name: String,
    /// It is so.
    pub holds: bool,
    /// What was seen.
    pub evidence: Vec<String>,
    /// What to do where it is not so.
    pub next: Option<String>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedStep {
    /// Its name.
    pub name: String,
    /// Steps that must be done before.
    pub needs: Vec<String>,
    /// Deadline of one attempt, milliseconds.
    pub timeout_ms: u64,
    /// Attempts in all.
    pub attempts: u32,
}

/// Maintenance of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MaintenanceStatus {
    /// Who began it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Milliseconds since 1970 when it ends by itself.
    pub until_ms: i64,
}

/// `POST /v1/groups/{group}/maintenance`: begins or prolongs it. `DELETE` of the same path ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MaintenanceRequest {
    /// For how long from now, in seconds.
    #[serde(deserialize_with = "whole")]
    #[schemars(range(min = 1, max = MAINTENANCE_MAX_S))]
    pub for_s: u64,
    /// Why; at most 500 characters, and not blank.
    #[schemars(length(min = 1, max = 500), regex(pattern = SOMETHING))]
    pub reason: String,
    /// As in a failover.
    #[serde(default)]
    pub by: String,
}

/// What became of a group's maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MaintenanceAnswer {
    /// The group.
    pub group: String,
    /// Milliseconds since 1970 when it ends by itself; none when it is ended.
    pub until_ms: Option<i64>,
}

/// The longest maintenance: a week. What lasts longer is a policy (`failover: manual`).
pub const MAINTENANCE_MAX_S: u64 = 7 * 24 * 60 * 60;
/// The longest reason, in characters.
pub const REASON_MAX: usize = 500;
/// What names of groups, sites and tokens look like: a DNS label.
pub const NAME: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
/// A text that is not blank.
const SOMETHING: &str = r"\S";

/// What was begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FailoverStarted {
    /// The group.
    pub group: String,
    /// The new epoch.
    pub epoch: u64,
    /// The server that takes over.
    pub candidate: String,
    /// The loss that was stated.
    pub loss: Loss,
}

/// What a failover loses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Loss {
    /// Names this statement; it lapses when the state changes.
    pub id: String,
    /// Nothing acknowledged is lost.
    pub none: bool,
    /// Transactions known to be missing on the candidate.
    pub transactions: u64,
    /// At most so many more, which the primary may have acknowledged unseen: at the fastest pace of its last looks, until
    /// its lease was over. None where nothing bounds them.
    #[serde(default)]
    pub unseen: Option<u64>,
    /// Age of the primary's last reading; what it acknowledged since is not known.
    pub unknown_ms: Option<u64>,
    /// Whose writes `none` promises nothing for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except: Option<String>,
    /// The server that has them, where it is not the primary that they are lost with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
}

/// `POST /v1/groups/{group}/servers/{server}/rebuild`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RebuildRequest {
    /// Id of the stated loss, where the server has transactions that its primary lacks; needs the role `approver`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_loss: Option<String>,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub reason: Option<String>,
    /// As in a failover.
    #[serde(default)]
    pub by: String,
}

/// A rebuild began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RebuildStarted {
    /// The group.
    pub group: String,
    /// The server.
    pub server: String,
    /// The execution.
    pub execution: u64,
    /// Transactions of its own that are given up; they are saved on its host first.
    pub transactions: u64,
}

/// `POST /v1/groups/{group}/servers/{server}/release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReleaseRequest {
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub reason: Option<String>,
    /// As in a failover.
    #[serde(default)]
    pub by: String,
}

/// A server is out of quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Released {
    /// The group.
    pub group: String,
    /// The server.
    pub server: String,
}

/// A part of one node's audit log: `GET /v1/audit?after=N`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AuditPage {
    /// Whose file it is.
    pub node: String,
    /// Lines as they stand in the file, after the one asked for, oldest first.
    pub lines: Vec<String>,
    /// What to ask after for the next page; none at the end of the file.
    pub next: Option<u64>,
    /// Which of the lines stand where: `files` together are all lines of the page.
    #[serde(default)]
    pub files: Vec<AuditPart>,
    /// Behind what the log begins, once older segments fell off its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<AuditHead>,
    /// Where the committed chain stands, as this node applied it: its file has at least so much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<AuditHead>,
    /// What is wrong with the log beside its lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Lines of one page that stand together in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AuditPart {
    /// Its name in the node's folder.
    pub file: String,
    /// The place of the first of them in it, from 1; from where the page began to read where that was
    /// further on.
    pub line: u64,
    /// How many.
    pub lines: u64,
}

/// Where an audit chain stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AuditHead {
    /// Its last entry.
    pub entries: u64,
    /// That entry's hash, lower-case hex.
    pub hash: String,
}

/// `GET /v1/dns/explain?name=…&type=…&client=…`: why one node answers as it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DnsExplanation {
    /// The node whose responder it is.
    pub answered_by: String,
    /// The name, fully qualified.
    pub name: String,
    /// The type.
    pub record_type: String,
    /// The client that was asked for.
    pub client: String,
    /// The committed generation that is answered from.
    pub generation: u64,
    /// Milliseconds since a quorum confirmed it to this node; none when it never did.
    pub confirmed_ms: Option<u64>,
    /// The response code.
    pub rcode: String,
    /// The answer section: owner, TTL, type, data.
    pub answers: Vec<String>,
    /// The way through the rules.
    pub because: Vec<String>,
    /// What this node's own last probes of the members saw; empty for names that are not pooled.
    #[serde(default)]
    pub probes: Vec<ProbeStatus>,
}

/// One node's last probe of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ProbeStatus {
    /// The pool.
    pub pool: String,
    /// The member.
    pub member: String,
    /// How long ago it ended.
    pub age_ms: u64,
    /// How long a good answer took; none when it failed.
    pub latency_us: Option<u64>,
    /// Why it failed; none when it did not.
    pub failure: Option<String>,
    /// When the certificate ends that the member last presented to an https check.
    pub certificate_ends_ms: Option<i64>,
    /// Whether that is sooner than the check's `expiry-warning`.
    pub certificate_ends_soon: bool,
    /// How many probes of it have ended since this node started.
    #[serde(default)]
    pub probes: u64,
    /// How many of them failed.
    #[serde(default)]
    pub failures: u64,
}

/// `POST /v1/config`: another generation of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConfigRequest {
    /// The text of a `twofold.yaml`; this or `restores`.
    #[serde(default)]
    pub text: Option<String>,
    /// An earlier generation whose text is taken up again.
    #[serde(default, deserialize_with = "whole_maybe")]
    pub restores: Option<u64>,
    /// The generation that the caller compared it with; refused when another one is in force.
    #[serde(default, deserialize_with = "whole_maybe")]
    pub expect: Option<u64>,
    /// Compare and ask every node, and commit nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Why, for the history and the audit.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub why: Option<String>,
    /// Nodes that need not be heard.
    #[serde(default)]
    pub without: Vec<String>,
    /// As in a failover.
    #[serde(default)]
    pub by: String,
}

/// What a new generation would change, or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigPlan {
    /// The generation that it was compared with.
    pub base: u64,
    /// The new generation; the same as `base` where nothing differs.
    pub generation: u64,
    /// What differs.
    pub changes: Vec<ConfigChange>,
    /// What every node says.
    pub nodes: Vec<NodeVerdict>,
    /// Nothing stands against it.
    pub ready: bool,
    /// It is committed.
    pub applied: bool,
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigChange {
    /// Where, as in `names."shop.example.com.".ttl`.
    pub path: String,
    /// As it was; none where it is new.
    pub before: Option<String>,
    /// As it is to be; none where it goes.
    pub after: Option<String>,
    /// Why a running cluster cannot take it; none where it can.
    pub refused: Option<String>,
}

/// What one node says of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NodeVerdict {
    /// The node.
    pub node: String,
    /// `accepts`, `refuses`, `silent` (not heard), `passed-over` (not heard, and that was allowed), `joins`
    /// (new: it is not asked), `leaves`.
    pub verdict: String,
    /// Why, or what to do.
    pub detail: Vec<String>,
}

/// `GET /v1/config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigStatus {
    /// The node whose view this is.
    pub answered_by: String,
    /// A quorum confirmed this view.
    pub quorum: bool,
    /// In force; none before the first was committed.
    pub current: Option<ConfigGeneration>,
    /// Those before it, newest first.
    pub earlier: Vec<ConfigGeneration>,
    /// What each node goes by.
    pub nodes: Vec<NodeConfig>,
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigGeneration {
    /// Its number.
    pub generation: u64,
    /// The generation whose text it took up again.
    pub restores: Option<u64>,
    /// Who made it.
    pub by: String,
    /// Why.
    pub why: Option<String>,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// What differed from the one before.
    pub changes: Vec<String>,
    /// Its text.
    pub text: String,
}

/// The configuration that one node goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NodeConfig {
    /// The node.
    pub node: String,
    /// The generation in force there; none when it is not heard.
    pub generation: Option<u64>,
    /// How the file on its disk differs from that: `same`, or in words; none when it is not heard.
    pub file: Option<String>,
    /// `voter`, `learner` (it gets the log and has no vote yet), `leaving`, `joins` (no member yet).
    pub member: String,
}

/// The longest body of `POST /v1/config`, bytes: the longest configuration and what JSON adds to it.
pub const CONFIG_BODY_MAX: usize = 600 * 1024;
