//! The whole system in one thread and in virtual time: hosts with their processes, the network, the
//! clients, and the queue of what will happen. Everything follows from the seed.
//!
//! A stopped process or host does not handle events: they are kept and happen when it goes on, as
//! what lies in a socket does. Events of a process that ended are dropped, by the number of its life.

mod dispatch;
mod transport;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use failover_core::{
    ActId, AsyncFailover, Defects, FailoverMode, GroupPolicy, Latch, Policy, State, Timing, Told,
};
use failover_raft::Recovered;
use model::Incarnation;

use crate::chance::Chance;
use crate::client::Client;
use crate::clock::Clock;
use crate::dns::Dns;
use crate::event::Event;
use crate::fault::Plan;
use crate::gate::Gate;
use crate::guard::GuardProcess;
use crate::invariants::LOOK;
use crate::ladder::Ladder;
use crate::manual::Person;
use crate::mysql::{Channel, Io, Mysql};
use crate::net::Net;
use crate::node::Node;
use crate::options::{Invariant, Mutant, Options, Outcome, Sites, Violation};
use crate::place::{
    Endpoint, HOST_SITES, MS, NODE_SITES, NODES, Names, PDC, SECOND, Time, hosts_of, nodes_of,
};
use crate::queue::Queue;
use crate::truth::Truth;

/// Lines of the log that a run keeps; the older ones of a long run are dropped.
const LOG_MAX: usize = 4_000;

/// An answer in a host's kernel, on its way to a client.
#[derive(Debug, Clone, Copy)]
pub struct Queued {
    /// To whom.
    pub client: usize,
    /// In which attempt of it.
    pub attempt: u32,
    /// What it confirms.
    pub transaction: u32,
}

/// A database host.
pub struct Host {
    /// It has power.
    pub up: bool,
    /// It is stopped, kernel and all.
    pub paused: bool,
    /// Since when.
    pub paused_at: Time,
    /// Its present boot.
    pub boot: u32,
    /// Its clock.
    pub clock: Clock,
    /// The kernel's gate.
    pub gate: Gate,
    /// Generation of client sockets: raised when they are all ended.
    pub sockets: u32,
    /// Answers that wait in the kernel.
    pub queued: Vec<Queued>,
    /// The guard's disk.
    pub latch: Option<Latch>,
    /// The guard.
    pub guard: Option<Box<GuardProcess>>,
    /// When its watchdog resets it, if that counts.
    pub watchdog: Option<Time>,
    /// Lives of the guard so far.
    pub guard_lives: u32,
    /// The database.
    pub mysql: Mysql,
    /// The supervisor does not restart the database.
    pub hold_mysql: bool,
    /// Acts that the guard waits for.
    pub acts: Vec<ActId>,
    /// What happens to the guard when it goes on.
    pub stash_guard: Vec<Event>,
    /// What happens to the database when it goes on.
    pub stash_mysql: Vec<Event>,
    /// What happens to the host when it goes on.
    pub stash: Vec<Event>,
    /// What waits for the disk under its database.
    pub stash_disk: Vec<Event>,
    /// Until when a lease was granted, on this host's clock.
    pub lease_until: u64,
    /// Its clock missed a stop: a lease through this moment of it is no measure of true time.
    pub unmeasured: u64,
    /// Who passes its gate from the guard's next act on.
    pub passing: Option<[bool; crate::place::HOSTS]>,
    /// Its guard was started while the gate was tainted, and took the rest of that for its lease's.
    pub stretched: bool,
    /// When guard or host last went on after a stop: what the guard asks for right then was decided before.
    pub resumed: Time,
    /// Microseconds that an fsync takes more.
    pub slow_disk: Time,
    /// What its guard was told last.
    pub told: Option<Told>,
}

/// See the module.
pub struct World {
    pub(crate) seed: u64,
    pub(crate) sites: Sites,
    /// Who acts where nothing moves by itself.
    pub(crate) person: Person,
    pub(crate) now: Time,
    pub(crate) queue: Queue,
    pub(crate) chance: Chance,
    pub(crate) names: Names,
    pub(crate) net: Net,
    pub(crate) nodes: Vec<Node>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) clients: Vec<Client>,
    pub(crate) truth: Truth,
    pub(crate) dns: Dns,
    pub(crate) policy: Policy,
    pub(crate) ladder: Ladder,
    pub(crate) defects: Defects,
    pub(crate) plan: Plan,
    pub(crate) next_connection: u32,
    /// Microseconds that one transaction takes on the replication's way.
    pub(crate) bandwidth: Time,
    /// Clients write nothing.
    pub(crate) quiet: bool,
    /// Something changed that bears on who can acknowledge.
    pub(crate) dirty: bool,
    pub(crate) faults: usize,
    pub(crate) violation: Option<Violation>,
    events: u64,
    hash: u64,
    log: VecDeque<String>,
    verbose: bool,
    muted: BTreeSet<Invariant>,
    mutant: Option<Mutant>,
}

