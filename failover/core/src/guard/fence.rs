//! The ladder (DESIGN §4): gate, sessions and super_read_only, SIGKILL; each rung with a deadline.

use model::{Epoch, ProcessStart, Timestamp};
use runbooks_core::{Evidence, Outcome};

use super::{DatabaseAct, Effect, Fencing, Gate, Guard, Lane, Order};
use crate::{Defect, Phase, Process};

/// Deadline of rung 1 before the next follows, microseconds: some fifty times what nft takes.
const GATE_US: u64 = 300_000;
/// Deadline of rung 2: a super_read_only that waits this long waits for an ack.
const SESSIONS_US: u64 = 500_000;
/// The same where nobody can wait for one any more: it is the number of sessions that takes its time then,
/// and a SIGKILL would cost a restart.
const SESSIONS_DRAINED_US: u64 = 2_000_000;
/// A SIGKILL is repeated after this long.
pub(super) const KILL_US: u64 = 500_000;

/// A fence of one life under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ladder {
    life: ProcessStart,
    since: Timestamp,
    killed: Option<Timestamp>,
}

impl Ladder {
    /// For how long it has been climbed, microseconds.
    pub(super) fn climbed(&self, now: Timestamp) -> u128 {
        now.since(self.since).as_micros()
    }
}

impl Guard {
    /// Through which epoch this server must be harmless, as far as the known authority says.
    fn revoked_through(&self) -> Option<Epoch> {
        let known = self.known.as_ref().filter(|_| !self.config.defects.has(Defect::ActsOnEntries))?;
        // Above the highest authority there is: it was granted in an earlier life of the cluster, by voters that
        // the present life has not heard out (incarnation-ahead.txt). Nothing will ever revoke it by its number.
        let gate = match self.gate {
            Gate::Open { epoch, .. } => Some(epoch),
            _ => None,
        };
        let opened = self.latch.opened.as_ref().map(|o| o.epoch);
        let own = self.lease.map(|l| l.epoch).max(opened).max(gate);
        if own.is_some_and(|own| own > known.epoch) {
            return own;
        }
        let anybody = self.config.defects.has(Defect::LeaseForAnybody);
        let mine = anybody || known.primary.server == self.config.server;
        match (known.phase, mine) {
            (Phase::Serving | Phase::Draining, true) => {
                // Named again, perhaps an epoch on (Abort): what came before is over all the same.
                Some(Epoch(known.epoch.0 - 1))
            }
            (Phase::Revoked | Phase::Promoting, true) => Some(Epoch(known.epoch.0 - 1)),
            (_, false) => Some(known.epoch),
        }
    }

    pub(super) fn fence_goal(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let ordered = self.orders.iter().filter_map(|w| match w.order {
            Order::Fence { epoch } => Some(epoch),
            _ => None,
        });
        let goal = ordered.chain(self.revoked_through()).max().unwrap_or(Epoch(0));
        let latches = !self.config.defects.has(Defect::FenceDoesNotLatch);
        if latches {
            if goal > self.latch.fenced_through {
                self.latch.fenced_through = goal;
                out.push(Effect::Persist(self.latch.clone()));
            }
            if self.lease.is_some_and(|l| l.epoch <= self.latch.fenced_through) {
                self.lease = None;
            }
        }
        self.climb(goal, now, out);
        self.confirm(now, out);
    }

