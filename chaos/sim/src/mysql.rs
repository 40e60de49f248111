//! A database server as the protocol meets it: transactions with GTIDs, semi-sync `AFTER_SYNC` with
//! its waiters, replication with received and applied apart, and what kills, pauses and restarts do
//! to all of that (research/mysql.md has the measurements behind it).
//!
//! Every transaction has an identity of its own besides its GTID, so that a number used twice for
//! two contents (a ghost and its successor) is noticed.
//!
//! Deliberately absent: tables, SQL, replicas of replicas.

mod acts;
mod commit;
mod disk;
mod life;
mod stream;

use std::collections::VecDeque;

use failover_core::{ActId, DatabaseAct, HowItEnded};
use model::{
    DatabaseReading, Flavour, GtidSet, OpeningMark, ProcessStart, ReplicaReading, ReplicaThread,
    SemiSyncReading, ServerUuid, SettingsReading,
};

use crate::place::{HOSTS, Names, Time};

pub use disk::Disk;

/// One server: its disk, and its process when it runs.
#[derive(Debug)]
pub struct Mysql {
    /// Its own place in every by-origin array.
    pub own: usize,
    /// Whose it is: MariaDB keeps less of its promises (docs/design/0011).
    pub flavour: Flavour,
    /// Committed, by origin: the identity of number `i + 1` stands at `i`.
    pub executed: [Vec<u32>; HOSTS],
    /// How many of each origin are no longer in the binary log.
    pub purged: [usize; HOSTS],
    /// In the binary log, waiting for an ack; of this server's own origin. What is left here at a
    /// crash is committed by the next start: ghosts.
    pub waiting: VecDeque<Waiter>,
    /// Received and not applied: origin and identity.
    pub relay: VecDeque<(usize, u32)>,
    /// How many at the end of the relay log are not on the disk.
    pub unsynced: usize,
    /// How many of each origin are in the relay log.
    pub relayed: [usize; HOSTS],
    /// The replication channel.
    pub channel: Option<Channel>,
    /// Lives so far.
    pub lives: u64,
    /// How the last life ended.
    pub ended: Option<HowItEnded>,
    /// When.
    pub ended_at: Time,
    /// The process.
    pub life: Option<Life>,
    /// The configured ack timeout, in force from a start until somebody arms.
    pub cnf_ack_timeout: Time,
    /// How long the applier takes for one transaction.
    pub lag: Time,
    /// Acks of what it receives are lost with their connections, every other one's.
    pub loses_acks: bool,
    /// With every commit of a client an account is made, unless one is being made already.
    pub accounts_change: bool,
    /// When something was received last.
    pub received: Time,
    /// The disk under its data.
    pub disk: Disk,
    /// What is next in its relay log does not fit its data: whoever applies it stops with this error.
    pub conflict: Option<u32>,
    /// Somebody holds all of its connections but the administrator's.
    pub flooded: bool,
    /// A driver that has waited long enough kills its session's statement.
    pub drivers_kill: bool,
}

/// A replication channel.
#[derive(Debug, Clone)]
pub struct Channel {
    /// The host it receives from.
    pub source: usize,
    /// It was connected once, so that it knows its source's identity.
    pub connected: bool,
    /// What was held of each origin when it was set up.
    pub from: [usize; HOSTS],
    /// `Last_IO_Error`.
    pub io_error: String,
}

/// Who waits for a commit.
#[derive(Debug, Clone, Copy)]
pub enum Who {
    /// A client, on a connection of this socket generation.
    Client { client: usize, attempt: u32, sockets: u32 },
    /// The guard's sentinel.
    Sentinel { guard: u32, act: ActId },
    /// Somebody who makes an account: nobody new gets in until it is committed.
    Account,
    /// Nobody any more.
    Nobody,
}

/// The mark of an opening and its transaction.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// Whose number.
    pub origin: usize,
    /// Its number.
    pub number: usize,
    /// Its identity.
    pub transaction: u32,
    /// The row.
    pub mark: OpeningMark,
}

/// A commit that waits for its ack.
#[derive(Debug, Clone, Copy)]
pub struct Waiter {
    /// Its identity.
    pub transaction: u32,
    /// Its number.
    pub number: usize,
    /// Who waits.
    pub who: Who,
}

/// The receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    /// Down.
    Stopped,
    /// Trying.
    Connecting,
    /// Connected.
    Running,
}

/// The receiver's connection.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// The host that it leads to.
    pub source: usize,
    /// Its number; never used twice.
    pub id: u32,
    /// It acknowledges.
    pub semi: bool,
    /// How much of each origin was sent on it.
    pub sent: [usize; HOSTS],
    /// Arrival of the last thing sent; what follows comes later.
    pub last: Time,
    /// Since when nothing gets through.
    pub stalled: Option<Time>,
}

