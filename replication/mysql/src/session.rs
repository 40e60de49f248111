//! One dedicated connection, every call of which is bounded.
//!
//! Invariant: a connection is asked its next question only after the last one was answered whole.
//! `Session` gives the connection away for the time of a call and takes it back when the call ended;
//! a call that timed out, was cancelled or broke leaves the session [`broken`](Session::is_broken)
//! for good (a cancelled call desynchronises the driver: mysql_async #401).
//!
//! Deliberately absent: pools and reconnecting. Who wants another session connects again, and knows
//! that what the old one had under way may still happen on the server.

use model::{Flavour, GtidSet, ServerUuid};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};

use crate::deadline::Deadline;
use crate::dialect::{Dialect, Numbering, UnknownVersion, Words};
use crate::endpoint::{Address, Endpoint, Tls};
use crate::read::Plugins;
use crate::row::Row;

/// Largest packet this side takes. Set so that the driver need not ask the server for its own; GTID
/// sets of thousands of servers stay far below it.
const PACKET_BYTES_MAX: usize = 16 << 20;
/// The server's `wait_timeout` as the driver believes it, in seconds: set to spare a set-up query.
/// A session is used all the time, and one that the server closed is found broken at its next call.
const IDLE_SECONDS: usize = 28_800;

/// Why no session came about. Nothing was done on the server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server did not answer in time: it may be stopped, hung, or cut off.
    #[error("connect to {address}: no answer by the deadline")]
    Timeout {
        /// Where.
        address: Address,
    },
    /// The server let the account in, and did not answer its first words in time: it is slow, and not shut.
    #[error("connect to {address}: let in, but no answer by the deadline")]
    Slow {
        /// Where.
        address: Address,
    },
    /// The server refused: a wrong password, too many connections, offline mode, ….
    #[error("connect to {address} as {user:?}: refused with {code}: {message}")]
    Refused {
        /// Where.
        address: Address,
        /// As whom.
        user: String,
        /// MySQL's error number.
        code: u16,
        /// Its text.
        message: String,
    },
    /// The way there: no such socket, connection refused, TLS.
    #[error("connect to {address}")]
    Io {
        /// Where.
        address: Address,
        /// What went wrong.
        #[source]
        source: Box<mysql_async::Error>,
    },
    /// It is a server that this adapter does not speak to.
    #[error("connect to {address}")]
    Version {
        /// Where.
        address: Address,
        /// Its version.
        #[source]
        source: UnknownVersion,
    },
    /// It is a server of another flavour than configured.
    #[error(
        "connect to {address}: it is {found} {version}, and the configuration says flavour {configured}; \
         correct `flavour` of the database"
    )]
    Flavour {
        /// Where.
        address: Address,
        /// What it is.
        found: Flavour,
        /// What it was said to be.
        configured: Flavour,
        /// Its version.
        version: String,
    },
    /// Its GTIDs do not tell what it has.
    #[error(
        "connect to {address}: gtid_strict_mode, log_bin and log_slave_updates must be ON, since without \
         them positions do not tell one history from another"
    )]
    Numbering {
        /// Where.
        address: Address,
    },
    /// Its first answer made no sense.
    #[error("connect to {address}")]
    Answer {
        /// Where.
        address: Address,
        /// What was wrong with it.
        #[source]
        source: Box<crate::read::ReadError>,
    },
}

/// Why a statement has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The server said no. The statement was not done.
    #[error("{doing}: server error {code}: {message}")]
    Server {
        /// What was being done.
        doing: &'static str,
        /// MySQL's error number.
        code: u16,
        /// Its text.
        message: String,
    },
    /// No answer by the deadline. It may still be under way; the session is broken.
    #[error("{doing}: no answer by the deadline")]
    Timeout {
        /// What was being done.
        doing: &'static str,
    },
    /// The connection ended in the middle. The session is broken.
    #[error("{doing}: the connection ended")]
    Connection {
        /// What was being done.
        doing: &'static str,
        /// How it ended.
        #[source]
        source: Box<mysql_async::Error>,
    },
    /// An earlier call broke the session; nothing was sent.
    #[error("{doing}: the session is broken; connect again")]
    Broken {
        /// What was to be done.
        doing: &'static str,
    },
}

impl SqlError {
    /// True when the statement surely had no effect.
    #[must_use]
    pub fn is_surely_not_done(&self) -> bool {
        matches!(self, SqlError::Server { .. } | SqlError::Broken { .. })
    }

