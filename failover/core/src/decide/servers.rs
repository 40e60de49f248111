//! What is the matter with each server: a table of named diagnoses. They are told, and move nothing: what
//! moves a group is its one first-match diagnosis ([`Diagnosis`](super::Diagnosis)).

use std::time::Duration;

use model::{DatabaseReading, Flavour, GtidSet, ReplicaReading, ReplicaThread, ServerId};

use super::View;
use super::diagnose::ms;
use crate::{Authority, Durability, GateReport, GuardReport, Phase, Process};

/// A replica that is later than this, and than its delay on purpose, is told to lag.
const LAG_MAX_S: u64 = 60;

/// A named diagnosis of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerDiagnosis {
    /// Its guard is not heard.
    Unreachable,
    /// Its guard sees no database process.
    Dead,
    /// The process is there but answers nothing.
    Hung,
    /// A write to the disk under its data does not come back.
    DiskStalled,
    /// No room is left there.
    DiskFull,
    /// It cannot be written to.
    DiskFailing,
    /// All connections that clients may have are taken.
    TooManyConnections,
    /// Commits wait for acks that do not come.
    SemiSyncBlocked,
    /// A replication thread ended with an error.
    ReplicationStopped,
    /// The receiver tries to connect and is refused or not answered.
    SourceUnreachable,
    /// It applies later than people expect.
    Lagging,
    /// Settings would lose acknowledged writes in a crash.
    Misconfigured,
    /// It has transactions that the primary never had.
    Errant,
    /// It is to serve and takes no writes.
    ReadOnly,
    /// It takes writes and must not.
    Writable,
    /// An unplanned move left no gap in K3s's revisions: those that were lost would be given out again.
    KineGapMissing,
    /// A client may log in with rights by which it could undo what is proven of it.
    PrivilegedAccount,
}

impl ServerDiagnosis {
    /// Every one, in the order in which they are told.
    pub const ALL: [ServerDiagnosis; 17] = [
        ServerDiagnosis::Unreachable,
        ServerDiagnosis::Dead,
        ServerDiagnosis::Hung,
        ServerDiagnosis::DiskStalled,
        ServerDiagnosis::DiskFull,
        ServerDiagnosis::DiskFailing,
        ServerDiagnosis::TooManyConnections,
        ServerDiagnosis::SemiSyncBlocked,
        ServerDiagnosis::ReplicationStopped,
        ServerDiagnosis::SourceUnreachable,
        ServerDiagnosis::Lagging,
        ServerDiagnosis::Misconfigured,
        ServerDiagnosis::Errant,
        ServerDiagnosis::ReadOnly,
        ServerDiagnosis::Writable,
        ServerDiagnosis::KineGapMissing,
        ServerDiagnosis::PrivilegedAccount,
    ];

    /// Stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ServerDiagnosis::Unreachable => "unreachable",
            ServerDiagnosis::Dead => "dead",
            ServerDiagnosis::Hung => "hung",
            ServerDiagnosis::DiskStalled => "disk-stalled",
            ServerDiagnosis::DiskFull => "disk-full",
            ServerDiagnosis::DiskFailing => "disk-failing",
            ServerDiagnosis::TooManyConnections => "too-many-connections",
            ServerDiagnosis::SemiSyncBlocked => "semi-sync-blocked",
            ServerDiagnosis::ReplicationStopped => "replication-stopped",
            ServerDiagnosis::SourceUnreachable => "source-unreachable",
            ServerDiagnosis::Lagging => "lagging",
            ServerDiagnosis::Misconfigured => "misconfigured",
            ServerDiagnosis::Errant => "errant",
            ServerDiagnosis::ReadOnly => "read-only",
            ServerDiagnosis::Writable => "writable",
            ServerDiagnosis::KineGapMissing => "kine-gap-missing",
            ServerDiagnosis::PrivilegedAccount => "privileged-account",
        }
    }

    /// What a person does about it.
    #[must_use]
    pub fn next(self) -> &'static str {
        match self {
            ServerDiagnosis::Unreachable => "see whether its host runs and its guard reaches the nodes",
            ServerDiagnosis::Dead => "see the error log and why its supervisor does not start it",
            ServerDiagnosis::Hung => "see its disk and its error log",
            ServerDiagnosis::DiskStalled => "see the storage under its data (dmesg, multipath, the array)",
            ServerDiagnosis::DiskFull => {
                "make room where its data lies; purged binary logs may be missed by a replica"
            }
            ServerDiagnosis::DiskFailing => {
                "see dmesg: a file system that had an error is read-only until repaired"
            }
            ServerDiagnosis::TooManyConnections => {
                "see who holds them (SHOW PROCESSLIST), or raise max_connections"
            }
            ServerDiagnosis::SemiSyncBlocked => {
                "bring an acker back, or wait until sync-timeout weakens durability"
            }
            ServerDiagnosis::ReplicationStopped => "mend what the error names, or rebuild the server",
            ServerDiagnosis::SourceUnreachable => "see the network to the source and the replication account",
            ServerDiagnosis::Lagging => "see what its applier executes; a failover would wait for it",
            ServerDiagnosis::Misconfigured => "set them in its option file and with SET GLOBAL",
            ServerDiagnosis::Errant => "see who wrote there; the server must be rebuilt to take over",
            ServerDiagnosis::ReadOnly => "see who set read_only, and its guard's log",
            ServerDiagnosis::Writable => "find out who set read_only off; its guard sets it again",
            ServerDiagnosis::KineGapMissing => {
                "start no K3s server before the row is there: its guard's log says why it is not"
            }
            ServerDiagnosis::PrivilegedAccount => super::accounts::NEXT,
        }
    }
}

