//! One Raft replica without input or output: raft-rs, its log in memory, and a seed.
//!
//! The caller owns clock, disk and network. Its loop, for the driver and the simulator alike:
//!
//! ```text
//! tick() | step(message) | propose(data) | read_index(ctx) | …      any number of them, then
//! while let Some(work) = replica.ready() {
//!     send(work.send_before);          // a leader may send while it writes (Raft thesis 10.2.1)
//!     disk.write_and_sync(work.persist);
//!     send(work.send_after);           // answers and votes: only once they are on disk
//!     machine.restore(work.restored); machine.apply(work.committed);
//!     replica.persisted();
//! }
//! ```
//!
//! Invariants: the same configuration, image, seed and calls give the same works, bit for bit;
//! raft-rs's own random election timeout is overwritten before it can be used; nothing raft-rs
//! panics on reaches it from a peer (`admission.rs`).
//!
//! Deliberately absent: time, forwarding of proposals or reads to the leader, and who ought to be a
//! member (`membership.rs`).

mod refused;
mod work;

use std::collections::BTreeMap;

use raft::eraftpb::{ConfChangeV2, EntryType, Message, MessageType, Snapshot};
use raft::{Config, ProgressState, RawNode, ReadOnlyOption, SnapshotStatus, StateRole};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::admission::{Refused, admit};
use crate::image::{Compaction, Persist, Recovered};
use crate::membership::{MemberStep, Members, change_of, read_change};
use crate::wire::MAX_MESSAGE_BYTES;
pub use refused::{ProposeRefused, ReadRefused, ReplicaError, SnapshotRefused, StepRefused, TransferRefused};
pub use work::{Change, Committed, Position, Progress, ReplicaStatus, Role, Work};

/// Appends on their way to one follower that were not answered yet. 256 is raft-rs's own default;
/// when it is reached the follower is sent more as it answers.
const MAX_INFLIGHT_APPENDS: usize = 256;
/// Bytes of entries in one append, unless one entry alone is larger. Small beside a message, and
/// a few milliseconds on a slow link between sites.
const MAX_APPEND_BYTES: u64 = 256 * 1024;
/// Bytes of entries that one work hands out as committed, so that a long backlog is not copied
/// at once; the rest comes with the next work.
const MAX_COMMITTED_BYTES: u64 = 1024 * 1024;
/// Bytes of proposals a leader holds that are not committed; beyond it proposals are refused as
/// [`ProposeRefused::Busy`], so that a leader without followers does not fill its memory.
const MAX_UNCOMMITTED_BYTES: u64 = 16 * 1024 * 1024;
/// The largest proposal: it and its envelope must fit into one message.
pub const MAX_PROPOSAL_BYTES: usize = 1024 * 1024;
/// The largest snapshot: it and its envelope must fit into one message.
pub const MAX_SNAPSHOT_BYTES: usize = MAX_MESSAGE_BYTES - 64 * 1024;
/// Entries kept behind an own snapshot unless [`Replica::keep_entries`] says otherwise, so that a
/// follower that lags a little is sent entries and not the whole state.
pub const ENTRIES_KEPT: u64 = 1_000;
/// A snapshot not acknowledged within this many maximal election timeouts is sent again. raft-rs
/// waits for ever otherwise; ten of them carry 7 MiB over a slow link.
const SNAPSHOT_PATIENCE: u32 = 10;

/// What one replica is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// This node; not zero. It need not be a voter (then it only listens).
    pub id: u64,
    /// Ticks without a leader before an election, at least; a leader that hears no quorum for this
    /// long steps down. More than `heartbeat_ticks`.
    pub election_ticks_min: u32,
    /// Exclusive upper bound of the same; more than the minimum.
    pub election_ticks_max: u32,
    /// Ticks from one heartbeat to the next.
    pub heartbeat_ticks: u32,
    /// Voters refuse candidates of lower priority whose log is not longer. 0 for all is plain Raft.
    pub priority: i64,
}

