//! What the database should be like, given the authority: durability on the primary, replication on
//! the others, read-only wherever writing is not allowed. Re-derived on every input.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use model::{ACK_TIMEOUT_MS, Epoch, GtidSet, ReplicaThread, ServerUuid, SyncGeneration, Timestamp};

use super::{ActEnd, ActId, Attached, CallId, DatabaseAct, Doing, Effect, Gate, Guard, Lane, PAST_MAX};
use crate::{Acker, Authority, Defect, Drained, Durability, Phase};

/// A goal whose act failed is tried again after this long, microseconds.
const RETRY_US: u64 = 200_000;
/// Replication whose receiver ended with an error is started again after this long.
const AGAIN_US: u64 = 1_000_000;

/// Errors of an applier that end with what is around it, so that it is started again: no room (ER_DISK_FULL, ER_ERROR_ON_WRITE,
/// ER_RECORD_FILE_FULL), a lock that was held for long (ER_LOCK_WAIT_TIMEOUT), and a relay log that could not be read, by both its
/// numbers: a disk without room stops the applier with that (measured). ER_MTA_INCONSISTENT_DATA, 1756, is what is told of one that
/// was killed, as for a promotion that was called off behind it (measured: mysql_adapter `what_a_killed_applier_tells`). Any other is
/// one of the data: a person looks first.
const PASSES: [u32; 7] = [1021, 1026, 1114, 1205, 1594, 1756, 13121];
/// ER_ACCESS_DENIED_ERROR: the source does not take the channel's password.
const ACCESS_DENIED: u32 = 1045;
/// A channel that is refused is given the password again after this long: it was changed while no guard ran.
const PASSWORD_AGAIN: Duration = Duration::from_secs(10);
/// A second sentinel frees a waiter whose ack was lost on the way (research: measured).
const SENTINEL_US: u64 = 1_000_000;

impl Guard {
    pub(super) fn database_goals(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let rebuilding = self.lanes[Lane::Long as usize]
            .as_ref()
            .is_some_and(|d| matches!(d.act, DatabaseAct::Rebuild { .. }));
        if rebuilding || self.fence.is_some() {
            return;
        }
        let Some(known) = self.known.clone() else { return };
        if self.fresh(now).is_none() || self.reading.as_ref().is_some_and(|s| s.at <= self.acted_at) {
            return;
        }
        let mine = self.named().is_some();
        match known.phase {
            Phase::Serving | Phase::Draining if mine => self.primary_goals(&known, now, out),
            Phase::Serving | Phase::Draining => self.replica_goals(&known, now, out),
            Phase::Revoked | Phase::Promoting => self.moving_goals(&known, now, out),
        }
    }

    fn primary_goals(&mut self, known: &Authority, now: Timestamp, out: &mut Vec<Effect>) {
        let Some(life) = self.process.start() else { return };
        let semi = self.fresh(now).expect("the caller looked").semi_sync;
        let ackers = u32::try_from(known.acker_set.len()).unwrap_or(u32::MAX);
        let open = self.open_at(now).is_some();
        if known.phase == Phase::Draining && self.draining().is_some() && self.drained_now().is_none() {
            self.begin_act(DatabaseAct::SetReadOnly, None, now, out);
        }
        // Rung 2 ahead of the handover: nobody waits behind the drain, and nobody hears behind the gate.
        if self.answered(now)
            && self.gate == Gate::Shut
            && self.drained_gently(life)
            && self.fenced_life != Some(life)
        {
            self.begin_act(DatabaseAct::Fence, None, now, out);
        }
        match known.durability {
            Durability::Async { .. } => {
                self.armed = None;
                self.proven = None;
                if semi.source_enabled {
                    self.begin_act(DatabaseAct::DisarmSource, None, now, out);
                }
            }
            Durability::CatchUp { .. } | Durability::Sync => {
                if self.weakens_by_itself(now) {
                    self.begin_act(DatabaseAct::DisarmSource, None, now, out);
                    return;
                }
                let armed = self.armed == Some((known.g, life)) && semi.source_enabled;
                // In `CatchUp` the ackers attach first: armed without them, the next commit stalls.
                let attached = semi.clients == ackers || known.durability == Durability::Sync;
                if armed || !attached {
                    self.attached = None;
                } else {
                    self.sample(&known.acker_set, known.g, now);
                }
                let near = known.durability == Durability::Sync
                    || self.ackers_near(known, now)
                    || (attached && self.ackers_soon(known, open, now));
                // Somebody set a timeout by hand: whoever waits longer would be told OK without an ack (interleaving 51).
                let runs_out = armed
                    && self.reading.as_ref().is_some_and(|s| !s.reading.settings.waits_for_acks())
                    && !self.config.defects.has(Defect::AckTimeoutStays);
                if runs_out {
                    self.begin_act(DatabaseAct::ArmSource { count: ackers }, None, now, out);
                } else if !armed && attached && near && self.strangers_are_out() {
                    self.latch_waits(known, out);
                    self.begin_act(DatabaseAct::ArmSource { count: ackers }, None, now, out);
                } else if armed && open && self.proven != Some(known.g) {
                    self.sentinel(known, now, out);
                }
            }
        }
    }

