//! How messages between processes of ours travel: directly, or one hop through the third site.

use crate::event::{Event, Message};
use crate::options::Mutant;
use crate::place::{Endpoint, MS, NODES, SECOND, place_of};
use crate::world::World;

impl World {
    /// A message sent now would have a way, as far as its sender knows.
    pub(crate) fn reachable(&self, from: Endpoint, to: Endpoint) -> bool {
        let runs =
            if to < NODES { self.nodes[to].run.is_some() } else { self.hosts[to - NODES].guard.is_some() };
        let (a, b) = (place_of(from), place_of(to));
        let through = |c: usize| self.net.believed(a, c, self.now) && self.net.believed(c, b, self.now);
        runs && (a == b || self.net.believed(a, b, self.now) || self.relay(a, b, to).is_some_and(through))
    }

    /// The third site, when one of its nodes can pass a message on.
    fn relay(&self, a: usize, b: usize, to: Endpoint) -> Option<usize> {
        let c = 3 - a - b;
        let up =
            |n: usize| place_of(n) == c && n != to && self.nodes[n].run.is_some() && !self.nodes[n].paused;
        let passes = !self.broken(Mutant::PassesNothingOn) && (0..self.nodes.len()).any(up);
        passes.then_some(c)
    }

    /// Sends a message between processes of ours: directly, or through a node of the third site.
    pub(crate) fn send(&mut self, from: Endpoint, to: Endpoint, message: Message) {
        let (a, b) = (place_of(from), place_of(to));
        let direct = a == b || self.net.believed(a, b, self.now);
        let mut latency = 0;
        let mut ways = [(a, b), (a, b)];
        let hops: &[(usize, usize)] = if direct {
            &ways[..1]
        } else {
            let Some(c) = self.relay(a, b, to) else { return };
            if !self.net.believed(a, c, self.now) || !self.net.believed(c, b, self.now) {
                return;
            }
            ways = [(a, c), (c, b)];
            &ways
        };
        for (x, y) in hops {
            let Some(passage) = self.net.passage(*x, *y) else { return };
            if passage.loss > 0 && self.chance.below(1_000) < u64::from(passage.loss) {
                return;
            }
            latency += passage.latency + self.chance.below(passage.slow);
        }
        if self.net.doubles > 0 && self.chance.below(1_000) < u64::from(self.net.doubles) {
            // What only tells may have lain somewhere for long.
            let tells = matches!(message, Message::Told(_) | Message::Answer { .. });
            let later = if tells && self.chance.one_in(4) { 10 * SECOND } else { 200 * MS };
            let later = self.now + latency + self.chance.below(later);
            self.queue.push(later, Event::Message { from, to, direct, message: message.clone() });
        }
        self.queue.push(self.now + latency, Event::Message { from, to, direct, message });
    }
}
