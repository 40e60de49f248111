//! What a guard tells: of itself to every voter, and to whoever performs its effects.

use std::time::Duration;

use model::{Epoch, SyncGeneration, Timestamp};

use super::{DatabaseAct, ENDLESS, FOREVER, Fencing, Gate, Guard};
use crate::{CopyReport, GateReport, GuardReport, LatchReport, Process, Stamp};

impl Guard {
    /// Open for clients: lease held, writable, and where there is a gate, that open; all for one epoch.
    #[must_use]
    pub fn open_at(&self, now: Timestamp) -> Option<Epoch> {
        let lease = self.lease.filter(|l| l.until > now)?;
        let (epoch, life) = self.writable?;
        let gate = match self.config.fencing {
            Fencing::Gate => {
                matches!(self.gate, Gate::Open { epoch: e, until } if e == lease.epoch && until > now)
            }
            Fencing::Ladder => true,
        };
        (gate && epoch == lease.epoch && self.process.start() == Some(life)).then_some(lease.epoch)
    }

    /// What every voter is told.
    #[must_use]
    pub fn report(&self, now: Timestamp) -> GuardReport {
        let since = |at: Option<Timestamp>| at.map_or(0, |t| micros(now.since(t)).max(1));
        let process = match (self.process, self.gone_since) {
            (Process::Gone { for_us }, at) => Process::Gone { for_us: since(at).max(for_us) },
            (other, _) => other,
        };
        GuardReport {
            server: self.config.server.clone(),
            sequence: now.0,
            boot: self.config.boot.clone(),
            process,
            reading: self.reading.as_ref().map(|s| s.reading.clone()),
            reading_age_us: micros(now.since(self.reading.as_ref().map_or(self.lives_since, |s| s.at))),
            gate: match self.gate {
                _ if self.config.fencing == Fencing::Ladder => GateReport::None,
                Gate::Untouched => GateReport::Untouched,
                Gate::Shut => GateReport::Shut,
                Gate::Open { epoch, until } if until > now => {
                    GateReport::Open { epoch, left_us: micros(left(until, now)) }
                }
                _ => GateReport::Unknown,
            },
            lease_us: self.lease_left(now).map_or(0, |(_, left)| micros(left)),
            open: self.open_at(now),
            opened_ended: self.latch.opened_ended,
            latch: LatchReport {
                seen: self.latch.seen,
                fenced_through: self.latch.fenced_through,
                no_source: self.latch.no_source,
                opened: self.latch.opened.as_ref().map_or(Epoch(0), |o| o.epoch),
                g: self.latch.g,
            },
            armed: self.armed.filter(|(_, life)| self.process.start() == Some(*life)).map(|(g, _)| g),
            proven: self.proven_now(),
            marked: self.marked.clone().filter(|m| self.named().is_some_and(|k| k.epoch == m.mark.epoch)),
            drained: self.drained_now().cloned(),
            waiting_us: since(self.progress.waiting_since),
            absent_us: since(self.progress.absent_since),
            shut_us: since(self.shut_since),
            shut_because: self.shut_because.clone(),
            disk: self.disk.report(now),
            copy: self.copy.or_else(|| self.copies_anew().then_some(CopyReport::BEGUN)),
            promoted: self.shut_since.and_then(|_| self.latch.promoted.clone()),
        }
    }

    /// Its data is being replaced, or may be.
    fn copies_anew(&self) -> bool {
        self.lanes.iter().flatten().any(|doing| matches!(doing.act, DatabaseAct::Rebuild { .. }))
    }

    /// What was proven, once a reading from behind the proof tells who is attached by then.
    pub(super) fn proven_now(&self) -> Option<SyncGeneration> {
        self.proven.filter(|_| self.reading.as_ref().is_some_and(|s| s.at > self.acted_at))
    }

    /// Highest authority seen.
    #[must_use]
    pub fn seen(&self) -> Stamp {
        self.latch.seen
    }

    /// Time left of the lease.
    #[must_use]
    pub fn lease_left(&self, now: Timestamp) -> Option<(Epoch, Duration)> {
        self.lease.filter(|l| l.until > now).map(|l| (l.epoch, left(l.until, now)))
    }
}

/// What is left until then; endless stays endless.
fn left(until: Timestamp, now: Timestamp) -> Duration {
    if until == FOREVER { ENDLESS } else { until.since(now) }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}