/// What is the matter with one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFinding {
    /// The server.
    pub server: ServerId,
    /// What.
    pub diagnosis: ServerDiagnosis,
    /// The evidence, as a person reads it.
    pub because: String,
}

/// Server by server, in the order of [`ServerDiagnosis::ALL`]. Nothing before the group has an authority.
pub(super) fn findings(view: &View) -> Vec<ServerFinding> {
    let Some(authority) = &view.group.authority else { return vec![] };
    let mut all = Vec::new();
    for server in view.group.servers.keys() {
        let one = One { view, authority, server, primary: authority.primary.server == *server };
        let found = ServerDiagnosis::ALL.into_iter().filter_map(|diagnosis| {
            let because = one.holds(diagnosis)?;
            Some(ServerFinding { server: server.clone(), diagnosis, because })
        });
        all.extend(found);
    }
    all
}

struct One<'a> {
    view: &'a View<'a>,
    authority: &'a Authority,
    server: &'a ServerId,
    primary: bool,
}

impl One<'_> {
    /// The evidence for a diagnosis; none when it does not hold. Each but the first rests on what is
    /// fresh: nothing is told of a server that is not heard.
    fn holds(&self, diagnosis: ServerDiagnosis) -> Option<String> {
        match diagnosis {
            ServerDiagnosis::Unreachable => self.unreachable(),
            ServerDiagnosis::Dead => self.dead(),
            ServerDiagnosis::Hung => self.hung(),
            ServerDiagnosis::DiskStalled | ServerDiagnosis::DiskFull | ServerDiagnosis::DiskFailing => {
                let trouble = super::disk::trouble(self.view, self.server)?;
                (trouble.diagnosis() == diagnosis).then(|| trouble.told("its"))
            }
            ServerDiagnosis::TooManyConnections => self.too_many(),
            ServerDiagnosis::SemiSyncBlocked => self.blocked(),
            ServerDiagnosis::ReplicationStopped => stopped(self.replica()?),
            ServerDiagnosis::SourceUnreachable => unanswered(self.replica()?),
            ServerDiagnosis::Lagging => {
                let replica = self.replica()?;
                let lag = replica.lag_seconds.filter(|lag| *lag >= LAG_MAX_S + replica.delay_s)?;
                Some(format!("its applier is {lag} s behind its source"))
            }
            ServerDiagnosis::Misconfigured => {
                let mut weak = super::candidate::weak_settings(self.reading()?);
                if self.reading()?.kine.is_some_and(|kine| !kine.wide) {
                    weak.push("kine.id must be BIGINT".into());
                }
                weak.extend(self.lets_readers_in());
                (!weak.is_empty()).then(|| weak.join(", "))
            }
            ServerDiagnosis::Errant => {
                let errant = self.errant()?;
                Some(format!("{errant}, which the primary never had"))
            }
            ServerDiagnosis::ReadOnly => self.read_only(),
            ServerDiagnosis::Writable => self.writable(),
            ServerDiagnosis::KineGapMissing => self.no_gap(),
            ServerDiagnosis::PrivilegedAccount => self.privileged(),
        }
    }

    fn report(&self) -> Option<&GuardReport> {
        self.view.report(self.server)
    }

    fn reading(&self) -> Option<&DatabaseReading> {
        self.view.reading(self.server)
    }

    /// Its channel; a primary's leftover one is of no interest.
    fn replica(&self) -> Option<&ReplicaReading> {
        if self.primary { None } else { self.reading()?.replica.as_ref() }
    }

    fn since_received(&self) -> Duration {
        let facts = self.view.facts.servers.get(self.server);
        facts.map_or(Duration::ZERO, |f| self.view.now.since(f.received))
    }

    fn unreachable(&self) -> Option<String> {
        if self.report().is_some() {
            return None;
        }
        if self.view.facts.servers.contains_key(self.server) {
            return Some(format!("its guard was last heard {} ago", ms(self.since_received())));
        }
        // A leader that has just begun has heard nobody yet.
        let led = self.view.now.since(self.view.facts.elected?);
        let never = || format!("its guard was never heard in {} of leading", ms(led));
        (led >= self.view.policy.timing.dwell).then(never)
    }

    fn dead(&self) -> Option<String> {
        let Process::Gone { for_us } = self.report()?.process else { return None };
        let gone = Duration::from_micros(for_us) + self.since_received();
        let long = gone >= self.view.policy.timing.dwell_process();
        long.then(|| format!("its guard sees no database process for {}", ms(gone)))
    }

    fn hung(&self) -> Option<String> {
        let report = self.report()?;
        report.process.start()?;
        let age = Duration::from_micros(report.reading_age_us) + self.since_received();
        let long = age >= self.view.policy.timing.dwell * 3;
        long.then(|| format!("it has a process but answered nothing for {}", ms(age)))
    }

    fn too_many(&self) -> Option<String> {
        let DatabaseReading { connections, max_connections, .. } = *self.reading()?;
        // Zero comes from a guard that does not tell it yet.
        let full = max_connections > 0 && connections >= max_connections;
        full.then(|| format!("{connections} connections, max_connections is {max_connections}"))
    }

    fn blocked(&self) -> Option<String> {
        let waiting = Duration::from_micros(self.report().filter(|_| self.primary)?.waiting_us);
        let long = waiting > self.view.policy.timing.renew;
        long.then(|| format!("a client has waited {} for an ack", ms(waiting)))
    }

    /// What it has and the primary never had.
    fn errant(&self) -> Option<GtidSet> {
        if self.primary {
            return None;
        }
        super::candidate::errant(self.view, &self.authority.primary, self.reading()?)
    }

    fn read_only(&self) -> Option<String> {
        if !self.primary || self.authority.phase != Phase::Serving || !self.reading()?.read_only {
            return None;
        }
        let report = self.report()?;
        let shut = Duration::from_micros(report.shut_us);
        let why = report.shut_because.as_ref().map_or(String::new(), |why| format!(": {why}"));
        match report.open {
            Some(_) => Some("read_only is on at the primary, which is open".into()),
            None if shut >= self.view.policy.timing.dwell => {
                Some(format!("the primary has been shut for {}{why}", ms(shut)))
            }
            None => None,
        }
    }

    /// Behind no gate clients come to a server that is not open, and read what is old, or what nobody was ever told
    /// of. MySQL keeps them out by itself; MariaDB knows no such mode.
    fn lets_readers_in(&self) -> Option<String> {
        let (report, reading) = (self.report()?, self.reading()?);
        let bare = report.gate == GateReport::None && !self.primary && reading.flavour() == Flavour::Mysql;
        (bare && !reading.offline_mode)
            .then(|| "offline_mode must be ON, since no gate keeps readers out".into())
    }

    fn no_gap(&self) -> Option<String> {
        self.report()?.open.filter(|epoch| self.primary && *epoch == self.authority.epoch)?;
        let (beyond, newest) = (self.authority.kine?, self.reading()?.kine?.revision);
        let missing = newest <= beyond;
        missing.then(|| format!("kine's newest revision is {newest}, and {beyond} may have been seen"))
    }

    fn privileged(&self) -> Option<String> {
        let told = super::accounts::privileged(self.view, self.reading()?)?;
        let acks = self.view.group.site_of(self.server) != Some(&self.authority.primary.site);
        let counts = self.primary || acks;
        let held_up = counts && matches!(self.authority.durability, Durability::Async { .. });
        Some(told + if held_up { "; Sync is not armed over it" } else { "" })
    }

    /// Between two primaries either may be writable for a moment: it is told of a group that serves.
    fn writable(&self) -> Option<String> {
        if self.primary || self.authority.phase != Phase::Serving {
            return None;
        }
        let reading = self.reading()?;
        let off = match (reading.read_only, reading.super_read_only) {
            (true, true) => return None,
            (true, false) => "super_read_only is off",
            (false, _) => "read_only is off",
        };
        Some(format!("{off}, and {} is the primary", self.authority.primary.server))
    }
}

