//! The one rule to open (DESIGN §4): phase `Serving`, this server is primary, lease held, no
//! reachable replica holds what it lacks, and in `Sync` semi-sync armed and its gtid_executed on
//! every acker; then, and only then, read_only off and the gate.

use model::{DatabaseReading, ReplicaThread, ServerUuid, Timestamp};

use super::{DatabaseAct, ENDLESS, Effect, FOREVER, Fencing, Gate, GateAct, Guard, Opened};
use crate::report::of_its_history;
use crate::{Authority, Defect, Durability, Phase};

/// What was committed before the writes were taken from everybody has been answered within this time,
/// microseconds: some ten round trips. The gate shuts then, sessions are ended behind it, and the fence of
/// the handover finds both done.
const ANSWERS_US: u64 = 30_000;

impl Guard {
    pub(super) fn open_goal(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let verdict = self.may_open(now);
        let holds = self.lease.is_some();
        match verdict {
            Ok(()) => {}
            Err(why) => {
                self.prepare(now, out);
                if holds || self.named().is_some_and(|k| k.phase == Phase::Serving) {
                    self.shut_since.get_or_insert(now);
                    self.shut_because = Some(why);
                } else {
                    self.shut_since = None;
                    self.shut_because = None;
                }
                return;
            }
        }
        if self.open_at(now).is_some() {
            self.shut_since = None;
            self.shut_because = None;
            return;
        }
        self.shut_since.get_or_insert(now);
        self.shut_because = Some("it is being opened".into());
        self.open_steps(now, out);
    }

    /// What opening needs and may be done before: a candidate's gate is shut, and old sockets go while it is
    /// still being promoted.
    fn prepare(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let Some(authority) = self.named().filter(|k| !k.phase.grants()) else { return };
        let Some(life) = self.process.start() else { return };
        let opening = (authority.epoch, life);
        let shut = self.config.fencing == Fencing::Gate
            && self.gate == Gate::Shut
            && !self.gate_busy
            && !self.config.defects.has(Defect::OldSocketsStay);
        let receives =
            self.fresh(now).and_then(|r| r.replica.as_ref()).is_some_and(|r| r.io != ReplicaThread::Stopped);
        if shut && !receives && self.fence.is_none() && self.sockets_clear != Some(opening) {
            self.begin_act(DatabaseAct::DropSockets, None, now, out);
        }
    }

    /// What is missing, first thing first.
    fn may_open(&self, now: Timestamp) -> Result<(), String> {
        let Some(authority) = self.named() else { return Err("it is not the named primary".into()) };
        let drains =
            authority.phase == Phase::Draining && self.config.defects.has(Defect::OpensWhileDraining);
        if authority.phase != Phase::Serving && !drains {
            return Err(format!("the group is {}", authority.phase));
        }
        if authority.epoch <= self.latch.fenced_through {
            return Err(format!("it is fenced through epoch {}", self.latch.fenced_through));
        }
        if !self.lease.is_some_and(|l| l.epoch == authority.epoch && l.until > now) {
            return Err("it holds no lease".into());
        }
        let Some(life) = self.process.start() else { return Err("its database does not run".into()) };
        if self.open_at(now).is_some() {
            return self.still_armed(authority, life);
        }
        let Some(reading) = self.fresh(now) else {
            return Err("its database has not answered lately".into());
        };
        if self.config.defects.has(Defect::OpenWithoutCoverage) {
            return Ok(());
        }
        // A replica that is silent now held it when it was last heard: it counts until it is heard again.
        // What this very life wrote and has not committed yet is in its binary log: on its way, not lost.
        let wrote = self.latch.opened.as_ref().is_some_and(|o| o.life == life && o.boot == self.config.boot);
        let less = self.config.defects.has(Defect::OpensWithLess);
        for peer in self.peers.iter().filter(|p| p.replica && !less) {
            let lacks = peer.held.subtract(&reading.gtid_executed);
            let shut = self.config.defects.has(Defect::BesideHoldsShut);
            let promoted = self.latch.promoted.as_ref().filter(|_| !shut);
            let mut lacks = of_its_history(lacks, &reading.server_uuid, promoted);
            if wrote {
                lacks = lacks.subtract(&lacks.of(&reading.server_uuid));
            }
            if !lacks.is_empty() {
                return Err(format!("{} holds {lacks}, which is missing here", peer.server));
            }
        }
        let armed = self.armed == Some((authority.g, life));
        // A switchover opens in `CatchUp`: its first write waits for the former primary's ack already.
        let first = self.latch.opened.as_ref().is_none_or(|o| o.epoch < authority.epoch);
        if matches!(authority.durability, Durability::CatchUp { .. }) && first && !armed {
            return Err("semi-sync is not armed for the first write yet".into());
        }
        if self.may_be_sync(authority) {
            if !armed {
                return Err("semi-sync is not armed".into());
            }
            if let Some(why) = self.uncovered(authority, reading) {
                return Err(why);
            }
        }
        Ok(())
    }

