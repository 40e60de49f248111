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
mod checks;
mod config_api;
mod configure;
mod crash;
mod dns;
mod door;
mod drift;
mod executor;
pub mod force;
mod given_up;
mod halted;
mod incarnation;
mod machine;
mod metrics;
mod phases;
pub(crate) mod probes;
pub(crate) mod readings;
mod roster;
mod settings;
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
    ANY_INCARNATION, Driver, DriverConfig, Identity, Recovered, ReplicaConfig, SNAPSHOT_EVERY, Store,
    StoreError,
};
use model::{Incarnation, NodeId};
use tracing::{error, info};

use crate::{clock, generation_file, links, outage, wire};
use audit_file::AuditFile;
use roster::Roster;
use settings::{InForce, Settings};
use shared::{Parts, Shared};

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

fn identity(config: &Config, node: &NodeId, incarnation: u64) -> Identity {
    let node = roster::number_of(node.as_str());
    Identity { cluster: config.cluster().to_string(), node, incarnation }
}

/// Whose log is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// Of a node of a new cluster: all of the configuration's nodes vote from the start.
    Founds,
    /// Of a node that is to join a cluster that runs: it votes when the others have made it a voter.
    Joins,
}

/// Makes the Raft log of a node that never had one.
pub fn init(config: &Config, node: &NodeId, first: First, incarnation: Incarnation) -> Result<PathBuf> {
    if !config.nodes().contains_key(node) {
        bail!("node {:?} is not in the configuration; add it under nodes", node.as_str());
    }
    let path = store_path(config, node);
    std::fs::create_dir_all(config.node_dir(node))
        .with_context(|| format!("create {}", config.node_dir(node).display()))?;
    let recovered = match first {
        First::Founds => {
            let roster = Roster::new(config).map_err(anyhow::Error::msg)?;
            let voters: Vec<u64> = roster.voters().into_iter().collect();
            Recovered::genesis(&voters, machine::genesis())
        }
        First::Joins => Recovered::joining(machine::genesis()),
    };
    Store::create(&path, &identity(config, node, incarnation.0), &recovered)?;
    Ok(path)
}

/// Runs until a signal ends it. `config` is what stands in the person's `file`; a committed generation on
/// this node's disk goes before it.
pub async fn run(config: Config, file: &Path, node: NodeId) -> Result<()> {
    let file = std::path::absolute(file)?;
    let folder = file.parent().map(Path::to_owned).unwrap_or_default();
    let start = generation_file::start(config.clone(), &folder, &config.node_dir(&node))?;
    let config = Arc::new(start.config);
    let own = config
        .nodes()
        .get(&node)
        .with_context(|| format!("node {:?} is not in the configuration; add it under nodes", node.as_str()))?
        .clone();
    let path = store_path(&config, &node);
    let opened = match Store::open(&path, &identity(&config, &node, ANY_INCARNATION)) {
        // That process answers DNS as well.
        Err(error @ StoreError::InUse { .. }) => return Err(error.into()),
        opened => opened,
    };
    // DNS comes first and needs nothing but the last snapshot: it serves on whatever Raft does.
    let dns = dns::Dns::start(&config, &own)?;
    let store = match opened {
        Ok(store) => store,
        Err(error) => return halted::run(&config, &file, &own, dns, error).await,
    };
    let life = Incarnation(store.identity().incarnation);
    if let Some(superseded) = incarnation::heard(&config.node_dir(&node), life)? {
        drop(store);
        return halted::superseded(&config, &file, &own, dns, &superseded).await;
    }
    let settings =
        Settings::new(start.generation, config.clone(), Defects::NONE).map_err(anyhow::Error::msg)?;
    let in_force = InForce::new(settings);
    let (links, inbound) = links::start_node(&config, &node).await?;
    tokio::spawn(outage::tell_links(links.clone(), config.clone()));
    let (machine, applied) = machine::Machine::new({
        let in_force = in_force.clone();
        let limits = Box::new(move || in_force.get().config.audit());
        AuditFile::open(&audit_path(&config, &node), limits)?
    });
    let results = machine.results();
    let outbound = outbound(links.clone(), in_force.clone(), life);
    let raft = Driver::start(driver_config(&config, &node), store, machine, outbound)?;
    info!(node = %node, generation = %start.generation, "node starts");
    let parts = Parts {
        in_force,
        file: file.clone(),
        folder,
        own: own.clone(),
        incarnation: life,
        answers: dns.answers(),
        results,
    };
    let shared = Arc::new(Shared::new(parts, links.clone(), raft.clone(), applied));
    let probes = probes::Probes::start(&shared.start, &shared.own.site, shared.readings.clone());
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
    if let Err(error) = &outcome
        && let Some(superseded) = error.downcast_ref::<incarnation::Superseded>()
    {
        incarnation::remember(&config.node_dir(&node), superseded)?;
        return halted::superseded(&config, &file, &own, dns, superseded).await;
    }
    dns.stop().await;
    outcome
}

fn driver_config(config: &Config, node: &NodeId) -> DriverConfig {
    let timing = config.timing();
    let ticks =
        |d: Duration| u32::try_from(d.as_millis() / timing.tick.as_millis().max(1)).unwrap_or(u32::MAX);
    let replica = ReplicaConfig {
        id: roster::number_of(node.as_str()),
        election_ticks_min: ticks(timing.election_min),
        election_ticks_max: ticks(timing.election_max).max(ticks(timing.election_min) + 1),
        heartbeat_ticks: 2,
        priority: 0,
    };
    DriverConfig {
        replica,
        tick: timing.tick,
        snapshot_every: SNAPSHOT_EVERY,
        seed: rand::random(),
        clock: Box::new(|| clock::now().0),
    }
}

fn outbound(links: Links, in_force: InForce, life: Incarnation) -> impl FnMut(u64, Vec<u8>) + Send + 'static {
    move |to, bytes| {
        if let Some(endpoint) = in_force.get().roster.endpoint(to) {
            // Raft bears the loss; the links count it.
            let _ = links.cast(&endpoint, wire::RAFT, &wire::tag(life, &bytes));
        }
    }
}
