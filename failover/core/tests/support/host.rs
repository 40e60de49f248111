//! A host with its guard: the disk with the latches, the kernel's gate, and a database that is
//! nothing but its next reading.

use std::collections::BTreeMap;

use failover_core::{ActId, CallId};
use failover_core::{DatabaseAct, GateAct, Guard, Latch, Nonce, Renewal};
use model::{
    AccountsReading, DatabaseReading, OpeningMark, PrivilegedAccount, ProcessStart, ReplicaReading,
    ReplicaThread, SemiSyncReading, ServerId, SettingsReading,
};

use super::line::Line;
use super::names;

/// See the module.
pub struct Host {
    pub guard: Guard,
    /// The disk.
    pub latch: Option<Latch>,
    pub boot: String,
    pub life: Option<ProcessStart>,
    /// The life that was seen last, gone or not.
    pub life_before: Option<ProcessStart>,
    /// What the next look at the database will show.
    pub reading: DatabaseReading,
    /// The gate act under way.
    pub gate: Option<GateAct>,
    /// Database acts under way.
    pub acts: BTreeMap<ActId, DatabaseAct>,
    /// SIGKILLs asked for.
    pub kills: Vec<ProcessStart>,
    pub renewals: BTreeMap<Nonce, Renewal>,
    pub calls: BTreeMap<CallId, &'static str>,
}

impl Host {
    /// An attempt: the last one, or the named one.
    pub fn renewal(&self, nonce: Option<Nonce>, line: &Line) -> &Renewal {
        let found = match nonce {
            Some(n) => self.renewals.get(&n),
            None => self.renewals.last_key_value().map(|(_, r)| r),
        };
        found.unwrap_or_else(|| line.fail("no such attempt was sent"))
    }

    /// The act under way with this name.
    pub fn act(&self, name: &str, line: &Line) -> ActId {
        let found = self.acts.iter().find(|(_, a)| act_name(a) == name);
        *found.unwrap_or_else(|| line.fail(&format!("no act {name:?} is under way"))).0
    }

    /// The act that the host would end next by itself: the oldest.
    pub fn next_act(&self, but: &[String]) -> Option<ActId> {
        self.acts.iter().find(|(_, a)| !but.iter().any(|b| act_name(a) == b)).map(|(id, _)| *id)
    }

    /// Another life of the database, or none. A server boots fenced and without replication (I6).
    pub fn lives(&mut self, life: Option<ProcessStart>) {
        if life == self.life || life.is_none() {
            self.life = life;
            return;
        }
        let restarted = self.life_before.is_some_and(|before| Some(before) != life);
        (self.life, self.life_before) = (life, life);
        if restarted {
            let fresh = reading_at_boot_of(&self.reading);
            self.reading = fresh;
        }
    }