    /// MySQL's error number, when the server answered.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            SqlError::Server { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// A connection to one server as one account.
pub struct Session {
    /// `None` while a call is under way and after one that did not end.
    line: Option<Line>,
    connection_id: u64,
    server_uuid: ServerUuid,
    version: String,
    role: bool,
    plugins: Plugins,
    dialect: Dialect,
    user: String,
    replication_users: Vec<String>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("server_uuid", &self.server_uuid)
            .field("connection_id", &self.connection_id)
            .field("user", &self.user)
            .field("broken", &self.is_broken())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Logs in and learns who the server is.
    pub async fn connect(endpoint: &Endpoint, deadline: Deadline) -> Result<Session, ConnectError> {
        let address = || endpoint.address.clone();
        let mut line = match deadline.bound(open(endpoint)).await {
            Err(_) => return Err(ConnectError::Timeout { address: address() }),
            Ok(Err(mysql_async::Error::Server(e))) => {
                return Err(ConnectError::Refused {
                    address: address(),
                    user: endpoint.user.clone(),
                    code: e.code,
                    message: e.message,
                });
            }
            Ok(Err(source)) => return Err(ConnectError::Io { address: address(), source: Box::new(source) }),
            Ok(Ok(line)) => line,
        };
        let answer = |source| ConnectError::Answer { address: address(), source: Box::new(source) };
        let sets = first_words(&mut line, "SELECT @@version AS version", endpoint, deadline).await?;
        let version =
            crate::read::last_row(&sets, "the version").and_then(|r| r.text("version")).map_err(answer)?;
        let dialect =
            Dialect::of(&version).map_err(|source| ConnectError::Version { address: address(), source })?;
        if dialect.flavour() != endpoint.flavour {
            let (found, configured) = (dialect.flavour(), endpoint.flavour);
            return Err(ConnectError::Flavour { address: address(), found, configured, version });
        }
        let sets = first_words(&mut line, dialect.words().hello, endpoint, deadline).await?;
        let hello = hello(&sets).map_err(answer)?;
        if !hello.strict {
            return Err(ConnectError::Numbering { address: address() });
        }
        Ok(Session {
            line: Some(line),
            connection_id: hello.id,
            server_uuid: hello.uuid,
            version,
            role: hello.role,
            plugins: hello.plugins,
            dialect,
            user: endpoint.user.clone(),
            replication_users: endpoint.replication_users.clone(),
        })
    }

    /// True when a call timed out, was cancelled or lost its connection. It stays so.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.line.is_none()
    }

    /// `@@server_uuid` at the time of connecting; CLONE and RESET do not change it while it runs.
    #[must_use]
    pub fn server_uuid(&self) -> &ServerUuid {
        &self.server_uuid
    }

    /// `@@version`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How the server spells things.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// A list of transactions as this server writes it.
    pub(crate) fn gtid_set(&self, column: &str, text: &str) -> Result<GtidSet, crate::read::ReadError> {
        let known = match self.words().numbering {
            Numbering::Sets => text.trim().parse().ok(),
            Numbering::Positions => crate::position::set(text).ok(),
        };
        known.ok_or_else(|| crate::read::ReadError::Value {
            column: column.to_owned(),
            text: text.to_owned(),
            wanted: "a gtid set",
        })
    }

    /// The server's words.
    pub(crate) fn words(&self) -> &'static Words {
        self.dialect.words()
    }

    /// The server's number for this session.
    #[must_use]
    pub fn connection_id(&self) -> u64 {
        self.connection_id
    }

    /// True when the account's rights come through a role, as those of [`grant_statements`] do.
    ///
    /// While an account change waits for its ack, the server cannot look up rights of accounts: every
    /// act hangs in the check, also on sessions that are open already. Rights of an active role are in
    /// the session itself, and such a session goes on working (measured on 9.7; DESIGN §4, the admin
    /// session that is kept open).
    ///
    /// [`grant_statements`]: crate::grant_statements
    #[must_use]
    pub fn has_role(&self) -> bool {
        self.role
    }

    /// Semi-sync plugins that were loaded when it connected.
    pub(crate) fn plugins(&self) -> Plugins {
        self.plugins
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn replication_users(&self) -> &[String] {
        &self.replication_users
    }

    /// Runs one or more statements in one round trip and returns each result set that has columns
    /// or is followed by another.
    pub(crate) async fn ask(
        &mut self,
        doing: &'static str,
        sql: &str,
        deadline: Deadline,
    ) -> Result<Vec<Vec<Row>>, SqlError> {
        let mut line = self.line.take().ok_or(SqlError::Broken { doing })?;
        match deadline.bound(line.ask(sql)).await {
            Err(_) => Err(SqlError::Timeout { doing }),
            Ok(Err(mysql_async::Error::Server(e))) => {
                // The server ended the statement itself, so the connection is in step. 1927 and
                // 3032 say that it ends the connection too.
                if !ENDS_THE_CONNECTION.contains(&e.code) {
                    self.line = Some(line);
                }
                Err(SqlError::Server { doing, code: e.code, message: e.message })
            }
            Ok(Err(source)) => Err(SqlError::Connection { doing, source: Box::new(source) }),
            Ok(Ok(sets)) => {
                self.line = Some(line);
                Ok(sets)
            }
        }
    }

    /// Runs statements that return no rows that matter.
    pub(crate) async fn run(
        &mut self,
        doing: &'static str,
        sql: &str,
        deadline: Deadline,
    ) -> Result<(), SqlError> {
        self.ask(doing, sql, deadline).await.map(drop)
    }
}