/// See the head of this file.
pub struct Replica {
    raw: RawNode<Recovered>,
    random: StdRng,
    election_ticks: std::ops::Range<usize>,
    /// The election timeout in force, in ticks, and the term and role it was drawn for.
    timeout: usize,
    drawn_for: (u64, StateRole),
    /// What the caller was last told.
    told: Change,
    /// Ticks since a snapshot was sent, by follower.
    snapshots_sent: BTreeMap<u64, u32>,
    snapshot_patience: u32,
    /// Entries that stay behind a snapshot of our own.
    entries_kept: u64,
    /// Index of the last change of members that is applied; the snapshot's where it is older.
    members_since: u64,
    /// False only if nothing happened since `ready` last found nothing: then it need not look.
    stirred: bool,
    /// The work the caller is busy with.
    outstanding: Option<Outstanding>,
}

struct Outstanding {
    number: u64,
    applied: u64,
    changes: Vec<(u64, ConfChangeV2)>,
}

impl Replica {
    /// Starts from what was on disk. `seed` gives the election timeouts: another one for each
    /// node and start in production, the same one to replay a simulation.
    ///
    /// # Errors
    /// When configuration or image are not sound.
    pub fn new(config: &ReplicaConfig, recovered: Recovered, seed: u64) -> Result<Self, ReplicaError> {
        let id = config.id;
        let mut recovered = recovered;
        recovered.check().map_err(|source| ReplicaError::Image { id, source })?;
        // A commit index need not be synced, so what the snapshot proves may be more.
        let snapshot_index = recovered.snapshot_index();
        recovered.hard_state.commit = recovered.hard_state.commit.max(snapshot_index);
        let (min, max) = (config.election_ticks_min as usize, config.election_ticks_max as usize);
        if min >= max {
            let why = format!("election ticks from {min} to below {max} are no range");
            return Err(ReplicaError::Config { id, why });
        }
        let raft_config = raft_config(config, snapshot_index);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let config_error = |error: raft::Error| ReplicaError::Config { id, why: error.to_string() };
        raft_config.validate().map_err(config_error)?;
        let raw = RawNode::new(&raft_config, recovered, &logger).map_err(config_error)?;
        let mut random = StdRng::seed_from_u64(seed);
        let mut replica = Self {
            timeout: random.random_range(min..max),
            drawn_for: (raw.raft.term, raw.raft.state),
            told: role_of(&raw),
            random,
            election_ticks: min..max,
            snapshots_sent: BTreeMap::new(),
            snapshot_patience: config.election_ticks_max.saturating_mul(SNAPSHOT_PATIENCE),
            entries_kept: ENTRIES_KEPT,
            members_since: snapshot_index,
            stirred: true,
            outstanding: None,
            raw,
        };
        replica.settle_timeout();
        Ok(replica)
    }

    /// One tick of the caller's clock. Nearly free when nothing is due.
    pub fn tick(&mut self) {
        self.assert_idle();
        let fired = self.raw.tick();
        if !self.snapshots_sent.is_empty() {
            self.watch_snapshots();
        }
        if fired {
            // raft-rs keeps the timeout of a pre-candidate that asks again; two of them could
            // then stay in step for long.
            if self.raw.raft.state == StateRole::PreCandidate {
                self.draw_timeout();
            }
            self.settle_timeout();
            self.stirred = true;
        }
    }

    /// Takes a message from a peer.
    ///
    /// # Errors
    /// When no correct peer would have sent it; nothing changed then.
    pub fn step(&mut self, message: Message) -> Result<(), Refused> {
        self.assert_idle();
        admit(&self.raw.raft, &message)?;
        let outcome = self.raw.step(message);
        self.settle_timeout();
        self.stirred = true;
        outcome.map_err(|error| Refused::Raft(error.to_string()))
    }

    /// Appends `data` to the leader's log. It is committed when a [`Work`] hands out an entry at
    /// that index *and term*; lost when another term's entry is handed out there.
    ///
    /// # Errors
    /// When it was not appended.
    pub fn propose(&mut self, data: Vec<u8>) -> Result<Position, ProposeRefused> {
        self.assert_idle();
        let bytes = data.len();
        if bytes == 0 || bytes > MAX_PROPOSAL_BYTES {
            return Err(ProposeRefused::Size { bytes });
        }
        if self.raw.raft.state != StateRole::Leader {
            return Err(ProposeRefused::NotLeader { leader: self.leader() });
        }
        if let Some(to) = self.raw.raft.lead_transferee {
            return Err(ProposeRefused::Transferring { to });
        }
        self.raw.propose(Vec::new(), data).map_err(|_| ProposeRefused::Busy)?;
        self.stirred = true;
        Ok(Position { index: self.raw.raft.raft_log.last_index(), term: self.raw.raft.term })
    }

