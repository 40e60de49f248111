//! What is known of an act after it was tried.

use model::GtidSet;

use crate::session::SqlError;

/// The result of an act (STYLE §7). It answers what the caller may do now.
#[derive(Debug)]
#[must_use]
pub enum Outcome<T = ()> {
    /// Done, and this was read on the way.
    Done(T),
    /// Not tried: a precondition is broken. Trying again changes nothing until that does.
    Refused(Refusal),
    /// Surely not done. It may be tried again.
    Failed(ActError),
    /// It may have been done. Read before anything else.
    Unknown(ActError),
}

/// Which precondition of an act does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A promotion or a reset was asked while the receiver still runs.
    #[error("the replication receiver still runs; stop it first")]
    ReceiverRuns,
    /// A wait or a start was asked of a server that replicates from nobody.
    #[error("no replication source is configured")]
    NoSource,
    /// The relay log holds transactions that were not applied.
    #[error("received but not applied: {missing}; let the applier finish first")]
    NotDrained {
        /// Received and not executed.
        missing: GtidSet,
    },
    /// The applier is stopped, so nothing will be applied however long one waits.
    #[error("the applier is stopped ({error:?}); repair or start it first")]
    ApplierStopped {
        /// `Last_SQL_Error`, empty when it was stopped by hand.
        error: String,
    },
    /// The connected semi-sync replicas are not as many as must acknowledge.
    #[error("{connected} semi-sync replicas are attached where {wanted} must acknowledge")]
    SemiSyncClients {
        /// Acknowledgements to wait for.
        wanted: u32,
        /// `Rpl_semi_sync_source_clients`.
        connected: u32,
    },
    /// A plugin is not loaded.
    #[error("plugin {plugin:?} is not loaded; add it to plugin-load-add in the server's configuration")]
    Plugin {
        /// Its name.
        plugin: &'static str,
    },
    /// A write was asked of a server that is read only.
    #[error("the server is read only")]
    ReadOnly,
    /// The server takes writes where the act needs it fenced.
    #[error("the server takes writes; set super_read_only first")]
    Writable,
    /// Semi-sync that waits for one acknowledgement was to wait for several.
    #[error("this server's semi-sync waits for one acknowledgement, not for {wanted}")]
    WaitCount {
        /// Acknowledgements to wait for.
        wanted: u32,
    },
    /// A session that waits for an ack would be told OK without it (MariaDB).
    #[error("a killed session would be told that its commit is done, without an ack; the process is killed")]
    KillTellsWaiters,
    /// Starting a thread would throw away what was received and not applied (MariaDB).
    #[error("starting replication here drops the relay log, which holds {missing}, perhaps alone")]
    DropsRelayLog {
        /// Received and not executed.
        missing: GtidSet,
    },
    /// The server cannot copy another.
    #[error("the server has no CLONE")]
    NoClone,
    /// A name given to the act would not be safe inside a statement.
    #[error("{what} {text:?} holds a character that may not stand there")]
    Text {
        /// What the text is for.
        what: &'static str,
        /// The text.
        text: String,
    },
}

/// Why an act did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// A statement.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// An answer that could not be understood.
    #[error(transparent)]
    Read(#[from] crate::read::ReadError),
    /// The deadline passed while the state asked for was not reached.
    #[error("still missing at the deadline: {missing}")]
    Missing {
        /// What was waited for and is not there.
        missing: GtidSet,
    },
    /// A setting reads otherwise after it was set.
    #[error("{name} reads {found:?} after it was set to {wanted:?}")]
    ReadBack {
        /// The system variable.
        name: &'static str,
        /// Its new value.
        wanted: String,
        /// What it reads.
        found: String,
    },
    /// What was received could not be put on the disk.
    #[error("sync the relay log's files on this host")]
    RelayLog(#[source] std::io::Error),
    /// A server cloned itself and goes on as if it had not.
    #[error("the server ended the statement but did not stop; read its gtid_executed")]
    StillRuns,
}

/// Why an act's body ended early; becomes an [`Outcome`] at the act's edge.
pub(crate) enum Stop {
    Refused(Refusal),
    Failed(ActError),
    Unknown(ActError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl From<SqlError> for Stop {
    /// An answer of the server means that the statement was not done; silence means nothing.
    fn from(error: SqlError) -> Self {
        if error.is_surely_not_done() { Stop::Failed(error.into()) } else { Stop::Unknown(error.into()) }
    }
}

impl From<crate::read::ReadError> for Stop {
    fn from(error: crate::read::ReadError) -> Self {
        match error {
            crate::read::ReadError::Sql(error) => error.into(),
            other => Stop::Failed(other.into()),
        }
    }
}

impl<T> From<Result<T, Stop>> for Outcome<T> {
    fn from(result: Result<T, Stop>) -> Self {
        match result {
            Ok(value) => Outcome::Done(value),
            Err(Stop::Refused(why)) => Outcome::Refused(why),
            Err(Stop::Failed(why)) => Outcome::Failed(why),
            Err(Stop::Unknown(why)) => Outcome::Unknown(why),
        }
    }
}

impl<T> Outcome<T> {
    /// True for `Done`.
    pub fn is_done(&self) -> bool {
        matches!(self, Outcome::Done(_))
    }

    /// The value of `Done`.
    pub fn done(self) -> Option<T> {
        match self {
            Outcome::Done(value) => Some(value),
            _ => None,
        }
    }

    /// Forgets the value, for a journal of outcomes.
    pub fn discard(self) -> Outcome<()> {
        match self {
            Outcome::Done(_) => Outcome::Done(()),
            Outcome::Refused(why) => Outcome::Refused(why),
            Outcome::Failed(why) => Outcome::Failed(why),
            Outcome::Unknown(why) => Outcome::Unknown(why),
        }
    }
}

impl<T> std::fmt::Display for Outcome<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Done(_) => f.write_str("done"),
            Outcome::Refused(why) => write!(f, "refused: {why}"),
            Outcome::Failed(why) => write!(f, "failed: {why}"),
            Outcome::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}