    /// What a done act makes of the database.
    pub fn perform(&mut self, act: &DatabaseAct) {
        let r = &mut self.reading;
        match act {
            DatabaseAct::Fence | DatabaseAct::SetReadOnly => {
                (r.read_only, r.super_read_only) = (true, true);
            }
            DatabaseAct::SetWritable { epoch, life, kine } => {
                (r.read_only, r.super_read_only) = (false, false);
                // As the adapter: once an epoch.
                let first = r.opening.is_none_or(|o| o.epoch != *epoch);
                if let (Some(here), Some(beyond), true) = (&mut r.kine, kine, first) {
                    here.revision = here.revision.max(*beyond) + model::KINE_GAP;
                }
                let nonce = r.opening.map_or(1, |o| o.nonce + 1);
                r.opening = Some(OpeningMark { epoch: *epoch, life: *life, nonce, count: nonce, all: 0 });
            }
            DatabaseAct::ArmSource { count } => {
                r.semi_sync.source_enabled = true;
                r.semi_sync.wait_count = *count;
                r.settings.semi_sync_timeout_ms = model::ACK_TIMEOUT_MS;
            }
            DatabaseAct::DisarmSource => {
                r.semi_sync.source_enabled = false;
                r.semi_sync.waiting_sessions = 0;
            }
            DatabaseAct::ReplicaSemiSync { on } => {
                r.semi_sync.replica_enabled = *on;
                r.settings.sync_relay_log = if *on { 1 } else { AT_LEISURE };
            }
            DatabaseAct::StopIo => set_io(r, ReplicaThread::Stopped),
            DatabaseAct::ChangePassword => {
                set_io(r, ReplicaThread::Stopped);
                if let Some(replica) = &mut r.replica {
                    (replica.io_errno, replica.io_error) = (0, String::new());
                }
            }
            DatabaseAct::StartReplica => {
                set_io(r, ReplicaThread::Running);
                if let Some(replica) = &mut r.replica {
                    replica.sql = ReplicaThread::Running;
                }
            }
            DatabaseAct::Drain => r.gtid_executed = r.gtid_held(),
            DatabaseAct::Gather { source, gtid } => {
                let mut channel = replica_of(source);
                channel.io = ReplicaThread::Stopped;
                r.replica = Some(channel);
                r.gtid_executed = r.gtid_executed.union(gtid);
            }
            DatabaseAct::Promote | DatabaseAct::LeaveSource => r.replica = None,
            DatabaseAct::Rejoin { source, acks } => {
                r.replica = Some(replica_of(source));
                r.semi_sync.replica_enabled = *acks;
                r.settings.sync_relay_log = if *acks { 1 } else { 10_000 };
            }
            DatabaseAct::DropSockets
            | DatabaseAct::Sentinel { .. }
            | DatabaseAct::SaveExtra { .. }
            | DatabaseAct::Rebuild { .. } => {}
        }
    }
}

/// What a restart makes of a reading.
fn reading_at_boot_of(before: &DatabaseReading) -> DatabaseReading {
    let mut reading = before.clone();
    (reading.read_only, reading.super_read_only) = (true, true);
    reading.semi_sync = SEMI_SYNC_AT_BOOT;
    set_io(&mut reading, ReplicaThread::Stopped);
    if let Some(replica) = &mut reading.replica {
        replica.sql = ReplicaThread::Stopped;
    }
    reading
}

/// `sync_relay_log` of a server that acknowledges nothing.
const AT_LEISURE: u64 = 10_000;

/// What a replica has committed in place of the primary's mark: `mark=other`.
pub const OTHER_MARK: OpeningMark =
    OpeningMark { epoch: model::Epoch(0), life: ProcessStart(0), nonce: 999, count: 1, all: 999 };

const SEMI_SYNC_AT_BOOT: SemiSyncReading = SemiSyncReading {
    source_enabled: false,
    source_operating: false,
    wait_count: 1,
    clients: 0,
    waiting_sessions: 0,
    replica_enabled: false,
    acknowledged: None,
};

fn set_io(reading: &mut DatabaseReading, io: ReplicaThread) {
    if let Some(replica) = &mut reading.replica {
        replica.io = io;
    }
}

/// Stable name of an act, as scripts and prints use it.
pub fn act_name(act: &DatabaseAct) -> &'static str {
    match act {
        DatabaseAct::Fence => "fence",
        DatabaseAct::SetReadOnly => "set-read-only",
        DatabaseAct::SetWritable { .. } => "set-writable",
        DatabaseAct::DropSockets => "drop-sockets",
        DatabaseAct::ArmSource { .. } => "arm-source",
        DatabaseAct::DisarmSource => "disarm-source",
        DatabaseAct::ReplicaSemiSync { .. } => "replica-semi-sync",
        DatabaseAct::StopIo => "stop-io",
        DatabaseAct::StartReplica => "start-replica",
        DatabaseAct::ChangePassword => "change-password",
        DatabaseAct::Sentinel { .. } => "sentinel",
        DatabaseAct::Drain => "drain",
        DatabaseAct::Gather { .. } => "gather",
        DatabaseAct::Promote => "promote",
        DatabaseAct::LeaveSource => "leave-source",
        DatabaseAct::SaveExtra { .. } => "save-extra",
        DatabaseAct::Rebuild { .. } => "rebuild",
        DatabaseAct::Rejoin { .. } => "rejoin",
    }
}

