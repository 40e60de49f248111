//! Rung 4: a watchdog that resets the host unless this guard feeds it (DESIGN §4; Linux
//! Documentation/watchdog/watchdog-api.rst). It answers for the guard itself: one that hangs or dies
//! feeds nothing, and one whose SIGKILL does not help stops feeding.
//!
//! Invariant: no server becomes writable before its watchdog is armed, and it is disarmed only while
//! the server is provably harmless.

use model::Timestamp;

use super::{Effect, Guard};

/// A ladder under way for this long has been through SIGKILL twice: the host is given up.
const STARVE_US: u128 = 1_000_000;
/// One that could not be armed or disarmed is tried again after this long, microseconds.
const RETRY_US: u64 = 200_000;

/// An act on the watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchdogAct {
    /// Open the device and set its timeout.
    Arm,
    /// Reset its countdown.
    Feed,
    /// Stop it and close it in order.
    Disarm,
}

/// What is believed of the watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watchdog {
    /// This host has none.
    None,
    /// It does not count.
    Off { retry: Timestamp },
    /// It is being armed.
    Arming,
    /// It counts; fed last then.
    Armed { fed: Timestamp },
}

impl Guard {
    /// Whether the server may become writable as far as the watchdog goes.
    pub(super) fn watched(&self) -> bool {
        matches!(self.watchdog, Watchdog::None | Watchdog::Armed { .. })
    }

    /// Arms it for an opening; `watched` says when that is done.
    pub(super) fn arm_watchdog(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if let Watchdog::Off { retry } = self.watchdog
            && now >= retry
        {
            self.watchdog = Watchdog::Arming;
            out.push(Effect::Watchdog(WatchdogAct::Arm));
        }
    }

    pub(super) fn watchdog_goal(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let dangerous = self.may_be_writable().is_some();
        match self.watchdog {
            // A guard that restarted finds a server that it opened.
            Watchdog::Off { .. } if dangerous => self.arm_watchdog(now, out),
            Watchdog::Armed { .. } if !dangerous && self.lanes[super::Lane::Admin as usize].is_none() => {
                self.watchdog = Watchdog::Off { retry: now };
                out.push(Effect::Watchdog(WatchdogAct::Disarm));
            }
            Watchdog::Armed { fed } => {
                let starves = self.fence.is_some_and(|l| l.climbed(now) >= STARVE_US);
                if !starves && now.since(fed) >= self.config.timing.tick {
                    self.watchdog = Watchdog::Armed { fed: now };
                    out.push(Effect::Watchdog(WatchdogAct::Feed));
                }
            }
            Watchdog::None | Watchdog::Off { .. } | Watchdog::Arming => {}
        }
    }

    pub(super) fn on_watchdog(&mut self, armed: bool, now: Timestamp) {
        self.watchdog = match self.watchdog {
            Watchdog::None => Watchdog::None,
            _ if armed => Watchdog::Armed { fed: now },
            _ => Watchdog::Off { retry: now + std::time::Duration::from_micros(RETRY_US) },
        };
    }
}
