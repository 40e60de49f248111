//! What a demo injects, and how each fault is undone.
//!
//! Each fault acts on the site that is active when it is injected, so that consecutive runs of a
//! fault that moves the group go to and fro.

mod link;
mod order;
mod process;
mod site;

use model::Timestamp;

use crate::cli::Fault;
use crate::layout::{Lab, LabSite};
use crate::spec::LabSpec;
use crate::supervisor::SupervisorError;
use crate::wan::WanError;

/// What the fault needs to know of the cluster at this moment.
#[derive(Debug, Clone)]
pub struct Target {
    /// The site that serves.
    pub active: LabSite,
    /// The Raft leader's host.
    pub leader: Option<String>,
}

/// A fault that was injected.
#[derive(Debug, Clone)]
pub struct Injected {
    /// Before its first effect: the fault's instant in all measurements.
    pub began: Timestamp,
    /// When it was in force.
    pub ended: Timestamp,
    /// What was done, for the timeline.
    pub what: String,
}

/// A fault that was undone.
#[derive(Debug, Clone)]
pub struct Healed {
    /// When everything needed for healing was there again.
    pub at: Timestamp,
    /// What was done, for the timeline.
    pub what: String,
}

/// What must come of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The group moves to the other site.
    Failover,
    /// The group stays, at the same epoch.
    Stay,
}

/// Why a fault was not injected or undone.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// By the hub.
    #[error("the WAN")]
    Wan(#[from] WanError),
    /// By the supervisor.
    #[error("the processes")]
    Supervisor(#[from] SupervisorError),
    /// There is no leader to kill.
    #[error("the cluster names no Raft leader, so it cannot be killed")]
    NoLeader,
    /// The cluster did not take an order, or nobody answered.
    #[error("the order was not taken: {0}")]
    Ordered(String),
}

/// What must come of it.
#[must_use]
pub fn expect(fault: Fault) -> Expect {
    match fault {
        Fault::KillPrimary | Fault::KillSite | Fault::CutSite | Fault::Switchover => Expect::Failover,
        Fault::KillLeader | Fault::LoseWitness | Fault::CutLink | Fault::KillEntry => Expect::Stay,
    }
}

/// The site whose hosts nobody outside reaches while the fault lasts.
#[must_use]
pub fn dark_site(fault: Fault, active: LabSite) -> Option<LabSite> {
    match fault {
        Fault::KillSite | Fault::CutSite => Some(active),
        Fault::LoseWitness => Some(LabSite::Wit),
        Fault::KillPrimary | Fault::KillLeader | Fault::CutLink | Fault::KillEntry | Fault::Switchover => {
            None
        }
    }
}

/// Whether it takes the active site's entry away, so that its web clients must follow the pooled name.
#[must_use]
pub fn takes_entry(fault: Fault) -> bool {
    match fault {
        Fault::KillSite | Fault::CutSite | Fault::KillEntry => true,
        Fault::KillPrimary | Fault::KillLeader | Fault::LoseWitness | Fault::CutLink | Fault::Switchover => {
            false
        }
    }
}

/// Injects it.
///
/// # Errors
/// [`FaultError`]; it may be half in force then.
pub fn inject(lab: &Lab, spec: &LabSpec, fault: Fault, target: &Target) -> Result<Injected, FaultError> {
    match fault {
        Fault::KillPrimary => process::kill_primary(lab, target.active),
        Fault::KillLeader => process::kill_leader(lab, target.leader.as_deref().ok_or(FaultError::NoLeader)?),
        Fault::KillSite => site::power_off(lab, target.active),
        Fault::LoseWitness => site::power_off(lab, LabSite::Wit),
        Fault::CutSite => link::cut_site(lab, target.active),
        Fault::CutLink => link::cut_data_sites(lab),
        Fault::KillEntry => process::hold_entry(lab, target.active),
        Fault::Switchover => order::switchover(lab, spec, target.active),
    }
}

/// Undoes it.
///
/// # Errors
/// [`FaultError`].
pub fn heal(lab: &Lab, fault: Fault, target: &Target, injected: &Injected) -> Result<Healed, FaultError> {
    match fault {
        Fault::KillPrimary | Fault::KillLeader => Ok(process::healed_by_supervisor(injected)),
        Fault::KillSite => site::power_on(lab, target.active),
        Fault::LoseWitness => site::power_on(lab, LabSite::Wit),
        Fault::CutSite | Fault::CutLink => link::mend(lab),
        Fault::KillEntry => process::release(lab),
        Fault::Switchover => Ok(order::nothing_to_heal(injected)),
    }
}
