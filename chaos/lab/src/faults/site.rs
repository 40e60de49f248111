//! Faults of a whole site: its links go silent, then all of its processes die at once.

use std::time::Duration;

use super::{FaultError, Healed, Injected, Scene, process, standby_hosts};
use crate::clock;
use crate::cluster;
use crate::layout::{Lab, LabSite};
use crate::status_view::ClusterStatus;
use crate::supervisor::{self, SupervisorRequest};

/// A failover begins within some two seconds of a site's end.
const BEGIN_DEADLINE: Duration = Duration::from_secs(15);

/// Cuts the power.
pub fn power_off(lab: &Lab, site: LabSite) -> Result<Injected, FaultError> {
    let acted = supervisor::tell(lab, &SupervisorRequest::PowerOff { site })?;
    let what = format!("site {site} silent, then all of its processes killed");
    Ok(Injected::new(acted.began, acted.ended, what))
}

/// Gives the power back; the hosts boot.
pub fn power_on(lab: &Lab, site: LabSite) -> Result<Healed, FaultError> {
    let acted = supervisor::tell(lab, &SupervisorRequest::PowerOn { site })?;
    Ok(Healed { at: acted.ended, what: format!("site {site} has power and links again") })
}

/// The fault gave the power back itself, unless it broke off; then it is given here.
pub fn has_power(lab: &Lab, sites: &[LabSite], injected: &Injected) -> Result<Healed, FaultError> {
    for site in sites {
        power_on(lab, *site)?;
    }
    Ok(Healed { at: injected.ended, what: "the power is back already".to_owned() })
}

/// Cuts the active site's power, and gives it back as soon as the failover has begun.
pub fn early_return(scene: &Scene<'_>) -> Result<Injected, FaultError> {
    let active = scene.target.active;
    let off = power_off(scene.lab, active)?;
    let seen = failover_begun(scene)?;
    let on = power_on(scene.lab, active)?;
    let what = format!("site {active} without power, and again with it when the cluster was {seen}");
    Ok(Injected::new(off.began, on.at, what))
}

/// Cuts the active site's power, and kills the other site's databases, the candidate's among them, as soon
/// as the failover has begun.
pub fn second_failure(scene: &Scene<'_>) -> Result<Injected, FaultError> {
    let active = scene.target.active;
    let off = power_off(scene.lab, active)?;
    let seen = failover_begun(scene)?;
    let second = process::kill_databases(scene.lab, &standby_hosts(scene))?;
    let what = format!("site {active} without power, and {} when the cluster was {seen}", second.what);
    Ok(Injected::new(off.began, second.ended, what))
}

/// Cuts the power of both data sites, one right after the other, and gives it back.
pub fn both_restart(lab: &Lab) -> Result<Injected, FaultError> {
    let first = power_off(lab, LabSite::Pdc)?;
    power_off(lab, LabSite::Mdc)?;
    power_on(lab, LabSite::Pdc)?;
    power_on(lab, LabSite::Mdc)?;
    let what = "all processes of pdc and mdc killed, then both sites have power again".to_owned();
    Ok(Injected::new(first.began, clock::now(), what))
}

/// Waits until the old epoch is revoked, and says in which phase that was seen.
fn failover_begun(scene: &Scene<'_>) -> Result<String, FaultError> {
    let seen = scene.interrupt.wait_for(BEGIN_DEADLINE, || {
        // Nobody to ask, or no quorum: asked again.
        let Ok(status) = ClusterStatus::ask(scene.lab, scene.spec) else { return Ok(None) };
        let Some(group) = status.group(cluster::GROUP) else { return Ok(None) };
        let begun = group.epoch().is_some_and(|e| e > scene.target.epoch);
        Ok(begun.then(|| group.phase()))
    });
    match seen {
        Ok(seen) => seen.ok_or(FaultError::NotBegun(BEGIN_DEADLINE)),
        Err(_) => Err(crate::interrupt::Interrupted.into()),
    }
}
