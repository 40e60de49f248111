//! The replica's side: its receiver (IO thread), its applier (SQL thread), its source.

use std::time::Duration;

use model::{GtidSet, ReplicaReading, ReplicaThread};

use crate::act::Switch;
use crate::act::literal;
use crate::act::semi_sync::replica_side;
use crate::act::stop::stop_replication;
use crate::deadline::Deadline;
use crate::dialect::{Numbering, Words};
use crate::outcome::{ActError, Outcome, Refusal, Stop};
use crate::position;
use crate::read::{ReadError, last_row, look_semi_sync, replica};
use crate::session::Session;

/// Where to replicate from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Address of the source's replication listener.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The replication account.
    pub user: String,
    /// Its password.
    pub password: String,
    /// How the connection is protected.
    pub tls: SourceTls,
}

/// Protection of the replication connection. `caching_sha2_password` needs one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceTls {
    /// No encryption; the password is encrypted with the source's public key, which is asked for.
    PublicKey,
    /// TLS. With an authority file the certificate is verified.
    Required {
        /// PEM file on the replica's host.
        ca: Option<String>,
    },
}

/// What may happen to transactions that were received and not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayLog {
    /// Refuse while there are any: an acker's relay log may hold the only copy (DESIGN §4).
    MustBeDrained,
    /// Throw them away with the old channel (`RESET REPLICA ALL`): after a CLONE, which brings the
    /// donor's channel along, or when a person said so.
    Reset,
}

/// The replication channel and what is executed, in one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// `gtid_executed`.
    pub executed: GtidSet,
    /// `super_read_only`: off means that it takes writes.
    pub super_read_only: bool,
    /// The default channel, when one is configured.
    pub replica: Option<ReplicaReading>,
}

impl Channel {
    /// Received and not executed.
    #[must_use]
    pub fn undrained(&self) -> GtidSet {
        self.replica.as_ref().map_or_else(GtidSet::empty, |r| r.gtid_received.subtract(&self.executed))
    }

    /// Neither thread runs.
    fn stands_still(&self) -> bool {
        let stopped = |r: &ReplicaReading| r.io == ReplicaThread::Stopped && r.sql == ReplicaThread::Stopped;
        self.replica.as_ref().is_some_and(stopped)
    }

    /// What the start of a thread would throw away on this server.
    fn dropped_by_a_start(&self, session: &Session) -> GtidSet {
        let drops = session.words().drops_relay_log && self.stands_still();
        if drops { self.undrained() } else { GtidSet::empty() }
    }
}

/// Seconds after which a replica that heard nothing reconnects, and between two tries: one, so that a
/// source that comes back is found at once. The WAN between two sites carries one SYN a second.
const CONNECT_RETRY_SECONDS: u32 = 1;
/// Tries before the receiver gives up. 0 is "for ever"; the default of 10 ends it after ten seconds of
/// a cut, and then an acker never comes back by itself (MySQL 8.4, SOURCE_RETRY_COUNT).
const RETRY_COUNT: u32 = 0;
/// Seconds between heartbeats of an idle source; half of `replica_net_timeout`, as the manual advises.
const HEARTBEAT_SECONDS: u32 = 2;
/// What a stop of the receiver is given when the deadline is over.
const STOPS_WITHIN: Duration = Duration::from_secs(1);
/// The server is told to give up a little before the caller does, so that its answer arrives.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// Stops the receiver and nothing else: after `Done` this server acknowledges nothing more
/// (measured: no ack after the return). Returns what it holds. Idempotent.
pub async fn stop_io_thread(session: &mut Session, deadline: Deadline) -> Outcome<Channel> {
    async {
        run(session, "stop the receiver", session.words().stop_receiver, deadline).await?;
        let channel = look(session, deadline).await?;
        match &channel.replica {
            Some(r) if r.io != ReplicaThread::Stopped => Err(Stop::Failed(ActError::ReadBack {
                name: session.words().channel.io,
                wanted: "No".to_owned(),
                found: format!("{:?}", r.io),
            })),
            _ => Ok(channel),
        }
    }
    .await
    .into()
}

