//! The responder of a node: starts from the last snapshot on disk, then follows committed routes,
//! verdicts, and how fresh this node's knowledge of the quorum is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, bail};
use app_config::{AllDown, Config, Follows, NoQuorum, Node, Policy};
use app_link::Endpoint;
use failover_core::State;
use gslb_core::{
    BoundSpec, Freshness, Name, NameKind, NameSpec, PoolMember, PoolShare, PoolSpec, PooledSpec, RecordSpec,
    Snapshot, SnapshotSpec, SoaSpec, Verdicts, ZoneSpec,
};
use gslb_dns::{Published, TcpLimits, TcpServer, UdpServer, disk, record_data};
use model::{Generation, GroupId, SiteId, Timestamp};
use tracing::{info, warn};

use super::probes::Probes;
use super::shared::Shared;
use crate::{clock, wire};

/// How long the responders may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// A node asks the leader for a quorum-confirmed read this often.
const CONFIRM_EVERY: Duration = Duration::from_millis(300);
/// Deadline of one such question.
const CONFIRM_WITHIN: Duration = Duration::from_millis(800);

/// The listeners of a node.
pub struct Dns {
    udp: Option<UdpServer>,
    tcp: Option<TcpServer>,
    published: Option<Published>,
    path: PathBuf,
}

/// What the brain feeds the responder with.
pub struct Feed {
    published: Option<Published>,
    path: PathBuf,
    /// When this node last asked a question that a quorum confirmed and that is applied here.
    confirmed: Arc<Mutex<Option<Timestamp>>>,
    last: Option<(Generation, Routes, Freshness, Verdicts)>,
    problem_told: bool,
}

type Routes = BTreeMap<GroupId, SiteId>;

impl Dns {
    /// Listens on the node's addresses, answering from disk at first.
    pub fn start(config: &Config, node: &Node) -> Result<Self> {
        let path = config.node_dir(&node.id).join("dns.snapshot");
        if config.zone().is_none() || node.dns.is_empty() {
            return Ok(Self { udp: None, tcp: None, published: None, path });
        }
        let first = match disk::load(&path) {
            Ok(loaded) => {
                info!(generation = %loaded.snapshot.generation(), "dns answers from the snapshot on disk");
                loaded.snapshot
            }
            Err(disk::DiskError::Absent { .. }) => blank(config)?,
            Err(error) => {
                warn!(%error, "the snapshot on disk cannot be used; bound names answer SERVFAIL until the cluster is heard");
                blank(config)?
            }
        };
        let published = Published::new(first);
        let udp = UdpServer::start(&node.dns, 1, &published)?;
        let tcp = TcpServer::start(&node.dns, TcpLimits::default(), &published)?;
        Ok(Self { udp: Some(udp), tcp: Some(tcp), published: Some(published), path })
    }

    /// What the brain feeds it with.
    pub fn feed(&self) -> Feed {
        Feed {
            published: self.published.clone(),
            path: self.path.clone(),
            confirmed: Arc::default(),
            last: None,
            problem_told: false,
        }
    }

    /// Ends the listeners.
    pub async fn stop(self) {
        if let Some(tcp) = self.tcp {
            tcp.stop(STOP_WITHIN).await;
        }
        if let Some(udp) = self.udp
            && tokio::task::spawn_blocking(move || udp.stop(STOP_WITHIN)).await.is_err()
        {
            warn!("a dns thread did not end");
        }
    }
}

impl Feed {
    /// Begins to ask for quorum-confirmed reads.
    pub fn start(&self, shared: &Arc<Shared>) {
        tokio::spawn(confirm(shared.clone(), self.confirmed.clone()));
    }

