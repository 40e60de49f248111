//! The responder of a node: starts from the last snapshot on disk, then follows committed routes,
//! verdicts, and how fresh this node's knowledge of the quorum is.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use app_api::v1::NameStatus;
use app_config::{Config, Node, ZoneTls};
use app_link::Endpoint;
use failover_core::{Group, State};
use gslb_core::{Explained, Freshness, NameKind, Question, Snapshot, Verdicts, explain};
use gslb_dns::{Published, Tallies, Tally, TcpLimits, TcpServer, TlsIdentity, UdpServer, disk};
use model::{Generation, GroupId, Timestamp};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::probes::Probes;
use super::shared::Shared;
use crate::answers::{RouteTo, Routes, blank, spec, terms};
use crate::{clock, wire};

/// The certificate's files are looked at this often.
const REREAD_EVERY: Duration = Duration::from_secs(30);
/// How long the responders may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// A node asks the leader for a quorum-confirmed read this often.
const CONFIRM_EVERY: Duration = Duration::from_millis(300);
/// Deadline of one such question.
const CONFIRM_WITHIN: Duration = Duration::from_millis(800);

/// The listeners of a node.
pub struct Dns {
    udp: Option<UdpServer>,
    /// TCP, and TLS where it is listened for.
    streams: Vec<TcpServer>,
    /// Reads the certificate anew.
    rereads: JoinSet<()>,
    answers: Answers,
    path: PathBuf,
    first: First,
}

/// What the responder began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// What the node answered in an earlier life.
    Disk,
    /// The zone without routes and verdicts, or no responder at all.
    Blank,
}

/// What this node answers now, and since when no quorum has confirmed it; clones look at the same.
#[derive(Clone, Default)]
pub struct Answers {
    published: Option<Published>,
    /// What came in, by transport.
    tallies: Vec<(&'static str, Tallies)>,
    /// When this node last asked a question that a quorum confirmed and that is applied here.
    confirmed: Arc<Mutex<Option<Timestamp>>>,
    /// Its routes may be answered without a quorum.
    believed: Arc<AtomicBool>,
}

/// What the brain feeds the responder with.
pub struct Feed {
    answers: Answers,
    path: PathBuf,
    last: Option<Last>,
    problem_told: bool,
}

/// What the last snapshot was made of.
struct Last {
    config: Arc<Config>,
    generation: Generation,
    routes: Routes,
    freshness: Freshness,
    verdicts: Verdicts,
}

/// Shows another certificate when its files have changed: one for the public is renewed every few weeks.
async fn reread(identity: TlsIdentity, files: ZoneTls) {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    let look = || [changed(&files.certificate), changed(&files.key)];
    let mut seen = look();
    loop {
        tokio::time::sleep(REREAD_EVERY).await;
        let now = look();
        if now == seen {
            continue;
        }
        match identity.read_again(&files.certificate, &files.key) {
            Ok(()) => {
                info!(certificate = %files.certificate.display(), "dns over tls shows what was read anew")
            }
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                warn!(%error, "dns over tls shows the certificate that was read before");
            }
        }
        seen = now;
    }
}

