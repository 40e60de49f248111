//! Who speaks: a node, or the guard of one database server.

use std::fmt;
use std::str::FromStr;

use model::{IdError, NodeId, ServerId};
use serde::{Deserialize, Serialize};

/// One twofold process as the others name it. Its text form is `node/pdc-1` or `guard/db-a1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Endpoint {
    /// A voter: `twofold serve`.
    Node(NodeId),
    /// The lease holder on a database host: `twofold guard`.
    Guard(ServerId),
}

/// Why a text names no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Neither `node/…` nor `guard/…`.
    #[error("{0:?} is neither node/NAME nor guard/NAME")]
    Form(String),
    /// What follows the slash is not a name.
    #[error("endpoint name")]
    Name(#[from] IdError),
}

impl Endpoint {
    /// The node, if it is one.
    pub fn node(&self) -> Option<&NodeId> {
        match self {
            Self::Node(id) => Some(id),
            Self::Guard(_) => None,
        }
    }

    /// The name without its kind.
    pub fn name(&self) -> &str {
        match self {
            Self::Node(id) => id.as_str(),
            Self::Guard(id) => id.as_str(),
        }
    }
}

impl From<NodeId> for Endpoint {
    fn from(id: NodeId) -> Self {
        Self::Node(id)
    }
}

impl From<ServerId> for Endpoint {
    fn from(id: ServerId) -> Self {
        Self::Guard(id)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => f.pad(&format!("node/{id}")),
            Self::Guard(id) => f.pad(&format!("guard/{id}")),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        match text.split_once('/') {
            Some(("node", name)) => Ok(Self::Node(name.parse()?)),
            Some(("guard", name)) => Ok(Self::Guard(name.parse()?)),
            _ => Err(EndpointError::Form(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;
    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> String {
        endpoint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_back_from_its_text() {
        for text in ["node/pdc-1", "guard/db-a1"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
            let json = serde_json::to_string(&endpoint).unwrap();
            assert_eq!(serde_json::from_str::<Endpoint>(&json).unwrap(), endpoint);
        }
        for bad in ["", "pdc-1", "node/", "node/A", "voter/pdc-1", "node/a/b"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad:?} was taken");
        }
    }
}
