//! A database that lets nobody in. While an account change waits for its ack, MySQL holds the lock of all accounts: neither a guard
//! that was restarted gets in, to switch the wait off, nor the replica whose ack is waited for. Nothing ends that but the end
//! of the process (interleaving 50).

use std::time::Duration;

use model::{ProcessStart, Timestamp};

use super::fence::KILL_US;
use super::{Effect, Guard};
use crate::{Defect, Phase};

/// New sessions are without an answer for so long before the process is ended; each had a second. In `Sync` another server
/// has been given the time to take over by then.
const PATIENCE: Duration = Duration::from_secs(8);

/// Since when nobody is let in, and when the process was ended for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unanswered {
    since: Option<Timestamp>,
    killed: Option<Timestamp>,
}

impl Guard {
    /// A new session on this life could not be had. Where it was neither let in nor refused, for long, and this server is shut
    /// though a leader that was heard a moment ago has it serve: nobody has taken over, and whoever was never read is granted no
    /// lease, so it is of no use as it is. It is started anew, which loses nothing that a client was told of. One that is open
    /// is left alone: it may be slow, and serve.
    pub(super) fn on_knocked(
        &mut self,
        life: ProcessStart,
        answered: bool,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        if self.process.start() != Some(life) {
            return;
        }
        if answered || self.open_at(now).is_some() {
            self.unanswered.since = None;
            return;
        }
        let since = *self.unanswered.since.get_or_insert(now);
        let heard = self.heard.is_some_and(|at| now.since(at) <= self.config.timing.lease);
        // Its identity is not known yet; its name is.
        let named = self.known.as_ref().filter(|k| k.primary.server == self.config.server);
        let serves = heard && named.is_some_and(|k| k.phase == Phase::Serving);
        // Without semi-sync it waits for nothing but its host.
        let waits = self.latch.opened.as_ref().is_some_and(|o| self.lives(o) && o.waits);
        let due = now.since(since) >= PATIENCE
            && self.unanswered.killed.is_none_or(|at| now.since(at) >= Duration::from_micros(KILL_US))
            && !self.config.defects.has(Defect::UnansweredForEver);
        if serves && waits && due {
            self.unanswered.killed = Some(now);
            out.push(Effect::Kill(life));
        }
    }
}
