//! The network between places: what is cut, lossy or slow, and which way a message goes.
//!
//! Messages between processes of ours use the direct link while it counts as up, and else one hop
//! through the third site, when both its links are up (DESIGN §4, Transport). A link counts as up or
//! down only [`SILENCE`] after it became so: until then messages go into the void. Database traffic
//! and clients know the direct way only.

use crate::place::{MDC, MS, OUTSIDE, PDC, PLACES, Time, WIT};

/// How long a dead link still counts as up, and a healed one as down: the link's own silence.
pub const SILENCE: Time = 350 * MS;

/// One direction between two places.
#[derive(Debug, Clone, Copy)]
struct Way {
    up: bool,
    /// Losses in a thousand messages.
    loss: u32,
    /// Up to so many microseconds more, at random.
    slow: u64,
}

/// Both directions of two places, as processes of ours believe them.
#[derive(Debug, Clone, Copy)]
struct Belief {
    /// Both directions are up.
    up: bool,
    before: bool,
    changed: Time,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Net {
    ways: [[Way; PLACES]; PLACES],
    beliefs: [[Belief; PLACES]; PLACES],
    /// Doubled messages in a thousand.
    pub doubles: u32,
}

/// What a way does to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// Time on the way without the random part.
    pub latency: Time,
    /// At most so much more.
    pub slow: Time,
    /// Losses in a thousand.
    pub loss: u32,
}

impl Net {
    /// All is well.
    pub fn new() -> Self {
        let way = Way { up: true, loss: 0, slow: 0 };
        let belief = Belief { up: true, before: true, changed: 0 };
        Self { ways: [[way; PLACES]; PLACES], beliefs: [[belief; PLACES]; PLACES], doubles: 0 }
    }

    fn base(a: usize, b: usize) -> Time {
        match (a.min(b), a.max(b)) {
            (x, y) if x == y => 120,
            (PDC, MDC) => 800,
            (_, WIT) => 2_000,
            (_, OUTSIDE) => 1_500,
            _ => 1_000,
        }
    }

    /// A connection between them works.
    pub fn both(&self, a: usize, b: usize) -> bool {
        self.ways[a][b].up && self.ways[b][a].up
    }

    /// Nothing is the matter between them.
    pub fn clear(&self, a: usize, b: usize) -> bool {
        let clear = |way: &Way| way.up && way.loss == 0 && way.slow == 0;
        clear(&self.ways[a][b]) && clear(&self.ways[b][a])
    }

    /// Processes of ours take the direct link for up.
    pub fn believed(&self, a: usize, b: usize, now: Time) -> bool {
        let belief = &self.beliefs[a][b];
        if now - belief.changed >= SILENCE { belief.up } else { belief.before }
    }

    /// The direct way; none when it is cut.
    pub fn passage(&self, a: usize, b: usize) -> Option<Passage> {
        let way = &self.ways[a][b];
        way.up.then(|| Passage { latency: Self::base(a, b), slow: way.slow + 60, loss: way.loss })
    }

    /// Cuts or heals one direction.
    pub fn set(&mut self, a: usize, b: usize, up: bool, now: Time) {
        self.ways[a][b].up = up;
        let both = self.both(a, b);
        for (x, y) in [(a, b), (b, a)] {
            let belief = &mut self.beliefs[x][y];
            if belief.up != both {
                let before = if now - belief.changed >= SILENCE { belief.up } else { belief.before };
                *belief = Belief { up: both, before, changed: now };
            }
        }
    }

    /// Loss and slowness of both directions of two places.
    pub fn trouble(&mut self, a: usize, b: usize, loss: u32, slow: Time) {
        for (x, y) in [(a, b), (b, a)] {
            self.ways[x][y].loss = loss;
            self.ways[x][y].slow = slow;
        }
    }

    /// Everything is well again.
    pub fn heal(&mut self, now: Time) {
        self.doubles = 0;
        for a in 0..PLACES {
            for b in 0..PLACES {
                self.ways[a][b].loss = 0;
                self.ways[a][b].slow = 0;
                if !self.ways[a][b].up {
                    self.set(a, b, true, now);
                }
            }
        }
    }
}
