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

/// What `twofold` ends with when no quorum confirmed an answer (DESIGN §7).
const EXIT_NO_QUORUM: i32 = 4;

/// `status` has deadlines of its own; this one only bounds a broken binary.
const DEADLINE: Duration = Duration::from_secs(10);

/// One answer of `twofold status -o json`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterStatus(Value);

/// No quorum confirmed an answer.
#[derive(Debug, thiserror::Error)]
#[error("no quorum{}{why}", if .why.is_empty() { "" } else { ": " })]
pub struct NoQuorum {
    /// What the asked node sees by itself, if one answered.
    pub view: Option<ClusterStatus>,
    /// For people; may be empty.
    pub why: String,
}

impl NoQuorum {
    /// From a view (it has nodes) or from a problem document (it has a title).
    fn of(document: Value) -> NoQuorum {
        if !document["nodes"].is_array() {
            let why = document["title"].as_str().unwrap_or_default();
            // The title of this problem may say no more than we do.
            let why = why.strip_prefix("no quorum").map_or(why, |rest| rest.trim_start_matches([':', ' ']));
            return NoQuorum { view: None, why: why.to_owned() };
        }
        let view = ClusterStatus(document);
        let all = view.0["nodes"].as_array().map_or(0, Vec::len);
        let why = format!(
            "{} sees {} of {all} nodes",
            view.0["answered-by"].as_str().unwrap_or("a node"),
            view.nodes_up()
        );
        NoQuorum { view: Some(view), why }
    }
}

/// The last line that is not empty: the reason, in nearly all programs.
fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().map(str::trim).rfind(|l| !l.is_empty()).unwrap_or_default().to_owned()
}

/// A group in it.
#[derive(Debug, Clone, Copy)]
pub struct GroupView<'a>(&'a Value);

impl ClusterStatus {
    /// Asks from the outside client host.
    ///
    /// # Errors
    /// [`NoQuorum`]; when the command fails otherwise, or prints no document.
    pub fn ask(lab: &Lab, spec: &LabSpec) -> anyhow::Result<ClusterStatus> {
        let text = |p: &std::path::Path| p.to_string_lossy().into_owned();
        let mut command = vec![text(&spec.twofold)];
        command.extend(["status", "-o", "json", "--config"].map(str::to_owned));
        command.push(text(&lab.config_file()));
        command.extend(["--api".to_owned(), cluster::apis()]);
        let host = Host::named("cli").expect("the table of hosts has it");
        let output = inside::output(lab, spec, &host, &command, DEADLINE)?;
        ClusterStatus::read(output.status.code(), &output.stdout, &output.stderr)
    }

    /// What `twofold status -o json` said. Without a quorum it prints one node's own view, or the
    /// API's problem document, to its standard output, and neither is an answer.
    fn read(code: Option<i32>, stdout: &[u8], stderr: &[u8]) -> anyhow::Result<ClusterStatus> {
        let printed = serde_json::from_slice::<Value>(stdout);
        match (code, printed) {
            (Some(0), printed) => {
                printed.map(ClusterStatus).context("`twofold status -o json` printed no JSON")
            }
            (Some(EXIT_NO_QUORUM), Ok(document)) => Err(NoQuorum::of(document).into()),
            (Some(EXIT_NO_QUORUM), Err(_)) => Err(NoQuorum { view: None, why: last_line(stderr) }.into()),
            (code, printed) => {
                let title = printed.ok().and_then(|d| d["title"].as_str().map(str::to_owned));
                let code = code.map_or("a signal".to_owned(), |c| format!("exit code {c}"));
                let said = title.unwrap_or_else(|| last_line(stderr));
                anyhow::bail!("`twofold status` ended with {code}: {said}")
            }
        }
    }