fn replica_of(source: &ServerId) -> ReplicaReading {
    ReplicaReading {
        source_host: source.to_string(),
        source_port: 3306,
        source_uuid: Some(names::uuid(source)),
        io: ReplicaThread::Running,
        sql: ReplicaThread::Running,
        gtid_received: model::GtidSet::empty(),
        io_error: String::new(),
        sql_error: String::new(),
        io_errno: 0,
        sql_errno: 0,
        lag_seconds: Some(0),
        delay_s: 0,
        filters: vec![],
        other_channels: 0,
    }
}

/// A server as it boots: fenced, no source, with `A:1-50`.
pub fn reading_at_boot(server: &ServerId) -> DatabaseReading {
    DatabaseReading {
        server_uuid: names::uuid(server),
        version: "9.7.0".into(),
        gtid_executed: names::gtid("A:1-50"),
        gtid_purged: model::GtidSet::empty(),
        read_only: true,
        super_read_only: true,
        offline_mode: false,
        client_sessions: 0,
        connections: 1,
        max_connections: 151,
        semi_sync: SEMI_SYNC_AT_BOOT,
        replica: None,
        opening: None,
        settings: SettingsReading {
            sync_binlog: 1,
            flush_log_at_commit: 1,
            sync_relay_log: AT_LEISURE,
            relay_log_recovery: false,
            semi_sync_timeout_ms: model::ACK_TIMEOUT_MS,
        },
        long_transactions: Vec::new(),
        kine: None,
        accounts: None,
    }
}

/// Changes a reading by words: `gtid=A:1-50 writable source=A received=A:51 io=stopped …`.
pub fn read_words(reading: &mut DatabaseReading, line: &mut Line) {
    if let Some(uuid) = line.uuid("uuid") {
        reading.server_uuid = uuid;
    }
    if let Some(set) = line.gtid("gtid") {
        reading.gtid_executed = set;
    }
    if line.flag("writable") {
        (reading.read_only, reading.super_read_only) = (false, false);
    }
    if line.flag("read-only") {
        (reading.read_only, reading.super_read_only) = (true, true);
    }
    match line.take("source").as_deref() {
        None => {}
        Some("none") => reading.replica = None,
        Some(letter) => {
            let uuid = names::uuid_of_letter(letter).unwrap_or_else(|| line.fail("source=LETTER"));
            let mut replica =
                reading.replica.take().unwrap_or_else(|| replica_of(&"pdc-db".parse().unwrap()));
            replica.source_uuid = Some(uuid);
            reading.replica = Some(replica);
        }
    }
    replica_words(reading, line);
    if let Some(n) = line.number("connections") {
        reading.connections = u32::try_from(n).unwrap();
    }
    if line.flag("super-off") {
        reading.super_read_only = false;
    }
    let semi = &mut reading.semi_sync;
    if let Some(n) = line.number("clients") {
        semi.clients = u32::try_from(n).unwrap();
    }
    if let Some(seconds) = line.number("long") {
        let long = model::LongTransaction {
            session: 41,
            account: "shop@10.0.0.7".into(),
            seconds,
            statement: "UPDATE stock SET n = n - 1".into(),
        };
        reading.long_transactions = (seconds > 0).then_some(long).into_iter().collect();
    }
    if let Some(n) = line.number("waiters") {
        semi.waiting_sessions = u32::try_from(n).unwrap();
    }
    if let Some(n) = line.number("acked") {
        semi.acknowledged = Some(n);
    }
    if line.flag("unarmed") {
        semi.source_enabled = false;
    }
    if let Some(revision) = line.number("kine") {
        reading.kine = Some(model::KineReading { revision, wide: !line.flag("narrow") });
    }
    account_words(reading, line);
    if line.flag("mariadb") {
        reading.version = "10.11.18-MariaDB".into();
    }
    match line.take("mark").as_deref() {
        None => {}
        Some("other") => reading.opening = Some(OTHER_MARK),
        Some(epoch) => {
            let epoch = model::Epoch(epoch.parse().unwrap_or_else(|_| line.fail("mark=other or mark=EPOCH")));
            let nonce = epoch.0;
            reading.opening =
                Some(OpeningMark { epoch, life: ProcessStart(1), nonce, count: epoch.0, all: nonce });
        }
    }
    if line.flag("acks") {
        reading.semi_sync.replica_enabled = true;
        reading.settings.sync_relay_log = 1;
    }
    if line.flag("at-leisure") {
        reading.settings.sync_relay_log = AT_LEISURE;
    }
    if let Some(us) = line.micros("ack-timeout") {
        reading.settings.semi_sync_timeout_ms = us / 1_000;
    }
    if line.flag("relay-log-recovery") {
        reading.settings.relay_log_recovery = true;
    }
}

