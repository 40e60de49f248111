//! What `lab kill` names: a host or one process of it. A site is powered off instead.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::layout::Host;
use crate::spec::ProcessSpec;

/// A host, or one process of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The host.
    pub host: String,
    /// One process of it; all of them unless given.
    pub process: Option<String>,
}

/// A name that is no host of the lab.
#[derive(Debug, thiserror::Error)]
#[error("host {0:?} is not in the lab; `lab status` lists its hosts")]
pub struct TargetError(pub String);

impl Target {
    /// One process.
    #[must_use]
    pub fn process(host: &str, process: &str) -> Target {
        Target { host: host.to_owned(), process: Some(process.to_owned()) }
    }

    /// Whether a process is meant.
    #[must_use]
    pub fn covers(&self, spec: &ProcessSpec) -> bool {
        spec.host == self.host && self.process.as_ref().is_none_or(|p| *p == spec.name)
    }
}

impl FromStr for Target {
    type Err = TargetError;
    fn from_str(s: &str) -> Result<Target, TargetError> {
        let (host, process) = s.split_once('/').map_or((s, None), |(h, p)| (h, Some(p.to_owned())));
        Host::named(host).ok_or_else(|| TargetError(host.to_owned()))?;
        Ok(Target { host: host.to_owned(), process })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(p) => write!(f, "{}/{p}", self.host),
            None => f.write_str(&self.host),
        }
    }
}
