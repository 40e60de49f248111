//! What differs between two configurations, in words, and which of it a running cluster can take.
//!
//! Compared is what is meant, not what is written: a default that is now spelled out is no difference.
//! What follows from a change (the zone's name servers from a new node) is one.
//!
//! A change is **hot** when every process can go over to it at any moment, one before the other, and no
//! promise of DESIGN §4 rests on all of them having the same. Everything else is refused with the reason.

use crate::config::{Config, Role};
use crate::problem::Problems;
use crate::tree::{Kind, Node, parse};

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where, as in `names.shop.ttl`.
    pub path: String,
    /// As it was; none where it is new.
    pub before: Option<String>,
    /// As it is to be; none where it goes.
    pub after: Option<String>,
    /// Why a running cluster cannot take it, and what to do instead; none where it can.
    pub refused: Option<String>,
}

/// `PATH: BEFORE -> AFTER`, `+ PATH: AFTER` or `- PATH: BEFORE`.
impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "~ {}: {before} -> {after}", self.path),
            (None, Some(after)) => write!(f, "+ {}: {after}", self.path),
            (Some(before), None) => write!(f, "- {}: {before}", self.path),
            (None, None) => write!(f, "  {}", self.path),
        }
    }
}

/// Everything that differs, in the order of the file's sections.
pub fn differences(old: &Config, new: &Config) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&mut Vec::new(), &tree_of(old), &tree_of(new), &mut found);
    let judged = found.into_iter().map(|change| {
        let path: Vec<&str> = change.path.iter().map(String::as_str).collect();
        let refused = refusal(&path, change.after.is_none(), old, new).map(str::to_owned);
        let shown: Vec<String> = change.path.iter().map(|segment| shown(segment)).collect();
        Difference { path: shown.join("."), before: change.before, after: change.after, refused }
    });
    judged.collect()
}

/// A difference whose path is not put together yet.
struct Change {
    path: Vec<String>,
    before: Option<String>,
    after: Option<String>,
}

/// Names with dots in them are quoted.
fn shown(segment: &str) -> String {
    if segment.contains('.') { format!("\"{segment}\"") } else { segment.to_owned() }
}

fn tree_of(config: &Config) -> Node {
    let mut problems = Problems::default();
    parse(&config.to_string(), &mut problems).expect("the resolved form reads back")
}

fn compare(path: &mut Vec<String>, old: &Node, new: &Node, found: &mut Vec<Change>) {
    match (&old.kind, &new.kind) {
        (Kind::Map(before), Kind::Map(after)) => {
            let value = |entries: &'_ [(crate::tree::Key, Node)], key: &str| {
                entries.iter().position(|(k, _)| k.text == key)
            };
            for (key, node) in before {
                path.push(key.text.clone());
                match value(after, &key.text) {
                    Some(at) => compare(path, node, &after[at].1, found),
                    None => found.push(difference(path, Some(node), None)),
                }
                path.pop();
            }
            for (key, node) in after.iter().filter(|(k, _)| value(before, &k.text).is_none()) {
                path.push(key.text.clone());
                found.push(difference(path, None, Some(node)));
                path.pop();
            }
        }
        // Lists of mappings are sets to people: what came and what went.
        (Kind::List(before), Kind::List(after)) if before.iter().chain(after).any(is_map) => {
            let (old, new): (Vec<_>, Vec<_>) =
                (before.iter().map(compact).collect(), after.iter().map(compact).collect());
            let only = |a: &[String], b: &[String]| -> Vec<String> {
                a.iter().filter(|text| !b.contains(text)).cloned().collect()
            };
            let change = |before, after| Change { path: path.clone(), before, after };
            found.extend(only(&old, &new).into_iter().map(|text| change(Some(text), None)));
            found.extend(only(&new, &old).into_iter().map(|text| change(None, Some(text))));
        }
        _ if compact(old) == compact(new) => {}
        _ => found.push(difference(path, Some(old), Some(new))),
    }
}