/// `accounts=awaited`, `accounts=unreadable`, `accounts=read`, or `account="app@%: SUPER, SHUTDOWN"` for each that
/// holds too much.
fn account_words(reading: &mut DatabaseReading, line: &mut Line) {
    let one = |text: &String| {
        let (account, rights) = text.split_once(": ")?;
        let rights = rights.split(", ").map(str::to_owned).collect();
        Some(PrivilegedAccount { account: account.to_owned(), rights })
    };
    let found = line.all("account");
    let privileged: Vec<_> = found.iter().filter_map(one).collect();
    let more = line.number("more-accounts").map_or(0, |n| u32::try_from(n).unwrap());
    match line.take("accounts").as_deref() {
        Some("awaited") => reading.accounts = Some(AccountsReading::Awaited),
        Some("unreadable") => reading.accounts = Some(AccountsReading::Unreadable),
        None if found.is_empty() => {}
        Some("read") | None => reading.accounts = Some(AccountsReading::Read { privileged, more }),
        Some(other) => line.fail(&format!("accounts={other}")),
    }
}

fn replica_words(reading: &mut DatabaseReading, line: &mut Line) {
    let thread = |text: String| match text.as_str() {
        "running" => Some(ReplicaThread::Running),
        "connecting" => Some(ReplicaThread::Connecting),
        "stopped" => Some(ReplicaThread::Stopped),
        _ => None,
    };
    let (io, sql) = (line.take("io").and_then(thread), line.take("sql").and_then(thread));
    let (received, error) = (line.gtid("received"), line.take("sql-error"));
    let (io_error, lag) = (line.take("io-error"), line.number("lag"));
    let (sql_errno, io_errno) = (line.number("sql-errno"), line.number("io-errno"));
    let (delay, channels, filter) = (line.number("delay"), line.number("channels"), line.take("filter"));
    let texts = [&error, &io_error, &filter].iter().any(|text| text.is_some());
    let numbers = [sql_errno, io_errno, lag, delay, channels].iter().any(Option::is_some);
    if io.is_none() && sql.is_none() && received.is_none() && !texts && !numbers {
        return;
    }
    let Some(replica) = &mut reading.replica else { line.fail("source=LETTER first") };
    replica.delay_s = delay.unwrap_or(replica.delay_s);
    replica.filters.extend(filter);
    replica.other_channels = channels.map_or(replica.other_channels, |n| u32::try_from(n).unwrap());
    replica.io = io.unwrap_or(replica.io);
    replica.sql = sql.unwrap_or(replica.sql);
    if let Some(set) = received {
        replica.gtid_received = set;
    }
    if let Some(text) = error {
        replica.sql_error = text;
    }
    if let Some(text) = io_error {
        replica.io_error = text;
    }
    if let Some(n) = sql_errno {
        replica.sql_errno = u32::try_from(n).unwrap();
    }
    if let Some(n) = io_errno {
        replica.io_errno = u32::try_from(n).unwrap();
    }
    replica.lag_seconds = lag.or(replica.lag_seconds);
}