    /// An acker that does not hold everything of this reading, as far as the leader knows.
    fn uncovered(&self, authority: &Authority, reading: &DatabaseReading) -> Option<String> {
        authority.acker_set.iter().find_map(|acker| {
            let fact = self.peers.iter().find(|p| {
                p.server == acker.server && p.reachable && p.process_start == Some(acker.process_start)
            });
            match fact {
                None => Some(format!("acker {} is not heard", acker.server)),
                Some(peer) if peer.held.contains(&reading.gtid_executed) => None,
                Some(_) => Some(format!("acker {} does not hold everything yet", acker.server)),
            }
        })
    }

    /// It is shut in `Sync` for what an acker lacks. One that is attached and takes nothing in, since its disk is full, or
    /// whose guard is gone, would keep the group shut for as long as that lasts: nobody gets in, so no commit waits.
    /// Without a lease nothing that is known of the ackers is fresh, and they are not counted.
    pub(super) fn waits_for_cover(&self, reading: &DatabaseReading, now: Timestamp) -> bool {
        let counted = !self.config.defects.has(Defect::DeafAckerUncounted);
        let named = self.named().filter(|k| counted && k.phase == Phase::Serving && self.may_be_sync(k));
        named.is_some_and(|k| {
            self.lease.is_some_and(|l| l.epoch == k.epoch && l.until > now)
                && self.open_at(now).is_none()
                && self.uncovered(k, reading).is_some()
        })
    }

    /// `Sync`, or a `CatchUp` whose proof the leader was told of: the answer that says that `Sync` is committed may be
    /// lost, and this database has restarted meanwhile (docs/design/0021).
    fn may_be_sync(&self, authority: &Authority) -> bool {
        match authority.durability {
            Durability::Sync => true,
            Durability::CatchUp { .. } if self.config.defects.has(Defect::OpensUnheard) => false,
            Durability::CatchUp { .. } => self.proved >= authority.g,
            Durability::Async { .. } => false,
        }
    }

    /// While open in `Sync`, the source side must stay armed.
    fn still_armed(&self, authority: &Authority, life: model::ProcessStart) -> Result<(), String> {
        let lost = authority.durability == Durability::Sync
            && self.armed.is_some_and(|(_, l)| l == life)
            && self.reading.as_ref().is_some_and(|s| s.life == life && !s.reading.semi_sync.source_enabled);
        if lost && !self.config.defects.has(Defect::WeakenBeforeCommit) {
            return Err("semi-sync was switched off".into());
        }
        Ok(())
    }

