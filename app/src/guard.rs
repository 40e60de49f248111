//! `twofold guard`: the lease holder on a database host, and the hand on its database.
//!
//! One task owns the pure [`failover_core::Guard`] and feeds it: ticks, answers from the links,
//! readings, the process's comings and goings, ends of acts. It performs the effects in the order
//! given; latches are fsynced before anything behind them. The agent of the database host lives in
//! this process too, so that gate, latches and sessions have one owner (docs/design/0001).

mod acts;
mod copy;
pub mod disk;
mod gate;
mod host;
mod latches;
mod progress;
mod watch;
mod watchdog;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use app_cert::Kind;
use app_config::Config;
use app_link::{Endpoint, Inbound, Links, Replier, Sent};
use failover_core::{
    ActEnd, ActId, CallId, Defects, Effect, Fencing, GateRead, Guard, GuardConfig, Input, Renewal, Told,
    WatchdogAct,
};
use model::{Generation, NodeId, ServerId, Timestamp};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::generation_file::{self, Committed};
use crate::supervised::Supervised;
use crate::{clock, links, outage, wire};
use host::Host;

/// Things of this host that wait to be taken in. Readings come ten times a second and acts one at a
/// time, so this is never nearly full; when it is, the senders wait.
const LOCAL_QUEUE: usize = 64;
/// Calls that may wait for their reply; beyond it a call is answered with an error at once.
const CALLS_MAX: usize = 64;

/// A node gives the committed configuration within this, or is asked again when it next tells its number.
const ASK_WITHIN: Duration = Duration::from_secs(2);

/// What the tasks of this host tell the owner of the guard.
pub enum Local {
    /// The process came or went.
    Process { process: failover_core::Process, ended: Option<failover_core::HowItEnded> },
    /// The database was read.
    Reading { reading: Box<model::DatabaseReading>, life: model::ProcessStart },
    /// A new session could not be had; whether the server answered at all.
    Knocked { life: model::ProcessStart, answered: bool },
    /// A write to the disk under its data began, or is over.
    Disk(failover_core::DiskWrite),
    /// A copy of another server's data has come so far here.
    Copy(Option<failover_core::CopyReport>),
    /// The replication account has another password.
    ReplicationPassword,
    /// A gate act is over.
    Gate(GateRead),
    /// A database act is over.
    Ended { act: ActId, end: ActEnd },
    /// A node gave the committed configuration, or did not.
    Configuration(Option<Committed>),
}

/// Runs until a signal ends it. `config` is what stands in the person's `file`; a committed generation in
/// the guard's folder goes before it.
pub async fn run(config: Config, file: &Path, server: ServerId) -> Result<()> {
    let folder = std::path::absolute(file)?.parent().map(Path::to_owned).unwrap_or_default();
    let guard_dir = config.server(server.as_str()).map(|(_, s)| s.guard_dir.clone()).unwrap_or_default();
    let start = generation_file::start(config, &folder, &guard_dir)?;
    let config = Arc::new(start.config);
    let (database, spec) = config
        .server(server.as_str())
        .with_context(|| format!("server {:?} is not in the configuration", server.as_str()))?;
    let group = config.groups().values().find(|g| g.database == database.id).with_context(|| {
        format!("database {:?} belongs to no group; add one under groups", database.id.as_str())
    })?;
    let copies = copy::Copies::of(database, spec, &links::trust(&config, Kind::Guard, server.as_str())?)?;
    let host = Arc::new(Host::new(&config, database, spec, copies)?);
    std::fs::create_dir_all(&spec.guard_dir)
        .with_context(|| format!("create {}", spec.guard_dir.display()))?;
    let latches = latches::LatchFile::open(&spec.guard_dir)?;
    let latch = latches.read()?;
    copy::settle_first(&host).await;
    let fencing = if host.gated { Fencing::Gate } else { Fencing::Ladder };
    let found = if host.gated { gate::read(&host.gate).await } else { GateRead::Absent };
    let watchdog = watchdog::Watchdog::of(spec);
    let guard_config = GuardConfig {
        group: group.id.clone(),
        server: server.clone(),
        timing: links::timing(&group.timing),
        boot: clock::boot()?,
        fencing,
        watchdog: watchdog.is_some(),
        defects: Defects::NONE,
    };
    let (links, inbound) = links::start_guard(&config, &server).await?;
    tokio::spawn(outage::tell_links(links.clone(), config.clone()));
    info!(server = %server, group = %group.id, gate = ?found, latch = ?latch, "guard starts");
    let guard = Guard::new(guard_config, latch, found, rand::random(), clock::now());
    let (local, locals) = mpsc::channel(LOCAL_QUEUE);
    watch::start(host.clone(), local.clone());
    copy::resume(&host);
    copy::start(&host);
    disk::start(host.clone(), local.clone());
    let acts = acts::Acts::start(host.clone(), local.clone());
    let nodes = config.nodes().keys().cloned().collect();
    let mut shell = Shell {
        guard,
        latches,
        links: links.clone(),
        nodes,
        generation: start.generation,
        asking: false,
        server,
        folder,
        guard_dir,
        gate: host.gate.clone(),
        host,
        watchdog,
        local,
        acts,
        calls: BTreeMap::new(),
        next_call: 1,
        open: None,
    };
    let outcome = shell.run(inbound, locals, links::timing(&group.timing).tick).await;
    links.stop().await;
    outcome
}

