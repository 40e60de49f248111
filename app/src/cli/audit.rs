//! `audit`: who did what and what was decided, from the nodes' audit logs, and whether anybody changed
//! them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use app_api::v1::{AuditHead, AuditPage, Code, Problem};
use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::client::{Answer, Connect, ask};
use super::operate::refused;
use super::screen::{err, out};
use super::{BadInput, Format, load, show};
use crate::audit::{Begin, Chain, Head, walk};
use crate::audit_segments::Folder;

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub struct Audit {
    /// Recompute the chain of every node's log and hold the logs against each other.
    #[arg(long)]
    verify: bool,
    /// Only this node's log, instead of the first that answers (with --verify: of all).
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// A copy of a log instead of the nodes': a node's folder, or some of its segments, oldest first.
    #[arg(long, value_name = "FILE", conflicts_with = "node")]
    file: Vec<PathBuf>,
    #[command(flatten)]
    connect: Connect,
    /// How to print; json: one JSON document a line, as the log has them.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// So often a log is asked for from its beginning when it fell off behind what was read: never twice.
const FETCHES_MAX: u32 = 3;

/// One log, all of its files.
#[derive(Debug, Clone, Default)]
struct Log {
    lines: Vec<String>,
    /// Which of them stand where: file, place of the first in it, how many.
    files: Vec<(String, u64, u64)>,
    /// Behind what it begins; outer none where it is a part of a log and may begin anywhere.
    anchor: Option<Option<Head>>,
    committed: Option<Head>,
    problem: Option<String>,
}

impl Log {
    fn whole() -> Self {
        Self { anchor: Some(None), ..Self::default() }
    }

    /// Where its line `number` stands, counted from 1 through all files.
    fn place(&self, number: usize) -> String {
        let mut left = number as u64;
        for (file, line, lines) in &self.files {
            if left <= *lines {
                return format!("{file}, line {}", line + left - 1);
            }
            left -= lines;
        }
        format!("line {number}")
    }

    fn add(&mut self, file: String, line: u64, lines: u64) {
        match self.files.last_mut() {
            Some((last, from, so_far)) if *last == file && *from + *so_far == line => *so_far += lines,
            _ => self.files.push((file, line, lines)),
        }
    }

    fn begin(&self) -> Begin<'_> {
        self.anchor.as_ref().map_or(Begin::Part, |anchor| Begin::Whole(anchor.as_ref()))
    }
}

/// A copy on this machine.
fn copied(paths: &[PathBuf]) -> Result<Log> {
    let read = |path: &Path, e: std::io::Error| {
        BadInput(format!("{}: {e}; name a copy of a node's folder, or of its audit*.jsonl", path.display()))
    };
    let (mut log, mut texts) = (Log::default(), Vec::new());
    for path in paths {
        if path.is_dir() {
            log = Log::whole();
            let opened = Folder::of(&path.join("audit.jsonl")).open().map_err(|e| read(path, e))?;
            match opened.anchor {
                Ok(anchor) => log.anchor = Some(anchor),
                Err(why) => log.problem = Some(why),
            }
            if opened.files.is_empty() {
                let why = format!("{}: no audit.jsonl in it; name a copy of a node's folder", path.display());
                return Err(BadInput(why).into());
            }
            for (name, file) in opened.files {
                texts.push((name, std::io::read_to_string(file).map_err(|e| read(path, e))?));
            }
        } else {
            let text = std::fs::read_to_string(path).map_err(|e| read(path, e))?;
            texts.push((path.display().to_string(), text));
        }
    }
    for (name, text) in texts {
        log.add(name, 1, text.lines().count() as u64);
        log.lines.extend(text.lines().map(str::to_owned));
    }
    Ok(log)
}