    /// Publishes a new snapshot when anything that it is made of has changed.
    pub fn refresh(&mut self, shared: &Shared, probes: &mut Probes, now: Timestamp) {
        let Some(published) = &self.published else { return };
        let confirmed = *self.confirmed.lock().expect("no holder of this lock panics");
        let fresh = confirmed.is_some_and(|at| now.since(at) <= shared.timing.lease * 2);
        let freshness = if fresh { Freshness::Fresh } else { Freshness::Stale };
        let state = shared.state();
        let generation = generation(&state);
        let verdicts = probes.verdicts(now);
        let same = self.last.as_ref().is_some_and(|(g, r, f, v)| {
            *g == generation && *f == freshness && *v == verdicts && routes_are(&state, r)
        });
        // Before anything was applied the snapshot from disk knows more than this state does.
        if same || generation == Generation(0) && !fresh {
            return;
        }
        let routes = routes(&state);
        let spec = spec(&shared.config, generation, freshness, &routes, verdicts.clone());
        let problems = match spec.map(Snapshot::build) {
            Ok(Ok(snapshot)) => {
                let grown = self.last.as_ref().is_none_or(|(g, ..)| *g < generation);
                match published.publish(snapshot) {
                    Ok(sequence) => {
                        info!(%generation, sequence, ?freshness, routes = ?routes, "dns snapshot published");
                    }
                    Err(older) => warn!(%older, "dns snapshot not published"),
                }
                if grown {
                    save(published.clone(), self.path.clone());
                }
                self.last = Some((generation, routes, freshness, verdicts));
                return;
            }
            Ok(Err(problems)) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Err(error) => format!("{error:#}"),
        };
        if !self.problem_told {
            warn!(problems, "the dns snapshot cannot be built; the last one stays");
            self.problem_told = true;
        }
        self.last = Some((generation, routes, freshness, verdicts));
    }
}

/// Clients come first, the disk after: a node that restarts in between learns the route from Raft.
fn save(published: Published, path: PathBuf) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = disk::save(&path, &published.load().snapshot, clock::wall()) {
            warn!(%error, "the dns snapshot is not saved");
        }
    });
}

/// Asks the leader again and again for a read index. What counts is when the question was asked:
/// whatever a quorum confirmed was true then or later.
async fn confirm(shared: Arc<Shared>, confirmed: Arc<Mutex<Option<Timestamp>>>) {
    let mut every = tokio::time::interval(CONFIRM_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let asked = clock::now();
        let index = match shared.leading() {
            Some(_) => {
                let deadline = std::time::Instant::now() + CONFIRM_WITHIN;
                shared.raft.read_index(deadline).await.ok()
            }
            None => ask_leader(&shared).await,
        };
        let Some(index) = index else { continue };
        let mut applied = shared.raft.status();
        let caught_up = applied.wait_for(|s| s.applied >= index || s.stopped.is_some());
        if let Ok(Ok(status)) = tokio::time::timeout(CONFIRM_WITHIN, caught_up).await
            && status.stopped.is_none()
        {
            *confirmed.lock().expect("no holder of this lock panics") = Some(asked);
        }
    }
}