/// The dump side of it at the source.
#[derive(Debug, Clone, Copy)]
pub struct Attached {
    /// The replica's host.
    pub host: usize,
    /// The connection.
    pub id: u32,
    /// It asked for semi-sync.
    pub semi: bool,
    /// Since when.
    pub since: Time,
}

/// A running process.
#[derive(Debug)]
pub struct Life {
    /// Which.
    pub start: ProcessStart,
    /// It takes connections.
    pub booted: bool,
    /// SIGSTOPped.
    pub paused: bool,
    /// It was killed while it waited for its disk: it answers nobody, and ends when the disk does answer.
    pub doomed: bool,
    /// It is being stopped in order: nobody gets in any more, and whoever waits is told in a while.
    pub stopping: bool,
    /// `read_only` (and with it `super_read_only`).
    pub read_only: bool,
    /// `super_read_only=ON` waits for commits under way: it reads 1 already.
    pub read_only_pends: bool,
    /// Clients whose statements stand behind it: number, attempt, sockets.
    pub behind: Vec<(usize, u32, u32)>,
    /// `super_read_only` alone was taken away, as CLONE needs it.
    pub super_off: bool,
    /// `rpl_semi_sync_source_enabled`.
    pub source_enabled: bool,
    /// It was not turned off by the silent timeout.
    pub operating: bool,
    /// Acks that a commit waits for.
    pub wait_count: u32,
    /// The silent timeout.
    pub ack_timeout: Option<Time>,
    /// `rpl_semi_sync_replica_enabled`.
    pub replica_enabled: bool,
    /// `sync_relay_log` is not 1: what is received is lost when the power is.
    pub at_leisure: bool,
    /// The receiver.
    pub io: Io,
    /// Its connection.
    pub connection: Option<Connection>,
    /// The applier is on.
    pub sql: bool,
    /// `Last_SQL_Errno`, 0 for none.
    pub sql_errno: u32,
    /// The applier is busy with one.
    pub applying: bool,
    /// The dump threads.
    pub attached: Vec<Attached>,
    /// How far each host has acknowledged what was written here, in this life.
    pub acked: [usize; HOSTS],
    /// A database act that was asked of it, by the guard's number, with the guard's life.
    pub rebuilding: bool,
}

/// An act on its way.
#[derive(Debug, Clone)]
pub struct Act {
    /// Its number.
    pub id: ActId,
    /// The guard's life that asked.
    pub guard: u32,
    /// What.
    pub what: DatabaseAct,
    /// Not after.
    pub until: Time,
    /// It began to work (for the long ones).
    pub begun: bool,
}

impl Life {
    /// Replicas that acknowledge.
    pub fn ackers(&self) -> u32 {
        self.attached.iter().map(|a| u32::from(a.semi)).sum()
    }

    /// Up to which of its own transactions as many replicas as it waits for have acknowledged.
    pub fn acknowledged(&self) -> usize {
        let mut acked = self.acked;
        acked.sort_unstable_by(|a, b| b.cmp(a));
        let last = (self.wait_count as usize).clamp(1, HOSTS) - 1;
        acked[last]
    }
}

impl Mysql {
    /// A fresh server.
    pub fn new(own: usize, flavour: Flavour) -> Self {
        Self {
            own,
            flavour,
            executed: Default::default(),
            purged: [0; HOSTS],
            waiting: VecDeque::new(),
            relay: VecDeque::new(),
            unsynced: 0,
            relayed: [0; HOSTS],
            channel: None,
            lives: 0,
            ended: None,
            ended_at: 0,
            life: None,
            cnf_ack_timeout: 10 * crate::place::SECOND,
            lag: 400,
            loses_acks: false,
            accounts_change: false,
            received: 0,
            disk: Disk::Well,
            conflict: None,
            flooded: false,
            drivers_kill: false,
        }
    }

    /// What was received and not applied is gone.
    pub fn drop_relay_log(&mut self) {
        self.relay.clear();
        self.unsynced = 0;
        self.relayed = [0; HOSTS];
    }

    /// How much of an origin it holds, applied or received.
    pub fn held(&self, origin: usize) -> usize {
        self.executed[origin].len() + self.relayed[origin]
    }

    /// How much of each origin it holds, applied or received.
    pub fn all_held(&self) -> [usize; HOSTS] {
        std::array::from_fn(|origin| self.held(origin))
    }

    /// How much of an origin its binary log has.
    pub fn logged(&self, origin: usize) -> usize {
        self.executed[origin].len() + if origin == self.own { self.waiting.len() } else { 0 }
    }

    /// The identity of a logged transaction.
    pub fn transaction(&self, origin: usize, number: usize) -> Option<u32> {
        let index = number.checked_sub(1)?;
        let executed = &self.executed[origin];
        if let Some(t) = executed.get(index) {
            return Some(*t);
        }
        if origin != self.own {
            return None;
        }
        self.waiting.get(index - executed.len()).map(|w| w.transaction)
    }

