//! Renewing, and what an answer means. The lease runs from the moment the answered attempt was
//! sent, on this host's CLOCK_BOOTTIME, for T_H; never from when the answer came.

use model::Timestamp;

use super::{ATTEMPTS_MAX, Effect, FOREVER, Fencing, Guard, Lease, LeaseOnDisk, Nonce};
use crate::{Answer, Defect, Grant, Renewal};

impl Guard {
    /// Drops a lease that has run out. The kernel shuts the gate by itself; that is rung 1 and all
    /// that mere expiry does (interleaving 35).
    pub(super) fn expire(&mut self, now: Timestamp) {
        if let Some(over) = self.lease.filter(|l| l.until <= now) {
            if self.config.defects.has(Defect::NeverOpensAgain) {
                self.latch.fenced_through = over.epoch.max(self.latch.fenced_through);
            }
            self.lease = None;
        }
    }

    pub(super) fn on_answer(&mut self, answer: Answer, now: Timestamp, out: &mut Vec<Effect>) {
        let Some(index) = self.attempts.iter().position(|(n, _)| *n == answer.nonce) else { return };
        let (_, sent) = self.attempts[index];
        // Attempts sent before the answered one are settled by it too: a later answer to one of them
        // could only shorten what is known.
        self.attempts.drain(..=index);
        self.next_renewal = self.next_renewal.max(sent + self.config.timing.renew);
        let Some(authority) = answer.authority else { return };
        self.heard = self.heard.max(Some(sent));
        let stamp = authority.stamp();
        let (epoch, leases) = (authority.epoch, authority.leases);
        self.learn(authority, now, out);
        if self.refuses(stamp) {
            return;
        }
        self.peers = answer.peers;
        if answer.grant != Grant::Held || epoch <= self.latch.fenced_through {
            return;
        }
        // An endless lease is a promise without a date: it ends with a fence, or with this boot of the host.
        let from = if self.config.defects.has(Defect::LeaseFromTheAnswer) { now } else { sent };
        let timed = leases.is_timed() || self.config.defects.has(Defect::EndlessLeasesExpire);
        let until = if timed { from + self.config.timing.lease } else { FOREVER };
        if until > now && self.lease.is_none_or(|l| l.epoch < epoch || l.until < until) {
            self.lease = Some(Lease { epoch, until });
            // What the kernel's timeout does not carry across a restart of this guard is kept on disk.
            if self.config.fencing == Fencing::Ladder || until == FOREVER {
                let boot = self.config.boot.clone();
                self.latch.lease = Some(LeaseOnDisk { epoch, until, boot });
                out.push(Effect::Persist(self.latch.clone()));
            }
        }
    }

    /// Sends an attempt when one is due: every `renew`, and every tick while none was answered.
    pub(super) fn renew(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if now < self.next_renewal {
            return;
        }
        self.next_renewal = now + self.config.timing.tick;
        let nonce = Nonce(self.next_nonce);
        self.next_nonce = self.next_nonce.wrapping_add(1);
        if self.attempts.len() == ATTEMPTS_MAX {
            self.attempts.pop_front();
        }
        self.attempts.push_back((nonce, now));
        let uuid = self.reading.as_ref().map(|s| s.reading.server_uuid.clone());
        let epoch = self.wanted_epoch(now);
        out.push(Effect::Renew(Box::new(Renewal {
            group: self.config.group.clone(),
            nonce,
            uuid,
            epoch,
            report: self.report(now),
        })));
    }

    /// The epoch to ask for: only a server whose process runs may hold a lease, and never one at or
    /// below the fence.
    fn wanted_epoch(&self, now: Timestamp) -> Option<model::Epoch> {
        self.process.start()?;
        let epoch = match (self.named(), &self.known) {
            (Some(known), _) if known.phase.grants() => known.epoch,
            (None, None) => self.lease.filter(|l| l.until > now)?.epoch,
            _ => return None,
        };
        (epoch > self.latch.fenced_through).then_some(epoch)
    }
}