/// Both threads may have stopped, each with an error of its own. A thread that was stopped in order has
/// none, and its guard starts it.
fn stopped(replica: &ReplicaReading) -> Option<String> {
    let threads = [
        ("applier", replica.sql, replica.sql_errno, &replica.sql_error),
        ("receiver", replica.io, replica.io_errno, &replica.io_error),
    ];
    let ended = threads
        .into_iter()
        .filter(|(_, thread, _, error)| *thread == ReplicaThread::Stopped && !error.is_empty());
    let lines: Vec<String> = ended.map(|(name, _, number, error)| told(name, number, error)).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

fn unanswered(replica: &ReplicaReading) -> Option<String> {
    let tries = replica.io == ReplicaThread::Connecting && !replica.io_error.is_empty();
    tries.then(|| told("receiver", replica.io_errno, &replica.io_error))
}

/// MySQL's ER_REPLICA_WORKER_STOPPED_PREVIOUS_THD_ERROR: a worker behind the one that failed, and which of the two is
/// shown is chance.
const AFTER_ANOTHER: u32 = 3030;

fn told(thread: &str, number: u32, error: &str) -> String {
    match number {
        0 => format!("{thread}: {error}"),
        AFTER_ANOTHER => format!(
            "{thread}: error {number}: {error}; what the other one stopped with is in the server's error log"
        ),
        number => format!("{thread}: error {number}: {error}"),
    }
}
