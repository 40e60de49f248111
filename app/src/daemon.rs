//! `twofold serve`: a voter, its leader's desk and executor, the DNS responder, the prober, the API.
//!
//! ```text
//!   links, raft, ticks ─► brain (one task) ─► decide ─► propose ─► raft thread ─► machine (apply)
//!                           ▲    │                                                  │ watch: Applied
//!                           └────┴── executor tasks (steps) ◄───────────────────────┘──► dns, api
//! ```
//! This is the only place that composes; every part is told what it needs and no more.

mod answer_api;
mod api;
mod audit_file;
mod audit_page;
mod brain;
mod crash;
mod dns;
mod door;
mod executor;
mod halted;
mod machine;
mod metrics;
mod probes;
mod roster;
mod shared;
mod tokens;
mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use app_config::Config;
use app_link::Links;
use failover_core::Defects;
use failover_raft::{
    Driver, DriverConfig, Identity, Recovered, ReplicaConfig, SNAPSHOT_EVERY, Store, StoreError,
};
use model::NodeId;
use tracing::{error, info};

use crate::{clock, links, outage, wire};
use audit_file::AuditFile;
use roster::Roster;
use shared::Shared;

/// How long the parts may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// Where a node keeps its Raft log.
fn store_path(config: &Config, node: &NodeId) -> PathBuf {
    config.node_dir(node).join("raft.redb")
}

/// Where a node keeps its audit lines.
pub fn audit_path(config: &Config, node: &NodeId) -> PathBuf {
    config.node_dir(node).join("audit.jsonl")
}

fn identity(config: &Config, roster: &Roster, node: &NodeId) -> Result<Identity> {
    let number = roster.number(node).context("the node is in the roster")?;
    Ok(Identity { cluster: config.cluster().to_string(), node: number, incarnation: 1 })
}

/// Makes the Raft log of a node that never had one.
pub fn init(config: &Config, node: &NodeId) -> Result<PathBuf> {
    let roster = Roster::new(config);
    if !config.nodes().contains_key(node) {
        bail!("node {:?} is not in the configuration; add it under nodes", node.as_str());
    }
    let path = store_path(config, node);
    std::fs::create_dir_all(config.node_dir(node))
        .with_context(|| format!("create {}", config.node_dir(node).display()))?;
    let genesis = Recovered::genesis(&roster.voters(), machine::genesis());
    Store::create(&path, &identity(config, &roster, node)?, &genesis)?;
    Ok(path)
}

/// Runs until a signal ends it. `file` is the configuration's, for the commands that a person is told.
pub async fn run(config: Arc<Config>, file: &Path, node: NodeId) -> Result<()> {
    let own = config
        .nodes()
        .get(&node)
        .with_context(|| format!("node {:?} is not in the configuration; add it under nodes", node.as_str()))?
        .clone();
    let roster = Arc::new(Roster::new(&config));
    let path = store_path(&config, &node);
    let opened = match Store::open(&path, &identity(&config, &roster, &node)?) {
        // That process answers DNS as well.
        Err(error @ StoreError::InUse { .. }) => return Err(error.into()),
        opened => opened,
    };
    // DNS comes first and needs nothing but the last snapshot: it serves on whatever Raft does.
    let dns = dns::Dns::start(&config, &own)?;
    let store = match opened {
        Ok(store) => store,
        Err(error) => return halted::run(&config, file, &own, dns, error).await,
    };
    let timing = links::timing(&config.timing());
    let (links, inbound) = links::start_node(&config, &node).await?;
    tokio::spawn(outage::tell_links(links.clone(), config.clone()));
    let (machine, applied) = machine::Machine::new(AuditFile::open(&audit_path(&config, &node))?);
    let results = machine.results();
    let driver = driver_config(&config, &roster, &node)?;
    let outbound = outbound(links.clone(), roster.clone());
    let raft = Driver::start(driver, store, machine, outbound)?;
    info!(node = %node, "node starts");
    let shared = Arc::new(Shared::new(
        config.clone(),
        own,
        roster,
        links.clone(),
        raft.clone(),
        applied,
        dns.answers(),
        results,
        timing,
        Defects::NONE,
    ));
    let probes = probes::Probes::start(&shared.config, &shared.own.site);
    let api = api::start(&shared)?;
    let mut brain = tokio::spawn(brain::run(shared.clone(), inbound, probes, dns.feed()));
    let mut stop = links::stop_signal()?;
    let outcome = tokio::select! {
        _ = stop.recv() => Ok(()),
        ended = &mut brain => match ended {
            Ok(result) => result,
            Err(error) => Err(anyhow::anyhow!("the brain ended: {error}")),
        },
    };
    brain.abort();
    api.stop();
    links.stop().await;
    if raft.stop(Instant::now() + STOP_WITHIN).await.is_err() {
        error!("raft is still busy with its disk");
    }
    dns.stop().await;
    outcome
}

fn driver_config(config: &Config, roster: &Roster, node: &NodeId) -> Result<DriverConfig> {
    let timing = config.timing();
    let ticks =
        |d: Duration| u32::try_from(d.as_millis() / timing.tick.as_millis().max(1)).unwrap_or(u32::MAX);
    let replica = ReplicaConfig {
        id: roster.number(node).context("the node is in the roster")?,
        election_ticks_min: ticks(timing.election_min),
        election_ticks_max: ticks(timing.election_max).max(ticks(timing.election_min) + 1),
        heartbeat_ticks: 2,
        priority: 0,
    };
    Ok(DriverConfig {
        replica,
        tick: timing.tick,
        snapshot_every: SNAPSHOT_EVERY,
        seed: rand::random(),
        clock: Box::new(|| clock::now().0),
    })
}

fn outbound(links: Links, roster: Arc<Roster>) -> impl FnMut(u64, Vec<u8>) + Send + 'static {
    move |to, bytes| {
        if let Some(endpoint) = roster.endpoint(to) {
            // Raft bears the loss; the links count it.
            let _ = links.cast(&endpoint, wire::RAFT, &bytes);
        }
    }
}
