//! Faults. Each is counted, and the bounds say how many there may be.

use crate::mutant::Mutant;
use crate::perform::Protocol;
use crate::state::{Site, State};

impl Protocol {
    /// Counts a fault; false when the bounds allow no more.
    pub(crate) fn may(&self, s: &mut State) -> bool {
        s.faults += 1;
        s.faults <= self.bounds.faults
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
        self.may(s)
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
        self.may(s)
    }

    /// A host behind a shut gate that stands still is no other than a slow one.
    pub(crate) fn pause(&self, s: &mut State, site: Site) -> bool {
        let server = &mut s[site];
        let due = !server.paused && (server.gate != 0 || server.adding != 0);
        server.paused = true;
        due && self.may(s)
    }

    pub(crate) fn wake(s: &mut State, site: Site) -> bool {
        std::mem::take(&mut s[site].paused)
    }
}
