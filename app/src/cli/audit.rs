//! `audit`: who did what and what was decided, from the nodes' audit logs, and whether anybody changed
//! them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use app_api::v1::{AuditPage, Code, Problem};
use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::client::{Answer, Connect, ask};
use super::operate::refused;
use super::screen::{err, out};
use super::{BadInput, Format, load, show};
use crate::audit::{Chain, walk};

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub struct Audit {
    /// Recompute the chain of every node's log and hold the logs against each other.
    #[arg(long)]
    verify: bool,
    /// Only this node's log, instead of the first that answers (with --verify: of all).
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// A copy of a log instead of the nodes'.
    #[arg(long, value_name = "FILE", conflicts_with = "node")]
    file: Option<PathBuf>,
    #[command(flatten)]
    connect: Connect,
    /// How to print; json: one JSON document a line, as the log has them.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Prints a log, or what is wrong with the logs (exit code 1).
pub fn run(args: &Audit) -> Result<u8> {
    if let Some(path) = &args.file {
        let text = std::fs::read_to_string(path)
            .map_err(|e| BadInput(format!("{}: {e}; name a copy of a node's audit.jsonl", path.display())))?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let name = path.display().to_string();
        return if args.verify {
            Ok(verified(&[(name, lines)], &[]))
        } else {
            Ok(print(&lines, args.output))
        };
    }
    let nodes = nodes(args)?;
    let (mut logs, mut silent) = (Vec::new(), Vec::new());
    for (name, url) in &nodes {
        match fetch(&args.connect, url)? {
            Ok(lines) if args.verify => logs.push((name.clone(), lines)),
            Ok(lines) => return Ok(print(&lines, args.output)),
            Err(problem) => silent.push((name.clone(), problem)),
        }
    }
    if logs.is_empty() {
        let mut problem = Problem {
            code: silent.first().map_or(Code::NoQuorum, |(_, p)| p.code),
            title: "no node gave its audit log".into(),
            detail: vec![],
            loss: None,
        };
        problem.detail = silent.iter().map(|(name, p)| format!("{name}: {}", words(p))).collect();
        return Ok(refused(&problem, args.output));
    }
    Ok(verified(&logs, &silent))
}

fn words(problem: &Problem) -> String {
    std::iter::once(&problem.title).chain(&problem.detail).cloned().collect::<Vec<_>>().join("; ")
}

/// Names and URLs of those to ask.
fn nodes(args: &Audit) -> Result<Vec<(String, String)>> {
    if !args.connect.api.is_empty() {
        return Ok(args.connect.api.iter().map(|url| (url.clone(), url.clone())).collect());
    }
    let config = load(&args.connect.config)?;
    let all: Vec<_> =
        config.nodes().values().map(|n| (n.id.to_string(), format!("https://{}", n.api()))).collect();
    let Some(wanted) = &args.node else { return Ok(all) };
    let known: Vec<_> = all.iter().map(|(name, _)| name.clone()).collect();
    let one: Vec<_> = all.into_iter().filter(|(name, _)| name == wanted).collect();
    if one.is_empty() {
        let why = format!("node {wanted:?} is not in the configuration (known: {})", known.join(", "));
        return Err(BadInput(why).into());
    }
    Ok(one)
}

/// All of one node's log.
fn fetch(connect: &Connect, url: &str) -> Result<Result<Vec<String>, Problem>> {
    let one = Connect { api: vec![url.to_owned()], ..connect.clone() };
    let (mut lines, mut after) = (Vec::new(), 0);
    loop {
        match ask::<AuditPage>(&one, Method::GET, &format!("/v1/audit?after={after}"), None)? {
            Answer::Ok(page) => {
                lines.extend(page.lines);
                match page.next {
                    Some(next) if next > after => after = next,
                    _ => return Ok(Ok(lines)),
                }
            }
            Answer::Problem(problem) => return Ok(Err(problem)),
        }
    }
}

/// Says of each log whether it holds, and whether it is the others'. 0 when all is well, else 1.
fn verified(logs: &[(String, Vec<String>)], silent: &[(String, Problem)]) -> u8 {
    let mut chains: BTreeMap<&str, Chain> = BTreeMap::new();
    let mut broken = false;
    for (name, lines) in logs {
        match walk(lines.iter().map(String::as_str)) {
            Ok(chain) => {
                let gaps: Vec<String> = chain.gaps.iter().map(|(a, b)| format!("{a} to {b}")).collect();
                let gaps = if gaps.is_empty() {
                    String::new()
                } else {
                    format!("; entries {} came in a snapshot and are in other nodes' logs", gaps.join(", "))
                };
                let last = chain.hashes.last_key_value();
                let end = last
                    .map_or("empty".to_owned(), |(n, hash)| format!("{n} entries, ends in {}", &hash[..12]));
                out(format_args!("{name}: holds; {end}{gaps}"));
                chains.insert(name, chain);
            }
            Err(why) => {
                broken = true;
                err(format_args!(
                    "{name}: BROKEN at {why}; keep the file, and take another node's for the truth"
                ));
            }
        }
    }
    let all: Vec<_> = chains.iter().collect();
    for (at, (name, chain)) in all.iter().enumerate() {
        for (other, theirs) in &all[at + 1..] {
            if let Some(entry) = chain.differs_from(theirs) {
                broken = true;
                err(format_args!(
                    "{name} and {other}: DIFFER from entry {entry} on: one of them was written anew; the log that \
                     most nodes have is the truth"
                ));
            }
        }
    }
    for (name, problem) in silent {
        err(format_args!("{name}: not looked at: {}", words(problem)));
    }
    u8::from(broken)
}

fn print(lines: &[String], output: Format) -> u8 {
    let text: Vec<String> = match output {
        Format::Json => lines.to_vec(),
        Format::Text => lines.iter().map(|line| told(line)).collect(),
    };
    if text.is_empty() {
        err("the audit log is empty");
    } else {
        out(text.join("\n"));
    }
    0
}

/// One line for people: number, time, what happened, and the rest of it.
fn told(text: &str) -> String {
    let Ok(line) = serde_json::from_str::<Value>(text) else {
        return format!("     ?  not an audit line: {text}");
    };
    let entry = line["entry"].as_u64().unwrap_or(0);
    let Some(event) = line["event"].as_object() else {
        return format!(
            "{entry:>6}  entries {} to {entry} came in a snapshot; ask another node",
            line["skipped-from"]
        );
    };
    let at = event.get("at").and_then(Value::as_i64).map(show::time).unwrap_or_default();
    let name = event.get("event").and_then(Value::as_str).unwrap_or("?");
    let rest: Vec<String> = event
        .iter()
        .filter(|(key, value)| !["event", "at"].contains(&key.as_str()) && !value.is_null())
        .map(|(key, value)| format!("{key}={}", plain(value)))
        .collect();
    format!("{entry:>6}  {at:<24}  {name:<18}  {}", rest.join(" "))
}

/// A value without JSON's noise.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains(' ') => format!("{text:?}"),
        Value::String(text) => text.clone(),
        Value::Array(all) => format!("[{}]", all.iter().map(plain).collect::<Vec<_>>().join(", ")),
        Value::Object(all) => {
            let inner: Vec<String> = all.iter().map(|(k, v)| format!("{k}={}", plain(v))).collect();
            format!("({})", inner.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::Head;

    fn log(sites: &[&str]) -> Vec<String> {
        let (mut head, mut lines) = (Head::default(), Vec::new());
        for (n, site) in (1..).zip(sites) {
            let (line, next) = head.seal(n, json!({"event": "routed", "site": site, "at": 1_000}));
            lines.push(json!(line).to_string());
            head = next;
        }
        lines
    }

    #[test]
    fn verifying_passes_whole_logs_and_fails_changed_and_foreign_ones() {
        let good = ("a".to_owned(), log(&["pdc", "mdc"]));
        let shorter = ("b".to_owned(), log(&["pdc"]));
        let foreign = ("c".to_owned(), log(&["pdc", "wit"]));
        let changed =
            ("d".to_owned(), log(&["pdc", "mdc"]).iter().map(|l| l.replace("mdc", "wit")).collect());
        assert_eq!(verified(&[good.clone(), shorter], &[]), 0);
        assert_eq!(verified(&[good.clone(), foreign], &[]), 1);
        assert_eq!(verified(&[good, changed], &[]), 1);
    }

    #[test]
    fn a_line_is_told_in_words() {
        assert_eq!(told(&log(&["pdc"])[0]), "     1  1970-01-01 00:00:01.000Z  routed              site=pdc");
        assert!(told("{\"v\":1,\"entry\":9,\"skipped-from\":3,\"hash\":\"x\"}").contains("entries 3 to 9"));
        assert!(told("dear diary").contains("not an audit line"));
    }
}
