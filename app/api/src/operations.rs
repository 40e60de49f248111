//! Every operation of the API: what no type says. A new one is a row here, a route and a handler in the
//! daemon, and a verb of the command line.

use schemars::generate::SchemaGenerator;
use serde_json::Value;

use crate::openapi::schema;
use crate::v1::{
    AcknowledgeRequest, AuditPage, Code, ConfigPlan, ConfigRequest, ConfigStatus, DnsExplanation,
    Explanation, FailoverRequest, FailoverStarted, IssuedToken, MaintenanceAnswer, MaintenanceRequest,
    RebuildRequest, RebuildStarted, ReleaseRequest, Released, Status, SwitchoverPlan, SwitchoverRequest,
    TokenAnswer, TokenList, TokenRequest,
};

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Stable name.
    pub id: &'static str,
    /// In a line.
    pub summary: &'static str,
    /// The least role that may.
    pub role: &'static str,
    /// More about it.
    pub note: &'static str,
    /// Of its path and query.
    pub parameters: &'static [Parameter],
    /// What is asked.
    pub body: Option<fn(&mut SchemaGenerator) -> Value>,
    /// What is answered when it is done.
    pub answer: Answer,
    /// Codes beside those that every operation has.
    pub further: &'static [Code],
}

/// A parameter.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// `path` or `query`.
    pub place: &'static str,
    /// It must be given.
    pub required: bool,
    /// What it is.
    pub is: &'static str,
    /// Its schema, in JSON.
    pub schema: &'static str,
}

/// What is answered.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// JSON of this schema.
    Json(fn(&mut SchemaGenerator) -> Value),
    /// Text of this media type.
    Text(&'static str),
}

impl Operation {
    /// Every code that it may answer.
    pub fn codes(&self) -> impl Iterator<Item = Code> {
        let always =
            [Code::Unauthenticated, Code::TokenExpired, Code::Forbidden, Code::NoQuorum, Code::Failed];
        // A body can be wrong in more ways than a parameter, and a parameter at least in one.
        let body: &[Code] = match self.body {
            Some(_) => &[Code::BadRequest, Code::TooLarge, Code::UnsupportedMediaType],
            None if self.parameters.is_empty() => &[],
            None => &[Code::BadRequest],
        };
        let mut codes: Vec<Code> = [&always[..], body, self.further].concat();
        codes.sort_by_key(|c| (c.http_status(), c.as_str()));
        codes.dedup();
        codes.into_iter()
    }
}

const GROUP: Parameter = Parameter {
    name: "group",
    place: "path",
    required: true,
    is: "The protection group.",
    schema: r#"{"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}"#,
};

const SERVER: Parameter = Parameter {
    name: "server",
    place: "path",
    required: true,
    is: "A server of the group.",
    schema: r#"{"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}"#,
};

const TOKEN: Parameter = Parameter {
    name: "token",
    place: "path",
    required: true,
    is: "The token's name.",
    schema: r#"{"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}"#,
};

const REASON: Parameter = Parameter {
    name: "reason",
    place: "query",
    required: false,
    is: "Why, for the audit.",
    schema: r#"{"type": "string", "maxLength": 500}"#,
};

const READS: Operation = Operation {
    method: "GET",
    path: "",
    id: "",
    summary: "",
    role: "viewer",
    note: "",
    parameters: &[],
    body: None,
    answer: Answer::Text("application/json"),
    further: &[],
};

