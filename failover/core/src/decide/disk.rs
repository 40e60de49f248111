//! Is the disk under a server's data to be relied on? From the guard's own small writes there.

use std::time::Duration;

use model::ServerId;

use super::diagnose::ms;
use super::{Diagnosis, ServerDiagnosis, View};
use crate::DiskRefusal;

/// A disk that is in the way of commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A write has not come back for so long.
    Stalled(Duration),
    /// Writes have been refused for so long; so many bytes are left.
    Refused(DiskRefusal, Duration, u64),
}

impl Trouble {
    /// How long it has lasted.
    pub fn lasts(&self) -> Duration {
        match self {
            Trouble::Stalled(lasts) | Trouble::Refused(_, lasts, _) => *lasts,
        }
    }

    /// Its name at a server.
    pub fn diagnosis(&self) -> ServerDiagnosis {
        match self {
            Trouble::Stalled(_) => ServerDiagnosis::DiskStalled,
            Trouble::Refused(DiskRefusal::Full, ..) => ServerDiagnosis::DiskFull,
            Trouble::Refused(DiskRefusal::Failing, ..) => ServerDiagnosis::DiskFailing,
        }
    }

    /// Its name where the server is its group's primary.
    pub fn of_primary(&self) -> Diagnosis {
        match self {
            Trouble::Stalled(_) => Diagnosis::DiskStalled,
            Trouble::Refused(DiskRefusal::Full, ..) => Diagnosis::DiskFull,
            Trouble::Refused(DiskRefusal::Failing, ..) => Diagnosis::DiskFailing,
        }
    }

    /// In words; `whose`: `its`, or a server's name in the genitive.
    pub fn told(&self, whose: &str) -> String {
        match self {
            Trouble::Stalled(lasts) => {
                format!("a write to the disk under {whose} data has not come back for {}", ms(*lasts))
            }
            Trouble::Refused(DiskRefusal::Full, lasts, free) => {
                format!("the disk under {whose} data has been full for {} ({free} bytes left)", ms(*lasts))
            }
            Trouble::Refused(DiskRefusal::Failing, lasts, _) => {
                format!("the disk under {whose} data has refused writes for {}", ms(*lasts))
            }
        }
    }
}

/// What is the matter with it, once it has lasted a dwell; nothing of a guard that is not heard. What was told is
/// as old as it is: a write that waited then is not known to wait still, so no time is added.
pub(super) fn trouble(view: &View, server: &ServerId) -> Option<Trouble> {
    let disk = view.report(server)?.disk?;
    let stalled = Trouble::Stalled(Duration::from_micros(disk.waiting_us));
    let refused =
        disk.refused.map(|why| Trouble::Refused(why, Duration::from_micros(disk.refused_us), disk.free));
    // A disk that refused and now hangs is told by what it does now.
    [Some(stalled), refused].into_iter().flatten().find(|t| t.lasts() >= view.policy.timing.dwell)
}
