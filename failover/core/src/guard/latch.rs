//! What a guard keeps on disk. It only ever grows tighter.

use model::{BootId, Epoch, ProcessStart, SyncGeneration};
use serde::{Deserialize, Serialize};

use crate::{HowItEnded, Stamp};

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