struct Shell {
    guard: Guard,
    latches: latches::LatchFile,
    links: Links,
    nodes: Vec<NodeId>,
    /// Of the configuration in force here.
    generation: Generation,
    /// A node is asked for a newer one.
    asking: bool,
    server: ServerId,
    folder: PathBuf,
    guard_dir: PathBuf,
    host: Arc<Host>,
    watchdog: Option<watchdog::Watchdog>,
    local: mpsc::Sender<Local>,
    acts: acts::Acts,
    /// As the next act on the gate sets it.
    gate: gate::GateSpec,
    calls: BTreeMap<u64, Replier>,
    next_call: u64,
    open: Option<model::Epoch>,
}

impl Shell {
    async fn run(
        &mut self,
        mut inbound: mpsc::Receiver<Inbound>,
        mut locals: mpsc::Receiver<Local>,
        tick: Duration,
    ) -> Result<()> {
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stop = links::stop_signal()?;
        let mut supervised = Supervised::ready();
        loop {
            supervised.alive();
            let input = tokio::select! {
                biased;
                _ = stop.recv() => return Ok(()),
                Some(local) = locals.recv() => self.take_local(local),
                message = inbound.recv() => match message {
                    Some(message) => self.take_linked(message),
                    None => anyhow::bail!("the links ended"),
                },
                _ = ticks.tick() => Some(Input::Tick),
            };
            let Some(input) = input else { continue };
            let now = clock::now();
            let mut inputs = VecDeque::from([input]);
            while let Some(input) = inputs.pop_front() {
                let effects = self.guard.on(input, now);
                inputs.extend(self.perform(effects)?);
            }
            self.host.hurry.store(self.guard.hurried(now), Ordering::Relaxed);
            self.tell_opening(now);
        }
    }

    fn take_local(&mut self, local: Local) -> Option<Input> {
        Some(match local {
            Local::Configuration(committed) => {
                self.asking = false;
                if let Some(committed) = committed {
                    self.configure(&committed);
                }
                return None;
            }
            Local::Process { process, ended } => Input::Process { process, ended },
            Local::Reading { reading, life } => Input::Reading { reading: *reading, life },
            Local::Knocked { life, answered } => Input::Knocked { life, answered },
            Local::Disk(write) => Input::Disk(write),
            Local::Copy(copy) => Input::Copy(copy),
            Local::ReplicationPassword => Input::ReplicationPassword,
            Local::Gate(read) => Input::GateRead(read),
            Local::Ended { act, end } => Input::Ended { act, end },
        })
    }

    /// A node told the number of the committed configuration; a newer one is asked for.
    fn on_generation(&mut self, from: Endpoint, body: &[u8]) {
        let Ok(number) = <[u8; 8]>::try_from(body).map(u64::from_be_bytes) else { return };
        if self.asking || number <= self.generation.0 {
            return;
        }
        self.asking = true;
        let (links, local) = (self.links.clone(), self.local.clone());
        tokio::spawn(async move {
            let answer = links.call(&from, wire::CONFIGURATION, &[], ASK_WITHIN).await;
            let committed = answer.ok().and_then(|bytes| wire::unpack::<Committed>(&bytes).ok());
            let _ = local.send(Local::Configuration(committed)).await;
        });
    }