impl Dns {
    /// Listens on the node's addresses, answering from disk at first.
    pub fn start(config: &Config, node: &Node) -> Result<Self> {
        let path = config.node_dir(&node.id).join("dns.snapshot");
        if config.zone().is_none() || node.dns.is_empty() {
            let answers = Answers::default();
            return Ok(Self {
                udp: None,
                streams: Vec::new(),
                rereads: JoinSet::new(),
                answers,
                path,
                first: First::Blank,
            });
        }
        let believed = config.witness().is_some() || confirmed_in_this_boot(&config.node_dir(&node.id));
        let (first, snapshot) = match disk::load(&path) {
            Ok(loaded) => {
                info!(generation = %loaded.snapshot.generation(), "dns answers from the snapshot on disk");
                let snapshot = if believed { loaded.snapshot } else { without_routes(&loaded.snapshot) };
                (First::Disk, snapshot)
            }
            Err(disk::DiskError::Absent { .. }) => (First::Blank, blank(config)?),
            Err(error) => {
                warn!(%error, "the snapshot on disk cannot be used; bound names answer SERVFAIL until the cluster is heard");
                (First::Blank, blank(config)?)
            }
        };
        let published = Published::on(snapshot, terms(config, node.id.to_string()));
        let udp = UdpServer::start(&node.dns, 1, &published)?;
        let tcp = TcpServer::start(&node.dns, TcpLimits::default(), &published)?;
        let mut tallies = vec![("udp", udp.tallies()), ("tcp", tcp.tallies())];
        let mut streams = vec![tcp];
        let mut rereads = JoinSet::new();
        let shown = config.zone().and_then(|zone| zone.tls.as_ref()).filter(|_| !node.dns_tls.is_empty());
        if let Some(files) = shown {
            // The rest of the node does not wait for a certificate.
            match TlsIdentity::read(&files.certificate, &files.key) {
                Ok(identity) => {
                    let tls =
                        TcpServer::start_tls(&node.dns_tls, TcpLimits::default(), &published, &identity)?;
                    tallies.push(("tls", tls.tallies()));
                    streams.push(tls);
                    rereads.spawn(reread(identity, files.clone()));
                }
                Err(error) => {
                    let error = format!("{:#}", anyhow::Error::from(error));
                    warn!(%error, "dns is not answered within tls; mend that and start the node again");
                }
            }
        }
        let believed = Arc::new(AtomicBool::new(believed));
        let answers = Answers { published: Some(published), tallies, confirmed: Arc::default(), believed };
        Ok(Self { udp: Some(udp), streams, rereads, answers, path, first })
    }

    /// It answers what the node answered in an earlier life, without having heard from anybody.
    pub fn answers_from_disk(&self) -> bool {
        self.first == First::Disk
    }

    /// What is answered.
    pub fn answers(&self) -> Answers {
        self.answers.clone()
    }

    /// What the brain feeds it with.
    pub fn feed(&self) -> Feed {
        Feed { answers: self.answers.clone(), path: self.path.clone(), last: None, problem_told: false }
    }

    /// Ends the listeners.
    pub async fn stop(self) {
        drop(self.rereads);
        for server in self.streams {
            server.stop(STOP_WITHIN).await;
        }
        if let Some(udp) = self.udp
            && tokio::task::spawn_blocking(move || udp.stop(STOP_WITHIN)).await.is_err()
        {
            warn!("a dns thread did not end");
        }
    }
}

impl Answers {
    /// How long ago a quorum confirmed what is applied here; none when it never did.
    pub fn confirmed_ago(&self, now: Timestamp) -> Option<Duration> {
        self.confirmed.lock().expect("no holder of this lock panics").map(|at| now.since(at))
    }

    /// Queries and responses so far, by transport; none where this node serves no DNS.
    pub fn tallies(&self) -> Vec<(&'static str, Tally)> {
        if self.published.is_none() {
            return Vec::new();
        }
        self.tallies.iter().map(|(transport, tallies)| (*transport, tallies.read())).collect()
    }

    /// What is answered for each name bound to the group; empty where this node serves no DNS.
    pub fn names(&self, group: &GroupId) -> Vec<NameStatus> {
        self.published.as_ref().map(|p| names_of(&p.load().snapshot, group)).unwrap_or_default()
    }

    /// Why a question is answered as it is; none where this node serves no DNS.
    pub fn explain(&self, question: &Question) -> Option<(Generation, Explained)> {
        let publication = self.published.as_ref()?.load();
        Some((publication.snapshot.generation(), explain(&publication.snapshot, question)))
    }

    /// Bound names answer SERVFAIL from here on: what this node knows of routes is not to be believed.
    pub fn forget_routes(&self) {
        let Some(published) = &self.published else { return };
        let snapshot = without_routes(&published.load().snapshot);
        if let Err(older) = published.publish(snapshot) {
            warn!(%older, "dns snapshot not published");
        }
    }

    /// Takes other verdicts into what is answered, and nothing else: for a node without consensus.
    pub fn take_verdicts(&self, verdicts: Verdicts) {
        let Some(published) = &self.published else { return };
        let snapshot = published.load().snapshot.with(verdicts, Freshness::Stale);
        if let Err(older) = published.publish(snapshot) {
            warn!(%older, "dns snapshot not published");
        }
    }
}