    /// Climbs while a life that was opened at or below the goal still runs unproven.
    fn climb(&mut self, goal: Epoch, now: Timestamp, out: &mut Vec<Effect>) {
        let outlived = self.outlived(now);
        let due = self
            .may_be_writable()
            .filter(|o| outlived || (o.epoch <= goal && !self.opened_again(o.epoch)))
            .cloned();
        let Some(opened) = due else {
            self.fence = None;
            return;
        };
        let ladder = match self.fence {
            Some(l) if l.life == opened.life => l,
            _ => Ladder { life: opened.life, since: now, killed: None },
        };
        self.fence = Some(ladder);
        let climbed = ladder.climbed(now);
        let gated = self.config.fencing == Fencing::Gate;
        let shut = self.gate == Gate::Shut;
        if gated && !shut && climbed < u128::from(GATE_US) {
            return; // rung 1 is gate_goal's
        }
        let kill_again = ladder.killed.is_none_or(|at| now.since(at).as_micros() >= u128::from(KILL_US));
        // A server whose clients may wait for acks is never asked to stop: it would tell them OK. Behind
        // no gate, clients that are sent away come back at once: nothing would be proven.
        let drained = self.drained_gently(opened.life);
        let limit = if drained { SESSIONS_DRAINED_US } else { SESSIONS_US };
        let sessions_first = gated && shut && (drained || !opened.waits) && climbed < u128::from(limit);
        if sessions_first {
            self.begin_act(DatabaseAct::Fence, None, now, out);
        } else if kill_again {
            out.push(Effect::Kill(opened.life));
            self.fence = Some(Ladder { killed: Some(now), ..ladder });
        }
    }

    /// Writes were taken from everybody in this life, and none was waiting when they were: nobody is told
    /// anything by the end of a session. Not where a kill of one that waits would tell it OK.
    pub(super) fn drained_gently(&self, life: ProcessStart) -> bool {
        let gentle = self.reading.as_ref().is_some_and(|s| !s.reading.kill_releases_waiters());
        gentle && self.drained.as_ref().is_some_and(|(l, _, _)| *l == life)
    }

    /// Behind no gate nothing shuts by itself: a server that is open, or was, without the right to be
    /// has to be made harmless by the ladder's other rungs (DESIGN §4, The gate).
    fn outlived(&self, now: Timestamp) -> bool {
        let open = self.open_at(now).is_some();
        (self.config.fencing == Fencing::Ladder || self.config.defects.has(Defect::ExpiryClimbs))
            && (self.lease.is_none() || (open && !self.adopted_stands(now) && !self.gate_may_stand(now)))
    }

    /// An Abort gave this same life a newer epoch: it is opened again, not fenced.
    fn opened_again(&self, opened: Epoch) -> bool {
        self.named().is_some_and(|k| k.phase == Phase::Serving && k.epoch > opened)
            && !self.orders.iter().any(|w| matches!(w.order, Order::Fence { .. }))
    }

    /// Harmless through an epoch: the gate is proven shut, and no life that was opened at or below
    /// it can answer a client any more.
    fn harmless(&self) -> Option<String> {
        let gate = match self.config.fencing {
            Fencing::Gate if self.gate != Gate::Shut || self.gate_under_way() => return None,
            Fencing::Gate => "gate shut, ",
            Fencing::Ladder => "",
        };
        let why = match self.process {
            Process::Unseen => return None,
            Process::Gone { .. } => "process gone",
            Process::Running { .. } if self.may_be_writable().is_some() => return None,
            Process::Running { .. } => match &self.latch.opened {
                Some(o) if self.lives(o) => "read-only, no client session",
                _ => "process restarted fenced",
            },
        };
        Some(format!("{gate}{why}"))
    }

    fn confirm(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if !self.orders.iter().any(|w| matches!(w.order, Order::Fence { .. })) {
            return;
        }
        let lane_free = self.lanes[Lane::Admin as usize].is_none();
        let Some(by) = self.harmless().filter(|_| lane_free) else { return };
        let mut left = std::collections::VecDeque::new();
        for waiting in std::mem::take(&mut self.orders) {
            if matches!(waiting.order, Order::Fence { .. }) {
                let evidence = Evidence::Fenced { by: by.clone() };
                out.push(Effect::Reply { call: waiting.call, reply: Outcome::Done { evidence } });
            } else {
                left.push_back(waiting);
            }
        }
        self.orders = left;
        let _ = now;
    }
}
