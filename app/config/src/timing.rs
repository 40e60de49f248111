//! The timing of leases and elections, and what follows from it: the wait `W` and the bounds on a
//! group's RTO.
//!
//! The letters are those of DESIGN §4: `renew`, `T_H` ([`Timing::hold`]), `ρ` (drift), `δ` (margin),
//! `W` ([`Timing::wait`]). The inequalities that make them safe are checked where the file is
//! resolved (`resolve/timing.rs`); a value of this type has passed them.
//!
//! Deliberately absent: clocks. These are lengths of time, never points in it.

use std::fmt;
use std::time::Duration;

/// Whole-number scale of clock drift: parts per million.
const MILLION: u32 = 1_000_000;

/// What reading, promoting and opening a server by its admin session may take, at most. Promotion
/// by hand was measured at 28–76 ms; thrice the worst of it leaves room for a loaded host.
const PROMOTE_MAX: Duration = Duration::from_millis(250);

/// From the commit of a route to the new answer on every DNS node (DESIGN §5).
const ROUTE_MAX: Duration = Duration::from_millis(50);

/// Lengths that rule leases, elections and waiting. Small and `Copy`: pass it by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// Between two renewals of a lease.
    pub renew: Duration,
    /// How long a lease runs from the sending of the attempt that won it.
    pub lease: Duration,
    /// Bound on the drift of any host's clock, in parts per million (`ρ`).
    pub drift_ppm: u32,
    /// Added to the wait for what the drift does not cover: timer slack, jiffies (`δ`).
    pub margin: Duration,
    /// The step of Raft's clock, and how often an unanswered renewal is repeated.
    pub tick: Duration,
    /// Shortest election timeout; a whole number of ticks.
    pub election_min: Duration,
    /// Longest election timeout; a whole number of ticks.
    pub election_max: Duration,
    /// How long a diagnosis must stand before it is acted upon.
    pub dwell: Duration,
    /// An acker absent, or a waiter unacked, for this long turns `Sync` into `Async`.
    pub sync_timeout: Duration,
    /// Longest round trip between two sites that is to be expected.
    pub rtt: Duration,
    /// Longest `fsync` of a voter's disk that is to be expected.
    pub fsync: Duration,
    /// What the ladder takes at most after the lease ran out (`F_max`); zero behind nftables.
    pub fence_max: Duration,
    pub(crate) wait: Duration,
}

/// How long a group's service may stay away, worst case, from the fault to the committed route on
/// every DNS node. The TTL that clients hold an answer for comes on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RtoBound {
    /// The primary's process dies and its guard confirms the fence.
    pub process: Duration,
    /// The whole active site goes silent while the leader sits elsewhere, as it prefers to.
    pub site: Duration,
    /// The whole active site goes silent and takes the leader with it: an election comes first.
    pub site_with_leader: Duration,
}

impl Timing {
    /// Campus or metro distance, the default (DESIGN §4).
    pub const METRO: Timing = Timing {
        renew: Duration::from_millis(300),
        lease: Duration::from_millis(1600),
        drift_ppm: 1000,
        margin: Duration::from_millis(100),
        tick: Duration::from_millis(50),
        election_min: Duration::from_millis(250),
        election_max: Duration::from_millis(500),
        dwell: Duration::from_secs(1),
        sync_timeout: Duration::from_secs(5),
        rtt: Duration::from_millis(5),
        fsync: Duration::from_millis(10),
        fence_max: Duration::ZERO,
        wait: Duration::ZERO,
    }
    .with_least_wait();

    /// Sites far apart (DESIGN §4). The longest election is 1.5 s, since twice 2 s would not fit
    /// into `T_H − renew` of 4 s.
    pub const WIDE: Timing = Timing {
        renew: Duration::from_secs(1),
        lease: Duration::from_secs(5),
        election_min: Duration::from_secs(1),
        election_max: Duration::from_millis(1500),
        dwell: Duration::from_secs(2),
        sync_timeout: Duration::from_secs(10),
        rtt: Duration::from_millis(50),
        ..Timing::METRO
    }
    .with_least_wait();

    /// `T_H`: from sending a renewal until writes have surely ceased. The lease, and `F_max` where
    /// the ladder stands in for the gate.
    pub const fn hold(&self) -> Duration {
        self.lease.saturating_add(self.fence_max)
    }

    /// `W`: what a promotion waits where no fence is confirmed.
    pub const fn wait(&self) -> Duration {
        self.wait
    }

    /// The least `W` that is safe: `T_H·(1+ρ)/(1−ρ) + δ`, rounded up to a microsecond.
    pub const fn least_wait(&self) -> Duration {
        let fast = (MILLION + self.drift_ppm) as u128;
        let slow = (MILLION - self.drift_ppm) as u128;
        let micros = (self.hold().as_micros() * fast).div_ceil(slow);
        Duration::from_micros(micros as u64).saturating_add(self.margin)
    }

    /// The same timing behind a ladder that takes up to `fence_max`. A `W` that was longer than it
    /// need be keeps its surplus.
    pub fn behind_ladder(mut self, fence_max: Duration) -> Timing {
        let surplus = self.wait.saturating_sub(self.least_wait());
        self.fence_max = fence_max;
        self.wait = self.least_wait().saturating_add(surplus);
        self
    }

    /// How long an election takes at most, until the new leader's first entry is committed:
    /// `2·election_max + tick + 5·RTT + 3·fsync`.
    pub const fn election_bound(&self) -> Duration {
        self.election_max
            .saturating_mul(2)
            .saturating_add(self.tick)
            .saturating_add(self.rtt.saturating_mul(5))
            .saturating_add(self.fsync.saturating_mul(3))
    }

    /// How long one entry takes from its proposal to its commit: there and back, and an fsync on
    /// either side.
    pub const fn commit_bound(&self) -> Duration {
        self.rtt.saturating_add(self.fsync.saturating_mul(2))
    }

    /// The bounds on the RTO that follow from these numbers.
    pub fn rto_bound(&self) -> RtoBound {
        let commit = self.commit_bound();
        // A guard sees within a tick that its process is gone, and says so at once.
        let told = self.tick + self.rtt;
        let crash = told + self.dwell + commit;
        // Silence is noticed when the next renewal is due.
        let silence = self.renew + told + self.dwell + commit;
        // The order to fence and to stop the ackers goes out and comes back, with an fsync each.
        let ordered = (self.rtt + self.fsync) * 2 + self.fence_max;
        // OPEN and the route are an entry each.
        let opened = PROMOTE_MAX + commit * 2 + ROUTE_MAX;
        // W began at the last renewal, so that it runs beside the dwell.
        let outwaited = self.wait.max(silence + ordered);
        RtoBound {
            process: crash + ordered + opened,
            site: outwaited + opened,
            // The wait is counted from the new leader's own election (DESIGN §4, Waiting).
            site_with_leader: self.election_bound() + outwaited + opened,
        }
    }

    const fn with_least_wait(mut self) -> Timing {
        self.wait = self.least_wait();
        self
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::METRO
    }
}

impl RtoBound {
    /// The longest of them: what a goal is held against.
    pub fn worst(&self) -> Duration {
        self.process.max(self.site).max(self.site_with_leader)
    }
}

impl fmt::Display for RtoBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "process crash {:.2} s, site loss {:.2} s, site loss with the leader {:.2} s",
            self.process.as_secs_f64(),
            self.site.as_secs_f64(),
            self.site_with_leader.as_secs_f64()
        )
    }
}
