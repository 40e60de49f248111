//! Refusals and failures, and their stable codes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Loss;

/// A refusal or failure, as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// Stable code.
    pub code: Code,
    /// What could not be done, to what, and a next act.
    pub title: String,
    /// More of it, line by line; on the wire one string, as RFC 9457 has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "lines")]
    #[schemars(with = "String")]
    pub detail: Vec<String>,
    /// The loss that must be accepted, when that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
}

/// Lines as one string.
mod lines {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(lines: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&lines.join("\n"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(String::deserialize(deserializer)?.lines().map(str::to_owned).collect())
    }
}

/// Stable codes, each with its exit code of the CLI (DESIGN §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// No leader, or no quorum confirmed.
    NoQuorum,
    /// The request is not understood.
    BadRequest,
    /// No such thing.
    NotFound,
    /// A rule stands against it.
    Refused,
    /// It was compared with a configuration that is in force no more.
    StaleGeneration,
    /// Who asks has proven nothing that counts: no certificate, no token, or a token that does not stand.
    Unauthenticated,
    /// The token has expired.
    TokenExpired,
    /// The caller's role, or what its token is for, does not allow it.
    Forbidden,
    /// The path is there and takes no such method.
    MethodNotAllowed,
    /// The body is longer than any request.
    TooLarge,
    /// The body is not said to be `application/json`.
    UnsupportedMediaType,
    /// A loss must be accepted first.
    LossNotAccepted,
    /// It was tried and failed.
    Failed,
}

impl Code {
    /// All of them.
    pub const ALL: [Code; 13] = [
        Code::NoQuorum,
        Code::BadRequest,
        Code::NotFound,
        Code::Refused,
        Code::StaleGeneration,
        Code::Unauthenticated,
        Code::TokenExpired,
        Code::Forbidden,
        Code::MethodNotAllowed,
        Code::TooLarge,
        Code::UnsupportedMediaType,
        Code::LossNotAccepted,
        Code::Failed,
    ];

    /// Its word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Code::NoQuorum => "no-quorum",
            Code::BadRequest => "bad-request",
            Code::NotFound => "not-found",
            Code::Refused => "refused",
            Code::StaleGeneration => "stale-generation",
            Code::Unauthenticated => "unauthenticated",
            Code::TokenExpired => "token-expired",
            Code::Forbidden => "forbidden",
            Code::MethodNotAllowed => "method-not-allowed",
            Code::TooLarge => "too-large",
            Code::UnsupportedMediaType => "unsupported-media-type",
            Code::LossNotAccepted => "loss-not-accepted",
            Code::Failed => "failed",
        }
    }

    /// Exit code of the CLI.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Code::Failed => 1,
            Code::BadRequest
            | Code::NotFound
            | Code::MethodNotAllowed
            | Code::TooLarge
            | Code::UnsupportedMediaType => 2,
            Code::Refused
            | Code::StaleGeneration
            | Code::Unauthenticated
            | Code::TokenExpired
            | Code::Forbidden
            | Code::LossNotAccepted => 3,
            Code::NoQuorum => 4,
        }
    }

    /// HTTP status.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Code::NoQuorum => 503,
            Code::BadRequest => 400,
            Code::Unauthenticated | Code::TokenExpired => 401,
            Code::Forbidden => 403,
            Code::NotFound => 404,
            Code::MethodNotAllowed => 405,
            Code::TooLarge => 413,
            Code::UnsupportedMediaType => 415,
            Code::Refused | Code::StaleGeneration | Code::LossNotAccepted => 409,
            Code::Failed => 500,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a code is the same word wherever it stands, and api.md tells each with its status.
    #[test]
    fn every_code_has_one_word_and_is_told() {
        let page = include_str!("../../../../docs/reference/api.md");
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).expect("a code"), code.as_str());
            let row = format!("| `{}` | {} | {} |", code.as_str(), code.http_status(), code.exit_code());
            assert!(page.contains(&row), "{row} is not in api.md");
        }
    }

    #[test]
    fn detail_is_one_string_on_the_wire() {
        let detail = vec!["one".to_owned(), "two".to_owned()];
        let problem = Problem { code: Code::Refused, title: "no".into(), detail, loss: None };
        let wire = serde_json::to_value(&problem).expect("a document");
        assert_eq!(wire["detail"], "one\ntwo");
        assert_eq!(serde_json::from_value::<Problem>(wire).expect("it reads back"), problem);
    }
}
