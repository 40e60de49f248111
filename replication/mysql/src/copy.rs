//! Copying a whole MariaDB server by `mariadb-backup`, from one that runs to one that is given up (docs/design/0026).
//!
//! ```text
//! donor's host      Sending ──► bytes of the stream ──► (whoever carries them) ──► Receiving    recipient's host
//!                   server's state before and after ──────────────────────────────► prepare ──► exchange ──► settle
//! ```
//!
//! Invariants:
//! - The recipient's data directory is touched by one act only: it changes places with a whole, prepared, synced copy,
//!   while the server that worked in it stands still and is never woken again.
//! - A copy has the donor's state in the file that MariaDB reads its own from when it has no binary logs, so no reading of
//!   the new server ever says less than it has.
//! - Everything here ends by its deadline, and programs end with whoever runs them.
//!
//! Deliberately absent: the way between the hosts, and who may be copied over: the guard's.

mod donor;
mod exchange;
mod place;
mod recipient;
mod tool;

use std::io;
use std::path::{Path, PathBuf};

use model::{GtidSet, ServerUuid};

use crate::position::UnknownState;
use crate::process::ProcessError;
use crate::read::ReadError;
use crate::session::{ConnectError, SqlError};

pub use donor::{Backup, Sending};
pub use exchange::{Exchange, Exchanged, Standing, exchange, mark_copy, settle, stand_still, still_stands};
pub use place::CopyPlace;
pub use recipient::{Receiving, prepare};

/// Where the donor's binary log stood before and after it was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DonorStates {
    /// The donor.
    pub donor: ServerUuid,
    /// When its copy began.
    pub before: GtidSet,
    /// When its copy was done.
    pub after: GtidSet,
}

/// Why a server was not copied. Nothing of the recipient's data is changed, but where [`Exchange`] says so.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A file or folder.
    #[error("{doing} {path:?}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A program that could not be run.
    #[error("run {program:?}; it is in the package mariadb-backup")]
    Run {
        /// Its path or name.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A program that failed.
    #[error("{program} ended with {status}: {message}")]
    Ended {
        /// Its path or name.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The end of what it said.
        message: String,
    },
    /// A program's other end.
    #[error("{program} took or gave no more")]
    Pipe {
        /// Its path or name.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The deadline passed.
    #[error("{doing}: not done by the deadline")]
    Timeout {
        /// What was being done.
        doing: &'static str,
    },
    /// The server was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A statement.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// An answer that could not be understood.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// How far the copy goes is not known.
    #[error(transparent)]
    State(#[from] UnknownState),
    /// An account's word that no option file can hold.
    #[error("the admin account's {what} holds a line break")]
    Option {
        /// User or password.
        what: &'static str,
    },
    /// The data directory cannot change places with another.
    #[error(
        "the data directory {path:?} is a mount point and cannot change places with its copy; put the data into a \
         folder beneath it"
    )]
    MountPoint {
        /// The directory.
        path: PathBuf,
    },
    /// Part of the server's data lies elsewhere and would stay behind.
    #[error("{variable} is {value:?}, outside the data directory: a copy of that would leave it behind")]
    Outside {
        /// The system variable.
        variable: &'static str,
        /// What it says.
        value: String,
    },
    /// There is no room for the data twice.
    #[error("beside {path:?} {free} bytes are free, and the copy is expected to take {wanted}")]
    Room {
        /// The data directory.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        wanted: u64,
    },
    /// It is not what it was when the copy began: somebody did something with it.
    #[error("the server is not what it was when the copy began: {what}")]
    Changed {
        /// What is different.
        what: &'static str,
    },
    /// No server runs whose process could be ended.
    #[error(
        "no server works in the data directory: it is exchanged while one runs, so that none can start meanwhile"
    )]
    NoProcess,
}

pub(crate) fn file(doing: &'static str, path: &Path, source: io::Error) -> CopyError {
    CopyError::File { doing, path: path.to_owned(), source }
}
