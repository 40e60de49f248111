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

/// A name of nothing that can be killed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No host of the lab.
    #[error("host {0:?} is not in the lab; `lab status` lists its hosts")]
    Host(String),
    /// No process of the host.
    #[error("process {process:?} is not on host {host}, which runs {runs}")]
    Process {
        /// The host.
        host: &'static str,
        /// What was asked for.
        process: String,
        /// What it has.
        runs: String,
    },
    /// The host is an instrument.
    #[error("host {0} holds measuring clients only: nothing runs there that could be killed")]
    Instrument(&'static str),
}

impl Target {
    /// One process.
    #[must_use]
    pub fn process(host: &str, process: &str) -> Target {
        Target { host: host.to_owned(), process: Some(process.to_owned()) }
    }

    /// Whether a process is meant.
    #[must_use]
    pub fn covers(&self, spec: &ProcessSpec) -> bool {
        self.covers_label(&spec.label())
    }

    /// The same by its label, `HOST/PROCESS`.
    #[must_use]
    pub fn covers_label(&self, label: &str) -> bool {
        let of_host = label.strip_prefix(&self.host).and_then(|rest| rest.strip_prefix('/'));
        of_host.is_some_and(|name| self.process.as_ref().is_none_or(|p| p == name))
    }
}

impl FromStr for Target {
    type Err = TargetError;
    fn from_str(s: &str) -> Result<Target, TargetError> {
        let (name, process) = s.split_once('/').map_or((s, None), |(h, p)| (h, Some(p.to_owned())));
        let host = Host::named(name).ok_or_else(|| TargetError::Host(name.to_owned()))?;
        let runs = host.kind.processes();
        match process {
            _ if runs.is_empty() => Err(TargetError::Instrument(host.name)),
            Some(process) if !runs.contains(&process.as_str()) => {
                Err(TargetError::Process { host: host.name, process, runs: runs.join(", ") })
            }
            process => Ok(Target { host: host.name.to_owned(), process }),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_killed_is_a_target() {
        for (text, wanted) in [
            ("pdc-db", Ok("pdc-db")),
            ("pdc-db/mysqld", Ok("pdc-db/mysqld")),
            ("wit-1/node", Ok("wit-1/node")),
            ("nowhere", Err("host \"nowhere\" is not in the lab; `lab status` lists its hosts")),
            ("pdc-db/nope", Err("process \"nope\" is not on host pdc-db, which runs mysqld, guard")),
            ("pdc-db/", Err("process \"\" is not on host pdc-db, which runs mysqld, guard")),
            ("pdc-web/mysqld", Err("process \"mysqld\" is not on host pdc-web, which runs web")),
            (
                "pdc-cli",
                Err("host pdc-cli holds measuring clients only: nothing runs there that could be killed"),
            ),
        ] {
            let parsed = text.parse::<Target>().map(|t| t.to_string()).map_err(|e| e.to_string());
            assert_eq!(parsed, wanted.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_host_covers_its_own_processes_alone() {
        let host: Target = "pdc-db".parse().unwrap();
        assert!(host.covers_label("pdc-db/mysqld") && host.covers_label("pdc-db/guard"));
        assert!(!host.covers_label("mdc-db/mysqld") && !host.covers_label("pdc-db-2/mysqld"));
        let process = Target::process("pdc-db", "guard");
        assert!(process.covers_label("pdc-db/guard") && !process.covers_label("pdc-db/mysqld"));
    }
}