/// Stops receiver and applier. Idempotent.
pub async fn stop_replica(session: &mut Session, deadline: Deadline) -> Outcome {
    stop_replication(session, deadline).await.into()
}

/// Starts receiver and applier. `Done` means they were told to: whether the receiver gets through is
/// in the next reading. Idempotent.
///
/// Refused on MariaDB, where it drops the relay log, while that holds what was acknowledged and not
/// applied: whoever weakened to `Async` first switches acknowledging off, and then it is not.
pub async fn start_replica(session: &mut Session, deadline: Deadline) -> Outcome {
    start(session, deadline).await.into()
}

async fn start(session: &mut Session, deadline: Deadline) -> Result<(), Stop> {
    let channel = configured(session, deadline).await?;
    let missing = channel.dropped_by_a_start(session);
    if !missing.is_empty() && look_semi_sync(session, deadline).await?.replica_enabled {
        return Err(Refusal::DropsRelayLog { missing }.into());
    }
    run(session, "start replication", session.words().start_replica, deadline).await
}

/// Starts the applier only, so that a relay log is drained without hearing the source. Idempotent.
/// Where that start would drop the relay log (MariaDB, when both threads are stopped) it is refused, or
/// not done when nothing is left to apply.
pub async fn start_applier(session: &mut Session, deadline: Deadline) -> Outcome {
    async {
        let channel = configured(session, deadline).await?;
        if session.words().drops_relay_log && channel.stands_still() {
            let missing = channel.undrained();
            let refused = Refusal::DropsRelayLog { missing: missing.clone() };
            return if missing.is_empty() { Ok(()) } else { Err(refused.into()) };
        }
        run(session, "start the applier", session.words().start_applier, deadline).await
    }
    .await
    .into()
}

/// Starts the receiver only. Idempotent.
pub async fn start_receiver(session: &mut Session, deadline: Deadline) -> Outcome {
    async {
        let channel = configured(session, deadline).await?;
        let missing = channel.dropped_by_a_start(session);
        if !missing.is_empty() {
            return Err(Refusal::DropsRelayLog { missing }.into());
        }
        run(session, "start the receiver", session.words().start_receiver, deadline).await
    }
    .await
    .into()
}

/// The channel, which must be there.
async fn configured(session: &mut Session, deadline: Deadline) -> Result<Channel, Stop> {
    let channel = look(session, deadline).await?;
    if channel.replica.is_none() {
        return Err(Refusal::NoSource.into());
    }
    Ok(channel)
}

/// Waits until `set` is executed here. `Failed(Missing)` at the deadline says what is not.
pub async fn wait_applied(session: &mut Session, set: &GtidSet, deadline: Deadline) -> Outcome {
    wait(session, set, deadline).await.into()
}

/// Waits until all that was received is executed, and returns that set. The receiver should be
/// stopped first, else it is all that was received when the wait began.
pub async fn wait_drained(session: &mut Session, deadline: Deadline) -> Outcome<GtidSet> {
    async {
        let channel = look(session, deadline).await?;
        let missing = channel.undrained();
        let received = channel.replica.map_or_else(GtidSet::empty, |r| r.gtid_received);
        if !missing.is_empty() {
            wait(session, &missing, deadline).await?;
        }
        Ok(received)
    }
    .await
    .into()
}

async fn wait(session: &mut Session, set: &GtidSet, deadline: Deadline) -> Result<(), Stop> {
    let seconds = deadline.left().saturating_sub(ANSWER_MARGIN).as_secs_f64().max(0.001);
    let sql = match session.words().numbering {
        Numbering::Sets => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}', {seconds:.3}) AS timed_out"),
        Numbering::Positions => {
            let position = position::of(set);
            format!("SELECT MASTER_GTID_WAIT('{position}', {seconds:.3}) <> 0 AS timed_out")
        }
    };
    let sets = session.ask("wait for transactions to be applied", &sql, deadline).await?;
    if !last_row(&sets, "the result of the wait")?.flag("timed_out")? {
        return Ok(());
    }
    // The wait ended just before the deadline; a fresh moment is needed to say why.
    let channel = look(session, Deadline::after(ANSWER_MARGIN)).await?;
    let missing = set.subtract(&channel.executed);
    if missing.is_empty() {
        return Ok(());
    }
    match channel.replica {
        Some(r) if r.sql == ReplicaThread::Stopped => {
            Err(Refusal::ApplierStopped { error: r.sql_error }.into())
        }
        _ => Err(Stop::Failed(ActError::Missing { missing })),
    }
}

