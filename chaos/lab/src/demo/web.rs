//! Waiting for the web clients in a run: that they leave a struck site's entry, and that it serves again.

use std::time::Duration;

use model::Timestamp;

use super::judge;
use crate::cli::Fault;
use crate::clients::Event;
use crate::clock;
use crate::faults;
use crate::interrupt::Interrupt;
use crate::layout::LabSite;
use crate::load::Load;
use crate::measure::Moments;
use crate::up::Progress;

/// A check that fails twice, a TTL of a second and a page take three seconds; what is past this is reported
/// as missing.
const DEADLINE: Duration = Duration::from_secs(30);

/// What struck which site, and when.
#[derive(Debug, Clone, Copy)]
pub struct Struck {
    pub fault: Fault,
    pub site: LabSite,
    pub at: Timestamp,
}

/// That the web clients of the struck site are served by the other one, and after how long; none where the
/// fault leaves its entry alone, or it served nobody.
pub fn milestone(events: &[Event], struck: Struck, now: Moments) -> Option<(String, Option<f64>)> {
    if !faults::takes_entry(struck.fault) {
        return None;
    }
    let view = judge::web_view(events, struck.fault, struck.site);
    let users = view.served_by(struck.site.name(), struck.at).len();
    let what = format!("{users} web clients of {} are served by {}", struck.site, struck.site.peer()?);
    (users > 0).then(|| (what, view.move_ms(struck.site.name(), now)))
}

/// Waits until they are, and tells. Past the deadline the judge says what is missing.
pub fn await_move(
    load: &mut Load,
    struck: Struck,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<()> {
    if !faults::takes_entry(struck.fault) {
        return Ok(());
    }
    let moved = interrupt.wait_for(DEADLINE, || {
        let now = Moments { fault: struck.at, until: clock::now() };
        let milestone = milestone(load.events(), struck, now);
        Ok(milestone.and_then(|(what, ms)| ms.map(|ms| (what, ms))))
    })?;
    if let Some((what, ms)) = moved {
        progress.say(&format!("  {what}, {:.2} s after the fault", ms / 1_000.0));
    }
    Ok(())
}

/// Waits until the struck site serves web clients again, and tells.
pub fn await_return(
    load: &mut Load,
    struck: Struck,
    healed: Timestamp,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<()> {
    if !faults::takes_entry(struck.fault) {
        return Ok(());
    }
    let back = interrupt.wait_for(DEADLINE, || {
        let view = judge::web_view(load.events(), struck.fault, struck.site);
        Ok(view.return_ms(struck.site.name(), healed))
    })?;
    if let Some(ms) = back {
        progress.say(&format!(
            "  {} serves web clients again, {:.2} s after healing",
            struck.site,
            ms / 1_000.0
        ));
    }
    Ok(())
}