    /// Notes what the ackers of this arming hold, once a renewal.
    fn sample(&mut self, ackers: &BTreeSet<Acker>, g: SyncGeneration, now: Timestamp) {
        let held = ackers.iter().map(|a| self.held_by(a).map_or(0, GtidSet::count)).collect();
        let attached = self.attached.take().filter(|a| a.g == g);
        let mut attached = attached.unwrap_or_else(|| Attached { g, since: now, held: VecDeque::new() });
        if attached.held.back().is_none_or(|(at, _)| now.since(*at) >= self.config.timing.renew) {
            attached.held.push_back((now, held));
            while attached.held.len() > PAST_MAX {
                attached.held.pop_front();
            }
        }
        self.attached = Some(attached);
    }

    /// An acker that receives more slowly than clients write never comes near by itself. After five renewals it is
    /// armed all the same if, at its pace of the last ones, commits wait for what it lacks for half a
    /// `sync_timeout` at most; where no client is let in nobody waits, and it is not asked for its pace.
    fn ackers_soon(&self, known: &Authority, open: bool, now: Timestamp) -> bool {
        let renew = self.config.timing.renew;
        let Some(attached) = self.attached.as_ref().filter(|a| now.since(a.since) >= renew * 5) else {
            return false;
        };
        if !open {
            return true;
        }
        let (Some((from, before)), Some((to, after))) = (attached.held.front(), attached.held.back()) else {
            return false;
        };
        let Some(executed) = self.fresh(now).map(|r| &r.gtid_executed) else { return false };
        let span = to.since(*from).as_micros();
        let limit = self.config.timing.sync_timeout.as_micros() / 2;
        known.acker_set.iter().zip(before.iter().zip(after)).all(|(acker, (before, after))| {
            let received = u128::from(after.saturating_sub(*before));
            let lacks = self.held_by(acker).map(|held| u128::from(executed.subtract(held).count()));
            lacks.is_some_and(|lacks| lacks * span <= received * limit)
        })
    }

    /// What an acker of this life holds as the leader knew it last; none while it is out of reach.
    fn held_by(&self, acker: &Acker) -> Option<&GtidSet> {
        let peer = self.peers.iter().find(|p| p.server == acker.server && p.uuid == acker.uuid)?;
        peer.reachable.then_some(&peer.held)
    }

    /// Every acker holds all that is executed here, or all that was two renewals ago: what it lacks is
    /// what is on its way. Armed before, every commit would wait until the backlog is received.
    fn ackers_near(&self, known: &Authority, now: Timestamp) -> bool {
        let ago = self.config.timing.renew * 2;
        let then = self.past.iter().rev().find(|(at, _)| now.since(*at) >= ago).map(|(_, set)| set);
        let all = self.fresh(now).map(|r| &r.gtid_executed);
        known.acker_set.iter().all(|acker| {
            let near = |held: &GtidSet| [then, all].into_iter().flatten().any(|set| held.contains(set));
            self.held_by(acker).is_some_and(near)
        })
    }

    /// From now on a client may wait for an ack: a later fence of this life goes by SIGKILL.
    fn latch_waits(&mut self, known: &Authority, out: &mut Vec<Effect>) {
        let g = known.g;
        let Some(opened) = self.latch.opened.as_mut() else { return };
        if opened.epoch == known.epoch && !(opened.waits && self.latch.g >= g) {
            opened.waits = true;
            self.latch.g = self.latch.g.max(g);
            out.push(Effect::Persist(self.latch.clone()));
        }
    }