/// Makes this server replicate from `source` by auto-position, and leaves its threads stopped.
///
/// Idempotent: it is done again from the start. It stops both threads, since auto-position cannot be
/// changed under a running one; when it is refused for an undrained relay log the receiver is left
/// stopped and the applier running, so that it drains.
pub async fn point_at_source(
    session: &mut Session,
    source: &Source,
    relay_log: RelayLog,
    deadline: Deadline,
) -> Outcome {
    repoint(session, source, relay_log, deadline).await.into()
}

async fn repoint(
    session: &mut Session,
    source: &Source,
    relay_log: RelayLog,
    deadline: Deadline,
) -> Result<(), Stop> {
    let words = session.words();
    let mut change = match words.numbering {
        Numbering::Sets => change_source(source)?,
        Numbering::Positions => change_master(source)?,
    };
    // What an administrator set on the channel goes with it when it is reset. A server that has no channel
    // has nothing set.
    if let Some(before) = look(session, deadline).await?.replica {
        change += &kept(words.numbering, &before);
    }
    if relay_log == RelayLog::MustBeDrained {
        // The receiver is stopped before looking: it could add to what was seen. The applier goes on.
        run(session, "stop the receiver", words.stop_receiver, deadline).await?;
        let missing = look(session, deadline).await?.undrained();
        if !missing.is_empty() {
            return Err(Refusal::NotDrained { missing }.into());
        }
    }
    stop_replication(session, deadline).await?;
    if relay_log == RelayLog::Reset {
        run(session, "reset the channel", words.reset_channel, deadline).await?;
    }
    if words.numbering == Numbering::Positions {
        // What it wrote as a primary is in its binary log only, and a receiver asks from this position.
        let executed = look(session, deadline).await?.executed;
        let from = format!("SET GLOBAL gtid_slave_pos = '{}'", position::of(&executed));
        run(session, "set where to receive from", &from, deadline).await?;
    }
    run(session, "change the source", &change, deadline).await
}

/// Makes this server replicate from `source` whatever it received before, and acknowledge to it or not, and starts both
/// threads. Who attaches is decided before it attaches: a server that acknowledged in an earlier life would else do so
/// until somebody takes it away, and an ack of one that is no acker stands for an acker's. Idempotent: it is done again
/// from the start.
pub async fn follow(session: &mut Session, source: &Source, acks: Switch, deadline: Deadline) -> Outcome {
    async {
        repoint(session, source, RelayLog::Reset, deadline).await?;
        replica_side(session, acks, deadline).await?;
        start(session, deadline).await
    }
    .await
    .into()
}

/// Takes from `source`, another replica, what `wanted` has beyond this server, and stops receiving again: of a
/// candidate that is to have what an acker acknowledged. Gives what is executed then.
///
/// Refused while this server has received what it has not applied, and when it takes writes. Where nothing is missing
/// the channel is left as it is, receiver stopped. Idempotent; tried again after a failure it begins anew. At the
/// deadline the receiver is stopped all the same.
pub async fn gather(
    session: &mut Session,
    source: &Source,
    wanted: &GtidSet,
    deadline: Deadline,
) -> Outcome<GtidSet> {
    async {
        let channel = look(session, deadline).await?;
        if !channel.super_read_only {
            return Err(Refusal::Writable.into());
        }
        let came = if wanted.subtract(&channel.executed).is_empty() {
            Ok(())
        } else {
            take_over(session, source, wanted, deadline).await
        };
        let stopped = Deadline::after(deadline.left().max(STOPS_WITHIN));
        run(session, "stop the receiver", session.words().stop_receiver, stopped).await?;
        came?;
        Ok(look(session, stopped).await?.executed)
    }
    .await
    .into()
}