/// The same names and pools; no bound name has a site.
fn without_routes(snapshot: &Snapshot) -> Snapshot {
    let mut spec = snapshot.to_spec();
    spec.freshness = Freshness::Stale;
    for name in &mut spec.names {
        if let NameKind::Bound(bound) = &mut name.kind {
            bound.active = None;
        }
    }
    Snapshot::build(spec).expect("it was built before, and a route is no part of its definition")
}

/// What `snapshot` answers for the names bound to `group`: the site, or none for SERVFAIL.
fn names_of(snapshot: &Snapshot, group: &GroupId) -> Vec<NameStatus> {
    let bound = snapshot.names().iter().filter_map(|n| match &n.kind {
        NameKind::Bound(bound) if bound.group == *group => Some((&n.name, bound)),
        _ => None,
    });
    bound
        .map(|(name, bound)| {
            let shut =
                snapshot.freshness() == Freshness::Stale && bound.no_quorum == gslb_core::NoQuorum::Servfail;
            let site = bound.active.as_ref().filter(|site| !shut && bound.endpoints.contains_key(*site));
            NameStatus { name: name.to_string(), site: site.map(ToString::to_string) }
        })
        .collect()
}

impl Feed {
    /// Begins to ask for quorum-confirmed reads.
    pub fn start(&self, shared: &Arc<Shared>) {
        tokio::spawn(confirm(shared.clone(), self.answers.clone()));
    }

    /// Publishes a new snapshot when anything that it is made of has changed.
    pub fn refresh(&mut self, shared: &Shared, probes: &mut Probes, now: Timestamp) {
        let Some(published) = &self.answers.published else { return };
        let fresh = self.answers.confirmed_ago(now).is_some_and(|age| age <= shared.timing.lease * 2);
        let freshness = if fresh { Freshness::Fresh } else { Freshness::Stale };
        let believed = self.answers.believed.load(Ordering::Relaxed);
        let state = shared.state();
        let generation = generation(&state);
        let verdicts = probes.verdicts(now);
        let config = shared.config();
        let same = self.last.as_ref().is_some_and(|last| {
            Arc::ptr_eq(&last.config, &config)
                && last.generation == generation
                && last.freshness == freshness
                && last.verdicts == verdicts
                && if believed { routes_are(&state, &last.routes) } else { last.routes.is_empty() }
        });
        // Before anything was applied the snapshot from disk knows more than this state does.
        if same || generation == Generation(0) && !fresh {
            return;
        }
        let routes = if believed { routes(&state) } else { Routes::new() };
        let spec = spec(&config, generation, freshness, &routes, verdicts.clone());
        let problems = match spec.map(Snapshot::build) {
            Ok(Ok(snapshot)) => {
                let grown = self.last.as_ref().is_none_or(|last| last.generation < generation);
                match published.publish(snapshot) {
                    Ok(sequence) => {
                        info!(%generation, sequence, ?freshness, routes = ?routes, "dns snapshot published");
                    }
                    Err(older) => warn!(%older, "dns snapshot not published"),
                }
                if grown {
                    save(published.clone(), self.path.clone());
                }
                self.last = Some(Last { config, generation, routes, freshness, verdicts });
                self.problem_told = false;
                return;
            }
            Ok(Err(problems)) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Err(error) => format!("{error:#}"),
        };
        if !self.problem_told {
            warn!(problems, "the dns snapshot cannot be built; the last one stays");
            self.problem_told = true;
        }
        self.last = Some(Last { config, generation, routes, freshness, verdicts });
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

/// Where the boot of the host is noted in which a quorum last confirmed this node's routes.
fn boot_path(folder: &Path) -> PathBuf {
    folder.join("confirmed.boot")
}

/// Without a witness names go on answering while the quorum is away, as the lease that they lead to does.
/// Like that lease it ends with the boot: what a host remembers from before a power cut may have been
/// moved since, and its site with it.
fn confirmed_in_this_boot(folder: &Path) -> bool {
    let noted = std::fs::read_to_string(boot_path(folder)).ok();
    clock::boot().is_ok_and(|boot| noted.as_deref() == Some(boot.0.as_str()))
}

fn note_boot(folder: &Path) {
    let noted = clock::boot().and_then(|boot| Ok(std::fs::write(boot_path(folder), boot.0)?));
    if let Err(error) = noted {
        warn!(
            error = format!("{error:#}"),
            "the boot is not noted; after a restart bound names wait for a quorum"
        );
    }
}

/// Asks the leader again and again for a read index. What counts is when the question was asked:
/// whatever a quorum confirmed was true then or later.
async fn confirm(shared: Arc<Shared>, answers: Answers) {
    let mut noted = false;
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
            *answers.confirmed.lock().expect("no holder of this lock panics") = Some(asked);
            answers.believed.store(true, Ordering::Relaxed);
            if !noted {
                noted = true;
                note_boot(&shared.start.node_dir(&shared.own.id));
            }
        }
    }
}

