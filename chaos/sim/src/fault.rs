//! What goes wrong, and when: a mix drawn for each seed, with an end for every fault, and a phase of
//! healing at the end of a run in which everything must come together again.
//!
//! Each seed takes a part of all kinds (a swarm), so that rare pairs of faults meet often somewhere.

mod begins;
mod ends;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::chance::Chance;
use crate::event::Event;
use crate::options::{Options, Sites};
use crate::place::{MS, SECOND, Time};
use crate::world::World;

/// The cluster has this long to come up before the first fault.
const BEGIN: Time = 25 * SECOND;
/// Everything converges within this much after healing: three tries of a fence of ten seconds, a
/// start of everything, a rebuild, and arming.
pub const HEALING: Time = 110 * SECOND;
/// Without a witness a person is under way besides: fences, forces, moves, and joins the rest again.
const JOINING: Time = 60 * SECOND;
/// Fewest faults of a run.
const FAULTS_MIN: u64 = 5;
/// Most.
const FAULTS_MAX: u64 = 14;

/// Who orders a failover that loses nothing, as it was told.
pub const TOLD_OF_NO_LOSS: &str = "a person who was told of no loss";

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A site loses its links, then its power.
    SiteKill,
    /// A database host loses its power.
    HostCrash,
    /// A database host loses its power, and its disk had lied.
    DiskLies,
    /// A database host stops, kernel and all, and goes on.
    HostPause,
    /// A guard dies.
    GuardCrash,
    /// A guard is stopped and goes on.
    GuardPause,
    /// A database is killed.
    MysqlKill,
    /// A database is killed and not started again for a while.
    MysqlDown,
    /// A database is stopped and goes on.
    MysqlPause,
    /// A database without waiters is shut down in order.
    MysqlShutdown,
    /// The replica's database is restarted.
    AckerRestart,
    /// Somebody sets a finite ack timeout by hand.
    AckTimeout,
    /// The applier lags.
    ApplierLag,
    /// Two sites do not hear one another.
    Cut,
    /// One site does not hear another, which hears it.
    CutOneWay,
    /// A site is cut from both others.
    Isolate,
    /// A site is cut from everybody.
    IsolateAll,
    /// Messages are lost.
    Loss,
    /// Messages are late.
    Slow,
    /// Messages are doubled.
    Double,
    /// The leader dies.
    LeaderKill,
    /// A node's host stops and goes on.
    NodePause,
    /// A node dies and stays away for a while.
    NodeDown,
    /// The witness dies.
    WitnessLoss,
    /// A clock's rate changes.
    Drift,
    /// A disk is slow.
    SlowDisk,
    /// A person moves the group to the other site.
    Switchover,
    /// A person does so at once, told a while ago that nothing would be lost.
    Failover,
    /// The next time that `Sync` is committed its holder hears nothing of it, and its database is killed.
    Unheard,
    /// Accounts are made on the primary: until each is acknowledged nobody new gets in.
    AccountChanges,
    /// Clients write nothing, and a replica's acks are lost with their connections, those of every other one.
    AckLost,
    /// The kernel's rules are flushed on a database host.
    Flush,
    /// Nothing that is written to the disk under a database comes back.
    DiskHangs,
    /// The disk under a database has no room.
    DiskFull,
    /// A replica's applier stops, for something that passes or for what is in its data.
    ApplierStops,
    /// Somebody holds all connections of a database.
    Flood,
    /// Drivers kill what they have waited for long enough.
    DriversKill,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 37] = [
        Kind::SiteKill,
        Kind::HostCrash,
        Kind::DiskLies,
        Kind::HostPause,
        Kind::GuardCrash,
        Kind::GuardPause,
        Kind::MysqlKill,
        Kind::MysqlDown,
        Kind::MysqlPause,
        Kind::MysqlShutdown,
        Kind::AckerRestart,
        Kind::AckTimeout,
        Kind::ApplierLag,
        Kind::Cut,
        Kind::CutOneWay,
        Kind::Isolate,
        Kind::IsolateAll,
        Kind::Loss,
        Kind::Slow,
        Kind::Double,
        Kind::LeaderKill,
        Kind::NodePause,
        Kind::NodeDown,
        Kind::WitnessLoss,
        Kind::Drift,
        Kind::SlowDisk,
        Kind::Switchover,
        Kind::Failover,
        Kind::Unheard,
        Kind::AccountChanges,
        Kind::AckLost,
        Kind::Flush,
        Kind::DiskHangs,
        Kind::DiskFull,
        Kind::ApplierStops,
        Kind::Flood,
        Kind::DriversKill,
    ];

    /// How long it lasts at least and at most, milliseconds.
    fn lasts(self) -> (u64, u64) {
        match self {
            Kind::SiteKill => (4_000, 50_000),
            Kind::HostCrash | Kind::DiskLies | Kind::MysqlDown | Kind::NodeDown | Kind::WitnessLoss => {
                (2_000, 30_000)
            }
            Kind::HostPause | Kind::GuardPause | Kind::MysqlPause | Kind::NodePause => (150, 25_000),
            Kind::Cut | Kind::CutOneWay | Kind::Isolate | Kind::IsolateAll => (200, 30_000),
            Kind::Loss | Kind::Slow | Kind::Double | Kind::SlowDisk | Kind::ApplierLag => (1_000, 30_000),
            Kind::DiskHangs | Kind::DiskFull | Kind::ApplierStops | Kind::Flood | Kind::DriversKill => {
                (500, 30_000)
            }
            Kind::Failover => (500, 12_000),
            Kind::Unheard => (1_000, 6_000),
            Kind::AccountChanges | Kind::AckLost => (1_000, 20_000),
            _ => (0, 0),
        }
    }
}