    /// Sockets of earlier lives gone, intent on disk, writable, gate: in this order.
    fn open_steps(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let authority = self.named().expect("may_open holds").clone();
        let life = self.process.start().expect("may_open holds");
        let epoch = authority.epoch;
        let opening = (epoch, life);
        // A live primary that was never gated is adopted as it is: its clients' sockets are its own.
        let first = self.gate == Gate::Untouched && self.opened_is_none_or(epoch, life);
        let stay = self.config.defects.has(Defect::OldSocketsStay);
        if self.sockets_clear != Some(opening) && !first && !stay {
            // Answers queued in the kernel outlive epoch and process; the gate must be shut while
            // they are destroyed, so that none slips out.
            let shut = self.gate == Gate::Shut && !self.gate_busy;
            if shut || self.config.fencing == Fencing::Ladder {
                self.begin_act(DatabaseAct::DropSockets, None, now, out);
            }
            return;
        }
        if self.leave_source(now, out) {
            self.shut_because = Some("it is taken off its source".into());
            return;
        }
        if !self.watched() {
            self.shut_because = Some("its watchdog is not armed".into());
            self.arm_watchdog(now, out);
            return;
        }
        // Once armed, a client may be waiting for an ack, whatever the durability is called yet. Where a
        // kill of its session would tell it OK, the ladder's second rung is never taken.
        let gentle = self.reading.as_ref().is_some_and(|s| !s.reading.kill_releases_waiters());
        let waits =
            !matches!(authority.durability, Durability::Async { .. }) || self.armed.is_some() || !gentle;
        let latched = self.latch.opened.as_ref().is_some_and(|o| {
            o.epoch == epoch && o.life == life && o.boot == self.config.boot && (o.waits || !waits)
        });
        if !latched {
            let boot = self.config.boot.clone();
            self.latch.opened = Some(Opened { epoch, life, boot, waits });
            self.latch.opened_ended = None;
            if !self.config.defects.has(Defect::OpensBeforeIntent) {
                out.push(Effect::Persist(self.latch.clone()));
            }
        }
        // A mark waits for its ack as any commit does: what nobody will acknowledge is disarmed first.
        let disarm = matches!(authority.durability, Durability::Async { .. })
            && self.reading.as_ref().is_some_and(|s| s.reading.semi_sync.source_enabled);
        if self.writable != Some(opening) && !disarm {
            self.marked = None;
            // From here on it may be writable and somebody wait for an ack, whatever becomes of the act: no fence of
            // this life before says anything any more (interleaving 53).
            self.drained = None;
            if !self.config.defects.has(Defect::FencedBefore) {
                self.fenced_life = None;
            }
            let kine = authority.kine;
            self.begin_act(DatabaseAct::SetWritable { epoch, life, kine }, None, now, out);
        }
        // The gate itself is asserted by gate_goal once the server is writable.
    }

    /// A switchover that was called off late may have left the primary a replica of its candidate.
    fn leave_source(&mut self, now: Timestamp, out: &mut Vec<Effect>) -> bool {
        let Some(replica) = self.reading.as_ref().and_then(|s| s.reading.replica.as_ref()) else {
            return false;
        };
        // A channel that never got through to its source has no identity yet: that of a candidate that died meanwhile.
        let peer = |uuid: &ServerUuid| self.peers.iter().any(|p| p.uuid == *uuid);
        let ours = replica.source_uuid.as_ref().is_none_or(peer);
        // One that was found writable is adopted as it is.
        if !ours || self.latch.opened.is_none() {
            return false;
        }
        self.begin_act(DatabaseAct::LeaveSource, None, now, out);
        true
    }

    /// What the gate should be, and the act that makes it so. One act at a time; a shut that comes
    /// while an open is under way waits for it to be over, so nothing lands behind a fence.
    pub(super) fn gate_goal(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if self.config.fencing == Fencing::Ladder {
            // No gate to set; what is remembered is that the first opening is behind it.
            if !(self.known.is_none() || self.to_be_adopted()) {
                self.gate = Gate::Shut;
            }
            return;
        }
        if self.gate_under_way() || now < self.gate_retry {
            return;
        }
        if let Gate::Open { until, .. } = self.gate
            && until <= now
        {
            self.gate = Gate::Unknown;
        }
        if self.adopted_stands(now) {
            return;
        }
        self.bars_goal(out);
        let barred = self.bars_stand();
        let open_for = self.lease.filter(|l| {
            let writable = self.writable == self.process.start().map(|life| (l.epoch, life));
            let stays = self.draining().is_some_and(|k| k.epoch == l.epoch);
            (writable || stays) && self.fence.is_none() && self.gate_may_stand(now)
        });
        match open_for {
            Some(lease) => {
                let extended = match self.gate {
                    Gate::Open { epoch, until } => {
                        // Before a leader was heard it is not known who passes, and the kernel still does.
                        let again = lease.until == FOREVER && now >= self.gate_again && self.known.is_some();
                        epoch == lease.epoch && until >= lease.until && !again && barred
                    }
                    _ => false,
                };
                // Performed behind a write it would come late and outlive the lease, whose rest is counted
                // from now: the next input opens.
                let behind_a_write = out.iter().any(|e| matches!(e, Effect::Persist(_)));
                if !extended && !behind_a_write {
                    let left = if lease.until == FOREVER { ENDLESS } else { lease.until.since(now) };
                    self.gate_busy = true;
                    self.gate_asked = Some(lease.until);
                    out.push(Effect::Gate(GateAct::Open { epoch: lease.epoch, left }));
                }
            }
            None => {
                let leave = match self.gate {
                    // Asserted again now and then: flushed rules would let everybody in (interleaving 38).
                    Gate::Shut => now < self.gate_again && barred,
                    // Never adopted, and nobody said that it must be harmless.
                    Gate::Untouched => self.known.is_none() || self.to_be_adopted(),
                    _ => false,
                };
                if !leave {
                    self.gate_busy = true;
                    self.gate_asked = None;
                    out.push(Effect::Gate(GateAct::Shut));
                }
            }
        }
    }

