//! Faults of the WAN alone; every process lives.

use std::time::{Duration, Instant};

use super::{FaultError, Healed, Injected};
use crate::clock;
use crate::interrupt::Interrupt;
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

/// The link flaps for so long.
const FLAPPING: Duration = Duration::from_secs(60);

/// How long it is cut and then whole, in milliseconds, again and again: shorter and longer than a renewal,
/// a lease and a dwell, and once longer than `sync_timeout`.
const FLAPS: [(u64, u64); 8] = [
    (300, 300),
    (900, 400),
    (2_000, 1_500),
    (200, 100),
    (1_500, 500),
    (3_500, 2_000),
    (600, 900),
    (6_500, 2_500),
];

/// Cuts and mends the link between the data sites for a minute; it is whole at the end.
pub fn flap_data_sites(lab: &Lab, interrupt: &Interrupt) -> Result<Injected, FaultError> {
    let (began, until) = (clock::now(), Instant::now() + FLAPPING);
    let directions = wan::both_ways(LabSite::Pdc, LabSite::Mdc);
    let mut flaps = 0;
    for (cut, whole) in FLAPS.into_iter().cycle() {
        if Instant::now() > until {
            break;
        }
        wan::tell(lab, &WanRequest::Cut { directions: directions.clone() })?;
        interrupt.sleep(Duration::from_millis(cut))?;
        wan::tell(lab, &WanRequest::Mend { directions: directions.clone() })?;
        interrupt.sleep(Duration::from_millis(whole))?;
        flaps += 1;
    }
    let what = format!("link pdc-mdc cut and mended {flaps} times within {} s", FLAPPING.as_secs());
    Ok(Injected::new(began, clock::now(), what))
}

/// Mends everything.
pub fn mend(lab: &Lab) -> Result<Healed, FaultError> {
    let at = wan::tell(lab, &WanRequest::Heal)?;
    Ok(Healed { at, what: "all links mended".to_owned() })
}

fn cut(lab: &Lab, directions: Vec<Direction>, what: String) -> Result<Injected, FaultError> {
    let began = clock::now();
    let ended = wan::tell(lab, &WanRequest::Cut { directions })?;
    Ok(Injected::new(began, ended, what))
}
