//! Faults of the WAN alone; every process lives.

use super::{FaultError, Healed, Injected};
use crate::clock;
use crate::layout::{Lab, LabSite};
use crate::wan::{self, Direction, WanRequest};

/// Cuts a site from everyone.
pub fn cut_site(lab: &Lab, site: LabSite) -> Result<Injected, FaultError> {
    cut(lab, wan::all_of(site), format!("site {site} cut from everyone"))
}

/// Cuts the link between the data sites; both still see the witness and the clients outside.
pub fn cut_data_sites(lab: &Lab) -> Result<Injected, FaultError> {
    cut(lab, wan::both_ways(LabSite::Pdc, LabSite::Mdc), "link pdc-mdc cut".to_owned())
}

/// Mends everything.
pub fn mend(lab: &Lab) -> Result<Healed, FaultError> {
    let at = wan::tell(lab, &WanRequest::Heal)?;
    Ok(Healed { at, what: "all links mended".to_owned() })
}

fn cut(lab: &Lab, directions: Vec<Direction>, what: String) -> Result<Injected, FaultError> {
    let began = clock::now();
    let ended = wan::tell(lab, &WanRequest::Cut { directions })?;
    Ok(Injected { began, ended, what })
}
