//! The log on disk: entries, term and vote, snapshot, and whose they are.
//!
//! One redb file; each change is one transaction, synced before it counts. Raft's promises rest
//! on what was synced, so a log that lost something must never look like a fresh one: a node that
//! forgot its vote can elect two leaders. Therefore
//! - a fresh log is made by [`Store::create`] alone; [`Store::open`] of nothing is an error;
//! - every value carries a checksum over its place and content, and the whole image is checked;
//! - commits are two-phase: with redb's one-phase commit a damaged last transaction is taken for
//!   a torn one and silently rolled back, and with it an entry that was acknowledged;
//! - a failed write or sync is final ("fsyncgate": a second fsync may lie).
//!
//! A limit that a test states: which of its two last transactions counts is one unguarded bit of
//! redb's header, so a disk that loses or flips exactly that write takes back one transaction.
//!
//! Deliberately absent: repair. A damaged log is kept as it is, and its node votes no more.

mod error;
mod record;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use raft::eraftpb::{Entry, HardState, Snapshot};
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    WriteTransaction,
};

use crate::image::{Compaction, Persist, Recovered};
pub use error::StoreError;
use record::{Place, open_record, seal};

/// Entries by index.
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// The rest, by name.
const STATE: TableDefinition<&str, &[u8]> = TableDefinition::new("state");
const IDENTITY: &str = "identity";
const HARD_STATE: &str = "hard-state";
const TRIMMED: &str = "trimmed";
const SNAPSHOT: &str = "snapshot";

/// redb's page cache, in bytes. The image is in memory anyway, so this only has to hold what a
/// transaction touches.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Whose log it is. A log of another node, cluster or incarnation is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The node's number.
    pub node: u64,
    /// The cluster's incarnation: grows by `quorum force` alone.
    pub incarnation: u64,
}

/// In place of an incarnation where a log is opened, whichever it is of.
pub const ANY_INCARNATION: u64 = 0;

/// An open log. One process at a time.
pub struct Store {
    path: PathBuf,
    identity: Identity,
    database: Database,
    /// What was read when it was opened; given to the replica.
    image: Recovered,
    /// Term, vote and commit as they are or will next be written.
    hard_state: HardState,
    /// The commit index moved since the last write.
    commit_moved: bool,
    first_index: u64,
    last_index: u64,
    /// A write failed; nothing may be written after it.
    failed: bool,
}

