//! No acknowledged write is lost: whatever a client was told of is on the server that is primary at
//! the end, but for what an asynchronous failover with a confirmed fence gave up on record.

use crate::options::Invariant;
use crate::world::World;

impl World {
    /// At the end of a run.
    pub(crate) fn check_nothing_lost(&mut self) {
        let Some(primary) = self.primary_host() else { return };
        let mut missing = self.missing_from(primary);
        if self.waits_for_a_person(primary) {
            // Which of them goes on is open; what one forgot is on another one.
            for other in self.others(primary) {
                let there = self.missing_from(other);
                missing.retain(|m| there.contains(m));
            }
        }
        if let Some(first) = missing.first() {
            let known = self.truth.transactions[*first];
            let text = format!(
                "{} acknowledged writes are not on {}, the first being transaction {} of {} at {} ms",
                missing.len(),
                self.names.servers[primary],
                known.number,
                self.names.servers[known.origin],
                known.at / 1_000
            );
            self.violate(Invariant::Lost, text);
        }
    }
}
