//! Faults of a whole site: its links go silent, then all of its processes die at once.

use super::{FaultError, Healed, Injected};
use crate::layout::{Lab, LabSite};
use crate::supervisor::{self, SupervisorRequest};

/// Cuts the power.
pub fn power_off(lab: &Lab, site: LabSite) -> Result<Injected, FaultError> {
    let acted = supervisor::tell(lab, &SupervisorRequest::PowerOff { site })?;
    let what = format!("site {site} silent, then all of its processes killed");
    Ok(Injected { began: acted.began, ended: acted.ended, what })
}

/// Gives the power back; the hosts boot.
pub fn power_on(lab: &Lab, site: LabSite) -> Result<Healed, FaultError> {
    let acted = supervisor::tell(lab, &SupervisorRequest::PowerOn { site })?;
    Ok(Healed { at: acted.ended, what: format!("site {site} has power and links again") })
}