/// Prints a log, or what is wrong with the logs (exit code 1).
pub fn run(args: &Audit) -> Result<u8> {
    if let Some(first) = args.file.first() {
        if args.file.len() > 1 && args.file.iter().any(|path| path.is_dir()) {
            return Err(BadInput("--file takes one folder, or files; name the folder alone".into()).into());
        }
        let log = copied(&args.file)?;
        let name = first.display().to_string();
        return if args.verify { Ok(verified(&[(name, log)], &[])) } else { Ok(print(&log, args.output)) };
    }
    let nodes = nodes(args)?;
    let (mut logs, mut silent) = (Vec::new(), Vec::new());
    for (name, url) in &nodes {
        match fetch(&args.connect, url)? {
            Ok(log) if args.verify => logs.push((name.clone(), log)),
            Ok(log) => return Ok(print(&log, args.output)),
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
fn fetch(connect: &Connect, url: &str) -> Result<Result<Log, Problem>> {
    let one = Connect { api: vec![url.to_owned()], ..connect.clone() };
    let (mut log, mut after, mut fetches) = (Log::whole(), 0, 1);
    loop {
        match ask::<AuditPage>(&one, Method::GET, &format!("/v1/audit?after={after}"), None)? {
            Answer::Ok(page) => {
                let fell_off = page.anchor.as_ref().map_or(0, |anchor| anchor.entries);
                if after > 0 && fell_off > after && fetches < FETCHES_MAX {
                    (log, after, fetches) = (Log::whole(), 0, fetches + 1);
                    continue;
                }
                if after == 0 {
                    // What was committed then is in the pages that follow.
                    log.committed = page.committed.map(head);
                    log.anchor = Some(page.anchor.map(head));
                    log.problem = page.problem;
                }
                page.files.into_iter().for_each(|part| log.add(part.file, part.line, part.lines));
                log.lines.extend(page.lines);
                match page.next {
                    Some(next) if next > after => after = next,
                    _ => return Ok(Ok(log)),
                }
            }
            Answer::Problem(problem) => return Ok(Err(problem)),
        }
    }
}

fn head(said: AuditHead) -> Head {
    Head { entries: said.entries, hash: said.hash }
}

/// Whether what was committed is at the end of what is there; what is wrong, if not.
fn unlike_committed(chain: &Chain, log: &Log) -> Option<String> {
    let committed = log.committed.as_ref()?;
    let last = chain.hashes.last_key_value().map_or(0, |(entry, _)| *entry);
    if last < committed.entries {
        return Some(format!(
            "entries {} to {} are committed and not in it: its end was cut off, or could not be written (the node's \
             own log says that)",
            last + 1,
            committed.entries
        ));
    }
    let differs = chain.hashes.get(&committed.entries).is_some_and(|hash| *hash != committed.hash);
    differs.then(|| {
        format!("entry {} is not the one that was committed: it was written anew", committed.entries)
    })
}

/// Says of each log whether it holds, and whether it is the others'. 0 when all is well, else 1.
fn verified(logs: &[(String, Log)], silent: &[(String, Problem)]) -> u8 {
    let mut chains: BTreeMap<&str, Chain> = BTreeMap::new();
    let mut broken = false;
    for (name, log) in logs {
        let walked = match &log.problem {
            Some(problem) => Err(problem.clone()),
            None => walk(log.begin(), log.lines.iter().map(String::as_str))
                .map_err(|found| format!("{}: {}", log.place(found.line), found.why)),
        };
        match walked {
            Ok(chain) => {
                match unlike_committed(&chain, log) {
                    None => out(format_args!("{name}: holds; {}", in_words(&chain, log))),
                    Some(why) => {
                        broken = true;
                        err(format_args!("{name}: BROKEN: {why}; take another node's for the truth"));
                    }
                }
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

/// How much a log that holds has, and what it has not.
fn in_words(chain: &Chain, log: &Log) -> String {
    let last = chain.hashes.last_key_value();
    let mut words = last.map_or("empty".to_owned(), |(n, hash)| format!("{n} entries, ends in {hash:.12}"));
    if chain.behind > 0 && log.anchor.is_some() {
        words += &format!(
            "; it begins behind entry {}: older segments fell off its old end, as its anchor says",
            chain.behind
        );
    } else if chain.behind > 0 {
        words +=
            &format!("; it begins behind entry {}: what stands before is in other segments", chain.behind);
    }
    let gaps: Vec<String> = chain.gaps.iter().map(|(a, b)| format!("{a} to {b}")).collect();
    if !gaps.is_empty() {
        words += &format!("; entries {} came in a snapshot and are in other nodes' logs", gaps.join(", "));
    }
    words
}

fn print(log: &Log, output: Format) -> u8 {
    if let Some(anchor) = log.anchor.iter().flatten().next() {
        err(format_args!(
            "entries up to {} fell off this log's old end (audit in twofold.yaml bounds it); --verify says more",
            anchor.entries
        ));
    }
    if let Some(problem) = &log.problem {
        err(problem);
    }
    let text: Vec<String> = match output {
        Format::Json => log.lines.clone(),
        Format::Text => log.lines.iter().map(|line| told(line)).collect(),
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
    if let Some(segment) = line["segment"].as_u64() {
        return format!("{entry:>6}  segment {segment} goes on here");
    }
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

    fn whole(lines: Vec<String>) -> Log {
        Log { lines, ..Log::whole() }
    }

    #[test]
    fn verifying_passes_whole_logs_and_fails_changed_and_foreign_ones() {
        let good = ("a".to_owned(), whole(log(&["pdc", "mdc"])));
        let shorter = ("b".to_owned(), whole(log(&["pdc"])));
        let foreign = ("c".to_owned(), whole(log(&["pdc", "wit"])));
        let changed =
            ("d".to_owned(), whole(log(&["pdc", "mdc"]).iter().map(|l| l.replace("mdc", "wit")).collect()));
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

    /// Goal: a log whose newest lines were cut off, or written anew, is told by what the node has committed.
    #[test]
    fn verifying_holds_a_log_against_what_is_committed() {
        let lines = log(&["pdc", "mdc", "pdc"]);
        let at = |place: usize| crate::audit::line_of(&lines[place]).map(|line| line.head());
        let with =
            |lines: &[String], committed| [("a".to_owned(), Log { committed, ..whole(lines.to_vec()) })];
        assert_eq!(verified(&with(&lines, at(2)), &[]), 0);
        assert_eq!(verified(&with(&lines, at(1)), &[]), 0, "more was committed meanwhile");
        assert_eq!(verified(&with(&lines[..2], at(2)), &[]), 1, "cut off");
        assert_eq!(verified(&with(&log(&["pdc", "mdc", "wit"]), at(2)), &[]), 1, "written anew");
    }

    /// Goal: a copy is read as a folder or as files, and what is wrong is told with its file and line.
    #[test]
    fn a_copy_is_a_folder_or_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let lines = log(&["pdc", "mdc"]);
        let head = crate::audit::line_of(&lines[0]).unwrap().head();
        let second = json!(head.opens(2)).to_string() + "\n" + &lines[1] + "\n";
        std::fs::write(Folder::of(&path).closed_path(1), lines[0].clone() + "\n").unwrap();
        std::fs::write(&path, &second).unwrap();
        let all = copied(&[folder.path().to_path_buf()]).unwrap();
        assert_eq!((all.lines.len(), all.place(1)), (3, "audit.000001.jsonl, line 1".to_owned()));
        assert_eq!(all.place(3), "audit.jsonl, line 2");
        assert_eq!(verified(&[("all".to_owned(), all)], &[]), 0);
        let part = copied(&[path]).unwrap();
        assert!(matches!(part.begin(), Begin::Part));
        assert_eq!(verified(&[("part".to_owned(), part)], &[]), 0);
        std::fs::remove_file(Folder::of(&folder.path().join("audit.jsonl")).closed_path(1)).unwrap();
        let less = copied(&[folder.path().to_path_buf()]).unwrap();
        assert_eq!(verified(&[("less".to_owned(), less)], &[]), 1);
        assert!(copied(&[folder.path().join("none")]).is_err());
    }
}