async fn ask_leader(shared: &Shared) -> Option<u64> {
    let leader = shared.raft_status().leader?;
    let to: Endpoint = shared.settings().roster.endpoint(leader)?;
    let bytes = shared.links.call(&to, wire::READ, &[], CONFIRM_WITHIN).await.ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// Grows with every committed route and every committed configuration; the same on every node.
fn generation(state: &State) -> Generation {
    let routes: u64 = state.groups.values().filter_map(|g| g.route.as_ref()).map(|r| r.epoch.0).sum();
    Generation(routes + state.configuration.generation().0)
}

fn routes(state: &State) -> Routes {
    state.groups.iter().filter_map(|(id, g)| Some((id.clone(), route_of(g)?))).collect()
}

fn route_of(group: &Group) -> Option<RouteTo> {
    let route = group.route.as_ref()?;
    let server = group.epochs.get(&route.epoch).map(|record| record.primary.server.clone());
    Some(RouteTo { site: route.site.clone(), server })
}

fn routes_are(state: &State, known: &Routes) -> bool {
    let mut count = 0;
    for (id, group) in &state.groups {
        let Some(route) = route_of(group) else { continue };
        count += 1;
        if known.get(id) != Some(&route) {
            return false;
        }
    }
    count == known.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gslb_core::{CLASS_IN, Client, Name, NameBuf, Question, Rcode, RecordType, answer};
    use model::SiteId;
    use std::net::{IpAddr, Ipv4Addr};

    fn ask(snapshot: &Snapshot, name: &str) -> Rcode {
        let name: Name = name.parse().unwrap();
        let client = Client::sender(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let question =
            Question { name: NameBuf::from(&name), record_type: RecordType::A, class: CLASS_IN, client };
        answer(snapshot, &question).rcode
    }

    /// Goal: what `status` says that names answer is what the responder answers. Method: every freshness,
    /// rule and route, and the answer to a question for the name beside it.
    #[test]
    fn what_names_are_said_to_answer_is_what_they_answer() {
        let text = include_str!("../../config/testdata/smallest.yaml");
        let config = app_config::check(text, std::path::Path::new("/")).config.unwrap();
        let group: GroupId = "main".parse().unwrap();
        let east: SiteId = "east".parse().unwrap();
        let to_east = RouteTo { site: east.clone(), server: None };
        let mut said = Vec::new();
        for freshness in [Freshness::Fresh, Freshness::Stale] {
            for no_quorum in [gslb_core::NoQuorum::Servfail, gslb_core::NoQuorum::Last] {
                for routes in [Routes::new(), Routes::from([(group.clone(), to_east.clone())])] {
                    let mut spec = spec(&config, Generation(1), freshness, &routes, Verdicts::new()).unwrap();
                    for name in &mut spec.names {
                        let NameKind::Bound(bound) = &mut name.kind else { continue };
                        bound.no_quorum = no_quorum;
                    }
                    let snapshot = Snapshot::build(spec).unwrap();
                    let names = names_of(&snapshot, &group);
                    assert_eq!(names.len(), 1);
                    let answered = ask(&snapshot, &names[0].name);
                    assert_eq!(
                        names[0].site.is_none(),
                        answered == Rcode::Servfail,
                        "{names:?} {answered:?}"
                    );
                    said.push(names[0].site.clone());
                }
            }
        }
        let east = Some("east".to_owned());
        assert_eq!(said, [None, east.clone(), None, east.clone(), None, None, None, east]);
    }
}