    /// A guard that restarted keeps the gate that it found until it has looked at its database and
    /// heard who may write: the lease it stands for was granted, and bounds it.
    pub(super) fn adopted_stands(&self, now: Timestamp) -> bool {
        let (epoch, until) = match (self.config.fencing, self.gate, self.lease) {
            (Fencing::Gate, Gate::Open { epoch, until }, _) => (epoch, until),
            (Fencing::Ladder, _, Some(lease)) => (lease.epoch, lease.until),
            _ => return false,
        };
        let leased = until > now && self.lease.is_some_and(|l| l.epoch == epoch && l.until > now);
        let blind = matches!(self.process, crate::Process::Unseen) || self.reading.is_none();
        let ours = self
            .known
            .as_ref()
            .is_none_or(|k| k.primary.server == self.config.server && k.epoch == epoch && k.phase.grants());
        let same_life = match self.process {
            crate::Process::Unseen => true,
            crate::Process::Gone { .. } => false,
            crate::Process::Running { start } => self.writable == Some((epoch, start)),
        };
        leased && blind && ours && same_life && self.fence.is_none()
    }

    /// A live primary that was never gated is opened in one step, without a pause.
    fn to_be_adopted(&self) -> bool {
        self.known.as_ref().is_some_and(|k| {
            let mine = k.primary.server == self.config.server && k.phase.grants();
            mine && self.process.start().is_none_or(|life| self.opened_is_none_or(k.epoch, life))
        })
    }

    /// It was never opened, or the opening under way is this very one.
    fn opened_is_none_or(&self, epoch: model::Epoch, life: model::ProcessStart) -> bool {
        self.latch
            .opened
            .as_ref()
            .is_none_or(|o| o.epoch == epoch && o.life == life && o.boot == self.config.boot)
    }

    /// It is drained, and whoever had committed before has been told so.
    pub(super) fn answered(&self, now: Timestamp) -> bool {
        let over = |at: Timestamp| now.since(at).as_micros() >= u128::from(ANSWERS_US);
        self.drained_now().is_some() && self.drained.as_ref().is_some_and(|(_, _, at)| over(*at))
    }

    /// The gate of a server that is open stays open only while the rule holds.
    pub(super) fn gate_may_stand(&self, now: Timestamp) -> bool {
        match self.known.as_ref().map(|k| k.phase) {
            // For the answers on their way, and no longer; what is shut stays shut.
            Some(Phase::Draining) => {
                let answered = self.answered(now);
                self.draining().is_some_and(|k| match self.config.fencing {
                    Fencing::Gate if answered => false,
                    Fencing::Gate => {
                        matches!(self.gate, Gate::Open { epoch, until } if epoch == k.epoch && until > now)
                    }
                    Fencing::Ladder => true,
                })
            }
            Some(_) => self.may_open(now).is_ok(),
            None => true,
        }
    }

    /// An act on the gate is under way, and whoever shuts it waits for that to be over.
    pub(super) fn gate_under_way(&self) -> bool {
        let fences = self.lease.is_none() && self.gate_asked.is_some();
        self.gate_busy && !(fences && self.config.defects.has(Defect::OpenBehindFence))
    }

    pub(super) fn on_gate(&mut self, read: super::GateRead, now: Timestamp) {
        self.gate_busy = false;
        if matches!(read, super::GateRead::Shut | super::GateRead::Open { .. }) {
            self.bars_are_set();
        }
        self.gate = match read {
            super::GateRead::Shut => {
                self.gate_again = now + self.config.timing.lease;
                Gate::Shut
            }
            super::GateRead::Open { epoch, left } => {
                let until =
                    self.gate_asked.unwrap_or(now + left).min(now + left.max(self.config.timing.lease));
                self.gate_again = now + self.config.timing.lease;
                Gate::Open { epoch, until }
            }
            super::GateRead::Absent | super::GateRead::Failed => {
                self.gate_retry = now + self.config.timing.tick;
                Gate::Unknown
            }
        };
    }
}
