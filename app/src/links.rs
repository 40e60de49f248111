//! How this process's links are made from the configuration and its certificate.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use anyhow::{Context, Result};
use app_cert::{Callers, Identity, Kind, Trust, TrustFiles};
use app_config::Config;
use app_link::{Endpoint, Inbound, LinkConfig, LinkTiming, LinkTls, Links, node_server_name};
use model::{NodeId, ServerId};
use rustls::pki_types::CertificateDer;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// The certificate of this process, checked against the cluster's CA.
pub fn trust(config: &Config, kind: Kind, name: &str) -> Result<Trust> {
    let files = config.tls().identity(name);
    let files = TrustFiles { ca: config.tls().ca.clone(), certificate: files.certificate, key: files.key };
    let holder = Identity { kind, name: name.to_owned(), cluster: config.cluster().to_string() };
    Ok(Trust::read(files, &holder, SystemTime::now())?)
}

/// The links of a node.
pub async fn start_node(config: &Config, node: &NodeId) -> Result<(Links, mpsc::Receiver<Inbound>)> {
    let own = config.nodes().get(node).context("the node is in the configuration")?;
    let guards: BTreeSet<ServerId> =
        config.databases().values().flat_map(|db| db.servers.keys().cloned()).collect();
    let tls = tls(&trust(config, Kind::Node, node.as_str())?)?;
    start(config, Endpoint::Node(node.clone()), Some(own.peer()), guards, tls).await
}

/// The links of a guard.
pub async fn start_guard(config: &Config, server: &ServerId) -> Result<(Links, mpsc::Receiver<Inbound>)> {
    let tls = tls(&trust(config, Kind::Guard, server.as_str())?)?;
    start(config, Endpoint::Guard(server.clone()), None, BTreeSet::new(), tls).await
}

async fn start(
    config: &Config,
    me: Endpoint,
    listen: Option<std::net::SocketAddr>,
    guards: BTreeSet<ServerId>,
    tls: LinkTls,
) -> Result<(Links, mpsc::Receiver<Inbound>)> {
    let peers: BTreeMap<NodeId, _> = config.nodes().values().map(|n| (n.id.clone(), n.peer())).collect();
    let timing = LinkTiming::default();
    Ok(Links::start(LinkConfig { me, listen, peers, guards, tls, timing }).await?)
}

fn tls(trust: &Trust) -> Result<LinkTls> {
    Ok(LinkTls {
        server: trust.server(&[Kind::Node, Kind::Guard], Callers::Known)?,
        client: trust.client()?,
        name_peer,
        server_name: node_server_name,
    })
}

fn name_peer(der: &CertificateDer<'_>) -> Result<Endpoint, String> {
    let identity = app_cert::identity(der).map_err(|e| e.to_string())?;
    let name = &identity.name;
    match identity.kind {
        Kind::Node => name.parse().map(Endpoint::Node).map_err(|e| e.to_string()),
        Kind::Guard => name.parse().map(Endpoint::Guard).map_err(|e| e.to_string()),
        Kind::Client => Err("a client's certificate names no process of the cluster".into()),
    }
}

/// The core's timing. Its W is derived; where the configuration asks for a longer one, the surplus
/// goes into the margin.
pub fn timing(from: &app_config::Timing) -> failover_core::Timing {
    let mut timing = failover_core::Timing {
        renew: from.renew,
        lease: from.lease,
        drift: f64::from(from.drift_ppm) / 1e6,
        margin: from.margin,
        tick: from.tick,
        election_min: from.election_min,
        election_max: from.election_max,
        dwell: from.dwell,
        sync_timeout: from.sync_timeout,
    };
    timing.margin += from.wait().saturating_sub(timing.wait());
    timing
}

/// SIGTERM or SIGINT.
pub struct Stop {
    term: Signal,
    int: Signal,
}

/// Listens for the signals that end a process in order.
pub fn stop_signal() -> Result<Stop> {
    Ok(Stop { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
}

impl Stop {
    /// Waits for one.
    pub async fn recv(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
