//! Orders of the executor: refused when an older authority stands behind them, idempotent otherwise.

use model::Timestamp;
use runbooks_core::{Evidence, Outcome};

use super::{ActEnd, CallId, DatabaseAct, Doing, Effect, Guard, ORDERS_MAX, Order, Waiting};
use crate::{Authority, Defect, Phase, Process};

impl Guard {
    pub(super) fn on_order(
        &mut self,
        call: CallId,
        authority: Authority,
        order: Order,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let refuse = |out: &mut Vec<Effect>, why: String| {
            out.push(Effect::Reply { call, reply: Outcome::Refused { why } });
        };
        if self.refuses(authority.stamp()) {
            let seen = self.latch.seen;
            return refuse(
                out,
                format!("this guard has seen version {} of epoch {}", seen.version, seen.epoch),
            );
        }
        if self.orders.len() >= ORDERS_MAX {
            let why = format!("{ORDERS_MAX} orders wait already");
            out.push(Effect::Reply { call, reply: Outcome::Failed { why } });
            return;
        }
        let epoch = authority.epoch;
        let forgets =
            self.config.defects.has(Defect::FenceDoesNotLatch) && matches!(order, Order::Fence { .. });
        if !forgets {
            self.learn(authority, now, out);
        }
        if let Err(why) = self.permitted(&order, epoch) {
            return refuse(out, why);
        }
        if let Order::StopIo { no_source } = order {
            if self.config.defects.has(Defect::AckersNotStopped) {
                out.push(Effect::Reply { call, reply: Outcome::done("a defect says so") });
                return;
            }
            self.latch_no_source(no_source, out);
        }
        self.orders.push_back(Waiting { call, order, epoch });
    }

