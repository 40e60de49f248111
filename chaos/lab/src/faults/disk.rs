//! Faults of the disk under a database's data. They need a lab with disks of the databases' own.

use super::{FaultError, Healed, Injected};
use crate::clock;
use crate::disk;
use crate::layout::{Host, Lab};

/// The disk under the primary's data is full.
pub fn fill(lab: &Lab, host: &Host) -> Result<Injected, FaultError> {
    let began = clock::now();
    disk::fill(lab, host)?;
    let what = format!("the disk under the data of {} is full", host.name);
    Ok(Injected::new(began, clock::now(), what))
}

/// It has room again.
pub fn empty(lab: &Lab, host: &Host) -> Result<Healed, FaultError> {
    disk::empty(lab, host)?;
    Ok(Healed { at: clock::now(), what: format!("the disk of {} has room again", host.name) })
}

/// No write to the disk under the primary's data comes back.
pub fn freeze(lab: &Lab, host: &Host) -> Result<Injected, FaultError> {
    let began = clock::now();
    disk::freeze(lab, host)?;
    let what = format!("the disk under the data of {} is frozen", host.name);
    Ok(Injected::new(began, clock::now(), what))
}

/// Writes go on.
pub fn thaw(lab: &Lab, host: &Host) -> Result<Healed, FaultError> {
    disk::thaw(lab, host)?;
    Ok(Healed { at: clock::now(), what: format!("the disk of {} takes writes again", host.name) })
}
