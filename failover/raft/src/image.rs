//! The log as a value: what a disk holds, what a replica starts from, and what raft-rs reads.
//!
//! One type serves three places, so that they cannot differ: the mirror that raft-rs reads
//! through its `Storage` trait, the result of opening a [`crate::Store`], and a simulator's disk.
//! A disk is this value with every [`Persist`] absorbed and every [`Compaction`] made.
//!
//! Invariants: entries are contiguous and begin right after `trimmed`; the snapshot's index lies
//! between `trimmed` and the last index; `hard_state.commit` lies between snapshot and last index.
//!
//! Deliberately absent: files.

use std::collections::{BTreeSet, VecDeque};

use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::membership::Members;
use crate::replica::Position;

/// Index and term of the snapshot that every node of a new cluster starts from. Not zero, so that
/// a node that holds nothing differs from one that holds the genesis, and term 0 never travels.
const GENESIS: (u64, u64) = (1, 1);

/// Everything that must be on disk before [`crate::Work::send_after`] may be sent, as one unit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Persist {
    /// Term, vote and commit, if one of them changed.
    pub hard_state: Option<HardState>,
    /// Entries to append, contiguous; whatever is stored from the first one's index on goes first.
    pub entries: Vec<Entry>,
    /// A snapshot that a leader sent: it replaces the whole log, before `entries` are appended.
    pub snapshot: Option<Snapshot>,
    /// False if only the commit index moved, which may be lost: writing it can wait for the next
    /// write that must be synced.
    pub must_sync: bool,
}

/// A snapshot of our own and the part of the log that stays.
#[derive(Debug, Clone, PartialEq)]
pub struct Compaction {
    /// State, index, term and voters.
    pub snapshot: Snapshot,
    /// Index and term of the last entry that goes. Those behind it stay, also such that the
    /// snapshot covers, for followers that lag a little.
    pub trimmed: (u64, u64),
}

/// Why an image cannot have been written by a replica.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// No snapshot, hence no voters.
    #[error("log has no snapshot")]
    NoSnapshot,
    /// Voters missing, repeated or zero, or one node with two parts.
    #[error("snapshot names voters {voters:?} and learners {learners:?}, which is no configuration")]
    Configuration {
        /// As stored.
        voters: Vec<u64>,
        /// As stored.
        learners: Vec<u64>,
    },
    /// An index that is not its predecessor's plus one.
    #[error("log has entry {found} where entry {expected} belongs")]
    Gap {
        /// The index that should stand there.
        expected: u64,
        /// The index that does.
        found: u64,
    },
    /// Terms fall along the log, or rise above the hard state's.
    #[error("entry {index} has term {term}, outside {least} to {most}")]
    Term {
        /// Of the entry.
        index: u64,
        /// Of the entry.
        term: u64,
        /// Its predecessor's term.
        least: u64,
        /// The hard state's term.
        most: u64,
    },
    /// The snapshot does not join the log.
    #[error("snapshot at {snapshot} does not join the log, which holds {first} to {last}")]
    Detached {
        /// The snapshot's index.
        snapshot: u64,
        /// First index of the log.
        first: u64,
        /// Last index of the log.
        last: u64,
    },
    /// More is committed than is there.
    #[error("commit index {commit} lies beyond the last entry {last}")]
    Commit {
        /// The hard state's.
        commit: u64,
        /// Last index of the log.
        last: u64,
    },
}

/// The durable state of one replica.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recovered {
    /// Term, vote, commit.
    pub hard_state: HardState,
    /// The latest snapshot; its metadata names the voters.
    pub snapshot: Snapshot,
    /// Index and term of the entry before the first one kept.
    pub trimmed: (u64, u64),
    /// What follows `trimmed`.
    pub entries: VecDeque<Entry>,
}

impl Recovered {
    /// What every node of a new cluster starts from. `voters` and `state` (bytes of
    /// the state machine's own snapshot) must be the same on all of them.
    #[must_use]
    pub fn genesis(voters: &[u64], state: Vec<u8>) -> Self {
        let mut conf_state = ConfState::default();
        conf_state.set_voters(voters.to_vec());
        let mut snapshot = Snapshot::default();
        snapshot.set_data(state.into());
        snapshot.mut_metadata().set_conf_state(conf_state);
        snapshot.mut_metadata().index = GENESIS.0;
        snapshot.mut_metadata().term = GENESIS.1;
        let hard_state = HardState { term: GENESIS.1, commit: GENESIS.0, ..HardState::default() };
        Self { hard_state, snapshot, trimmed: GENESIS, entries: VecDeque::new() }
    }

