//! What the lab reads of `twofold status -o json`, and how it asks.
//!
//! The lab reads the document as an operator's script would: by its fields, so that it also reads
//! the document of a twofold that was built before or after it.

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::cluster;
use crate::inside;
use crate::layout::{Host, Lab};
use crate::spec::LabSpec;

/// `status` has deadlines of its own; this one only bounds a broken binary.
const DEADLINE: Duration = Duration::from_secs(10);

/// One answer of `twofold status -o json`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterStatus(Value);

/// A group in it.
#[derive(Debug, Clone, Copy)]
pub struct GroupView<'a>(&'a Value);

impl ClusterStatus {
    /// Asks from the outside client host.
    ///
    /// # Errors
    /// When the command fails (no quorum is exit code 4) or prints no document.
    pub fn ask(lab: &Lab, spec: &LabSpec) -> anyhow::Result<ClusterStatus> {
        let text = |p: &std::path::Path| p.to_string_lossy().into_owned();
        let mut command = vec![text(&spec.twofold)];
        command.extend(["status", "-o", "json", "--config"].map(str::to_owned));
        command.push(text(&lab.config_file()));
        command.extend(["--api".to_owned(), cluster::apis()]);
        let host = Host::named("cli").expect("the table of hosts has it");
        let output = inside::output(lab, spec, &host, &command, DEADLINE)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            anyhow::bail!("`twofold status` ended with {}: {}", output.status, said.trim());
        }
        serde_json::from_slice(&output.stdout)
            .map(ClusterStatus)
            .context("`twofold status -o json` printed no JSON")
    }

    /// The document itself.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.0
    }

    /// A group by name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<GroupView<'_>> {
        let groups = self.0["groups"].as_array()?;
        groups.iter().find(|g| g["name"] == name).map(GroupView)
    }

    /// The Raft leader's node.
    #[must_use]
    pub fn leader(&self) -> Option<&str> {
        let nodes = self.0["nodes"].as_array();
        let marked = || nodes?.iter().find(|n| n["leader"] == true)?["name"].as_str();
        self.0["leader"].as_str().or_else(marked)
    }

    /// Nodes that are up.
    #[must_use]
    pub fn nodes_up(&self) -> usize {
        let nodes = self.0["nodes"].as_array().map_or(&[][..], Vec::as_slice);
        nodes.iter().filter(|n| n["up"] == true).count()
    }
}

impl GroupView<'_> {
    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.0["epoch"].as_u64()
    }

    /// The phase, in lower case.
    #[must_use]
    pub fn phase(&self) -> String {
        self.0["phase"].as_str().unwrap_or_default().to_lowercase()
    }

    /// The durability: `sync`, `catch-up` or `async`.
    #[must_use]
    pub fn durability(&self) -> &str {
        self.0["durability"].as_str().unwrap_or_default()
    }

    /// The site that serves.
    #[must_use]
    pub fn active_site(&self) -> Option<&str> {
        self.0["active-site"].as_str()
    }

    /// Whether the group serves, in lossless replication.
    #[must_use]
    pub fn serves_in_sync(&self) -> bool {
        self.phase() == "serving" && self.durability() == "sync"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_document_is_read_by_its_fields() {
        let status = ClusterStatus(serde_json::json!({
            "leader": "mdc-1",
            "nodes": [{"name": "mdc-1", "site": "mdc", "leader": true, "up": true}, {"name": "pdc-1", "up": false}],
            "groups": [{"name": "shop", "epoch": 3, "phase": "serving", "durability": "sync",
                        "active-site": "pdc", "primary": "u", "open": true}],
        }));
        let group = status.group("shop").unwrap();
        assert!(group.serves_in_sync());
        assert_eq!((group.epoch(), group.active_site()), (Some(3), Some("pdc")));
        assert_eq!((status.leader(), status.nodes_up()), (Some("mdc-1"), 1));
        assert!(status.group("other").is_none());
    }
}
