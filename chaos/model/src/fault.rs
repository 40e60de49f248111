//! Faults. Each is counted, and the bounds say how many there may be.

use crate::bounds::Fault;
use crate::mutant::Mutant;
use crate::perform::Protocol;
use crate::state::{Site, State};

impl Protocol {
    /// Counts a fault; false when the bounds allow no more.
    pub(crate) fn may(&self, s: &mut State, fault: Fault) -> bool {
        let kind = fault as usize;
        if s.faults[kind] >= self.bounds.each[kind] || s.faults.iter().sum::<u8>() >= self.bounds.faults {
            return false;
        }
        s.faults[kind] += 1;
        true
    }

    /// A crash, which tells nobody anything; a graceful shutdown would tell whoever waits (interleaving 7).
    pub(crate) fn crash(&self, s: &mut State, site: Site) -> bool {
        let server = &mut s[site];
        if !server.up || server.paused {
            return false;
        }
        let released =
            if self.lacks(Mutant::StopsGracefully) && server.gate != 0 { server.waiting } else { 0 };
        server.dies();
        s.told |= released;
        self.may(s, Fault::Crash)
    }

    /// The host goes, and comes back: gate shut from boot, the lease was of another boot, and all that the
    /// guard knows is on its disk.
    pub(crate) fn reboot(&self, s: &mut State, site: Site) -> bool {
        let server = &mut s[site];
        server.dies();
        server.shut();
        server.adding = 0;
        server.lease = 0;
        server.known = None;
        server.paused = false;
        self.may(s, Fault::Reboot)
    }

    pub(crate) fn pause(&self, s: &mut State, site: Site) -> bool {
        let due = !s[site].paused;
        s[site].paused = true;
        due && self.may(s, Fault::Pause)
    }

    pub(crate) fn wake(s: &mut State, site: Site) -> bool {
        std::mem::take(&mut s[site].paused)
    }
}