/// All of them.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        path: "/v1/status",
        id: "status",
        summary: "One screen: who is active, since when, may it fail over now, and if not why not.",
        note: "The leader's view where a quorum confirms it (`quorum`), else the asked node's own.",
        answer: Answer::Json(schema::<Status>),
        ..READS
    },
    Operation {
        path: "/metrics",
        id: "metrics",
        summary: "The asked node's own view in OpenMetrics form.",
        answer: Answer::Text("application/openmetrics-text"),
        ..READS
    },
    Operation {
        path: "/v1/openapi.json",
        id: "openapi",
        summary: "This document.",
        answer: Answer::Json(any_object),
        ..READS
    },
    Operation {
        path: "/v1/config",
        id: "configuration",
        summary: "The configuration in force, those before it, and what every node goes by.",
        note: "Not for a token that is for some groups only.",
        answer: Answer::Json(schema::<ConfigStatus>),
        ..READS
    },
    Operation {
        method: "POST",
        path: "/v1/config",
        id: "configure",
        summary: "Puts another configuration in force, or plans it.",
        role: "admin",
        note: "A dry run changes nothing and needs `viewer`. Give either `text` or `restores`.",
        parameters: &[],
        body: Some(schema::<ConfigRequest>),
        answer: Answer::Json(schema::<ConfigPlan>),
        further: &[Code::NotFound, Code::Refused, Code::StaleGeneration],
    },
    Operation {
        path: "/v1/audit",
        id: "audit",
        summary: "A page of the asked node's own audit log, hash-chained.",
        note: "Not for a token that is for some groups only.",
        parameters: &[Parameter {
            name: "after",
            place: "query",
            required: false,
            is: "The entry after which to go on.",
            schema: r#"{"type": "integer", "minimum": 0, "maximum": 9007199254740991, "default": 0}"#,
        }],
        answer: Answer::Json(schema::<AuditPage>),
        ..READS
    },
    Operation {
        path: "/v1/dns/explain",
        id: "explain-dns",
        summary: "Why the asked node's DNS answers a question as it does.",
        parameters: &[
            Parameter {
                name: "name",
                place: "query",
                required: true,
                is: "The name, taken as fully qualified.",
                schema: r#"{"type": "string", "pattern": "^([A-Za-z0-9_-]{1,30}\\.){0,6}[A-Za-z0-9_-]{1,30}\\.?$"}"#,
            },
            Parameter {
                name: "type",
                place: "query",
                required: false,
                is: "The record type.",
                schema: r#"{"type": "string", "pattern": "^(A|AAAA|CNAME|MX|NS|PTR|SOA|SRV|TXT)$", "default": "A"}"#,
            },
            Parameter {
                name: "client",
                place: "query",
                required: false,
                is: "The client to answer; 127.0.0.1 unless given.",
                schema: r#"{"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}"#,
            },
        ],
        answer: Answer::Json(schema::<DnsExplanation>),
        further: &[Code::NotFound],
        ..READS
    },
    Operation {
        path: "/v1/groups/{group}/explain",
        id: "explain-group",
        summary: "Why a group did or did not fail over.",
        parameters: &[GROUP],
        answer: Answer::Json(schema::<Explanation>),
        further: &[Code::NotFound],
        ..READS
    },
    Operation {
        method: "POST",
        path: "/v1/groups/{group}/failover",
        id: "failover",
        summary: "Moves a group without its primary's help.",
        role: "operator",
        note: "What it would lose is stated first (`loss-not-accepted`); to accept a loss needs `approver`.",
        parameters: &[GROUP],
        body: Some(schema::<FailoverRequest>),
        answer: Answer::Json(schema::<FailoverStarted>),
        further: &[Code::NotFound, Code::Refused, Code::LossNotAccepted],
    },
    Operation {
        method: "POST",
        path: "/v1/groups/{group}/switchover",
        id: "switchover",
        summary: "Moves a group with its primary's help, or plans it.",
        role: "operator",
        note: "A dry run changes nothing and needs `viewer`.",
        parameters: &[GROUP],
        body: Some(schema::<SwitchoverRequest>),
        answer: Answer::Json(schema::<SwitchoverPlan>),
        further: &[Code::NotFound, Code::Refused],
    },
    Operation {
        method: "POST",
        path: "/v1/groups/{group}/servers/{server}/rebuild",
        id: "rebuild-server",
        summary: "Copies a server that is not the primary anew, from the primary.",
        role: "operator",
        note: "Transactions of its own are saved on its host and given up; that is stated first \
               (`loss-not-accepted`), and needs `approver`.",
        parameters: &[GROUP, SERVER],
        body: Some(schema::<RebuildRequest>),
        answer: Answer::Json(schema::<RebuildStarted>),
        further: &[Code::NotFound, Code::Refused, Code::LossNotAccepted],
    },
    Operation {
        method: "POST",
        path: "/v1/groups/{group}/servers/{server}/release",
        id: "release-server",
        summary: "Takes a server out of quarantine as it is: it is compared again, and may be put back.",
        role: "operator",
        note: "",
        parameters: &[GROUP, SERVER],
        body: Some(schema::<ReleaseRequest>),
        answer: Answer::Json(schema::<Released>),
        further: &[Code::NotFound, Code::Refused],
    },
    Operation {
        method: "POST",
        path: "/v1/groups/{group}/maintenance",
        id: "begin-maintenance",
        summary: "Keeps a group from moving by itself for a while, or for longer than before.",
        role: "operator",
        note: "",
        parameters: &[GROUP],
        body: Some(schema::<MaintenanceRequest>),
        answer: Answer::Json(schema::<MaintenanceAnswer>),
        further: &[Code::NotFound, Code::Refused],
    },
    Operation {
        method: "DELETE",
        path: "/v1/groups/{group}/maintenance",
        id: "end-maintenance",
        summary: "Ends it before its time.",
        role: "operator",
        parameters: &[GROUP, REASON],
        answer: Answer::Json(schema::<MaintenanceAnswer>),
        further: &[Code::NotFound, Code::Refused],
        ..READS
    },
    Operation {
        path: "/v1/tokens",
        id: "tokens",
        summary: "The API tokens that stand, and uses of break-glass tokens that nobody has acknowledged.",
        note: "Not for a token that is for some groups only.",
        answer: Answer::Json(schema::<TokenList>),
        ..READS
    },
    Operation {
        method: "POST",
        path: "/v1/tokens",
        id: "issue-token",
        summary: "Issues a token; its secret is in this answer and nowhere else.",
        role: "admin",
        note: "",
        parameters: &[],
        body: Some(schema::<TokenRequest>),
        answer: Answer::Json(schema::<IssuedToken>),
        further: &[Code::NotFound, Code::Refused],
    },
    Operation {
        method: "DELETE",
        path: "/v1/tokens/{token}",
        id: "revoke-token",
        summary: "Revokes a token.",
        role: "admin",
        parameters: &[TOKEN, REASON],
        answer: Answer::Json(schema::<TokenAnswer>),
        further: &[Code::NotFound],
        ..READS
    },
    Operation {
        method: "POST",
        path: "/v1/tokens/{token}/acknowledge",
        id: "acknowledge",
        summary: "Acknowledges the uses of a break-glass token.",
        role: "admin",
        note: "Not with a break-glass token.",
        parameters: &[TOKEN],
        body: Some(schema::<AcknowledgeRequest>),
        answer: Answer::Json(schema::<TokenAnswer>),
        further: &[Code::NotFound, Code::Refused],
    },
];

fn any_object(_: &mut SchemaGenerator) -> Value {
    serde_json::json!({ "type": "object" })
}
