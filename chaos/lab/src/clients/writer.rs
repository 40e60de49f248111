//! A writer: one connection through the published name, one row a commit, at a steady pace.
//!
//! It behaves as a sound application does: connect and commit have deadlines; a connection that
//! missed one is dropped, since what comes next on it cannot be told apart from what was asked
//! before; when the name's answer changes, as the TTL lets it see, it leaves the old address, also
//! in the middle of a connect or commit that hangs. A row that was not acknowledged is never sent again: its
//! number stays unused, so an acknowledged row is acknowledged exactly once.

use std::net::Ipv4Addr;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::event::{Event, Events, Outcome};
use super::plan::DatabaseAccess;
use super::resolver::Resolver;
use crate::clock;

/// The writers' table. A row is (run, writer, seq).
pub const TABLE: &str = "lab_writes";

/// Connecting over the WAN takes some 10 ms, with a full handshake of the password some 20 ms.
const CONNECT_DEADLINE: Duration = Duration::from_millis(400);

/// The shortest patience with a commit; see [`Writer::patience`].
const COMMIT_DEADLINE_MIN: Duration = Duration::from_millis(600);

/// Each writer is more patient than the one before by this, up to [`DEADLINE_STEPS`], so that
/// writers which were all stopped at one instant do not all try again at one instant.
const DEADLINE_STEP: Duration = Duration::from_millis(50);

/// See [`DEADLINE_STEP`].
const DEADLINE_STEPS: u32 = 10;

/// The longest patience with a commit. Each commit that is given up may leave a session on the server that
/// waits for its ack, so a server that stalls must not be asked ever more.
const COMMIT_DEADLINE_MAX: Duration = Duration::from_secs(2);

/// The pause after a failure, within which a name may be resolved anew; writers that write seldom, of whom
/// there are many, also try again more seldom.
const RETRY_AFTER: Duration = Duration::from_millis(30);

/// Each writer starts so long after the one before, so that ten of them spread over a TTL of a
/// second, and over the pace: real clients' caches do not run out at one instant.
const START_STEP: Duration = Duration::from_millis(103);

/// The packet limit and idle limit told to the driver, so that it need not ask the server for them.
const PACKET_BYTES_MAX: usize = 1 << 20;
const IDLE_SECONDS: usize = 28_800;

/// A connection and where it leads.
struct Line {
    conn: Conn,
    address: Ipv4Addr,
}

/// Who writes what.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Its number, unique in the run.
    pub number: u32,
    /// The run.
    pub run: u32,
    /// Between two commits.
    pub pace: Duration,
}

impl Writer {
    /// Writes until `stop` changes; a commit under way is brought to its end.
    pub async fn run(self, access: DatabaseAccess, events: Events, mut stop: watch::Receiver<bool>) {
        tokio::time::sleep(START_STEP * self.number).await;
        let (held, mut address) = watch::channel(None);
        let mut servers = access.servers.clone();
        if access.own_site == 0 {
            // No server is nearer than another, so each client begins with another one.
            servers.rotate_left(self.number as usize % access.servers.len().max(1));
        }
        let resolver = Resolver::new(access.name.clone(), servers);
        let keeping = tokio::spawn(resolver.keep(format!("writer {}", self.number), held, events.clone()));
        let mut tick = interval(self.pace);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut line: Option<Line> = None;
        let again = RETRY_AFTER.max(self.pace / 5);
        let mut failed = false;
        let mut seq = 0;
        let mut given_up = 0;
        loop {
            // Whoever has something to write tries again before the next write is due.
            tokio::select! {
                _ = stop.changed() => break,
                _ = tick.tick() => {}
                () = tokio::time::sleep(again), if failed => {}
            }
            let now = *address.borrow_and_update();
            // Without an answer an open connection is kept; with another answer it is left.
            if line.as_ref().is_some_and(|l| now.is_some_and(|a| a != l.address)) {
                line = None;
            }
            if line.is_none() {
                line = self.connect(&access, &mut address, &events).await;
            }
            if let Some(open) = line.take() {
                seq += 1;
                line = self.commit(open, seq, self.patience(given_up), &mut address, &events).await;
                given_up = if line.is_some() { 0 } else { given_up + 1 };
            }
            failed = line.is_none();
        }
        drop(address);
        let _ = keeping.await;
    }

