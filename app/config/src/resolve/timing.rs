//! The timing, held against the inequalities of DESIGN §4.

use std::time::Duration;

use crate::fields::At;
use crate::problem::Problems;
use crate::scalar::show;
use crate::timing::Timing;
use crate::tree::Place;
use crate::v1::{Profile, TimingFile};

/// Least margin: two jiffies at 100 Hz, by which an nftables timeout may run late.
const MARGIN_MIN: Duration = Duration::from_millis(20);

/// Shortest tick: below it a busy host's scheduler is what is measured.
const TICK_MIN: Duration = Duration::from_millis(10);

/// Least ticks in an election timeout, so that two lost heartbeats start none.
const ELECTION_TICKS_MIN: u32 = 3;

/// Longest lease and longest wait that make sense: without a writer for longer, a person is quicker.
const LEASE_MAX: Duration = Duration::from_secs(300);

/// The timing the file means; `None` if a problem was added.
pub(crate) fn resolve(file: Option<&TimingFile>, problems: &mut Problems) -> Option<Timing> {
    let Some(file) = file else { return Some(Timing::default()) };
    if !file.whole {
        return None;
    }
    let before = problems.len();
    let timing = merge(file);
    let mut rules = Rules { file, timing, problems };
    rules.lengths();
    rules.elections();
    rules.lease();
    rules.waits();
    (problems.len() == before).then_some(timing)
}

fn merge(file: &TimingFile) -> Timing {
    let base = match file.profile.as_ref().map(|at| at.value) {
        None | Some(Profile::Metro) => Timing::METRO,
        Some(Profile::Wide) => Timing::WIDE,
    };
    let (election_min, election_max) =
        file.election.as_ref().map_or((base.election_min, base.election_max), |at| at.value);
    let mut timing = Timing {
        renew: super::or(&file.renew, base.renew),
        lease: super::or(&file.lease, base.lease).min(LEASE_MAX * 2),
        drift_ppm: super::or(&file.drift_ppm, base.drift_ppm),
        margin: super::or(&file.margin, base.margin),
        tick: super::or(&file.tick, base.tick),
        election_min,
        election_max,
        dwell: super::or(&file.dwell, base.dwell),
        sync_timeout: super::or(&file.sync_timeout, base.sync_timeout),
        rtt: super::or(&file.rtt, base.rtt),
        fsync: super::or(&file.fsync, base.fsync),
        ..base
    };
    timing.wait = file.wait.as_ref().map_or(timing.least_wait(), |at| at.value);
    timing
}

struct Rules<'a> {
    file: &'a TimingFile,
    timing: Timing,
    problems: &'a mut Problems,
}