    /// What a node starts from that is to join a cluster: nothing, and no vote. It hears a leader, is
    /// sent a snapshot, and learns from it who the members are. `state` (bytes of the state machine's own
    /// snapshot, not empty) is what it begins with.
    #[must_use]
    pub fn joining(state: Vec<u8>) -> Self {
        let mut snapshot = Snapshot::default();
        snapshot.set_data(state.into());
        Self { hard_state: HardState::default(), snapshot, trimmed: (0, 0), entries: VecDeque::new() }
    }

    /// The first log of another incarnation: the state of the one before at the end of its log, whether its
    /// last entries were committed or not, these voters, and one entry that says so. All of its voters start
    /// from the same, as from a genesis; so all of it is committed.
    #[must_use]
    pub fn incarnation(voters: &[u64], end: Position, state: Vec<u8>, entry: Vec<u8>) -> Self {
        let mut first = Self::genesis(voters, state);
        first.trimmed = (end.index, end.term);
        first.snapshot.mut_metadata().index = end.index;
        first.snapshot.mut_metadata().term = end.term;
        let entry = Entry { index: end.index + 1, term: end.term, data: entry.into(), ..Entry::default() };
        first.entries.push_back(entry);
        first.hard_state = HardState { term: end.term, commit: end.index + 1, ..HardState::default() };
        first
    }

    /// Where the log ends.
    #[must_use]
    pub fn end(&self) -> Position {
        let index = self.last_index();
        Position { index, term: self.term_at(index).unwrap_or_default() }
    }

    /// What the state machine is to apply behind the snapshot, to the end of the log: index and bytes.
    pub fn payloads(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let after = self.snapshot_index();
        let normal = |e: &&Entry| e.get_entry_type() == EntryType::EntryNormal && !e.data.is_empty();
        let behind = self.entries.iter().filter(move |e| e.index > after);
        behind.filter(normal).map(|e| (e.index, e.data.as_ref()))
    }

    /// It is what [`Recovered::joining`] gives, or has only heard of terms since: no snapshot came yet.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let metadata = self.snapshot.get_metadata();
        // The state that it begins with is told apart from nothing at all, which is damage.
        !self.snapshot.data.is_empty()
            && metadata.index == 0
            && metadata.term == 0
            && metadata.get_conf_state() == &ConfState::default()
            && self.trimmed == (0, 0)
            && self.entries.is_empty()
            && self.hard_state.commit == 0
    }

    /// Index of the snapshot: what the state machine holds when it has restored it.
    #[must_use]
    pub fn snapshot_index(&self) -> u64 {
        self.snapshot.get_metadata().index
    }

    /// The first index whose entry is kept.
    #[must_use]
    pub fn first_index(&self) -> u64 {
        self.trimmed.0 + 1
    }

    /// The last index, kept or covered by the snapshot.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.trimmed.0 + self.entries.len() as u64
    }

    /// The term at `index`, if that is known.
    #[must_use]
    pub fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.trimmed.0 {
            return Some(self.trimmed.1);
        }
        let offset = index.checked_sub(self.first_index())?;
        Some(self.entries.get(usize::try_from(offset).ok()?)?.term)
    }

    /// Takes over what a [`crate::Work`] asked to persist.
    pub fn absorb(&mut self, persist: &Persist) {
        if let Some(snapshot) = &persist.snapshot {
            let metadata = snapshot.get_metadata();
            self.trimmed = (metadata.index, metadata.term);
            self.entries.clear();
            self.snapshot = snapshot.clone();
        }
        if let Some(first) = persist.entries.first() {
            assert!(
                first.index > self.trimmed.0 && first.index <= self.last_index() + 1,
                "entries from {} cannot follow a log of {} to {}",
                first.index,
                self.first_index(),
                self.last_index()
            );
            self.entries.truncate((first.index - self.first_index()) as usize);
            self.entries.extend(persist.entries.iter().cloned());
        }
        if let Some(hard_state) = &persist.hard_state {
            self.hard_state = hard_state.clone();
        }
    }

    /// Drops what a snapshot of our own made superfluous.
    pub fn compact(&mut self, compaction: &Compaction) {
        let (index, term) = compaction.trimmed;
        assert_eq!(self.term_at(index), Some(term), "a compaction trims at an entry of the log");
        self.entries.drain(..(index - self.trimmed.0) as usize);
        self.trimmed = compaction.trimmed;
        self.snapshot = compaction.snapshot.clone();
        self.hard_state.commit = self.hard_state.commit.max(self.snapshot_index());
    }

    /// Checks the invariants that stand at the head of this file.
    ///
    /// # Errors
    /// The first one that does not hold.
    pub fn check(&self) -> Result<(), ImageError> {
        if self.is_blank() {
            return Ok(());
        }
        let metadata = self.snapshot.get_metadata();
        if metadata.index == 0 || metadata.term == 0 {
            return Err(ImageError::NoSnapshot);
        }
        check_configuration(metadata.get_conf_state())?;
        let (mut index, mut term) = self.trimmed;
        for entry in &self.entries {
            if entry.index != index + 1 {
                return Err(ImageError::Gap { expected: index + 1, found: entry.index });
            }
            index = entry.index;
            if entry.term < term || entry.term > self.hard_state.term {
                let (least, most) = (term, self.hard_state.term);
                return Err(ImageError::Term { index, term: entry.term, least, most });
            }
            term = entry.term;
        }
        if self.term_at(metadata.index) != Some(metadata.term) {
            let (first, last) = (self.first_index(), self.last_index());
            return Err(ImageError::Detached { snapshot: metadata.index, first, last });
        }
        let (commit, last) = (self.hard_state.commit, self.last_index());
        if commit > last {
            return Err(ImageError::Commit { commit, last });
        }
        Ok(())
    }
}

