//! I6: servers boot fenced. A server takes writes only after its guard wrote down that it opens this
//! very life of it.

use crate::options::Invariant;
use crate::world::World;

impl World {
    /// A server has booted.
    pub(crate) fn check_boots_fenced(&mut self, h: usize) {
        if self.hosts[h].mysql.life.as_ref().is_some_and(|l| !l.read_only) {
            let text = format!("{} boots writable", self.names.servers[h]);
            self.violate(Invariant::I6, text);
        }
    }

    /// A server was made writable.
    pub(crate) fn check_writable(&mut self, h: usize) {
        let host = &self.hosts[h];
        let start = host.mysql.life.as_ref().map(|l| l.start);
        let opened = host.latch.as_ref().and_then(|l| l.opened.as_ref()).map(|o| o.life);
        if opened.is_none() || opened != start {
            let text = format!(
                "{} was made writable in a life that was not opened on record",
                self.names.servers[h]
            );
            self.violate(Invariant::I6, text);
        }
    }
}