fn difference(path: &[String], before: Option<&Node>, after: Option<&Node>) -> Change {
    Change { path: path.to_vec(), before: before.map(compact), after: after.map(compact) }
}

fn is_map(node: &Node) -> bool {
    matches!(node.kind, Kind::Map(_))
}

/// A value in one line.
fn compact(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "nothing".to_owned(),
        Kind::Scalar { text, .. } => text.clone(),
        Kind::List(items) => format!("[{}]", items.iter().map(compact).collect::<Vec<_>>().join(", ")),
        Kind::Map(entries) => {
            let fields: Vec<String> =
                entries.iter().map(|(key, node)| format!("{}: {}", key.text, compact(node))).collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

/// Why not, or none.
fn refusal(path: &[&str], gone: bool, old: &Config, new: &Config) -> Option<&'static str> {
    match path {
        ["cluster", ..] => {
            Some("the name stands in every certificate and every node's log; found a new cluster")
        }
        ["data-dir" | "tls", ..] => Some("every process reads its own files from there since its start"),
        ["timing", "dwell" | "rtt" | "fsync"] => None,
        ["timing", ..] => Some("leases that run now were given by it, and W is counted from it"),
        ["sites", _] | ["sites", _, "role"] => site_refusal(path[1], old, new),
        ["nodes", _] => None,
        ["nodes", ..] => {
            Some("a node keeps its place for life; add it under a new name and remove the old one")
        }
        ["databases"] | ["databases", _] if !gone => None,
        // Guards tell of every account; which of them are excepted, the leader judges.
        ["databases", _, "privileged-accounts"] => None,
        // Nor do guards ask who is to take over.
        ["databases", _, "servers", _, "promotion"] => None,
        ["databases", ..] => Some("its guards hold their servers by these facts since their start"),
        ["groups"] | ["groups", _] if gone => Some("it holds an authority that would be forgotten"),
        ["groups", _, "database"] => Some("the group's epochs are those of its database; add a new group"),
        ["zone", "cookie-secret-file"] => {
            Some("nodes read it at their start: put another secret into the file and restart them one by one")
        }
        ["zone", "tls", ..] => {
            Some("nodes read the files anew by themselves, but not where they are; put them there")
        }
        ["zone", "rate-limit"] => {
            Some("nodes read it at their start: edit each file and restart them one by one")
        }
        ["zone"] => Some("a node listens for DNS from its start or never; restart is not enough yet"),
        _ => None,
    }
}

/// A cluster keeps its data sites, and its witness or the want of one: leases run out with a witness and
/// do not without. The witness itself may move.
fn site_refusal(site: &str, old: &Config, new: &Config) -> Option<&'static str> {
    let role = |config: &Config| config.sites().values().find(|s| s.id.as_str() == site).map(|s| s.role);
    if [role(old), role(new)].contains(&Some(Role::Data)) {
        return Some("the two data sites are what the groups move between; found a new cluster");
    }
    if old.witness().is_some() != new.witness().is_some() {
        return Some("with a witness leases run out and without one they do not; found a new cluster");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;
    use std::path::Path;

    fn config(text: &str) -> Config {
        let checked = check(text, Path::new("/etc/twofold"));
        checked.config.unwrap_or_else(|| panic!("{:?}", checked.problems))
    }

    const SMALLEST: &str = include_str!("../testdata/smallest.yaml");
    const FULL: &str = include_str!("../testdata/twofold.yaml");

    fn said(old: &str, new: &str) -> Vec<String> {
        differences(&config(old), &config(new))
            .iter()
            .map(|d| match &d.refused {
                Some(why) => format!("{d} !! {why}"),
                None => d.to_string(),
            })
            .collect()
    }

    #[test]
    fn nothing_differs_from_itself_and_from_its_resolved_form() {
        for text in [SMALLEST, FULL] {
            assert_eq!(said(text, text), Vec::<String>::new());
            assert_eq!(said(text, &config(text).to_string()), Vec::<String>::new());
        }
    }

    #[test]
    fn a_changed_name_is_said_in_one_line_and_is_hot() {
        let new = SMALLEST.replace("main: {bound: main}", "main: {bound: main, ttl: 3s}");
        assert_eq!(said(SMALLEST, &new), ["~ names.\"main.db.example.com.\".ttl: 1s -> 3s"]);
    }

    #[test]
    fn a_replaced_node_is_hot_with_all_that_follows_from_it() {
        let new = SMALLEST
            .replace("west-1: {site: west, address: 192.0.2.2}", "west-2: {site: west, address: 192.0.2.22}");
        let said = said(SMALLEST, &new);
        assert!(
            said.iter().any(|s| s.starts_with("- nodes.west-1: {site: west, address: 192.0.2.2,")),
            "{said:?}"
        );
        assert!(said.iter().any(|s| s.starts_with("+ nodes.west-2: ")), "{said:?}");
        assert!(said.iter().any(|s| s.starts_with("~ zone.ns: ")), "its name server follows: {said:?}");
        assert!(said.iter().all(|s| !s.contains("!!")), "{said:?}");
    }

    /// Goal: what a running cluster cannot take is refused with a reason. Method: one change of each kind.
    #[test]
    fn what_promises_rest_on_is_refused_with_the_reason() {
        let cases = [
            ("cluster: small", "cluster: other", "cluster"),
            ("cluster: small", "cluster: small\ntiming: wide", "timing.lease"),
            ("cluster: small", "cluster: small\ndata-dir: /srv", "data-dir"),
            (
                "east-1: {site: east, address: 192.0.2.1}",
                "east-1: {site: east, address: 192.0.2.9}",
                "nodes.east-1.address",
            ),
            (
                "{site: east, address: 192.0.2.11}",
                "{site: east, address: 192.0.2.11, port: 3307}",
                "databases.main.servers.east-db.port",
            ),
            ("third: {role: witness}", "fourth: {role: witness}", ""),
        ];
        for (from, to, path) in cases {
            let new = SMALLEST
                .replace(from, to)
                .replace("site: third", if path.is_empty() { "site: fourth" } else { "site: third" });
            let found = differences(&config(SMALLEST), &config(&new));
            let refused: Vec<_> =
                found.iter().filter(|d| d.refused.is_some()).map(|d| d.path.as_str()).collect();
            if path.is_empty() {
                // The node of the old witness site cannot change its site, but the site itself may move.
                assert_eq!(refused, ["nodes.third-1.site"], "{found:?}");
            } else {
                assert!(refused.contains(&path), "{path}: {found:?}");
            }
        }
    }

    #[test]
    fn which_accounts_are_excepted_is_hot() {
        let new = SMALLEST.replace("    admin:", "    privileged-accounts: [\"dba@10.0.0.%\"]\n    admin:");
        assert_eq!(said(SMALLEST, &new), ["+ databases.main.privileged-accounts: [dba@10.0.0.%]"]);
        assert_eq!(said(&new, SMALLEST), ["- databases.main.privileged-accounts: [dba@10.0.0.%]"]);
    }

    #[test]
    fn who_is_to_be_promoted_is_hot() {
        let server = "address: 192.0.2.12}";
        let new = SMALLEST.replace(server, "address: 192.0.2.12, promotion: prefer}");
        assert_ne!(SMALLEST, new);
        let found = differences(&config(SMALLEST), &config(&new));
        let told: Vec<_> = found.iter().map(|d| (d.path.as_str(), d.refused.as_deref())).collect();
        assert_eq!(told, [("databases.main.servers.west-db.promotion", None)]);
    }

    #[test]
    fn what_a_group_is_told_to_do_is_hot() {
        let new = SMALLEST.replace("main: {database: main}", "main: {database: main, failover: manual}");
        assert_eq!(said(SMALLEST, &new), ["~ groups.main.failover: automatic -> manual"]);
    }
}