    /// What a guard takes from it are the nodes: the rest of what it goes by does not change while it
    /// runs, and the leader refuses a generation that would.
    fn configure(&mut self, committed: &Committed) {
        if committed.generation <= self.generation {
            return;
        }
        let config = match committed.resolve(&self.folder) {
            Ok(config) if config.server(self.server.as_str()).is_some() => config,
            Ok(_) => {
                return warn!(generation = %committed.generation, "this server is configured out; nothing changes here");
            }
            Err(problems) => {
                return warn!(generation = %committed.generation, problems = problems.join("; "), "the configuration cannot be used; upgrade this guard");
            }
        };
        let peers = config.nodes().values().map(|n| (n.id.clone(), n.peer())).collect();
        if let Err(error) = self.links.set_roster(&peers, &BTreeSet::new()) {
            return warn!(%error, "the links keep their roster");
        }
        self.nodes = config.nodes().keys().cloned().collect();
        self.generation = committed.generation;
        info!(generation = %committed.generation, nodes = ?self.nodes, "configuration in force");
        let (folder, committed) = (self.guard_dir.clone(), committed.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = generation_file::save(&folder, &committed) {
                warn!(error = format!("{error:#}"), "the configuration is not kept on disk");
            }
        });
    }

    fn take_linked(&mut self, message: Inbound) -> Option<Input> {
        match message {
            Inbound::Cast { topic: wire::ANSWER, body, from, .. } => {
                read(&from, wire::unpack(&body)).map(Input::Answer)
            }
            Inbound::Cast { topic: wire::TOLD, body, from, .. } => {
                read::<Told>(&from, wire::unpack(&body)).map(Input::Told)
            }
            Inbound::Call { topic: wire::ORDER, body, reply, from } => {
                let ordered: wire::Ordered = match wire::unpack(&body) {
                    Ok(ordered) => ordered,
                    Err(why) => {
                        reply.error(format!("order is not readable: {why}"));
                        return None;
                    }
                };
                if self.calls.len() >= CALLS_MAX {
                    reply.error("too many orders wait");
                    return None;
                }
                info!(from = %from, order = ?ordered.order, epoch = %ordered.authority.epoch, "ordered");
                let call = self.next_call;
                self.next_call += 1;
                self.calls.insert(call, reply);
                Some(Input::Ordered {
                    call: CallId(call),
                    authority: ordered.authority,
                    order: ordered.order,
                })
            }
            Inbound::Cast { topic: wire::GENERATION, body, from: from @ Endpoint::Node(_), .. } => {
                self.on_generation(from, &body);
                None
            }
            Inbound::Call { topic, reply, .. } => {
                reply.error(format!("a guard does not answer topic {topic}"));
                None
            }
            Inbound::Cast { .. } => None,
        }
    }

    /// In order; what an effect tells at once is given back. `Persist` returns after the fsync, so what stands behind it never precedes it.
    fn perform(&mut self, effects: Vec<Effect>) -> Result<Option<Input>> {
        let mut told = None;
        for effect in effects {
            match effect {
                Effect::Persist(latch) => tokio::task::block_in_place(|| self.latches.write(&latch))?,
                Effect::Renew(renewal) => self.renew(&renewal),
                Effect::Gate(act) => {
                    let (gate, local) = (self.gate.clone(), self.local.clone());
                    tokio::spawn(async move {
                        let read = gate::perform(&gate, act).await;
                        let _ = local.send(Local::Gate(read)).await;
                    });
                }
                Effect::Pass(passing) => {
                    self.gate.barred = self.host.barred(&passing);
                    tracing::debug!(?passing, barred = ?self.gate.barred, "who passes the gate to replicate");
                }
                Effect::Act { id, act } => self.acts.begin(id, act),
                Effect::Watchdog(act) => {
                    let armed = self.watchdog.as_mut().is_some_and(|w| w.perform(act));
                    if act == WatchdogAct::Arm {
                        told = Some(Input::Watchdog { armed });
                    }
                }
                Effect::Kill(life) => {
                    warn!(process = %life, "SIGKILL to the database");
                    self.host.kill(life);
                }
                Effect::Reply { call, reply } => {
                    info!(reply = ?reply, "answered");
                    if let Some(replier) = self.calls.remove(&call.0) {
                        replier.ok(wire::pack(&reply));
                    }
                }
            }
        }
        Ok(told)
    }

    fn renew(&self, renewal: &Renewal) {
        let body = wire::pack(renewal);
        for node in &self.nodes {
            // Lost ones are repeated; the direct link's health is the links' business.
            let _: Sent = self.links.cast(&Endpoint::Node(node.clone()), wire::RENEW, &body);
        }
    }

    fn tell_opening(&mut self, now: Timestamp) {
        let open = self.guard.open_at(now);
        if open != self.open {
            match open {
                Some(epoch) => info!(epoch = %epoch, "open for clients"),
                None => {
                    warn!(was = ?self.open, because = ?self.guard.report(now).shut_because, "shut for clients")
                }
            }
            self.open = open;
        }
    }
}

fn read<T>(from: &Endpoint, body: Result<T, String>) -> Option<T> {
    match body {
        Ok(value) => Some(value),
        Err(why) => {
            warn!(from = %from, why, "message is not readable");
            None
        }
    }
}
