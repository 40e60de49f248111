//! Faults of a database host: it goes silent, then all that runs on it dies at once; its site lives.

use super::{FaultError, Healed, Injected};
use crate::layout::{Host, Lab};
use crate::supervisor::{self, SupervisorRequest};

/// Cuts the power.
pub fn power_off(lab: &Lab, host: &Host) -> Result<Injected, FaultError> {
    let acted = supervisor::tell(lab, &SupervisorRequest::HostOff { host: host.name.to_owned() })?;
    let what = format!("host {} silent, then all of its processes killed", host.name);
    Ok(Injected::new(acted.began, acted.ended, what))
}

/// Gives the power back; the host boots.
pub fn power_on(lab: &Lab, host: &Host) -> Result<Healed, FaultError> {
    let acted = supervisor::tell(lab, &SupervisorRequest::HostOn { host: host.name.to_owned() })?;
    Ok(Healed { at: acted.ended, what: format!("host {} has power and its cable again", host.name) })
}