async fn take_over(
    session: &mut Session,
    source: &Source,
    wanted: &GtidSet,
    deadline: Deadline,
) -> Result<(), Stop> {
    repoint(session, source, RelayLog::MustBeDrained, deadline).await?;
    run(session, "start replication", session.words().start_replica, deadline).await?;
    wait(session, wanted, deadline).await
}

/// Gives the channel the password that the replication account has now, and leaves the receiver stopped: whoever
/// keeps it running starts it. Nothing else of the channel changes. Idempotent.
///
/// MariaDB changes nothing under a running applier, and drops its relay log with the start that follows: there it
/// waits until all that was received is applied, and is refused with an applier that an error ended.
pub async fn change_password(session: &mut Session, password: &str, deadline: Deadline) -> Outcome {
    new_password(session, password, deadline).await.into()
}

async fn new_password(session: &mut Session, password: &str, deadline: Deadline) -> Result<(), Stop> {
    let password = literal("password", password)?;
    let words = session.words();
    let before = configured(session, deadline).await?.replica;
    let change = match words.numbering {
        Numbering::Sets => "CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD",
        Numbering::Positions => "CHANGE MASTER TO MASTER_PASSWORD",
    };
    if words.numbering == Numbering::Positions
        && let Some(ended) = before.filter(|r| r.sql == ReplicaThread::Stopped && !r.sql_error.is_empty())
    {
        return Err(Refusal::ApplierStopped { error: ended.sql_error }.into());
    }
    run(session, "stop the receiver", words.stop_receiver, deadline).await?;
    if words.numbering == Numbering::Positions {
        let missing = look(session, deadline).await?.undrained();
        if !missing.is_empty() {
            wait(session, &missing, Deadline::after(deadline.left() / 2)).await?;
        }
        run(session, "stop replication", words.stop_replica, deadline).await?;
    }
    run(session, "change the password", &format!("{change} = {password}"), deadline).await
}

/// What a change of the source keeps of the channel: its delay and, where they belong to the channel, what it
/// leaves out. Filters of databases and tables belong to the server; a reset leaves them (measured).
fn kept(numbering: Numbering, before: &ReplicaReading) -> String {
    let delay = before.delay_s;
    if numbering == Numbering::Sets {
        return format!(", SOURCE_DELAY = {delay}");
    }
    let mut kept = format!(", MASTER_DELAY = {delay}");
    for (column, option) in [
        ("Replicate_Ignore_Server_Ids", "IGNORE_SERVER_IDS"),
        ("Replicate_Do_Domain_Ids", "DO_DOMAIN_IDS"),
        ("Replicate_Ignore_Domain_Ids", "IGNORE_DOMAIN_IDS"),
    ] {
        let value = before.filters.iter().find_map(|f| f.strip_prefix(column)?.strip_prefix(": "));
        let numbers = value.filter(|v| v.chars().all(|c| c.is_ascii_digit() || c == ',' || c == ' '));
        if let Some(numbers) = numbers {
            kept += &format!(", {option} = ({numbers})");
        }
    }
    kept
}

fn change_source(source: &Source) -> Result<String, Refusal> {
    let host = literal("host", &source.host)?;
    let user = literal("user", &source.user)?;
    let password = literal("password", &source.password)?;
    let port = source.port;
    let tls = match &source.tls {
        SourceTls::PublicKey => "SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1".to_owned(),
        SourceTls::Required { ca: None } => "SOURCE_SSL = 1".to_owned(),
        SourceTls::Required { ca: Some(ca) } => {
            let ca = literal("authority file", ca)?;
            format!("SOURCE_SSL = 1, SOURCE_SSL_CA = {ca}, SOURCE_SSL_VERIFY_SERVER_CERT = 1")
        }
    };
    Ok(format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = {host}, SOURCE_PORT = {port}, SOURCE_USER = {user}, \
         SOURCE_PASSWORD = {password}, SOURCE_AUTO_POSITION = 1, \
         SOURCE_CONNECT_RETRY = {CONNECT_RETRY_SECONDS}, SOURCE_RETRY_COUNT = {RETRY_COUNT}, \
         SOURCE_HEARTBEAT_PERIOD = {HEARTBEAT_SECONDS}, {tls}"
    ))
}