impl Store {
    /// Makes the log of a node that never had one. It appears whole or not at all.
    ///
    /// # Errors
    /// When there is one already, whatever its state, or the disk refuses.
    pub fn create(path: &Path, identity: &Identity, genesis: &Recovered) -> Result<Self, StoreError> {
        let at = |source: std::io::Error| StoreError::Io { path: path.to_owned(), source };
        if path.try_exists().map_err(at)? {
            return Err(StoreError::Exists { path: path.to_owned() });
        }
        // Left over from a creation that did not end; it was never a log.
        let fresh = path.with_extension("new");
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(error)),
            _ => {}
        }
        let failed =
            |source: redb::Error| StoreError::Write { path: fresh.clone(), source: Box::new(source) };
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&fresh)
            .map_err(|error| failed(error.into()))?;
        write_genesis(&database, identity, genesis).map_err(failed)?;
        // Closed before it gets its name, so that whoever opens it finds it whole.
        database.close().map_err(|error| failed(error.into()))?;
        std::fs::rename(&fresh, path).map_err(at)?;
        sync_directory(path).map_err(at)?;
        Self::open(path, identity)
    }

    /// Opens the log of a node that had one.
    ///
    /// # Errors
    /// When it is missing, damaged in any way, in use, or another's.
    pub fn open(path: &Path, identity: &Identity) -> Result<Self, StoreError> {
        let length = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::Missing { path: path.to_owned() });
            }
            Err(source) => return Err(StoreError::Io { path: path.to_owned(), source }),
        };
        if length == 0 {
            return Err(StoreError::damaged(path, "the file is empty"));
        }
        // redb asserts on some damage instead of returning it.
        let opened = catch_unwind(AssertUnwindSafe(|| open_and_read(path, identity)));
        let (database, image, identity) =
            opened.unwrap_or_else(|_| Err(StoreError::damaged(path, "its pages contradict each other")))?;
        image.check().map_err(|error| StoreError::damaged(path, &error.to_string()))?;
        Ok(Self::of(path, &identity, database, image))
    }

    fn of(path: &Path, identity: &Identity, database: Database, image: Recovered) -> Self {
        Self {
            path: path.to_owned(),
            identity: identity.clone(),
            database,
            hard_state: image.hard_state.clone(),
            commit_moved: false,
            first_index: image.first_index(),
            last_index: image.last_index(),
            failed: false,
            image,
        }
    }

    /// Whose log it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What was read when it was opened.
    #[must_use]
    pub fn recovered(&self) -> &Recovered {
        &self.image
    }

    /// The same, handed over; the store keeps no second copy of the log in memory.
    pub(crate) fn take_recovered(&mut self) -> Recovered {
        std::mem::take(&mut self.image)
    }

    /// Writes and syncs what a [`crate::Work`] wants persisted. A commit index alone waits for the
    /// next write.
    ///
    /// # Errors
    /// When it may not be on disk. That is final: every later call fails too.
    pub fn write(&mut self, persist: &Persist) -> Result<(), StoreError> {
        if let Some(hard_state) = &persist.hard_state {
            self.hard_state = hard_state.clone();
            self.commit_moved = true;
        }
        if persist.must_sync {
            self.commit(|store, transaction| store.put(transaction, persist))
        } else {
            Ok(())
        }
    }

    /// Writes a snapshot of our own, syncs, and drops what it made superfluous.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn compact(&mut self, compaction: &Compaction) -> Result<(), StoreError> {
        self.hard_state.commit = self.hard_state.commit.max(compaction.snapshot.get_metadata().index);
        self.commit(|store, transaction| {
            put_snapshot(transaction, &compaction.snapshot, compaction.trimmed)?;
            let mut log = transaction.open_table(LOG)?;
            for index in store.first_index..=compaction.trimmed.0 {
                log.remove(index)?;
            }
            store.first_index = compaction.trimmed.0 + 1;
            Ok(())
        })
    }

    /// Writes a commit index that waits, so that a restart replays as much as was known.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn flush(&mut self) -> Result<(), StoreError> {
        if self.commit_moved { self.commit(|_, _| Ok(())) } else { Ok(()) }
    }

    fn put(&mut self, transaction: &WriteTransaction, persist: &Persist) -> Result<(), redb::Error> {
        if let Some(snapshot) = &persist.snapshot {
            let metadata = snapshot.get_metadata();
            put_snapshot(transaction, snapshot, (metadata.index, metadata.term))?;
            transaction.open_table(LOG)?.retain(|_, _| false)?;
            (self.first_index, self.last_index) = (metadata.index + 1, metadata.index);
        }
        if let (Some(first), Some(last)) = (persist.entries.first(), persist.entries.last()) {
            assert!(
                first.index >= self.first_index && first.index <= self.last_index + 1,
                "entries from {} cannot follow a log of {} to {}",
                first.index,
                self.first_index,
                self.last_index
            );
            let mut log = transaction.open_table(LOG)?;
            for entry in &persist.entries {
                log.insert(entry.index, seal(Place::Entry(entry.index), &record::bytes(entry)).as_slice())?;
            }
            // What a newer leader's entries replaced reaches further than they do.
            for index in last.index + 1..=self.last_index {
                log.remove(index)?;
            }
            self.last_index = last.index;
        }
        Ok(())
    }

    /// One synced transaction of `change` and the current term, vote and commit.
    fn commit(
        &mut self,
        change: impl FnOnce(&mut Self, &WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::FailedBefore { path: self.path.clone() });
        }
        // Until it is known to have worked.
        self.failed = true;
        let outcome = begin(&self.database).and_then(|transaction| {
            change(self, &transaction)?;
            put_state(&transaction, HARD_STATE, &record::bytes(&self.hard_state))?;
            transaction.commit().map_err(redb::Error::from)
        });
        outcome.map_err(|source| StoreError::Write { path: self.path.clone(), source: Box::new(source) })?;
        self.failed = false;
        self.commit_moved = false;
        Ok(())
    }
}

fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

fn write_genesis(database: &Database, identity: &Identity, genesis: &Recovered) -> Result<(), redb::Error> {
    let transaction = begin(database)?;
    put_state(&transaction, IDENTITY, &record::identity_bytes(identity))?;
    put_state(&transaction, HARD_STATE, &record::bytes(&genesis.hard_state))?;
    put_snapshot(&transaction, &genesis.snapshot, genesis.trimmed)?;
    let mut log = transaction.open_table(LOG)?;
    for entry in &genesis.entries {
        log.insert(entry.index, seal(Place::Entry(entry.index), &record::bytes(entry)).as_slice())?;
    }
    drop(log);
    transaction.commit()?;
    Ok(())
}

fn put_snapshot(
    transaction: &WriteTransaction,
    snapshot: &Snapshot,
    trimmed: (u64, u64),
) -> Result<(), redb::Error> {
    put_state(transaction, SNAPSHOT, &record::bytes(snapshot))?;
    put_state(transaction, TRIMMED, &record::trimmed_bytes(trimmed))
}

fn put_state(transaction: &WriteTransaction, name: &str, value: &[u8]) -> Result<(), redb::Error> {
    transaction.open_table(STATE)?.insert(name, seal(Place::State(name), value).as_slice())?;
    Ok(())
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

fn open_and_read(path: &Path, identity: &Identity) -> Result<(Database, Recovered, Identity), StoreError> {
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .open(path)
        .map_err(|error| StoreError::opening(path, error))?;
    let damaged = |error: redb::Error| StoreError::damaged(path, &error.to_string());
    let transaction = database.begin_read().map_err(|error| damaged(error.into()))?;
    let found = record::identity(&state(path, &transaction, IDENTITY)?)
        .map_err(|why| StoreError::damaged(path, &format!("its identity {why}")))?;
    StoreError::check_identity(path, &found, identity)?;
    let hard_state: HardState = message(path, HARD_STATE, &state(path, &transaction, HARD_STATE)?)?;
    let snapshot: Snapshot = message(path, SNAPSHOT, &state(path, &transaction, SNAPSHOT)?)?;
    let trimmed = record::trimmed(&state(path, &transaction, TRIMMED)?)
        .map_err(|why| StoreError::damaged(path, &format!("its trimmed index {why}")))?;
    let log = transaction.open_table(LOG).map_err(|error| damaged(error.into()))?;
    let mut entries = std::collections::VecDeque::new();
    for item in log.iter().map_err(|error| damaged(error.into()))? {
        let (key, value) = item.map_err(|error| damaged(error.into()))?;
        let (key, name) = (key.value(), format!("entry {}", key.value()));
        let bytes = open_record(Place::Entry(key), value.value())
            .map_err(|why| StoreError::damaged(path, &format!("{name} {why}")))?;
        let entry: Entry = message(path, &name, bytes)?;
        if entry.index != key {
            return Err(StoreError::damaged(path, &format!("{name} says it is entry {}", entry.index)));
        }
        entries.push_back(entry);
    }
    drop(log);
    drop(transaction);
    Ok((database, Recovered { hard_state, snapshot, trimmed, entries }, found))
}

fn state(path: &Path, transaction: &ReadTransaction, name: &str) -> Result<Vec<u8>, StoreError> {
    let damaged = |error: redb::Error| StoreError::damaged(path, &error.to_string());
    let table = transaction.open_table(STATE).map_err(|error| damaged(error.into()))?;
    let value = table.get(name).map_err(|error| damaged(error.into()))?;
    let value = value.ok_or_else(|| StoreError::damaged(path, &format!("its {name} is missing")))?;
    open_record(Place::State(name), value.value())
        .map(<[u8]>::to_vec)
        .map_err(|why| StoreError::damaged(path, &format!("its {name} {why}")))
}

fn message<M: protobuf::Message>(path: &Path, name: &str, bytes: &[u8]) -> Result<M, StoreError> {
    M::parse_from_bytes(bytes)
        .map_err(|error| StoreError::damaged(path, &format!("its {name} does not parse: {error}")))
}

#[cfg(test)]
mod tests;
