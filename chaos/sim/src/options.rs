//! What a run is told, and what comes out of it.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use failover_core::Defect;
use model::Flavour;
use serde::{Deserialize, Serialize};

use crate::fault::Kind;

/// Simulated minutes of a run unless said otherwise.
pub const MINUTES: u64 = 10;

/// What a run is told besides its seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long it is, healing included; at least 3.
    pub minutes: u64,
    /// Which sites there are.
    pub sites: Sites,
    /// How many database servers there are, 2 to 4; by the seed where it is not said.
    pub servers: Option<usize>,
    /// Whose the database servers are.
    pub flavour: Flavour,
    /// A rule removed on purpose.
    pub defect: Option<Defect>,
    /// A rule of the world broken on purpose.
    pub mutant: Option<Mutant>,
    /// Invariants that are not looked at, to see what a defect breaks besides.
    pub muted: BTreeSet<Invariant>,
    /// Kinds of faults to draw from; all when none is named.
    pub faults: BTreeSet<Kind>,
    /// No faults at all.
    pub calm: bool,
    /// Ends a run when everything has come together behind healing, and has stayed so for a while.
    pub until_settled: bool,
    /// Keep every line of the log, and say more.
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            minutes: MINUTES,
            sites: Sites::WithWitness,
            servers: None,
            flavour: Flavour::Mysql,
            defect: None,
            mutant: None,
            muted: BTreeSet::new(),
            faults: BTreeSet::new(),
            calm: false,
            until_settled: false,
            verbose: false,
        }
    }
}

impl Options {
    /// The command that makes this seed's run happen again. What is taken out on purpose has no word for it.
    #[must_use]
    pub fn again(&self, seed: u64) -> String {
        let mut command = format!("twofold sim --seed {seed} --seeds 1 --minutes {}", self.minutes);
        let words = [
            (self.sites == Sites::Two, " --two-sites"),
            (self.flavour == Flavour::Mariadb, " --flavour mariadb"),
            (self.calm, " --calm"),
            (self.until_settled, " --until-settled"),
        ];
        words.into_iter().filter(|(said, _)| *said).for_each(|(_, word)| command.push_str(word));
        let faults = self.faults.iter().filter_map(ValueEnum::to_possible_value);
        let faults: Vec<_> = faults.map(|value| value.get_name().to_owned()).collect();
        if !faults.is_empty() {
            command.push_str(&format!(" --faults {}", faults.join(",")));
        }
        command
    }
}

/// The sites of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sites {
    /// Two data sites and a witness.
    WithWitness,
    /// Two data sites alone: manual mode, and a person who fences, forces, fails over and joins.
    Two,
}

/// Something that the cores rely on in their surroundings, broken on purpose: a check that never
/// fires proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// The gate's element has no timeout.
    GateWithoutTimeout,
    /// Watchdogs reset nothing.
    WatchdogAsleep,
    /// Databases boot writable.
    BootsWritable,
    /// A guard's latches do not outlive it.
    LatchForgotten,
    /// An executor acts before its intent is committed.
    ActsBeforeIntent,
    /// A node never finds its names stale.
    NeverStale,
    /// A relay log does not outlive its server.
    RelayForgotten,
    /// A candidate beside the primary says that it took what the ackers have, and took nothing.
    GathersNothing,
    /// In manual mode a host's boot goes unnoticed: its boot id stays, and its guard goes by the authority that it
    /// heard last.
    BootUnnoticed,

    // Interleaving 8.
    /// No follower passes a renewal on, and no frame goes one hop through a third site.
    PassesNothingOn,
    /// Semi-sync is armed for one ack, however many ackers there are (interleaving 4).
    ArmsForOne,
    /// A unit stops its database in order though commits wait for their acks (7).
    StopsInOrder,
    /// One listener is behind no gate (17).
    ForgottenListener,
    /// After a sentinel that was given up, its connection is used on: the late answer is taken for the next one's (21).
    StaleAnswers,
    /// No session is kept open: whatever is asked of a database needs a new connection (23); and nobody notices that none is let
    /// in (50).
    NoKeptSession,
    /// A server that comes back starts the replication that it finds (25).
    StartsWhatItFinds,
    /// `super_read_only` is believed by what it reads, not by the statement's return (26).
    BelievesTheVariable,
    /// A change of the gate sets the element and asserts no rules (38).
    RulesNotAsserted,
}

/// An invariant, as DESIGN §4 numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Invariant {
    /// One server at most can acknowledge.
    I1,
    /// Acknowledging needs a lease.
    I2,
    /// In `Sync`, what is acknowledged is on every acker.
    I3,
    /// Opening follows fence or wait, and stopped ackers.
    I4,
    /// The candidate has everything and nothing else.
    I5,
    /// Servers boot fenced.
    I6,
    /// Names follow the open database.
    I7,
    /// Numbers never go down.
    I8,
    /// Intent before act, outcome after.
    I9,
    /// No acknowledged write is lost.
    Lost,
    /// After healing everything converges.
    Liveness,
    /// Who may serve does, and nobody is left or killed for nothing.
    Service,
}

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When, in microseconds of true time.
    pub at: u64,
    /// What was seen.
    pub text: String,
}

/// What came out of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Simulated microseconds.
    pub simulated: u64,
    /// Faults injected.
    pub faults: usize,
    /// Failovers that opened another server.
    pub failovers: u64,
    /// Events handled.
    pub events: u64,
    /// Writes acknowledged to clients.
    pub acknowledged: u64,
    /// Acknowledged in `Async` and given up by a failover on record.
    pub given_up: u64,
    /// How often what happened, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Hash over every event, in order.
    pub hash: u64,
    /// The first broken invariant; the run ends there.
    pub violation: Option<Violation>,
    /// What happened, newest last; the oldest lines of a long run are dropped.
    pub log: Vec<String>,
}