async fn ask_leader(shared: &Shared) -> Option<u64> {
    let leader = shared.raft_status().leader?;
    let to: Endpoint = shared.roster.endpoint(leader)?;
    let bytes = shared.links.call(&to, wire::READ, &[], CONFIRM_WITHIN).await.ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// Grows with every committed route; the same on every node.
fn generation(state: &State) -> Generation {
    Generation(state.groups.values().filter_map(|g| g.route.as_ref()).map(|r| r.epoch.0).sum())
}

fn routes(state: &State) -> Routes {
    state.groups.iter().filter_map(|(id, g)| g.route.as_ref().map(|r| (id.clone(), r.site.clone()))).collect()
}

fn routes_are(state: &State, known: &Routes) -> bool {
    let mut count = 0;
    for (id, group) in &state.groups {
        let Some(route) = &group.route else { continue };
        count += 1;
        if known.get(id) != Some(&route.site) {
            return false;
        }
    }
    count == known.len()
}

fn blank(config: &Config) -> Result<Snapshot> {
    let spec = spec(config, Generation(0), Freshness::Stale, &Routes::new(), Verdicts::new())?;
    match Snapshot::build(spec) {
        Ok(snapshot) => Ok(snapshot),
        Err(problems) => {
            let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
            bail!("the zone cannot be served: {}", list.join("; "))
        }
    }
}

fn seconds(d: Duration) -> u32 {
    u32::try_from(d.as_secs()).unwrap_or(u32::MAX)
}

fn name(text: &app_config::DnsName) -> Result<Name> {
    text.as_str().parse().map_err(|e| anyhow::anyhow!("name {:?}: {e}", text.as_str()))
}

/// The whole of a node's answers, from what is configured, committed and seen.
fn spec(
    config: &Config,
    generation: Generation,
    freshness: Freshness,
    routes: &Routes,
    verdicts: Verdicts,
) -> Result<SnapshotSpec> {
    let zones = match config.zone() {
        Some(zone) => vec![zone_spec(zone, generation)?],
        None => vec![],
    };
    let pools = config
        .pools()
        .values()
        .map(|pool| {
            let check = pool.check.as_ref().and_then(|c| config.checks().get(c));
            let members = pool
                .members
                .iter()
                .map(|m| PoolMember {
                    id: m.id.clone(),
                    site: m.site.clone(),
                    address: m.address,
                    weight: m.weight,
                })
                .collect();
            let check_interval = check.map(|c| c.interval);
            (pool.id.clone(), PoolSpec { members, check_interval, min_up: pool.min_up })
        })
        .collect();
    let mut names = Vec::new();
    for virtual_name in config.names().values() {
        let kind = match &virtual_name.follows {
            Follows::Bound(b) => NameKind::Bound(BoundSpec {
                group: b.group.clone(),
                endpoints: b.endpoints.clone(),
                active: routes.get(&b.group).cloned(),
                no_quorum: match b.no_quorum {
                    NoQuorum::Servfail => gslb_core::NoQuorum::Servfail,
                    NoQuorum::Last => gslb_core::NoQuorum::Last,
                },
                ttl: seconds(b.ttl),
            }),
            Follows::Pooled(p) => NameKind::Pooled(PooledSpec {
                policy: match p.policy {
                    Policy::Order => gslb_core::Policy::Order,
                    Policy::Weighted => gslb_core::Policy::Weighted,
                },
                pools: p.pools.iter().map(|s| PoolShare { pool: s.pool.clone(), weight: s.weight }).collect(),
                all_down: match p.all_down {
                    AllDown::Open => gslb_core::AllDown::Open,
                    AllDown::Nodata => gslb_core::AllDown::Nodata,
                    AllDown::Servfail => gslb_core::AllDown::Servfail,
                },
                ttl_min: seconds(p.ttl_min),
                ttl_max: seconds(p.ttl_max),
            }),
        };
        names.push(NameSpec { name: name(&virtual_name.name)?, kind });
    }
    Ok(SnapshotSpec { generation, freshness, zones, pools, names, verdicts })
}

fn zone_spec(zone: &app_config::Zone, generation: Generation) -> Result<ZoneSpec> {
    let mut records = Vec::new();
    for record in &zone.records {
        let record_type = record.data.rtype().parse()?;
        let text = record.data.to_string();
        records.push(RecordSpec {
            owner: name(&record.name)?,
            record_type,
            ttl: seconds(record.ttl),
            data: record_data(record_type, &text)
                .map_err(|e| anyhow::anyhow!("record {} {text:?}: {e}", record.name))?,
        });
    }
    let name_servers = zone.name_servers.iter().map(name).collect::<Result<_>>()?;
    Ok(ZoneSpec {
        apex: name(&zone.origin)?,
        soa: SoaSpec {
            primary: name(&zone.soa.mname)?,
            contact: name(&zone.soa.rname)?,
            serial: u32::try_from(generation.0 & u64::from(u32::MAX)).expect("it is masked"),
            refresh: seconds(zone.soa.refresh),
            retry: seconds(zone.soa.retry),
            expire: seconds(zone.soa.expire),
            minimum: seconds(zone.soa.minimum),
            ttl: seconds(zone.ttl),
        },
        name_servers,
        name_servers_ttl: seconds(zone.ttl),
        records,
    })
}