/// Accepts voters and learners, also in a joint configuration: a snapshot may be taken within one.
/// raft-rs asserts on the rest, so it never sees it.
pub(crate) fn check_configuration(conf_state: &ConfState) -> Result<(), ImageError> {
    let (voters, learners) = (conf_state.get_voters(), conf_state.get_learners());
    let outgoing = conf_state.get_voters_outgoing();
    let distinct = |ids: &[u64]| ids.iter().collect::<BTreeSet<_>>().len() == ids.len() && !ids.contains(&0);
    let sound = !voters.is_empty()
        && distinct(voters)
        && distinct(learners)
        && distinct(outgoing)
        && !learners.iter().any(|id| voters.contains(id) || outgoing.contains(id))
        // Nobody is demoted from voter to learner here, and joint configurations are left by an entry.
        && conf_state.get_learners_next().is_empty()
        && !conf_state.auto_leave;
    if !sound {
        return Err(ImageError::Configuration { voters: voters.to_vec(), learners: learners.to_vec() });
    }
    Ok(())
}

impl Storage for Recovered {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let conf_state = self.snapshot.get_metadata().get_conf_state().clone();
        Ok(RaftState { hard_state: self.hard_state.clone(), conf_state })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low < self.first_index() {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last_index() + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let (from, to) = (low - self.first_index(), high - self.first_index());
        let mut entries: Vec<Entry> = Vec::new();
        let most = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0;
        for entry in self.entries.range(from as usize..to as usize) {
            bytes += raft::util::entry_approximate_size(entry) as u64;
            if bytes > most && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_at(index) {
            Some(term) => Ok(term),
            None if index < self.trimmed.0 => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(Recovered::first_index(self))
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(Recovered::last_index(self))
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        // A member that is younger than the snapshot would throw it away; one is taken after each
        // change of members.
        let knows = Members::of(self.snapshot.get_metadata().get_conf_state()).holds(to);
        if self.snapshot_index() < request_index || !knows {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        Ok(self.snapshot.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the first log of another incarnation is sound, all of it is committed, and what follows its
    /// snapshot is its one entry.
    #[test]
    fn an_incarnation_begins_with_a_sound_and_committed_log() {
        let end = Position { index: 56, term: 3 };
        let first = Recovered::incarnation(&[7, 9], end, b"state".to_vec(), b"entry".to_vec());
        first.check().unwrap();
        assert_eq!((first.snapshot_index(), first.hard_state.commit), (56, 57));
        assert_eq!(first.end(), Position { index: 57, term: 3 });
        assert_eq!(first.payloads().collect::<Vec<_>>(), [(57, &b"entry"[..])]);
    }
}