    /// A document that somebody else got.
    #[cfg(test)]
    pub(crate) fn of(document: Value) -> ClusterStatus {
        ClusterStatus(document)
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

    /// The server that is primary.
    #[must_use]
    pub fn primary(&self) -> Option<&str> {
        self.0["primary"].as_str()
    }

    /// How many servers it has.
    #[must_use]
    pub fn servers(&self) -> usize {
        self.0["servers"].as_array().map_or(0, Vec::len)
    }

    /// The servers of the group that have this role.
    pub fn servers_that_are(&self, role: &str) -> impl Iterator<Item = &str> {
        let servers = self.0["servers"].as_array().map_or(&[][..], Vec::as_slice);
        servers.iter().filter(move |s| s["role"] == role).filter_map(|s| s["name"].as_str())
    }

    /// Whether so many servers have a part: primary, acker or replica.
    #[must_use]
    pub fn has_whole(&self, servers: usize) -> bool {
        let with = |role| self.servers_that_are(role).count();
        with("primary") + with("acker") + with("replica") >= servers
    }

    /// The operation under way and its step, for people.
    #[must_use]
    pub fn under_way(&self) -> Option<String> {
        let execution = &self.0["execution"];
        let (runbook, subject) = (execution["runbook"].as_str()?, execution["subject"].as_str()?);
        let steps = execution["steps"].as_array().map_or(&[][..], Vec::as_slice);
        let step = steps.iter().find(|s| s["state"] != "done").and_then(|s| s["name"].as_str());
        Some(step.map_or_else(
            || format!("{runbook} of {subject}"),
            |step| format!("{runbook} of {subject}: {step}"),
        ))
    }

    /// A server that waits for a person, with the reason.
    #[must_use]
    pub fn quarantined(&self) -> Option<String> {
        let servers = self.0["servers"].as_array()?;
        let waiting = servers.iter().find(|s| s["role"] == "quarantined")?;
        let (name, note) = (waiting["name"].as_str()?, waiting["note"].as_str().unwrap_or_default());
        Some(format!("{name}: {note}"))
    }

    /// Whether the group serves, and a replica has its primary as source.
    #[must_use]
    pub fn serves_beside_a_replica(&self) -> bool {
        let replica = self.servers_that_are("replica").next().is_some();
        self.phase() == "serving" && self.0["open"] == true && replica
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
                        "active-site": "pdc", "primary": "u", "open": true,
                        "servers": [{"name": "pdc-db", "role": "primary", "note": null},
                                    {"name": "mdc-db", "role": "quarantined", "note": "return-extra"}],
                        "execution": {"runbook": "rejoin", "subject": "mdc-db", "steps": [
                            {"name": "compare", "state": "done"}, {"name": "clone", "state": "started"}]}}],
        }));
        let group = status.group("shop").unwrap();
        assert!(group.serves_in_sync());
        assert_eq!(group.primary(), Some("u"));
        assert_eq!(group.servers_that_are("primary").collect::<Vec<_>>(), ["pdc-db"]);
        assert!(group.has_whole(1) && !group.has_whole(2), "one of the two waits in quarantine");
        assert_eq!((group.epoch(), group.active_site()), (Some(3), Some("pdc")));
        assert_eq!((status.leader(), status.nodes_up()), (Some("mdc-1"), 1));
        assert_eq!(group.under_way().as_deref(), Some("rejoin of mdc-db: clone"));
        assert_eq!(group.quarantined().as_deref(), Some("mdc-db: return-extra"));
        assert!(status.group("other").is_none());
    }

    /// Goal: what `status` prints without a quorum is told and never taken for an answer.
    #[test]
    fn without_a_quorum_the_reason_is_told_and_the_view_is_no_answer() {
        let view = r#"{"answered-by": "wit-1", "quorum": false, "nodes": [{"name": "wit-1", "up": true},
            {"name": "pdc-1", "up": false}], "groups": []}"#;
        let problem = r#"{"code": "no-quorum", "title": "no node answers", "detail": []}"#;
        for (code, stdout, stderr, said) in [
            (Some(4), view, "", "no quorum: wit-1 sees 1 of 2 nodes"),
            (Some(4), problem, "", "no quorum: no node answers"),
            (Some(4), "", "twofold: no leader\n", "no quorum: twofold: no leader"),
            (Some(4), "", "", "no quorum"),
            (Some(2), "", "a\nfile is missing\n", "`twofold status` ended with exit code 2: file is missing"),
            (Some(1), r#"{"title": "it broke"}"#, "", "`twofold status` ended with exit code 1: it broke"),
            (None, "", "", "`twofold status` ended with a signal: "),
        ] {
            let error = ClusterStatus::read(code, stdout.as_bytes(), stderr.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), said);
            let no_quorum = error.downcast_ref::<NoQuorum>();
            assert_eq!(no_quorum.is_some(), code == Some(4), "{said}");
            assert_eq!(no_quorum.is_some_and(|n| n.view.is_some()), stdout == view);
        }
        assert!(ClusterStatus::read(Some(0), view.as_bytes(), b"").is_ok());
    }
}