/// Everything that came together stays so for this long before a run ends early.
const SETTLED: Time = 10 * SECOND;

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Outcome {
    let mut end = options.minutes * 60 * SECOND;
    let mut world = World::new(seed, options);
    world.begin();
    let (mut look, mut settled, mut service) = (world.plan.heals + SETTLED / 2, None, 0);
    while world.violation.is_none() {
        let Some((at, event)) = world.queue.pop(end) else { break };
        assert!(at >= world.now, "time does not go back");
        world.now = at;
        if at >= service {
            service = at + LOOK;
            world.look_at_service();
        }
        if options.until_settled && at >= look {
            look = at + SECOND;
            settled = world.converged().ok().map(|()| settled.unwrap_or(at));
            if settled.is_some_and(|since| at - since >= SETTLED) {
                end = at;
            }
        }
        world.events += 1;
        world.dispatch(event);
        if world.dirty {
            world.dirty = false;
            world.check_one_writer();
        }
    }
    if world.violation.is_none() {
        world.now = end;
        world.check_end();
    }
    world.finish()
}

impl World {
    fn new(seed: u64, options: &Options) -> Self {
        let mut chance = Chance::new(seed);
        let names = Names::new();
        let defects = options.defect.map_or(Defects::NONE, Defects::only);
        let nodes = nodes_of(seed, options.sites);
        let voters: Vec<u64> = (1..=nodes as u64).collect();
        let genesis = serde_json::to_vec(&State::default()).expect("state is representable");
        let clock = |chance: &mut Chance| {
            let local = SECOND + chance.below(1_000 * SECOND);
            let ppm = chance.below(1_800) as i64 - 900;
            Clock::new(0, local, ppm)
        };
        let nodes = (0..nodes)
            .map(|_| Node {
                disk: Recovered::genesis(&voters, genesis.clone()),
                incarnation: Incarnation(1),
                superseded: None,
                stopped: false,
                boot: 1,
                powered: 0,
                confirmed_boot: None,
                lives: 0,
                run: None,
                clock: clock(&mut chance),
                paused: false,
                up: true,
                stash: Vec::new(),
                slow_disk: 0,
            })
            .collect();
        let hosts = (0..options.servers.unwrap_or_else(|| hosts_of(seed)))
            .map(|h| Host {
                up: true,
                paused: false,
                paused_at: 0,
                boot: 1,
                clock: clock(&mut chance),
                gate: Gate::default(),
                sockets: 0,
                queued: Vec::new(),
                latch: None,
                guard: None,
                watchdog: None,
                guard_lives: 0,
                mysql: Mysql::new(h, options.flavour),
                hold_mysql: false,
                acts: Vec::new(),
                stash_guard: Vec::new(),
                stash_mysql: Vec::new(),
                stash_disk: Vec::new(),
                stash: Vec::new(),
                lease_until: 0,
                unmeasured: 0,
                passing: None,
                stretched: false,
                resumed: 0,
                slow_disk: 0,
                told: None,
            })
            .collect();
        // A third of the seeds lets an asynchronous group move by itself.
        let asynchronous =
            chance.one_in(3) || options.defect == Some(failover_core::Defect::PromoteOnWaitAlone);
        let two = options.sites == Sites::Two;
        let ladder = Ladder::of(seed);
        let own = GroupPolicy {
            failover: if two { FailoverMode::Manual } else { FailoverMode::Automatic },
            async_failover: if asynchronous && !two { AsyncFailover::Allow } else { AsyncFailover::Refuse },
            prefer: Some(names.sites[0].clone()),
            fence_max: ladder.max(),
            privileged_accounts: Default::default(),
            promotion: Default::default(),
        };
        let groups = BTreeMap::from([(names.group.clone(), own)]);
        let sites = if two { 2 } else { 3 };
        let policy = Policy { timing: Timing::METRO, groups, sites, alone: Default::default(), defects };
        let plan = Plan::draw(&mut chance, options);
        let bandwidth = [20, 200, 2_000, 8_000][chance.below(4) as usize];
        Self {
            seed,
            sites: options.sites,
            person: Person::default(),
            now: 0,
            queue: Queue::default(),
            chance,
            names,
            net: Net::new(),
            nodes,
            hosts,
            clients: Client::all(),
            truth: Truth::new(),
            dns: Dns::new(options.sites),
            policy,
            ladder,
            defects,
            plan,
            next_connection: 1,
            bandwidth,
            quiet: false,
            dirty: false,
            faults: 0,
            violation: None,
            events: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            log: VecDeque::new(),
            verbose: options.verbose,
            muted: options.muted.clone(),
            mutant: options.mutant,
        }
    }