/// MariaDB's form. How often to try again is the server's own `master_retry_count` there.
fn change_master(source: &Source) -> Result<String, Refusal> {
    let host = literal("host", &source.host)?;
    let user = literal("user", &source.user)?;
    let password = literal("password", &source.password)?;
    let port = source.port;
    let tls = match &source.tls {
        SourceTls::PublicKey => "MASTER_SSL = 0".to_owned(),
        SourceTls::Required { ca: None } => "MASTER_SSL = 1".to_owned(),
        SourceTls::Required { ca: Some(ca) } => {
            let ca = literal("authority file", ca)?;
            format!("MASTER_SSL = 1, MASTER_SSL_CA = {ca}, MASTER_SSL_VERIFY_SERVER_CERT = 1")
        }
    };
    Ok(format!(
        "CHANGE MASTER TO MASTER_HOST = {host}, MASTER_PORT = {port}, MASTER_USER = {user}, \
         MASTER_PASSWORD = {password}, MASTER_USE_GTID = slave_pos, \
         MASTER_CONNECT_RETRY = {CONNECT_RETRY_SECONDS}, \
         MASTER_HEARTBEAT_PERIOD = {HEARTBEAT_SECONDS}, {tls}"
    ))
}

/// Executed set and channel in one round trip.
pub(crate) async fn look(session: &mut Session, deadline: Deadline) -> Result<Channel, ReadError> {
    let Words { position, replica_status, .. } = session.words();
    let sql = format!("SELECT {position}; {replica_status}");
    let sets = session.ask("read the replication channel", &sql, deadline).await?;
    let [executed, channels] = sets.as_slice() else {
        return Err(ReadError::Short { what: "two results" });
    };
    let row = executed.first().ok_or(ReadError::Short { what: "gtid_executed" })?;
    Ok(Channel {
        executed: session.gtid_set("gtid_executed", &row.text("gtid_executed")?)?,
        super_read_only: row.flag("super_read_only")?,
        replica: replica(session, channels)?,
    })
}

pub(crate) async fn run(
    session: &mut Session,
    doing: &'static str,
    sql: &str,
    deadline: Deadline,
) -> Result<(), Stop> {
    Ok(session.run(doing, sql, deadline).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_with_a_quote_is_refused_and_not_shown() {
        let source = Source {
            host: "192.0.2.1".into(),
            port: 3306,
            user: "repl".into(),
            password: "sec'ret".into(),
            tls: SourceTls::PublicKey,
        };
        let refusal = change_source(&source).unwrap_err();
        assert!(!refusal.to_string().contains("ret"), "{refusal}");
        let good = change_source(&Source { password: "secret".into(), ..source }).unwrap();
        assert!(good.contains("SOURCE_AUTO_POSITION = 1") && good.contains("GET_SOURCE_PUBLIC_KEY = 1"));
    }

    #[test]
    fn mariadbs_source_is_asked_from_the_applied_position_and_a_quote_is_refused_as_well() {
        let source = |tls, password: &str| Source {
            host: "192.0.2.1".into(),
            port: 3306,
            user: "repl".into(),
            password: password.into(),
            tls,
        };
        let refusal = change_master(&source(SourceTls::PublicKey, "sec'ret")).unwrap_err();
        assert!(!refusal.to_string().contains("ret"), "{refusal}");
        let plain = change_master(&source(SourceTls::PublicKey, "secret")).unwrap();
        assert!(
            plain.contains("MASTER_USE_GTID = slave_pos") && plain.ends_with("MASTER_SSL = 0"),
            "{plain}"
        );
        let tls = SourceTls::Required { ca: Some("/ca.pem".into()) };
        let verified = change_master(&source(tls, "secret")).unwrap();
        assert!(verified.ends_with("MASTER_SSL_VERIFY_SERVER_CERT = 1"), "{verified}");
        assert!(!verified.contains("SOURCE_"), "{verified}");
    }
}
