//! The supervisor: one a lab, it plays the init system of every host and the power switch of every
//! site.
//!
//! ```text
//!  lab up ─spawns─► supervise ─┬─ stdin pipe ─► wan (the hub dies with its supervisor)
//!                              └─ enter ─exec─► mysqld, guard, node, web …   one thread each
//!  lab kill, demo ─socket─► supervise
//! ```
//!
//! A process that ends is started again after its pause, whatever ended it, but for the hosts of a
//! site that is powered off. The hub is not started again: a new hub would have forgotten cuts,
//! and a measurement would lie; status says that it is dead.
//!
//! Processes outlive a supervisor that dies; `lab down` finds them by control group and namespace.

mod process;
mod service;
mod target;

use std::time::Duration;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::control::{ControlError, ask};
use crate::layout::{Lab, LabSite};

pub use process::ProcessStatus;
pub use service::run;
pub use target::{Target, TargetError};

/// Powering a site on makes its namespaces anew, some 30 calls of ip(8).
const REPLY_DEADLINE: Duration = Duration::from_secs(20);

/// What the supervisor can be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum SupervisorRequest {
    /// SIGKILL; the processes are started again after their pause.
    Kill {
        /// Which.
        target: Target,
    },
    /// SIGKILL; the processes stay down until they are released, or their site gets power.
    Hold {
        /// Which.
        target: Target,
    },
    /// What is held down is started, but for sites without power.
    Release,
    /// SIGSTOP.
    Stop {
        /// Which.
        target: Target,
    },
    /// SIGCONT.
    Cont {
        /// Which.
        target: Target,
    },
    /// Killed, and not started again: as systemctl stop.
    Down {
        /// Which.
        target: Target,
    },
    /// Started again: as systemctl start.
    Up {
        /// Which.
        target: Target,
    },
    /// The site's links go silent, then all of its processes are killed at once and stay dead.
    PowerOff {
        /// Which.
        site: LabSite,
    },
    /// The site's hosts boot: new namespaces, links mended, processes started.
    PowerOn {
        /// Which.
        site: LabSite,
    },
    /// The host's cable goes silent, then all of its processes are killed and stay dead.
    HostOff {
        /// Its name.
        host: String,
    },
    /// The host boots, if its site has power.
    HostOn {
        /// Its name.
        host: String,
    },
    /// What runs.
    Status,
    /// Kill everything and end.
    Shutdown,
}

/// What runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SupervisorStatus {
    /// Whether the hub runs.
    pub hub_alive: bool,
    /// Sites without power.
    pub powered_off: Vec<LabSite>,
    /// Hosts without power in sites that have it.
    #[serde(default)]
    pub hosts_off: Vec<String>,
    /// All processes.
    pub processes: Vec<ProcessStatus>,
}

/// What the supervisor replies.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SupervisorReply {
    /// Done.
    Done(Acted),
    /// What runs.
    Status(SupervisorStatus),
    /// Not done.
    Refused(String),
}

/// When an order began to take effect and when it was through, on the lab's clock.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Acted {
    /// Before its first effect.
    pub began: Timestamp,
    /// After its last.
    pub ended: Timestamp,
}

/// Why the supervisor did not do it.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// It was not reached, or broke off.
    #[error("the lab's supervisor was not asked")]
    Control(#[from] ControlError),
    /// It refused.
    #[error("the lab's supervisor refused: {0}")]
    Refused(String),
}

/// Tells the supervisor.
///
/// # Errors
/// When it is not reached or refuses.
pub fn tell(lab: &Lab, request: &SupervisorRequest) -> Result<Acted, SupervisorError> {
    match ask(&lab.supervisor_socket(), request, REPLY_DEADLINE)? {
        SupervisorReply::Done(acted) => Ok(acted),
        SupervisorReply::Refused(why) => Err(SupervisorError::Refused(why)),
        SupervisorReply::Status(_) => Err(SupervisorError::Refused("it answered a status".to_owned())),
    }
}

/// Asks the supervisor what runs.
///
/// # Errors
/// When it is not reached or refuses.
pub fn status(lab: &Lab) -> Result<SupervisorStatus, SupervisorError> {
    match ask(&lab.supervisor_socket(), &SupervisorRequest::Status, REPLY_DEADLINE)? {
        SupervisorReply::Status(status) => Ok(status),
        SupervisorReply::Refused(why) => Err(SupervisorError::Refused(why)),
        SupervisorReply::Done(_) => Err(SupervisorError::Refused("it answered no status".to_owned())),
    }
}
