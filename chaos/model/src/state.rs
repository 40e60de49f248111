//! What the world of the model is made of. All of it is small and copied: a state is a value.

use std::fmt;
use std::ops::{Index, IndexMut};

/// A site, and the one database server in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Site {
    Pdc,
    Mdc,
}

impl Site {
    pub const BOTH: [Site; 2] = [Site::Pdc, Site::Mdc];

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Site::Pdc => Site::Mdc,
            Site::Mdc => Site::Pdc,
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Site::Pdc => "pdc",
            Site::Mdc => "mdc",
        })
    }
}

/// As in `failover-core`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Serving,
    Draining,
    Revoked,
    Promoting,
}

impl Phase {
    /// A lease may be granted in this phase.
    #[must_use]
    pub fn grants(self) -> bool {
        matches!(self, Phase::Serving | Phase::Draining)
    }
}

/// What an acknowledgement is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    Async,
    CatchUp,
    Sync,
}

/// The replicated answer to "who may write".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Authority {
    pub epoch: u8,
    pub version: u8,
    pub phase: Phase,
    pub primary: Site,
    /// While `Revoked` or `Promoting`: of the revoked epoch.
    pub durability: Durability,
    /// Process start of the one acker; none in `Async`. While revoked: of the revoked epoch.
    pub acker: Option<u8>,
    pub g: u8,
}

impl Authority {
    /// The server whose acks count, or counted: always of the other site.
    #[must_use]
    pub fn acker_site(&self) -> Site {
        if self.phase.grants() { self.primary.other() } else { self.primary }
    }
}

/// What the move under way, or the last one, is. Replicated, as the journal of its execution is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Move {
    pub kind: Kind,
    /// Switchover: writes were taken from everybody.
    pub blocked: bool,
    /// The candidate's receiver is stopped.
    pub stopped: bool,
    pub fence: Fence,
    /// The candidate has applied all that it received.
    pub drained: bool,
    /// Switchover: the candidate has all that the fenced primary had.
    pub compared: bool,
    /// The candidate has no source any more.
    pub promoted: bool,
}

/// Kind of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    #[default]
    None,
    Failover,
    Switchover,
    /// It was called off.
    Aborted,
}

/// How the revoked epoch was made harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fence {
    #[default]
    Not,
    Confirmed,
    Outwaited,
}

/// A set of transactions; bit n is transaction n.
pub type Set = u8;

/// Stands for a transaction that its server was never sent: errant.
pub const ERRANT: Set = 0x80;

/// A server with its guard, its gate, and its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Server {
    // The host, and the process.
    pub paused: bool,
    pub up: bool,
    /// Which life of the process.
    pub start: u8,
    // The data; all of it is on disk.
    /// In its binary log; what waits for an ack is in it.
    pub executed: Set,
    /// Received, and not applied yet.
    pub relay: Set,
    // What the process knows, and forgets.
    /// Committed, and no client was told yet.
    pub waiting: Set,
    /// An ack for it has come, or is on its way.
    pub acked: Set,
    pub writable: bool,
    /// Generation that semi-sync is armed for; zero when it is not.
    pub armed: u8,
    /// The sentinel of that generation was acknowledged.
    pub proven: bool,
    /// It is made to receive from the other server; on disk.
    pub joined: bool,
    /// Its receiver runs.
    pub io: bool,
    /// Its receiver acknowledges.
    pub semi: bool,
    // The gate, in the kernel.
    /// The epoch that it is open for; zero when it is shut.
    pub gate: u8,
    /// A pause let it outlive its lease.
    pub late: bool,
    /// An add for this epoch is under way; zero when none is.
    pub adding: u8,
    // The guard.
    /// The epoch of the lease; zero when there is none.
    pub lease: u8,
    /// None after a reboot.
    pub known: Option<Authority>,
    // The guard's latches, on disk.
    pub seen: u8,
    pub fenced_through: u8,
    pub no_source: u8,
    pub g: u8,
}

impl Server {
    fn booted() -> Self {
        Server {
            paused: false,
            up: true,
            start: 1,
            executed: 0,
            relay: 0,
            waiting: 0,
            acked: 0,
            writable: false,
            armed: 0,
            proven: false,
            joined: false,
            io: false,
            semi: false,
            gate: 0,
            late: false,
            adding: 0,
            lease: 0,
            known: None,
            seen: 0,
            fenced_through: 0,
            no_source: 0,
            g: 0,
        }
    }

    /// What it received or wrote itself.
    #[must_use]
    pub fn held(&self) -> Set {
        self.executed | self.relay
    }

    /// The process runs, and its host does.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.up && !self.paused
    }

    /// Its receiver would acknowledge what it is sent.
    #[must_use]
    pub fn attached(&self) -> bool {
        self.runs() && self.io && self.semi
    }

    /// Clients and the gate are for this epoch.
    #[must_use]
    pub fn open_at(&self, epoch: u8) -> bool {
        self.up && self.writable && self.gate == epoch
    }
}

/// An answer to a renewal that is on its way for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mail {
    pub to: Site,
    pub authority: Authority,
    /// It grants a lease that has not run out yet.
    pub grants: bool,
}

/// A command that was decided, and is ordered later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Late {
    pub expect: u8,
    pub change: crate::Change,
    /// The life of the acker that it names, if it names one.
    pub start: u8,
}

/// Everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    pub authority: Authority,
    pub execution: Move,
    pub servers: [Server; 2],
    pub mail: Option<Mail>,
    pub late: Option<Late>,
    /// Transactions that clients asked for so far.
    pub written: u8,
    /// Those that a client knows of: it was told OK, or could read it. Given-up ones are taken out.
    pub told: Set,
    /// Faults so far, of all kinds.
    pub faults: u8,
    /// Invariants that a step broke (a bit each); those of states are looked at in `property`.
    pub broken: u8,
}

impl Index<Site> for State {
    type Output = Server;
    fn index(&self, site: Site) -> &Server {
        &self.servers[site as usize]
    }
}

impl IndexMut<Site> for State {
    fn index_mut(&mut self, site: Site) -> &mut Server {
        &mut self.servers[site as usize]
    }
}

impl State {
    /// Epoch 1: pdc serves in `Async` and is open, mdc receives. `errant` is what mdc carries besides.
    #[must_use]
    pub fn started(errant: Set) -> Self {
        let authority = Authority {
            epoch: 1,
            version: 1,
            phase: Phase::Serving,
            primary: Site::Pdc,
            durability: Durability::Async,
            acker: None,
            g: 0,
        };
        let common = Server { known: Some(authority), seen: 1, ..Server::booted() };
        let pdc = Server { writable: true, gate: 1, lease: 1, ..common };
        let mdc = Server { joined: true, io: true, executed: errant, fenced_through: 1, ..common };
        State {
            authority,
            execution: Move::default(),
            servers: [pdc, mdc],
            mail: None,
            late: None,
            written: 0,
            told: 0,
            faults: 0,
            broken: 0,
        }
    }
}