/// Errors after which the server hangs up: ER_SERVER_SHUTDOWN, ER_CONNECTION_KILLED,
/// ER_SERVER_OFFLINE_MODE, ER_CLIENT_INTERACTION_TIMEOUT.
const ENDS_THE_CONNECTION: [u16; 4] = [1053, 1927, 3032, 4031];

struct Hello {
    uuid: ServerUuid,
    id: u64,
    role: bool,
    plugins: Plugins,
    strict: bool,
}

/// Asks what must be known before anything else.
async fn first_words(
    line: &mut Line,
    sql: &str,
    endpoint: &Endpoint,
    deadline: Deadline,
) -> Result<Vec<Vec<Row>>, ConnectError> {
    let address = || endpoint.address.clone();
    match deadline.bound(line.ask(sql)).await {
        Err(_) => Err(ConnectError::Slow { address: address() }),
        Ok(Err(source)) => Err(ConnectError::Io { address: address(), source: Box::new(source) }),
        Ok(Ok(sets)) => Ok(sets),
    }
}

fn hello(sets: &[Vec<Row>]) -> Result<Hello, crate::read::ReadError> {
    let row = crate::read::last_row(sets, "the server's identity")?;
    let plugins = row.maybe("plugins")?.unwrap_or_default();
    Ok(Hello {
        uuid: row.parse("uuid", "a server uuid")?,
        strict: row.flag("strict")?,
        id: row.parse("id", "a connection number")?,
        role: row.text("role")? != "NONE",
        plugins: Plugins {
            source: plugins.contains("rpl_semi_sync_source"),
            replica: plugins.contains("rpl_semi_sync_replica"),
        },
    })
}

/// A connection that is closed at once when it is let go of.
///
/// The driver's own `Drop` spawns a task that reads what is still owed and says goodbye: detached,
/// unbounded, and waiting for a server that just did not answer. Outside a runtime it only closes.
struct Line(Option<Conn>);

impl Line {
    async fn ask(&mut self, sql: &str) -> mysql_async::Result<Vec<Vec<Row>>> {
        let conn = self.0.as_mut().expect("a line holds its connection until it is dropped");
        let mut result = conn.query_iter(sql).await?;
        let mut sets = Vec::new();
        while !result.is_empty() {
            sets.push(result.collect::<mysql_async::Row>().await?.into_iter().map(Row).collect());
        }
        // An error of a later statement waits in the driver and looks like the end: only this tells.
        result.drop_result().await?;
        Ok(sets)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(conn) = self.0.take() {
            // When no thread can be had, the closure and the connection in it are dropped here.
            let _ = std::thread::Builder::new().name("mysql-close".into()).spawn(move || drop(conn));
        }
    }
}

async fn open(endpoint: &Endpoint) -> mysql_async::Result<Line> {
    let mut opts = OptsBuilder::default()
        .user(Some(endpoint.user.as_str()))
        .pass(Some(endpoint.password.as_str()))
        .prefer_socket(false)
        .max_allowed_packet(Some(PACKET_BYTES_MAX))
        .wait_timeout(Some(IDLE_SECONDS))
        .tcp_nodelay(true)
        .stmt_cache_size(0);
    opts = match &endpoint.address {
        Address::Socket(path) => opts.socket(Some(path.to_string_lossy().into_owned())),
        Address::Tcp(address) => opts.ip_or_hostname(address.ip().to_string()).tcp_port(address.port()),
    };
    if let Tls::Required { ca } = &endpoint.tls {
        let roots = vec![ca.clone().into()];
        opts = opts.ssl_opts(SslOpts::default().with_root_certs(roots).with_disable_built_in_roots(true));
    }
    Conn::new(opts).await.map(|conn| Line(Some(conn)))
}
