//! `twofold quorum force`: on the host of a surviving node, with that node stopped.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use app_api::v1::Status as Screen;
use app_cert::Kind;
use app_config::Config;
use clap::{Args, Subcommand};
use failover_core::{Asked, FencedByHand, LogEnd, Said, against_following, against_force};
use model::{Incarnation, NodeId};

use super::operate::account;
use super::screen::{err, out};
use super::{BadInput, load};
use crate::daemon::force::{Seed, Survivor};
use crate::links;

/// What to do with a quorum that is lost.
#[derive(Debug, Subcommand)]
pub enum Quorum {
    /// Begin a new incarnation of the cluster with the nodes that are left, by your word that all others
    /// are fenced for good. Everything of the old incarnation is refused for ever.
    ///
    /// Run it on the host of the surviving node whose log ends last (it says which), with that node stopped
    /// and the other survivors running. Then start the node. Each further voter: stop it, give it the same
    /// seed (--seed), start it. Bring the fenced nodes back one by one, with empty logs.
    #[command(
        after_help = "Exit codes: 0 done (or, with --dry-run, it could be), 1 failed, 2 usage or bad input, \
                            3 refused: a node outside --voters answers, a survivor's log ends later, a quorum is \
                            there, or a guard of a site without a voter is heard."
    )]
    Force(Force),
}

/// Arguments of `quorum force`.
#[derive(Debug, Args)]
pub struct Force {
    /// The configuration.
    #[arg(long, env = "TWOFOLD_CONFIG", default_value = "twofold.yaml", value_name = "FILE")]
    config: PathBuf,
    /// The node on this host.
    #[arg(long, value_name = "NAME")]
    node: NodeId,
    /// The voters of the new incarnation: the nodes that are left, this one among them, comma-separated.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        required_unless_present = "seed",
        conflicts_with = "seed"
    )]
    voters: Vec<NodeId>,
    /// What was seen of all other nodes' and databases' hosts, and by whom: that they are off, or cut off
    /// from everybody for good. The audit keeps it.
    #[arg(long, value_name = "TEXT", required_unless_present = "seed", conflicts_with = "seed")]
    fenced: Option<String>,
    /// The file that the first voter wrote: this node becomes a voter of the same incarnation.
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Name of the client's certificate in `tls.dir`, to ask the other nodes with.
    #[arg(long = "identity", env = "TWOFOLD_CLIENT", default_value = "client", value_name = "NAME")]
    client: String,
}

/// The shortest word that says anything.
const WORD_MIN: usize = 12;
/// A guard that a survivor heard so lately lives.
const HEARD_MS: u64 = 3_000;
/// Deadline of connecting to one node.
const CONNECT_WITHIN: Duration = Duration::from_millis(1_500);
/// Deadline of a node's answer: it asks a leader first, if it thinks that there is one.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);

/// What another node says of itself.
struct Other {
    node: NodeId,
    said: Result<Screen, Silent>,
}

/// Why a node gave no status.
struct Silent {
    why: String,
    /// Something answered all the same.
    lives: bool,
}

/// Does it, and gives the exit code.
pub fn run(quorum: &Quorum) -> Result<u8> {
    let Quorum::Force(force) = quorum;
    let config = load(&force.config)?;
    let unknown = force.voters.iter().chain([&force.node]).find(|n| !config.nodes().contains_key(*n));
    if let Some(unknown) = unknown {
        return Err(BadInput(format!("node {:?} is not in the configuration", unknown.as_str())).into());
    }
    match &force.seed {
        Some(path) => follow(force, &config, path),
        None => begin(force, &config),
    }
}

fn begin(force: &Force, config: &Config) -> Result<u8> {
    let voters: BTreeSet<NodeId> = force.voters.iter().cloned().collect();
    if !voters.contains(&force.node) {
        return Err(BadInput(format!("node {} is not among --voters", force.node)).into());
    }
    let word = force.fenced.as_deref().unwrap_or_default().trim();
    if word.len() < WORD_MIN {
        let why = "--fenced: say what was seen of the other hosts, and by whom, in a sentence";
        return Err(BadInput(why.into()).into());
    }
    let survivor = Survivor::open(config, &force.node)?;
    survivor.may_begin()?;
    let others = ask_all(config, &force.node, &force.client)?;
    show(&survivor, &force.node, &others);
    let refused = against_force(&survivor.log, &asked(config, &voters, &others));
    if !refused.is_empty() {
        err("twofold: nothing was done:");
        refused.iter().for_each(|line| err(format_args!("  {line}")));
        return Ok(3);
    }
    let voters: Vec<NodeId> = voters.into_iter().collect();
    let names = list(&voters);
    if force.dry_run {
        out(format_args!(
            "a new incarnation of {names} could be begun from {}; nothing was done",
            force.node
        ));
        return Ok(0);
    }
    let fenced = FencedByHand { by: account(), seen: word.to_owned() };
    let seed = survivor.seed(config, &voters, fenced)?;
    let path = seed.path(config, &force.node);
    seed.write(&path)?;
    let kept = survivor.become_voter(config, &seed)?;
    out(format_args!(
        "incarnation {} of {names} begins on node {}\nthe log of incarnation {} is kept at {}",
        seed.incarnation,
        force.node,
        seed.from,
        kept.display()
    ));
    for other in voters.iter().filter(|n| **n != force.node) {
        out(format_args!(
            "next, on the host of {other}, with {} copied there and {other} stopped:\n  twofold quorum force --config {} --node {other} --seed {}",
            path.display(),
            force.config.display(),
            path.display()
        ));
    }
    out(format_args!(
        "then start the node{}, and look at: twofold status",
        if voters.len() > 1 { "s" } else { "" }
    ));
    Ok(0)
}