impl Rules<'_> {
    fn lengths(&mut self) {
        let t = self.timing;
        if t.tick < TICK_MIN {
            let message = format!("tick {} is shorter than {}", show(t.tick), show(TICK_MIN));
            self.refuse(&[place(&self.file.tick)], message, "lengthen tick".to_owned());
        }
        if t.margin < MARGIN_MIN {
            let message = format!(
                "margin {} is shorter than two jiffies of the kernel, {}",
                show(t.margin),
                show(MARGIN_MIN)
            );
            self.refuse(&[place(&self.file.margin)], message, format!("write at least {}", show(MARGIN_MIN)));
        }
        if t.lease > LEASE_MAX {
            let message = format!("lease {} is longer than {}", show(t.lease), show(LEASE_MAX));
            self.refuse(&[place(&self.file.lease)], message, "check its unit".to_owned());
        }
        let least = t.renew + t.tick;
        if t.dwell < least {
            let message = format!(
                "dwell {} is shorter than renew + tick = {}: one late renewal would be a diagnosis",
                show(t.dwell),
                show(least)
            );
            let file = self.file;
            let places = [place(&file.dwell), place(&file.renew), place(&file.tick)];
            self.refuse(&places, message, format!("write at least {}", show(least)));
        }
    }

    fn elections(&mut self) {
        let t = self.timing;
        let places = [place(&self.file.election), place(&self.file.tick), place(&self.file.rtt)];
        let (least, most) = (show(t.election_min), show(t.election_max));
        if t.tick.is_zero() {
            return;
        }
        let whole = |length: Duration| length.as_micros().is_multiple_of(t.tick.as_micros());
        if t.election_max < t.election_min + t.tick {
            let message =
                format!("election [{least}, {most}] is not at least one tick of {} wide", show(t.tick));
            self.refuse(
                &places,
                message,
                "write the shorter bound first, and the longer one apart from it".to_owned(),
            );
        } else if !whole(t.election_min) || !whole(t.election_max) {
            let message = format!("election [{least}, {most}] is not whole ticks of {}", show(t.tick));
            self.refuse(&places, message, "write multiples of tick, since Raft counts in ticks".to_owned());
        } else if t.election_min < t.tick * ELECTION_TICKS_MIN {
            let floor = show(t.tick * ELECTION_TICKS_MIN);
            let message = format!("election begins at {least}, under {ELECTION_TICKS_MIN} ticks = {floor}");
            self.refuse(&places, message, format!("begin it at {floor} or more, or shorten tick"));
        } else if t.election_min <= t.rtt * 2 + t.tick {
            let floor = show(t.rtt * 2 + t.tick);
            let message = format!("election begins at {least}, not longer than 2·rtt + tick = {floor}");
            self.refuse(&places, message, "begin it later: a heartbeat must come back in time".to_owned());
        }
    }

    fn lease(&mut self) {
        let t = self.timing;
        let file = self.file;
        if t.renew < t.tick {
            let message = format!("renew {} is shorter than tick {}", show(t.renew), show(t.tick));
            self.refuse(&[place(&file.renew), place(&file.tick)], message, "lengthen renew".to_owned());
        }
        if t.renew * 3 >= t.lease {
            let message =
                format!("renew {} is not shorter than a third of lease {}", show(t.renew), show(t.lease));
            let hint = format!("shorten renew, or lengthen lease beyond {}", show(t.renew * 3));
            self.refuse(&[place(&file.renew), place(&file.lease)], message, hint);
        }
        // DESIGN §4: the lease must outlive an election, or a dead leader would cost a write pause.
        let spare = t.lease.saturating_sub(t.renew);
        if t.election_bound() >= spare {
            let message = format!(
                "an election may take 2·{} + tick {} + 5·rtt {} + 3·fsync {} = {}, which is not under lease {} − renew {} = {}",
                show(t.election_max),
                show(t.tick),
                show(t.rtt),
                show(t.fsync),
                show(t.election_bound()),
                show(t.lease),
                show(t.renew),
                show(spare)
            );
            let hint =
                format!("lengthen lease beyond {}, or shorten election", show(t.election_bound() + t.renew));
            let places =
                [&file.lease, &file.renew, &file.rtt, &file.fsync, &file.tick].map(|written| place(written));
            let places: Vec<_> = std::iter::once(place(&file.election)).chain(places).collect();
            self.refuse(&places, message, hint);
        }
    }

    fn waits(&mut self) {
        let t = self.timing;
        if t.lease > LEASE_MAX {
            return;
        }
        // DESIGN §4: W ≥ T_H·(1+ρ)/(1−ρ) + δ.
        if t.wait < t.least_wait() {
            let rho = f64::from(t.drift_ppm) / 1e6;
            let message = format!(
                "wait {} is shorter than lease {}·(1+{rho})/(1−{rho}) + margin {} = {}: two servers could take writes",
                show(t.wait),
                show(t.lease),
                show(t.margin),
                show(t.least_wait())
            );
            self.refuse(&[place(&self.file.wait)], message, "remove wait, and it is computed".to_owned());
        } else if t.wait > LEASE_MAX * 2 {
            let message = format!("wait {} is longer than {}", show(t.wait), show(LEASE_MAX * 2));
            self.refuse(&[place(&self.file.wait)], message, "check its unit".to_owned());
        }
        if t.sync_timeout <= t.wait {
            let message = format!(
                "sync-timeout {} is not longer than the wait {}: durability would weaken before a failover could",
                show(t.sync_timeout),
                show(t.wait)
            );
            let places = [place(&self.file.sync_timeout), place(&self.file.wait), place(&self.file.lease)];
            self.refuse(&places, message, format!("lengthen sync-timeout beyond {}", show(t.wait)));
        }
    }

    /// Complains at the first of `places` that was written, else at the timing itself.
    fn refuse(&mut self, places: &[Option<&Place>], message: String, hint: String) {
        let place = places.iter().flatten().next().copied().unwrap_or(&self.file.place);
        self.problems.add(place, message, hint);
    }
}

fn place<T>(written: &Option<At<T>>) -> Option<&Place> {
    written.as_ref().map(|at| &at.place)
}
