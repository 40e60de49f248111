//! The screens of `twofold db`.

use std::collections::BTreeMap;
use std::fmt::Write;

use app_api::v1::{GroupStatus, ServerDiagnosis, ServerStatus, Status};
use serde_json::{Value, json};

/// Its diagnosis with this name says what is errant.
const ERRANT: &str = "errant";

/// Its guard may not look at the accounts.
const UNREADABLE: &str = "unreadable";

/// A server after the other.
pub fn status(s: &Status) -> String {
    let mut out = head(s);
    for g in &s.groups {
        let _ = writeln!(out, "group {}   {}", g.name, g.diagnosis);
        for server in &g.servers {
            let _ = writeln!(
                out,
                "  {:<11} {:<11} {:<6} {}",
                server.name,
                server.role,
                server.site,
                state(server)
            );
            if let Some(set) = &server.gtid_executed {
                let behind = server.behind.map_or(String::new(), |n| format!("   {n} behind"));
                let left = server.unapplied.map_or(String::new(), |n| format!(", {n} unapplied"));
                let _ = writeln!(out, "      executed {set}{behind}{left}");
            }
            if let Some(line) = threads(server) {
                let _ = writeln!(out, "      {line}");
            }
            if server.accounts.as_deref() == Some(UNREADABLE) {
                let _ = writeln!(out, "      accounts cannot be read: grant what twofold db grants prints");
            }
            diagnoses(&mut out, "      ", server);
        }
    }
    out
}

/// Sites with their servers; a replica has an arrow from its source.
pub fn topology(s: &Status) -> String {
    let mut out = head(s);
    for g in &s.groups {
        let _ = writeln!(out, "group {}", g.name);
        for (site, servers) in by_site(g) {
            let _ = writeln!(out, "  site {site}");
            for server in servers {
                let acks = if g.ackers.contains(&server.name) { "   acks" } else { "" };
                let _ = writeln!(out, "    [{}] {}, {}{acks}", server.name, server.role, state(server));
                if let Some(line) = threads(server) {
                    let _ = writeln!(out, "      {line}");
                }
                diagnoses(&mut out, "      ", server);
            }
        }
    }
    out
}

/// The same for programs: sites and servers, and an edge for each channel.
pub fn topology_json(s: &Status) -> Value {
    let one = |g: &GroupStatus| {
        let edges = g.servers.iter().filter_map(|server| {
            let channel = server.replication.as_ref()?;
            Some(json!({"to": server.name, "from": channel.source, "receiver": channel.receiver,
                "applier": channel.applier, "lag-s": channel.lag_s, "delay-s": channel.delay_s,
                "filters": channel.filters, "other-channels": channel.other_channels, "acks": g.ackers.contains(&server.name)}))
        });
        let edges: Vec<Value> = edges.collect();
        json!({"group": g.name, "primary": g.primary, "sites": by_site(g), "edges": edges})
    };
    json!({"quorum": s.quorum, "groups": s.groups.iter().map(one).collect::<Vec<_>>()})
}

/// Server by server, what its primary never had.
pub fn errant(s: &Status) -> String {
    let mut out = head(s);
    for (group, server, found) in errants(s) {
        let kept = if server.role == "quarantined" { "   (quarantined)" } else { "" };
        let _ = writeln!(out, "{group} {}: {}{kept}\n  next: {}", server.name, found.because, found.next);
    }
    if s.quorum && errants(s).next().is_none() {
        let _ = writeln!(out, "no server that is heard has errant transactions");
    }
    out
}

/// The same for programs.
pub fn errant_json(s: &Status) -> Value {
    let one = |(group, server, found): (&str, &ServerStatus, &ServerDiagnosis)| {
        json!({"group": group, "server": server.name, "because": found.because,
            "quarantined": server.role == "quarantined"})
    };
    json!({"quorum": s.quorum, "errant": errants(s).map(one).collect::<Vec<_>>()})
}

fn errants(s: &Status) -> impl Iterator<Item = (&str, &ServerStatus, &ServerDiagnosis)> {
    s.groups.iter().flat_map(|g| g.servers.iter().flat_map(move |server| of_server(g, server)))
}

fn of_server<'a>(
    g: &'a GroupStatus,
    server: &'a ServerStatus,
) -> impl Iterator<Item = (&'a str, &'a ServerStatus, &'a ServerDiagnosis)> {
    let found = server.diagnoses.iter().filter(|d| d.name == ERRANT);
    found.map(move |d| (g.name.as_str(), server, d))
}

fn head(s: &Status) -> String {
    if s.quorum {
        return String::new();
    }
    format!("NO QUORUM: the view of {} alone, without diagnoses; bring voters back\n", s.answered_by)
}

