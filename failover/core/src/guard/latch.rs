//! What a guard keeps on disk. It only ever grows tighter.

use model::{BootId, Epoch, GtidSet, ProcessStart, SyncGeneration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{FOREVER, GuardConfig, Lease};
use crate::{Defect, HowItEnded, Stamp};

/// The latches (DESIGN §4, "Fences latch").
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Latch {
    /// Highest authority seen; less is refused.
    pub seen: Stamp,
    /// Never opens at this epoch or below again.
    pub fenced_through: Epoch,
    /// Never receives from a source of this epoch or below again.
    pub no_source: Epoch,
    /// Last opening: written before the server became writable.
    pub opened: Option<Opened>,
    /// How the opened life ended, once it did.
    pub opened_ended: Option<HowItEnded>,
    /// Highest arming of semi-sync applied here.
    pub g: SyncGeneration,
    /// Behind the ladder alone, and where leases are endless: the lease as it was last extended. A gate
    /// keeps a timed one in the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseOnDisk>,
    /// What was executed here when this server was last promoted: its history since then is that and what it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<GtidSet>,
}

/// A lease, for the guard that comes after this one in the same boot of its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LeaseOnDisk {
    /// For which epoch.
    pub epoch: Epoch,
    /// Until when, on this host's CLOCK_BOOTTIME; the last moment there is for an endless one.
    pub until: Timestamp,
    /// In which boot of the host.
    pub boot: BootId,
}

impl Latch {
    /// The last opening was in this boot of the host.
    pub(super) fn opened_in(&self, config: &GuardConfig) -> bool {
        let any = config.defects.has(Defect::AdoptsAnyBoot);
        self.opened.as_ref().is_some_and(|o| any || o.boot == config.boot)
    }

    /// The lease that a guard may adopt at its start: of this boot, above the fence, for at most `T_H`
    /// unless it was endless.
    pub(super) fn lease_left(&self, config: &GuardConfig, now: Timestamp) -> Option<Lease> {
        let lease = self.lease.as_ref()?;
        let any = config.defects.has(Defect::AdoptsAnyBoot);
        let boot = any || lease.boot == config.boot;
        let holds = boot && lease.epoch > self.fenced_through && lease.until > now;
        let until = match lease.until {
            until if until == FOREVER || any => until,
            until => until.min(now + config.timing.lease),
        };
        holds.then_some(Lease { epoch: lease.epoch, until })
    }
}

/// One opening.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Opened {
    /// At which epoch.
    pub epoch: Epoch,
    /// Which life of the database.
    pub life: ProcessStart,
    /// In which boot of the host.
    pub boot: BootId,
    /// Whether a client could have been waiting for an ack when it ended.
    pub waits: bool,
}