    fn begin(&mut self) {
        for n in 0..self.nodes.len() {
            self.node_start(n);
        }
        self.furnish();
        for h in 0..self.hosts.len() {
            self.mysql_start(h);
            self.guard_start(h);
        }
        self.clients_begin();
        self.plan_faults();
        self.person_begins();
    }

    /// What the servers are like before anybody looks at them: empty mostly; or a live pair that is to
    /// be adopted, and its further replicas; or some that were shut down, of which those in the other site have more.
    fn furnish(&mut self) {
        let (first, second) = match self.chance.below(4) {
            0 => (40, 40),
            1 => (30, 60),
            _ => return,
        };
        for number in 1..=second {
            let transaction = self.truth.write(PDC, number, 0);
            self.truth.transactions[transaction as usize].told = true;
            for h in 0..self.hosts.len() {
                if number <= [first, second][HOST_SITES[h]] {
                    self.hosts[h].mysql.executed[PDC].push(transaction);
                }
            }
        }
        if first == second {
            for h in 0..self.hosts.len() {
                self.mysql_start(h);
                self.mysql_booted(h);
            }
            self.adopt_pair();
        }
    }

    /// The live pair: one writes, the others follow it.
    fn adopt_pair(&mut self) {
        let mysql = &mut self.hosts[PDC].mysql;
        mysql.life.as_mut().expect("it was started").read_only = false;
        for h in 1..self.hosts.len() {
            let mysql = &mut self.hosts[h].mysql;
            let from = mysql.all_held();
            mysql.channel = Some(Channel { source: PDC, connected: false, from, io_error: String::new() });
            let life = mysql.life.as_mut().expect("it was started");
            (life.io, life.sql) = (Io::Connecting, true);
            self.mysql_connect(h);
        }
    }

    fn finish(mut self) -> Outcome {
        if let Some(violation) = &self.violation {
            let line = format!("{:?} is broken: {}", violation.invariant, violation.text);
            self.note(format_args!("{line}"));
        }
        Outcome {
            seed: self.seed,
            simulated: self.now,
            faults: self.faults,
            failovers: self.truth.failovers,
            events: self.events,
            acknowledged: self.truth.acknowledged,
            given_up: self.truth.given_up,
            counts: self.truth.counts,
            hash: self.hash,
            violation: self.violation,
            log: self.log.into(),
        }
    }

    /// All database hosts but one.
    pub(crate) fn others(&self, h: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.hosts.len()).filter(move |o| *o != h)
    }

    /// There is no witness, and nothing moves by itself.
    pub(crate) fn two_sites(&self) -> bool {
        self.sites == Sites::Two
    }

    /// The nodes of a site.
    pub(crate) fn nodes_at(&self, site: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.nodes.len()).filter(move |n| NODE_SITES[*n] == site)
    }

    /// The database hosts of a site.
    pub(crate) fn hosts_at(&self, site: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.hosts.len()).filter(move |h| HOST_SITES[*h] == site)
    }

    /// Writes a line of the log.
    pub(crate) fn note(&mut self, line: fmt::Arguments) {
        if !self.verbose && self.log.len() == LOG_MAX {
            self.log.pop_front();
        }
        let (seconds, micros) = (self.now / SECOND, self.now % SECOND);
        self.log.push_back(format!("{seconds:>5}.{micros:06}  {line}"));
    }

    /// This rule of the world is broken on purpose.
    pub(crate) fn broken(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// A line about a node.
    pub(crate) fn note_node(&mut self, n: usize, line: fmt::Arguments) {
        let name = self.names.nodes[n].clone();
        self.note(format_args!("{name}: {line}"));
    }

    /// A line about a database host.
    pub(crate) fn note_host(&mut self, h: usize, line: fmt::Arguments) {
        let name = self.names.servers[h].clone();
        self.note(format_args!("{name}: {line}"));
    }

    /// An invariant is broken; the first one counts.
    pub(crate) fn violate(&mut self, invariant: Invariant, text: String) {
        if self.violation.is_none() && !self.muted.contains(&invariant) {
            self.violation = Some(Violation { invariant, at: self.now, text });
        }
    }

    /// Folds an event into the run's hash.
    fn fold(&mut self, kind: u64, who: u64, more: u64) {
        let word = self.now ^ kind << 56 ^ who << 48 ^ more << 32;
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5);
    }

    /// How long a write takes to be on disk.
    pub(crate) fn fsync(&mut self, endpoint: Endpoint) -> Time {
        500 + self.chance.below(2 * MS) + self.slow_disk(endpoint)
    }

    /// How much a slow disk adds.
    pub(crate) fn slow_disk(&mut self, endpoint: Endpoint) -> Time {
        let slow = if endpoint < NODES {
            self.nodes[endpoint].slow_disk
        } else {
            self.hosts[endpoint - NODES].slow_disk
        };
        if slow == 0 { 0 } else { self.chance.below(slow) }
    }
}