fn follow(force: &Force, config: &Config, path: &std::path::Path) -> Result<u8> {
    let seed = Seed::read(path, config, &force.node)?;
    let survivor = Survivor::open(config, &force.node)?;
    if survivor.log.incarnation == seed.incarnation {
        out(format_args!("node {} is of incarnation {} already", force.node, seed.incarnation));
        return Ok(0);
    }
    let refused = against_following(&survivor.log, survivor.heard(), &seed.continued());
    if !refused.is_empty() {
        err(format_args!("twofold: nothing was done on node {}:", force.node));
        refused.iter().for_each(|line| err(format_args!("  {line}")));
        return Ok(3);
    }
    if force.dry_run {
        out(format_args!(
            "node {} could become a voter of incarnation {}; nothing was done",
            force.node, seed.incarnation
        ));
        return Ok(0);
    }
    let kept = survivor.become_voter(config, &seed)?;
    out(format_args!(
        "node {} is a voter of incarnation {}; its old log is kept at {}\nnow start the node, and look at: twofold status",
        force.node,
        seed.incarnation,
        kept.display()
    ));
    Ok(0)
}

/// What the others said, as the rules want it.
fn asked(config: &Config, voters: &BTreeSet<NodeId>, others: &[Other]) -> Vec<Asked> {
    let sites: BTreeSet<&str> =
        voters.iter().filter_map(|n| config.nodes().get(n)).map(|n| n.site.as_str()).collect();
    let ask = |other: &Other| {
        let (lives, said) = match &other.said {
            Ok(said) => (true, Some(said)),
            Err(silent) => (silent.lives, None),
        };
        let said = said.map(|said| {
            let servers = said.groups.iter().flat_map(|g| &g.servers);
            let fenced = servers.filter(|s| !sites.contains(s.site.as_str()));
            let heard = fenced.filter(|s| s.heard_ms.is_some_and(|ms| ms < HEARD_MS));
            let (term, index) = said.log_end;
            Said {
                log: LogEnd { incarnation: Incarnation(said.incarnation), term, index },
                quorum: said.quorum,
                hears: heard.filter_map(|s| s.name.parse().ok()).collect(),
            }
        });
        Asked { node: other.node.clone(), voter: voters.contains(&other.node), lives, said }
    };
    others.iter().map(ask).collect()
}

fn show(survivor: &Survivor, node: &NodeId, others: &[Other]) {
    let log = &survivor.log;
    out(format_args!(
        "{node:<12} this node, stopped    incarnation {}   log ends at entry {} of term {}",
        log.incarnation, log.index, log.term
    ));
    for other in others {
        match &other.said {
            Ok(said) => out(format_args!(
                "{:<12} answers               incarnation {}   log ends at entry {} of term {}, applied to {}",
                other.node,
                Incarnation(said.incarnation),
                said.log_end.1,
                said.log_end.0,
                said.applied
            )),
            Err(silent) => out(format_args!("{:<12} gives no status       {}", other.node, silent.why)),
        }
    }
}

fn list(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// All other nodes, at once.
fn ask_all(config: &Config, but: &NodeId, client: &str) -> Result<Vec<Other>> {
    let tls = (*links::trust(config, Kind::Client, client)?.client()?).clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let nodes: Vec<_> = config.nodes().values().filter(|n| n.id != *but).collect();
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .no_proxy()
            .build()
            .context("make the http client")?;
        let mut asked = Vec::new();
        for node in nodes {
            let (client, url) = (client.clone(), format!("https://{}/v1/status", node.api()));
            let asking = tokio::spawn(async move {
                let response = client.get(url).send().await.map_err(|e| silent(e, false))?;
                let text = response.text().await.map_err(|e| silent(e, true))?;
                serde_json::from_str::<Screen>(&text).map_err(|_| Silent { why: problem(&text), lives: true })
            });
            asked.push((node.id.clone(), asking));
        }
        let mut others = Vec::new();
        for (node, asking) in asked {
            let said =
                asking.await.unwrap_or_else(|error| Err(Silent { why: error.to_string(), lives: false }));
            others.push(Other { node, said });
        }
        Ok(others)
    })
}

fn silent(error: reqwest::Error, lives: bool) -> Silent {
    let error = error.without_url();
    let why = if error.is_timeout() || error.is_connect() {
        "nothing answers there".into()
    } else {
        error.to_string()
    };
    Silent { why, lives }
}

/// The title of what a node that has no status says instead.
fn problem(text: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    value["title"].as_str().unwrap_or("its answer is not understood").to_owned()
}