    async fn connect(
        &self,
        access: &DatabaseAccess,
        name: &mut watch::Receiver<Option<Ipv4Addr>>,
        events: &Events,
    ) -> Option<Line> {
        let address = *name.borrow_and_update();
        let began = clock::now();
        let fail = |why: String| {
            events.note(Event::ConnectFailed { writer: self.number, began, at: clock::now(), address, why });
        };
        let Some(to) = address else {
            fail("the name has no address".to_owned());
            return None;
        };
        let attempt = async {
            let mut conn = Conn::new(options(access, to)).await?;
            let server = server_of(&mut conn).await?;
            Ok::<_, mysql_async::Error>((conn, server))
        };
        let elsewhere = name.wait_for(|now| now.is_some_and(|a| a != to));
        let attempted = tokio::select! {
            biased;
            attempted = timeout(CONNECT_DEADLINE, attempt) => attempted,
            _ = elsewhere => {
                fail("the name leads elsewhere now".to_owned());
                return None;
            }
        };
        match attempted {
            Err(_) => fail("timeout".to_owned()),
            Ok(Err(e)) => fail(e.to_string()),
            Ok(Ok((conn, server))) => {
                events.note(Event::Connected { writer: self.number, at: clock::now(), address: to, server });
                return Some(Line { conn, address: to });
            }
        }
        None
    }

    /// One row, one commit. Gives the line back if it may be used again.
    async fn commit(
        &self,
        mut line: Line,
        seq: u64,
        patience: Duration,
        address: &mut watch::Receiver<Option<Ipv4Addr>>,
        events: &Events,
    ) -> Option<Line> {
        let (writer, to) = (self.number, line.address);
        let statement =
            format!("INSERT INTO {TABLE} (run, writer, seq) VALUES ({}, {writer}, {seq})", self.run);
        let began = clock::now();
        let elsewhere = address.wait_for(|now| now.is_some_and(|a| a != to));
        let failure = tokio::select! {
            // An answer that is there counts, also when the time is just over.
            biased;
            done = line.conn.query_drop(statement) => match done {
                Ok(()) => {
                    events.note(Event::Ack { writer, seq, began, at: clock::now(), address: to });
                    return Some(line);
                }
                Err(mysql_async::Error::Server(e)) => (Outcome::Refused, e.to_string()),
                Err(e) => (Outcome::Unknown, e.to_string()),
            },
            _ = elsewhere => (Outcome::Unknown, "the name leads elsewhere now".to_owned()),
            () = tokio::time::sleep(patience) => (Outcome::Unknown, "timeout".to_owned()),
        };
        let (outcome, why) = failure;
        events.note(Event::WriteFailed { writer, seq, began, at: clock::now(), address: to, outcome, why });
        None
    }

    /// How long this writer waits for a commit, after so many given up one after the other.
    fn patience(&self, given_up: u32) -> Duration {
        let first = COMMIT_DEADLINE_MIN + DEADLINE_STEP * (self.number % DEADLINE_STEPS);
        let doubled = first.saturating_mul(2_u32.saturating_pow(given_up));
        doubled.min(COMMIT_DEADLINE_MAX)
    }
}

/// How the driver connects: by address, without questions of its own after the handshake.
#[must_use]
pub fn options(access: &DatabaseAccess, address: Ipv4Addr) -> Opts {
    OptsBuilder::default()
        .ip_or_hostname(address.to_string())
        .tcp_port(access.port)
        .user(Some(access.user.clone()))
        .pass(Some(access.password.clone()))
        .db_name(Some(access.schema.clone()))
        .prefer_socket(false)
        .stmt_cache_size(0)
        .max_allowed_packet(Some(PACKET_BYTES_MAX))
        .wait_timeout(Some(IDLE_SECONDS))
        .into()
}

/// Which server a connection leads to: its `server_uuid`, or on MariaDB the server id.
///
/// # Errors
/// When it does not answer.
pub async fn server_of(conn: &mut Conn) -> Result<String, mysql_async::Error> {
    let version: Option<String> = conn.query_first("SELECT @@version").await?;
    let mariadb = version.is_some_and(|v| v.to_ascii_lowercase().contains("mariadb"));
    let ask = if mariadb { "SELECT CAST(@@server_id AS CHAR)" } else { "SELECT @@server_uuid" };
    Ok(conn.query_first(ask).await?.unwrap_or_default())
}