    fn weakens_by_itself(&self, now: Timestamp) -> bool {
        let limit = self.config.timing.sync_timeout / 2;
        self.config.defects.has(Defect::WeakenBeforeCommit)
            && self.progress.waiting_since.is_some_and(|at| now.since(at) >= limit)
    }

    fn sentinel(&mut self, known: &Authority, now: Timestamp, out: &mut Vec<Effect>) {
        let lane = &mut self.lanes[Lane::Sentinel as usize];
        let again = !self.config.defects.has(Defect::OneSentinel);
        if again && lane.as_ref().is_some_and(|d| now.since(d.since).as_micros() >= u128::from(SENTINEL_US)) {
            *lane = None; // the first one's answer is not waited for any more
        }
        let act = DatabaseAct::Sentinel { epoch: known.epoch, g: known.g };
        self.begin_act(act, None, now, out);
    }

    fn replica_goals(&mut self, known: &Authority, now: Timestamp, out: &mut Vec<Effect>) {
        let reading = self.fresh(now).expect("the caller looked").clone();
        if !reading.super_read_only {
            self.begin_act(DatabaseAct::SetReadOnly, None, now, out);
            return;
        }
        if reading.semi_sync.source_enabled {
            self.begin_act(DatabaseAct::DisarmSource, None, now, out);
            return;
        }
        let life = self.process.start();
        let acker = known.acker_set.iter().any(|a| {
            a.server == self.config.server && a.uuid == reading.server_uuid && Some(a.process_start) == life
        });
        let Some(replica) = &reading.replica else { return };
        // Only a channel that was connected to this very primary before: CLONE brings along what the
        // donor had (interleaving 25).
        let joined = replica.source_uuid.as_ref() == Some(&known.primary.uuid);
        if !joined || known.epoch <= self.latch.no_source {
            return;
        }
        // One that acknowledges nothing need not sync every event that it receives: it comes near sooner.
        let synced = reading.settings.sync_relay_log == 1;
        let relaxes = synced && !acker && reading.cuts_torn_relay_logs();
        if reading.semi_sync.replica_enabled != acker || relaxes || (acker && !synced) {
            self.begin_act(DatabaseAct::ReplicaSemiSync { on: acker }, None, now, out);
            return;
        }
        if replica.io_errno == ACCESS_DENIED && self.password_due.is_none() {
            self.password_due = Some(now + PASSWORD_AGAIN);
        }
        if self.password_due.is_some_and(|due| due <= now)
            && self.begin_act(DatabaseAct::ChangePassword, None, now, out)
        {
            // What cannot be changed must not keep the receiver from being started.
            self.password_due = Some(now + PASSWORD_AGAIN);
            return;
        }
        let stopped = replica.io == ReplicaThread::Stopped || replica.sql == ReplicaThread::Stopped;
        // What ended with an error is tried again now and then, not with every reading.
        let ended = !(replica.io_error.is_empty() && replica.sql_error.is_empty());
        let due = !ended || now.since(self.acted_at).as_micros() >= u128::from(AGAIN_US);
        let passes = replica.sql_error.is_empty() || PASSES.contains(&replica.sql_errno);
        if stopped && due && passes {
            self.begin_act(DatabaseAct::StartReplica, None, now, out);
        }
    }

    /// The clock-free fence: ackers of the revoked epoch, and the candidate, receive nothing more.
    fn moving_goals(&mut self, known: &Authority, now: Timestamp, out: &mut Vec<Effect>) {
        if self.config.defects.has(Defect::AckersNotStopped) {
            return;
        }
        let concerned = known.primary.server == self.config.server
            || known.acker_set.iter().any(|a| a.server == self.config.server);
        if !concerned {
            return;
        }
        self.latch_no_source(Epoch(known.epoch.0 - 1), out);
        // From an acker, whose receiver is stopped, a candidate gathers what was acknowledged.
        let acks = |uuid: &Option<ServerUuid>| known.acker_set.iter().any(|a| Some(&a.uuid) == uuid.as_ref());
        let gathers = matches!(
            self.lanes[Lane::Long as usize].as_ref().map(|d| &d.act),
            Some(DatabaseAct::Gather { .. })
        );
        let running = self
            .fresh(now)
            .and_then(|r| r.replica.as_ref())
            .is_some_and(|r| r.io != ReplicaThread::Stopped && !acks(&r.source_uuid) && !gathers);
        if running {
            self.begin_act(DatabaseAct::StopIo, None, now, out);
        }
    }