    /// Whether the authority that stands lets this server do it.
    fn permitted(&self, order: &Order, epoch: model::Epoch) -> Result<(), String> {
        let Some(known) = &self.known else { return Err("no authority is known".into()) };
        let mine = known.primary.server == self.config.server;
        match order {
            // FENCE(E) follows REVOKE(E): whoever orders it shows an authority beyond E.
            Order::Fence { epoch: fenced } if *fenced >= epoch => {
                Err(format!("epoch {fenced} is not revoked by epoch {epoch}"))
            }
            // Named again an epoch on (Abort): what it held before is over, and it may open.
            Order::Fence { epoch: fenced } if mine && known.phase.grants() => {
                Err(format!("epoch {} was granted to this server after {fenced} was revoked", known.epoch))
            }
            Order::StopIo { no_source } if *no_source >= epoch => {
                Err(format!("epoch {no_source} is not revoked by epoch {epoch}"))
            }
            Order::Promote { epoch: promoted } => {
                let right = mine && known.epoch == *promoted && known.phase == Phase::Promoting;
                let fenced = self.latch.fenced_through;
                if right && fenced >= *promoted {
                    // An earlier life of the cluster went further than the log that this one goes on from. It would
                    // never open at this epoch; called off, the next move is to a later one.
                    return Err(format!(
                        "it is fenced through epoch {fenced}, and would never open at {promoted}"
                    ));
                }
                if right { Ok(()) } else { Err(format!("it is not being promoted at epoch {promoted}")) }
            }
            // Not while it is being promoted already: from then on it has a history of its own.
            Order::Gather { source, .. } => {
                let acks = known.acker_set.iter().any(|a| a.server == *source);
                let right = mine && known.phase == Phase::Revoked && acks;
                if right { Ok(()) } else { Err(format!("it is not to take over with what {source} holds")) }
            }
            // In a switchover, before the new primary opens.
            Order::Rejoin { acks: true, .. } if !mine && !known.phase.grants() => Ok(()),
            Order::SaveExtra { .. } | Order::Rebuild { .. } | Order::Rejoin { .. } => {
                if mine || known.phase != Phase::Serving {
                    return Err("only a server that is not the primary of a serving group comes back".into());
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Begins what can begin. Fence orders are answered by the ladder, not here.
    pub(super) fn start_orders(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let mut left = std::collections::VecDeque::new();
        while let Some(waiting) = self.orders.pop_front() {
            if !self.start_order(&waiting, now, out) {
                left.push_back(waiting);
            }
        }
        self.orders = left;
    }

    fn start_order(&mut self, waiting: &Waiting, now: Timestamp, out: &mut Vec<Effect>) -> bool {
        // What was right when it was ordered may be wrong when its lane is free at last.
        if let Err(why) = self.permitted(&waiting.order, waiting.epoch) {
            out.push(Effect::Reply { call: waiting.call, reply: Outcome::Refused { why } });
            return true;
        }
        let gone = matches!(self.process, Process::Gone { .. });
        let unseen =
            matches!(self.process, Process::Unseen) && !self.config.defects.has(Defect::PromotedUnseen);
        let act = match &waiting.order {
            Order::Fence { .. } => return false,
            // A server comes back when it answers again: after a clone it takes its time to stop and to
            // start. The order waits for that, and its caller's deadline bounds the wait.
            Order::Rejoin { .. } if gone || self.fresh(now).is_none() => return false,
            Order::StopIo { .. } if gone => {
                // It boots with skip_replica_start, and the latch keeps the threads down.
                let reply = Outcome::done("no process, and none will receive");
                out.push(Effect::Reply { call: waiting.call, reply });
                return true;
            }
            Order::Rebuild { .. } if gone || self.fresh(now).is_none() => {
                // It may be down because a clone ended it. What it has must be looked at before anybody
                // copies again, so the answer is one that asks for the verify reading.
                let why =
                    "its database has not been read in this life, which a rebuild may have begun".into();
                out.push(Effect::Reply { call: waiting.call, reply: Outcome::Unknown { why } });
                return true;
            }
            _ if gone => {
                let reply = Outcome::Failed { why: "its database does not run".into() };
                out.push(Effect::Reply { call: waiting.call, reply });
                return true;
            }
            Order::StopIo { .. } => DatabaseAct::StopIo,
            // What ends belongs to a life, and nothing is believed of an act that was begun in none: a guard that was just
            // started looks first. That takes a tick (interleaving 54).
            _ if unseen => return false,
            Order::Drain { life: Some(life) }
                if self.process.start() != Some(*life)
                    && !self.config.defects.has(Defect::ForgottenRelayDrains) =>
            {
                let Some(reading) = self.fresh(now) else { return false };
                if reading.restart_drops_relay_log() {
                    let why = "its database restarted since it was proven, and forgot with that what it had \
                               acknowledged and not applied";
                    out.push(Effect::Reply {
                        call: waiting.call,
                        reply: Outcome::Refused { why: why.into() },
                    });
                    return true;
                }
                DatabaseAct::Drain
            }
            Order::Drain { .. } => DatabaseAct::Drain,
            Order::Gather { source, gtid } => {
                // What it held when it was last heard, it holds.
                let heard = self.peers.iter().find(|p| p.server == *source).map(|p| &p.held);
                let gtid = heard.map_or_else(|| gtid.clone(), |held| gtid.union(held));
                DatabaseAct::Gather { source: source.clone(), gtid }
            }
            Order::Promote { .. } => {
                self.forget_promotion(out);
                DatabaseAct::Promote
            }
            Order::SaveExtra { extra } => DatabaseAct::SaveExtra { extra: extra.clone() },
            Order::Rebuild { donor } => DatabaseAct::Rebuild { donor: donor.clone() },
            Order::Rejoin { source, acks } => DatabaseAct::Rejoin { source: source.clone(), acks: *acks },
        };
        self.join_act(&act, waiting.call, out) || self.begin_act(act, Some(waiting.call), now, out)
    }

    /// What an earlier promotion left behind says nothing about the one to come.
    fn forget_promotion(&mut self, out: &mut Vec<Effect>) {
        if self.latch.promoted.take().is_some() {
            out.push(Effect::Persist(self.latch.clone()));
        }
    }

    /// What is asked for is under way already: whoever asked before has given up on the answer (it
    /// was lost, or a leader was), and the newer caller gets it.
    fn join_act(&mut self, act: &DatabaseAct, call: CallId, out: &mut Vec<Effect>) -> bool {
        let same = |doing: &DatabaseAct| match (doing, act) {
            // What its source is known to hold may have grown with the news of it.
            (DatabaseAct::Gather { source: a, .. }, DatabaseAct::Gather { source: b, .. }) => a == b,
            (doing, act) => doing == act,
        };
        let Some(doing) = self.lanes[act.lane() as usize].as_mut().filter(|d| same(&d.act)) else {
            return false;
        };
        if let Some(before) = doing.call.replace(call) {
            let reply = Outcome::Unknown { why: "it was asked for again".into() };
            out.push(Effect::Reply { call: before, reply });
        }
        true
    }
}

/// What the executor is told of an act's end.
pub(super) fn reply(doing: &Doing, end: ActEnd) -> Outcome {
    match end {
        ActEnd::Done { reached: Some(gtid) } => Outcome::Done { evidence: Evidence::Reached { gtid } },
        ActEnd::Done { reached: None } => Outcome::done(doing.act.done()),
        ActEnd::Failed { why } => Outcome::Failed { why },
        ActEnd::Unknown { why } => Outcome::Unknown { why },
    }
}
