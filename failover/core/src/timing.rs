//! The numbers of the lease, and the inequalities that make them safe (DESIGN §4, Waiting).

use std::time::Duration;

/// Timing of one cluster. All of it is one value, so that nothing can mix two profiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// A guard renews this often.
    pub renew: Duration,
    /// T_H: a lease runs this long from the moment the answered attempt was sent.
    pub lease: Duration,
    /// ρ: bound on the rate error of any clock.
    pub drift: f64,
    /// δ: margin added to W.
    pub margin: Duration,
    /// One step of guard and Raft.
    pub tick: Duration,
    /// Shortest election timeout.
    pub election_min: Duration,
    /// Longest election timeout.
    pub election_max: Duration,
    /// A diagnosis must hold this long before it is acted on.
    pub dwell: Duration,
    /// A waiter may wait this long for an ack before durability is weakened.
    pub sync_timeout: Duration,
}

/// A timing that would break the protocol.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TimingError {
    /// An election would outlast the lease: a healthy primary would pause when a leader dies.
    #[error(
        "2·election ({election:?}) + tick ({tick:?}) + 5·rtt ({rtt:?}) + 3·fsync ({fsync:?}) = {sum:?} is not \
         below lease − renew = {room:?}"
    )]
    Election {
        election: Duration,
        tick: Duration,
        rtt: Duration,
        fsync: Duration,
        sum: Duration,
        room: Duration,
    },
    /// The drift bound is not a small share.
    #[error("drift {0} is not between 0 and 0.1")]
    Drift(f64),
}

impl Timing {
    /// Two datacentres of one city: round trips of a few milliseconds.
    pub const METRO: Timing = Timing {
        renew: Duration::from_millis(300),
        lease: Duration::from_millis(1600),
        drift: 1e-3,
        margin: Duration::from_millis(100),
        tick: Duration::from_millis(50),
        election_min: Duration::from_millis(250),
        election_max: Duration::from_millis(500),
        dwell: Duration::from_secs(1),
        sync_timeout: Duration::from_secs(5),
    };

    /// W: what a leader waits after the last renewal it answered, or after its own election, before
    /// every lease it could have granted has run out: `T_H·(1+ρ)/(1−ρ) + δ`.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.wait_after(Duration::ZERO)
    }

    /// W where a holder may need another `fence_max` after its lease ran out: `T_H` includes it.
    #[must_use]
    pub fn wait_after(&self, fence_max: Duration) -> Duration {
        let exact = (self.lease + fence_max).mul_f64((1.0 + self.drift) / (1.0 - self.drift)) + self.margin;
        // Timestamps are whole microseconds; rounding up never waits too short.
        Duration::from_micros(u64::try_from(exact.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX))
    }

    /// The dwell of a database whose own guard sees its process gone: the guard is beside it, so
    /// nothing is inferred from silence; a fifth keeps an instant supervisor restart from racing.
    #[must_use]
    pub fn dwell_process(&self) -> Duration {
        self.dwell / 5
    }

    /// A disk is waited for so long before its server is left: storage pauses for seconds when a path or a
    /// controller changes over, and a move costs two seconds as well.
    #[must_use]
    pub fn disk_patience(&self) -> Duration {
        self.dwell * 10
    }

    /// A fact older than this is not a fact: three renewals and a tick.
    #[must_use]
    pub fn fresh(&self) -> Duration {
        self.renew * 3 + self.tick
    }

    /// Checks the inequalities for a round trip and a disk.
    ///
    /// # Errors
    /// The inequality that does not hold, with its numbers.
    pub fn check(&self, rtt: Duration, fsync: Duration) -> Result<(), TimingError> {
        if !(0.0..0.1).contains(&self.drift) {
            return Err(TimingError::Drift(self.drift));
        }
        let election = self.election_max;
        let sum = election * 2 + self.tick + rtt * 5 + fsync * 3;
        let room = self.lease.saturating_sub(self.renew);
        if sum < room {
            Ok(())
        } else {
            Err(TimingError::Election { election, tick: self.tick, rtt, fsync, sum, room })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metro_holds_its_inequalities_and_a_long_election_does_not() {
        let ms = Duration::from_millis;
        Timing::METRO.check(ms(5), ms(10)).unwrap();
        assert_eq!(Timing::METRO.wait().as_millis(), 1703);
        let slow = Timing { election_max: ms(700), ..Timing::METRO };
        assert!(matches!(slow.check(ms(5), ms(10)), Err(TimingError::Election { .. })));
    }
}
