//! What the service manager is told (sd_notify(3)): that the process is ready, and that its loop goes
//! round. Without a manager that asks, nothing is told to nobody.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// A loop that is watched.
pub struct Supervised {
    every: Option<Duration>,
    next: Instant,
}

impl Supervised {
    /// Tells that the process does its work from now on.
    pub fn ready() -> Self {
        // Who does not listen is not there.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        // Half of what is allowed, as the manual page advises.
        let every = sd_notify::watchdog_enabled().map(|allowed| allowed / 2);
        Self { every, next: Instant::now() }
    }

    /// Tells that the loop goes round, when it is time to.
    pub fn alive(&mut self) {
        let Some(every) = self.every else { return };
        let now = Instant::now();
        if now >= self.next {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            self.next = now + every;
        }
    }
}