fn by_site(g: &GroupStatus) -> BTreeMap<&str, Vec<&ServerStatus>> {
    let mut sites: BTreeMap<&str, Vec<&ServerStatus>> = BTreeMap::new();
    for server in &g.servers {
        sites.entry(&server.site).or_default().push(server);
    }
    sites
}

fn state(server: &ServerStatus) -> String {
    let word = match server.writable {
        Some(true) => "writable",
        Some(false) => "shut",
        None => "not read",
    };
    let taken = match (server.connections, server.max_connections) {
        (Some(taken), Some(most)) => format!(", {taken} of {most} connections"),
        _ => String::new(),
    };
    let kine = server.kine_revision.map_or(String::new(), |revision| format!(", kine at {revision}"));
    let wanted = server.promotion.as_ref().map_or(String::new(), |wanted| format!(", promotion {wanted}"));
    format!("database {}, {word}{taken}{kine}{wanted}", server.process)
}

fn threads(server: &ServerStatus) -> Option<String> {
    let r = server.replication.as_ref()?;
    let lag = r.lag_s.map_or("lag unknown".to_owned(), |s| format!("{s} s behind"));
    let mut text = format!("<── {}   receiver {}, applier {}, {lag}", r.source, r.receiver, r.applier);
    if r.delay_s > 0 {
        let _ = write!(text, ", {} s on purpose", r.delay_s);
    }
    if !r.filters.is_empty() {
        let _ = write!(text, ", filters {}", r.filters.join(" and "));
    }
    if r.other_channels > 0 {
        let _ = write!(text, ", {} more channels", r.other_channels);
    }
    Some(text)
}

fn diagnoses(out: &mut String, indent: &str, server: &ServerStatus) {
    for d in &server.diagnoses {
        let _ = writeln!(out, "{indent}!! {}: {}\n{indent}   next: {}", d.name, d.because, d.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two servers; the standby stopped by a 1062 and has what the primary never had.
    fn sick() -> Status {
        let mut status: Status = serde_json::from_str(include_str!("../../../testdata/status.json")).unwrap();
        status.quorum = true;
        let group = status.groups.first_mut().unwrap();
        let server = group.servers.last_mut().unwrap();
        server.name = "mdc-db".into();
        server.writable = Some(true);
        server.promotion = Some("must-not".into());
        server.accounts = Some(UNREADABLE.into());
        (server.connections, server.max_connections) = (Some(9), Some(151));
        server.replication = Some(app_api::v1::ReplicationStatus {
            source: "10.0.0.1:3306".into(),
            receiver: "running".into(),
            applier: "stopped".into(),
            lag_s: None,
            delay_s: 7,
            filters: vec!["Replicate_Do_DB: shop".into()],
            other_channels: 1,
        });
        server.diagnoses = [("replication-stopped", "applier: error 1062"), (ERRANT, "B:1-2")]
            .map(|(name, because)| ServerDiagnosis {
                name: name.into(),
                because: because.into(),
                next: "see".into(),
            })
            .into();
        status
    }

    #[test]
    fn a_sick_server_is_shown_with_its_threads_and_its_diagnoses() {
        for text in [status(&sick()), topology(&sick())] {
            for part in [
                "writable, 9 of 151 connections, promotion must-not",
                "<── 10.0.0.1:3306   receiver running, applier stopped, lag unknown, 7 s on purpose, filters \
                 Replicate_Do_DB: shop, 1 more channels",
                "!! replication-stopped: applier: error 1062\n         next: see",
            ] {
                assert!(text.contains(part), "{part}\n{text}");
            }
        }
        let document = topology_json(&sick());
        let edges = document["groups"][0]["edges"].as_array().unwrap();
        assert!(edges.iter().any(|e| e["to"] == "mdc-db" && e["applier"] == "stopped"), "{document}");
    }

    #[test]
    fn accounts_that_nobody_may_look_at_are_told_with_what_to_do() {
        let told = "accounts cannot be read: grant what twofold db grants prints";
        assert_eq!(status(&sick()).matches(told).count(), 1);
    }

    #[test]
    fn errant_names_who_has_what_and_says_when_nobody_has() {
        assert!(errant(&sick()).contains("mdc-db: B:1-2"), "{}", errant(&sick()));
        assert_eq!(errant_json(&sick())["errant"][0]["server"], "mdc-db");
        let mut well = sick();
        well.groups.iter_mut().flat_map(|g| &mut g.servers).for_each(|s| s.diagnoses.clear());
        assert_eq!(errant(&well), "no server that is heard has errant transactions\n");
        well.quorum = false;
        assert!(errant(&well).starts_with("NO QUORUM") && !errant(&well).contains("no server"));
    }
}