    /// On disk before the IO threads stop, so that no reconcile loop starts them again (6).
    pub(super) fn latch_no_source(&mut self, epoch: Epoch, out: &mut Vec<Effect>) {
        if epoch > self.latch.no_source {
            self.latch.no_source = epoch;
            out.push(Effect::Persist(self.latch.clone()));
        }
    }

    /// Begins an act when its lane is free and its last failure is long enough ago.
    pub(super) fn begin_act(
        &mut self,
        act: DatabaseAct,
        call: Option<CallId>,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) -> bool {
        let lane = act.lane() as usize;
        if self.lanes[lane].is_some() || (call.is_none() && now < self.retry_at[lane]) {
            return false;
        }
        let id = ActId(self.next_act);
        self.next_act += 1;
        let life = self.process.start();
        let epoch = self.named().map(|k| k.epoch);
        self.lanes[lane] = Some(Doing { id, act: act.clone(), life, epoch, call, since: now });
        out.push(Effect::Act { id, act });
        true
    }

    pub(super) fn on_ended(&mut self, id: ActId, mut end: ActEnd, now: Timestamp, out: &mut Vec<Effect>) {
        let Some(lane) = self.lanes.iter().position(|d| d.as_ref().is_some_and(|d| d.id == id)) else {
            return;
        };
        let doing = self.lanes[lane].take().expect("its position was found");
        if lane == Lane::Admin as usize {
            self.acted_at = now;
        }
        let same_life = doing.life == self.process.start();
        let unseen = self.config.defects.has(Defect::PromotedUnseen);
        if doing.act == DatabaseAct::Promote && !same_life && !unseen {
            // What it reached was not taken down, and is its history from here on: it is asked again (interleaving 54).
            end = ActEnd::Unknown { why: "its database ended meanwhile".into() };
        }
        if matches!(doing.act, DatabaseAct::Rebuild { .. }) {
            // What was read before says nothing of the data that is there now.
            self.reading = None;
        }
        if !matches!(end, ActEnd::Done { .. }) {
            self.retry_at[lane] = now + Duration::from_micros(RETRY_US);
        } else if same_life {
            self.believe(&doing, &end, now);
            if let (DatabaseAct::Promote, ActEnd::Done { reached: Some(executed) }) = (&doing.act, &end) {
                self.latch.promoted = Some(executed.clone());
                out.push(Effect::Persist(self.latch.clone()));
            }
        }
        if let Some(call) = doing.call {
            out.push(Effect::Reply { call, reply: super::orders::reply(&doing, end) });
        }
    }

    /// What a done act lets this guard believe, for the life it was done in.
    fn believe(&mut self, doing: &Doing, end: &ActEnd, now: Timestamp) {
        let Some(life) = doing.life else { return };
        let epoch = doing.epoch;
        match &doing.act {
            DatabaseAct::Fence => self.fenced_life = Some(life),
            DatabaseAct::DropSockets => self.sockets_clear = epoch.map(|e| (e, life)),
            DatabaseAct::SetWritable { .. } => {
                self.writable = epoch.map(|e| (e, life));
            }
            DatabaseAct::SetReadOnly => {
                self.writable = None;
                if let (Some(epoch), ActEnd::Done { reached: Some(executed) }) = (epoch, end) {
                    self.drained = Some((life, Drained { epoch, executed: executed.clone() }, now));
                }
            }
            DatabaseAct::Promote | DatabaseAct::LeaveSource => self.writable = None,
            DatabaseAct::ChangePassword => self.password_due = None,
            DatabaseAct::ArmSource { .. } => {
                self.armed = self.known.as_ref().map(|k| (k.g, life));
                // The last reading is older than the arming; it must not undo it.
                if let Some(seen) = &mut self.reading {
                    seen.reading.semi_sync.source_enabled = true;
                    seen.reading.settings.semi_sync_timeout_ms = ACK_TIMEOUT_MS;
                }
            }
            DatabaseAct::DisarmSource => {
                self.armed = None;
                self.progress = super::Progress::default();
                if let Some(seen) = &mut self.reading {
                    seen.reading.semi_sync.source_enabled = false;
                }
            }
            DatabaseAct::Sentinel { g, .. } => {
                self.proven = Some(*g);
                self.proved = self.proved.max(*g);
            }
            _ => {}
        }
    }
}