/// One planned fault.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What.
    pub kind: Kind,
    /// When.
    pub at: Time,
    /// For how long.
    pub lasts: Time,
    /// Chance for its details.
    pub detail: u64,
    /// What it hit, once it began: to be undone at its end.
    pub hit: Hit,
}

/// What a fault hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// Nothing that has to be undone.
    Nothing,
    /// A site.
    Site(usize),
    /// A database host.
    Host(usize),
    /// A node.
    Node(usize),
    /// The way from one place to another, perhaps both.
    Way(usize, usize),
}

/// The plan of a run.
#[derive(Debug, Default)]
pub struct Plan {
    /// The faults, by time.
    pub faults: Vec<Planned>,
    /// When healing begins.
    pub heals: Time,
    /// A fault that lies in wait.
    pub ambush: Option<usize>,
}

impl Options {
    /// Faults come before healing begins.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let healing = if self.sites == Sites::Two { HEALING + JOINING } else { HEALING };
        self.calm || self.minutes * 60 * SECOND > healing + BEGIN + SECOND
    }
}

impl Plan {
    /// Draws a plan.
    pub fn draw(chance: &mut Chance, options: &Options) -> Self {
        let end = options.minutes * 60 * SECOND;
        let two = options.sites == Sites::Two;
        let heals = end.saturating_sub(if two { HEALING + JOINING } else { HEALING });
        if options.calm {
            return Self { heals, ..Self::default() };
        }
        let all: Vec<Kind> = Kind::ALL
            .into_iter()
            .filter(|k| options.faults.is_empty() || options.faults.contains(k))
            .filter(|k| !two || *k != Kind::WitnessLoss)
            .collect();
        let mut kinds: BTreeSet<Kind> = all.iter().copied().filter(|_| chance.one_in(2)).collect();
        while kinds.len() < all.len().min(4) {
            kinds.insert(all[chance.below(all.len() as u64) as usize]);
        }
        // What calls for a person.
        kinds.extend(all.iter().filter(|k| two && **k == Kind::SiteKill));
        let kinds: Vec<Kind> = kinds.into_iter().collect();
        let count = chance.between(FAULTS_MIN, FAULTS_MAX);
        let room = heals.saturating_sub(BEGIN).max(SECOND);
        let mut faults = Vec::new();
        let mut last = BEGIN;
        for _ in 0..count {
            let kind = kinds[chance.below(kinds.len() as u64) as usize];
            // Half of the faults come soon after the one before, while the cluster is busy with it.
            let at = if chance.one_in(2) && !faults.is_empty() {
                (last + chance.below(8 * SECOND)).min(BEGIN + room - SECOND)
            } else {
                BEGIN + chance.below(room)
            };
            last = at;
            let (least, most) = kind.lasts();
            // Short ones are as likely as long ones.
            let most = if chance.one_in(2) { most } else { (least * 4).min(most) };
            let lasts = chance.between(least, most) * MS;
            faults.push(Planned { kind, at, lasts, detail: chance.next(), hit: Hit::Nothing });
        }
        faults.sort_by_key(|f| f.at);
        Self { faults, heals, ambush: None }
    }
}

impl World {
    pub(crate) fn plan_faults(&mut self) {
        for (index, fault) in self.plan.faults.iter().enumerate() {
            self.queue.push(fault.at, Event::Fault { index });
        }
        if !self.plan.faults.is_empty() {
            let index = self.plan.faults.len();
            self.queue.push(self.plan.heals, Event::FaultEnds { index });
        }
    }
}