    /// Appends a change of members to the leader's log. It is in force, here and elsewhere, where it is
    /// applied, and [`Replica::members`] shows it.
    ///
    /// # Errors
    /// When it was not appended.
    pub fn change_members(&mut self, step: &MemberStep) -> Result<Position, StepRefused> {
        self.assert_idle();
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return Err(StepRefused::NotLeader { leader: self.leader() });
        }
        if let Some(to) = raft.lead_transferee {
            return Err(StepRefused::Transferring { to });
        }
        // raft-rs would put an empty entry in its place.
        if raft.has_pending_conf() {
            return Err(StepRefused::Pending);
        }
        self.members().admit(step).map_err(|why| StepRefused::Rule { why })?;
        self.raw.propose_conf_change(Vec::new(), change_of(step)).map_err(|_| StepRefused::Busy)?;
        self.stirred = true;
        Ok(Position { index: self.raw.raft.raft_log.last_index(), term: self.raw.raft.term })
    }

    /// The members as the applied log names them.
    #[must_use]
    pub fn members(&self) -> Members {
        Members::of(&self.raw.raft.prs().conf().to_conf_state())
    }

    /// The members changed since the last snapshot: one should be taken, since a new member can be sent
    /// no other.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        self.members_since > self.raw.store().snapshot_index()
    }

    /// Begins a Safe read round: once a quorum confirmed that this node still leads, `reads` of
    /// some work holds `context` and the index to have applied. Lost without a word when
    /// leadership is lost. `context` must never be used twice in one term: a late answer to the
    /// first use would confirm the second.
    ///
    /// # Errors
    /// When no round began.
    pub fn read_index(&mut self, context: Vec<u8>) -> Result<(), ReadRefused> {
        self.assert_idle();
        if self.raw.raft.state != StateRole::Leader {
            return Err(ReadRefused::NotLeader { leader: self.leader() });
        }
        if !self.raw.raft.commit_to_current_term() {
            return Err(ReadRefused::NotYet { term: self.raw.raft.term });
        }
        self.raw.read_index(context);
        self.stirred = true;
        Ok(())
    }

    /// Begins to hand leadership to `to`; given up after one election timeout. Proposals are
    /// refused meanwhile.
    ///
    /// # Errors
    /// When it was not begun. To hand it to oneself is no error and does nothing.
    pub fn transfer_leader(&mut self, to: u64) -> Result<(), TransferRefused> {
        self.assert_idle();
        if self.raw.raft.state != StateRole::Leader {
            return Err(TransferRefused::NotLeader { leader: self.leader() });
        }
        if !self.voters().contains(&to) {
            return Err(TransferRefused::NotVoter { to });
        }
        self.raw.transfer_leader(to);
        self.stirred = true;
        Ok(())
    }

    /// Says that the link to `peer` failed, so that the leader probes instead of sending ahead.
    pub fn peer_unreachable(&mut self, peer: u64) {
        self.assert_idle();
        self.raw.report_unreachable(peer);
        self.stirred = true;
    }

    /// Keeps this many entries behind each snapshot from now on, for followers that lag a little.
    pub fn keep_entries(&mut self, entries: u64) {
        self.entries_kept = entries;
    }

    /// Takes over a snapshot of the state machine at `index`, and trims the log.
    /// The caller writes the result to disk before anything else.
    ///
    /// # Errors
    /// When the log was left as it is.
    pub fn snapshot_taken(&mut self, index: u64, data: Vec<u8>) -> Result<Compaction, SnapshotRefused> {
        self.assert_idle();
        // Below the last change of members other ones stood than are known now.
        let least = (self.raw.store().snapshot_index() + 1).max(self.members_since);
        let most = self.raw.raft.raft_log.applied;
        if index < least || index > most {
            return Err(SnapshotRefused::Index { index, least, most });
        }
        if data.len() > MAX_SNAPSHOT_BYTES {
            return Err(SnapshotRefused::TooLong { bytes: data.len() });
        }
        let conf_state = self.raw.raft.prs().conf().to_conf_state();
        let store = self.raw.mut_store();
        let mut snapshot = Snapshot::default();
        snapshot.set_data(data.into());
        let metadata = snapshot.mut_metadata();
        metadata.index = index;
        metadata.term = store.term_at(index).expect("an applied index is in the log");
        metadata.set_conf_state(conf_state);
        let trim_to = index.saturating_sub(self.entries_kept).max(store.trimmed.0);
        let trim_term = store.term_at(trim_to).expect("what is not trimmed is in the log");
        let compaction = Compaction { snapshot, trimmed: (trim_to, trim_term) };
        store.compact(&compaction);
        Ok(compaction)
    }

    /// What is to be done, if anything. [`Replica::persisted`] must follow before any other call.
    pub fn ready(&mut self) -> Option<Work> {
        self.assert_idle();
        if !self.stirred {
            return None;
        }
        if !self.raw.has_ready() {
            self.stirred = false;
            return None;
        }
        let mut ready = self.raw.ready();
        let snapshot = ready.snapshot();
        let snapshot = (!snapshot.is_empty()).then(|| snapshot.clone());
        let persist = Persist {
            hard_state: ready.hs().cloned(),
            entries: ready.take_entries(),
            snapshot,
            must_sync: ready.must_sync(),
        };
        let mut work = Work {
            change: self.take_change(),
            send_before: ready.take_messages(),
            send_after: ready.take_persisted_messages(),
            restored: persist.snapshot.as_ref().map(|snapshot| snapshot.data.clone()),
            ..Work::default()
        };
        // raft-rs counts entries as handed out from here on, and so do we.
        let mut applied = self.raw.raft.raft_log.applied;
        if let Some(snapshot) = &persist.snapshot {
            applied = applied.max(snapshot.get_metadata().index);
        }
        let mut changes = Vec::new();
        for entry in ready.take_committed_entries() {
            applied = entry.index;
            if entry.get_entry_type() == EntryType::EntryConfChangeV2 {
                let change = read_change(&entry.data).expect("only sound changes get into the log");
                changes.push((entry.index, change));
            } else if !entry.data.is_empty() {
                let (index, term) = (entry.index, entry.term);
                work.committed.push(Committed { index, term, data: entry.data });
            }
        }
        work.applied = applied;
        work.reads =
            ready.take_read_states().into_iter().map(|state| (state.request_ctx, state.index)).collect();
        self.note_snapshots(&work.send_before);
        self.raw.mut_store().absorb(&persist);
        work.persist = persist;
        self.outstanding = Some(Outstanding { number: ready.number(), applied, changes });
        self.raw.advance_append_async(ready);
        Some(work)
    }

    /// The last work is done: persisted, sent and applied. What became possible by that (a leader's
    /// own entry counts towards its quorum, say) comes with the next [`Replica::ready`].
    pub fn persisted(&mut self) {
        let outstanding = self.outstanding.take().expect("persisted() follows ready()");
        self.raw.on_persist_ready(outstanding.number);
        for (index, change) in outstanding.changes {
            self.raw.apply_conf_change(&change).expect("a leader proposes only what fits the members");
            self.members_since = index;
            self.stirred = true;
        }
        // raft-rs lets a leader go on whose vote is gone, and asserts on its absence from the members. It was
        // elected within the joint configuration that ends here; the others elect another one.
        if self.raw.raft.state == StateRole::Leader && !self.members().votes(self.raw.raft.id) {
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
            self.settle_timeout();
        }
        self.raw.advance_apply_to(outstanding.applied);
    }

    /// Everything up to this index was handed out and acknowledged.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.raw.raft.raft_log.applied
    }

    /// Role, term and leader now.
    #[must_use]
    pub fn current(&self) -> Change {
        role_of(&self.raw)
    }

    /// The voters, ascending.
    #[must_use]
    pub fn voters(&self) -> Vec<u64> {
        let mut voters: Vec<u64> = self.raw.raft.prs().conf().voters().ids().iter().collect();
        voters.sort_unstable();
        voters
    }

    /// The durable state, as a disk should hold it when no work is outstanding (save a commit
    /// index that need not be synced).
    #[must_use]
    pub fn image(&self) -> &Recovered {
        self.raw.store()
    }

    /// Everything worth showing. Allocates on a leader; not for every tick.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        let raft = &self.raw.raft;
        let mut progress = Vec::new();
        if raft.state == StateRole::Leader {
            progress.extend(raft.prs().iter().map(|(&id, peer)| Progress {
                id,
                matched: peer.matched,
                active: peer.recent_active || id == raft.id,
                snapshot: peer.state == ProgressState::Snapshot,
            }));
            progress.sort_unstable_by_key(|peer| peer.id);
        }
        ReplicaStatus {
            id: raft.id,
            change: self.current(),
            commit: raft.raft_log.committed,
            applied: raft.raft_log.applied,
            current: self.is_current(),
            last_index: raft.raft_log.last_index(),
            last_term: raft.raft_log.last_term(),
            snapshot_index: self.raw.store().snapshot_index(),
            progress,
            members: self.members(),
        }
    }

    /// Whether it leads and has applied an entry of its own term: then its state holds everything that
    /// any earlier leader committed (Raft, section 8: the no-op at the start of a term).
    #[must_use]
    pub fn is_current(&self) -> bool {
        let raft = &self.raw.raft;
        raft.state == StateRole::Leader
            && raft.raft_log.term(raft.raft_log.applied).is_ok_and(|term| term == raft.term)
    }

    fn leader(&self) -> Option<u64> {
        self.current().leader
    }

    fn assert_idle(&self) {
        assert!(self.outstanding.is_none(), "a work must be ended by persisted() first");
    }

    fn take_change(&mut self) -> Option<Change> {
        let now = self.current();
        (now != self.told).then(|| {
            self.told = now;
            now
        })
    }

    /// raft-rs draws from the thread's own generator whenever it resets, and it resets only when
    /// term or role change; so ours replaces that before the next tick can read it.
    fn settle_timeout(&mut self) {
        let now = (self.raw.raft.term, self.raw.raft.state);
        if now != self.drawn_for {
            self.drawn_for = now;
            self.draw_timeout();
        }
        self.raw.raft.set_randomized_election_timeout(self.timeout);
    }

    fn draw_timeout(&mut self) {
        self.timeout = self.random.random_range(self.election_ticks.clone());
    }

    fn note_snapshots(&mut self, messages: &[Message]) {
        for message in messages {
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.snapshots_sent.insert(message.to, 0);
            }
        }
    }

    /// Has a snapshot that was not acknowledged in time sent again.
    fn watch_snapshots(&mut self) {
        let mut overdue = Vec::new();
        let raft = &self.raw.raft;
        let patience = self.snapshot_patience;
        self.snapshots_sent.retain(|&to, ticks| {
            *ticks += 1;
            let waiting = raft.state == StateRole::Leader
                && raft.prs().get(to).is_some_and(|peer| peer.state == ProgressState::Snapshot);
            if waiting && *ticks >= patience {
                overdue.push(to);
            }
            waiting && *ticks < patience
        });
        for to in overdue {
            self.raw.report_snapshot(to, SnapshotStatus::Failure);
            self.stirred = true;
        }
    }
}

fn role_of(raw: &RawNode<Recovered>) -> Change {
    let raft = &raw.raft;
    let leader = (raft.leader_id != raft::INVALID_ID).then_some(raft.leader_id);
    Change { leader, term: raft.term, role: raft.state.into() }
}

fn raft_config(config: &ReplicaConfig, applied: u64) -> Config {
    Config {
        id: config.id,
        election_tick: config.election_ticks_min as usize,
        min_election_tick: config.election_ticks_min as usize,
        max_election_tick: config.election_ticks_max as usize,
        heartbeat_tick: config.heartbeat_ticks as usize,
        applied,
        max_size_per_msg: MAX_APPEND_BYTES,
        max_inflight_msgs: MAX_INFLIGHT_APPENDS,
        check_quorum: true,
        pre_vote: true,
        read_only_option: ReadOnlyOption::Safe,
        priority: config.priority,
        max_uncommitted_size: MAX_UNCOMMITTED_BYTES,
        max_committed_size_per_ready: MAX_COMMITTED_BYTES,
        ..Config::default()
    }
}
