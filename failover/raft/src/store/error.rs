//! What can be wrong with a log on disk, and what to do then.

use std::path::{Path, PathBuf};

use super::Identity;

/// Why a log cannot be used, with the next act for a person.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is a file where a fresh log was to be made.
    #[error("raft log {path} exists already; a node gets a fresh log once in its life: open this one")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// There is no file. A node that voted before must not start without its log.
    #[error(
        "raft log {path} is missing; look whether its disk is there, and make a fresh log only if this \
         node never took part"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It does not hold what was written to it.
    #[error(
        "raft log {path} is damaged: {what}; keep the file, and make no fresh log for this node: it may \
         have voted"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// It is the log of another node, cluster or incarnation.
    #[error(
        "raft log {path} belongs to {what} {found:?}, not {expected:?}; correct the configuration, or put \
         this node's own log there"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// As in the file.
        found: String,
        /// As configured.
        expected: String,
    },
    /// Another process holds it.
    #[error("raft log {path} is in use; stop the other process that runs this node")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refuses the file.
    #[error("raft log {path} cannot be used")]
    Io {
        /// The file.
        path: PathBuf,
        /// As it says.
        #[source]
        source: std::io::Error,
    },
    /// A write or sync failed: what is on disk is not known, so this node must not go on.
    #[error("raft log {path} was not written; check the disk, then restart this node")]
    Write {
        /// The file.
        path: PathBuf,
        /// As redb says.
        #[source]
        source: Box<redb::Error>,
    },
    /// A write failed earlier.
    #[error("raft log {path} is not written any more, since a write failed; restart this node")]
    FailedBefore {
        /// The file.
        path: PathBuf,
    },
}

impl StoreError {
    pub(super) fn damaged(path: &Path, what: &str) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.to_owned() }
    }

    /// Tells damage from a disk or permission that refuses.
    pub(super) fn opening(path: &Path, error: redb::DatabaseError) -> Self {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Self::InUse { path: path.to_owned() },
            redb::DatabaseError::Storage(redb::StorageError::Io(source))
                if !matches!(source.kind(), InvalidData | UnexpectedEof) =>
            {
                Self::Io { path: path.to_owned(), source }
            }
            other => Self::damaged(path, &other.to_string()),
        }
    }

    pub(super) fn check_identity(
        path: &Path,
        found: &Identity,
        expected: &Identity,
    ) -> Result<(), StoreError> {
        let pairs = [
            ("cluster", found.cluster.clone(), expected.cluster.clone()),
            ("node", found.node.to_string(), expected.node.to_string()),
            ("incarnation", found.incarnation.to_string(), expected.incarnation.to_string()),
        ];
        for (what, found, expected) in pairs {
            if found != expected && !(what == "incarnation" && expected == super::ANY_INCARNATION.to_string())
            {
                return Err(Self::Foreign { path: path.to_owned(), what, found, expected });
            }
        }
        Ok(())
    }
}
