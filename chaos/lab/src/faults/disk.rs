//! Faults of the disk under a database's data. They need a lab with disks of the databases' own.

use super::{FaultError, Healed, Injected};
use crate::clock;
use crate::disk;
use crate::layout::{Host, Lab, LabSite};

/// The disk under the active database is full.
pub fn fill(lab: &Lab, active: LabSite) -> Result<Injected, FaultError> {
    let (host, began) = (database(active), clock::now());
    disk::fill(lab, &host)?;
    let what = format!("the disk under the data of {} is full", host.name);
    Ok(Injected { began, ended: clock::now(), what })
}

/// It has room again.
pub fn empty(lab: &Lab, active: LabSite) -> Result<Healed, FaultError> {
    let host = database(active);
    disk::empty(lab, &host)?;
    Ok(Healed { at: clock::now(), what: format!("the disk of {} has room again", host.name) })
}

/// No write to the disk under the active database comes back.
pub fn freeze(lab: &Lab, active: LabSite) -> Result<Injected, FaultError> {
    let (host, began) = (database(active), clock::now());
    disk::freeze(lab, &host)?;
    let what = format!("the disk under the data of {} is frozen", host.name);
    Ok(Injected { began, ended: clock::now(), what })
}

/// Writes go on.
pub fn thaw(lab: &Lab, active: LabSite) -> Result<Healed, FaultError> {
    let host = database(active);
    disk::thaw(lab, &host)?;
    Ok(Healed { at: clock::now(), what: format!("the disk of {} takes writes again", host.name) })
}

fn database(site: LabSite) -> Host {
    Host::database_of(site).expect("groups are active in data sites alone")
}