    /// It holds this very transaction.
    pub fn holds(&self, origin: usize, number: usize, transaction: u32) -> bool {
        let executed = &self.executed[origin];
        if number <= executed.len() {
            return executed[number - 1] == transaction;
        }
        let skip = number - executed.len() - 1;
        self.relay.iter().filter(|(o, _)| *o == origin).nth(skip).is_some_and(|(_, t)| *t == transaction)
    }

    /// The newest mark that it has committed, with the account of all.
    fn opening(&self, marks: &[Mark]) -> Option<OpeningMark> {
        let mine = || marks.iter().filter(|m| self.has(m));
        let newest = mine().next_back()?.mark;
        let all = mine().fold(0, |all, m| all ^ m.mark.nonce);
        Some(OpeningMark { count: mine().count() as u64, all, ..newest })
    }

    /// It has committed this mark.
    fn has(&self, mark: &Mark) -> bool {
        self.executed[mark.origin].get(mark.number - 1) == Some(&mark.transaction)
    }

    /// An account change waits for its ack, with the lock of all accounts held: nobody new gets in.
    pub fn accounts_locked(&self) -> bool {
        self.life.is_some() && self.waiting.iter().any(|w| matches!(w.who, Who::Account))
    }

    /// The process, if it runs and answers.
    pub fn answering(&self) -> Option<&Life> {
        self.life.as_ref().filter(|l| l.booted && !l.paused && !l.doomed && !l.stopping)
    }

    fn set(uuids: &[ServerUuid], from: [usize; HOSTS], to: [usize; HOSTS]) -> GtidSet {
        let mut out = GtidSet::empty();
        for origin in 0..HOSTS {
            if to[origin] > from[origin] {
                let part =
                    GtidSet::interval(uuids[origin].clone(), from[origin] as u64 + 1, to[origin] as u64);
                out = if out.is_empty() { part } else { out.union(&part) };
            }
        }
        out
    }

    /// It is MariaDB.
    pub fn maria(&self) -> bool {
        self.flavour == Flavour::Mariadb
    }

    /// `gtid_executed`. MariaDB counts what waits for its ack already.
    pub fn gtid_executed(&self, names: &Names) -> GtidSet {
        let counted = |origin| if self.maria() { self.logged(origin) } else { self.executed[origin].len() };
        Self::set(&names.uuids, [0; HOSTS], std::array::from_fn(counted))
    }

    /// What one look at it tells; none when it does not answer.
    pub fn reading(&self, names: &Names, marks: &[Mark]) -> Option<DatabaseReading> {
        let life = self.answering()?;
        let held = self.all_held();
        let maria = self.maria();
        // While it waits it reads 1 on MySQL, and 0 on MariaDB.
        let read_only = life.read_only || (life.read_only_pends && !maria);
        let replica = self.channel.as_ref().map(|channel| ReplicaReading {
            source_host: names.servers[channel.source].as_str().to_owned(),
            source_port: 3306,
            source_uuid: channel.connected.then(|| names.uuids[channel.source].clone()),
            io: match life.io {
                Io::Stopped => ReplicaThread::Stopped,
                Io::Connecting => ReplicaThread::Connecting,
                Io::Running => ReplicaThread::Running,
            },
            sql: if life.sql { ReplicaThread::Running } else { ReplicaThread::Stopped },
            gtid_received: Self::set(&names.uuids, channel.from, held),
            io_error: channel.io_error.clone(),
            sql_error: String::new(),
            io_errno: 0,
            sql_errno: life.sql_errno,
            lag_seconds: None,
            delay_s: 0,
            filters: vec![],
            other_channels: 0,
        });
        Some(DatabaseReading {
            server_uuid: names.uuids[self.own].clone(),
            version: if maria { "10.11.19-MariaDB" } else { "9.7.0" }.to_owned(),
            gtid_executed: self.gtid_executed(names),
            gtid_purged: Self::set(&names.uuids, [0; HOSTS], self.purged),
            read_only,
            super_read_only: read_only && !life.super_off,
            offline_mode: false,
            client_sessions: 0,
            connections: if self.flooded { 152 } else { 1 },
            max_connections: 151,
            semi_sync: SemiSyncReading {
                source_enabled: life.source_enabled,
                source_operating: life.operating,
                wait_count: life.wait_count,
                clients: life.ackers(),
                waiting_sessions: u32::from(!self.waiting.is_empty()),
                replica_enabled: life.replica_enabled,
                acknowledged: maria.then(|| self.executed[self.own].len() as u64),
            },
            replica,
            opening: self.opening(marks),
            settings: SettingsReading {
                sync_binlog: 1,
                flush_log_at_commit: 1,
                sync_relay_log: if life.at_leisure { 10_000 } else { 1 },
                relay_log_recovery: false,
                semi_sync_timeout_ms: life.ack_timeout.map_or(model::ACK_TIMEOUT_MS, |t| t / 1_000),
            },
            long_transactions: Vec::new(),
            kine: None,
            accounts: None,
        })
    }
}
