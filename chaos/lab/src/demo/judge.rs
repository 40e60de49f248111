//! From what was seen in a run to its report. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use model::{KINE_GAP, Timestamp};

use super::aim::Aim;
use super::run::{RATE_OVER, moment, rate_min};
use super::watch::Look;
use crate::cli::Fault;
use crate::clients::Event;
use crate::clock::millis_between;
use crate::cluster;
use crate::faults::{self, Expect, Healed, Injected};
use crate::layout::LabSite;
use crate::load;
use crate::measure::{self, Ack, Moments};
use crate::registers::Verdict;
use crate::report::{Moment, Run};
use crate::status_view::{ClusterStatus, GroupView};
use crate::web_view::WebView;

/// Everything that was seen.
pub struct Seen {
    pub number: u32,
    pub fault: Fault,
    pub aim: Aim,
    pub before: ClusterStatus,
    pub after: Option<ClusterStatus>,
    pub injected: Injected,
    pub healed: Healed,
    pub until: Timestamp,
    pub rejoined: Option<Timestamp>,
    pub quarantined: Option<String>,
    pub ended: Timestamp,
    pub reachable: BTreeSet<String>,
    pub events: Vec<Event>,
    pub acks: Vec<Ack>,
    pub statuses: Vec<Look>,
    pub lost: anyhow::Result<u64>,
    pub registers: anyhow::Result<Verdict>,
    /// K3s's newest revision before the fault and at the end.
    pub kine: anyhow::Result<(u64, u64)>,
    pub missing_on_standby: anyhow::Result<Option<u64>>,
    pub pages: Vec<(Timestamp, String)>,
    pub busyness: Option<f64>,
    pub overflowed: anyhow::Result<u64>,
}

/// The report of a run.
pub fn judge(seen: Seen) -> Run {
    let (active, sides) = (seen.aim.active, seen.aim.sides());
    let moments = Moments { fault: seen.injected.began, until: seen.until };
    let before = seen.before.group(cluster::GROUP);
    let after = seen.after.as_ref().and_then(|s| s.group(cluster::GROUP));
    let queries = measure::queries(&seen.events);
    let failed_at_reachable = queries.iter().filter(|(of, _)| seen.reachable.contains(*of));
    let (refused_writes, unknown_writes) = measure::failed_writes(&seen.events);
    let web = web_view(&seen.events, seen.fault, active);
    // All that was asked for, also by users whom the fault cut off.
    let (web_requests, web_failures) = WebView::of(&seen.events).counts();
    let mut run = Run {
        run: seen.number,
        fault: seen.fault.name(),
        web_requests,
        web_failures,
        web_outage_ms: web.outage_ms(moments).map(tenths),
        web_move_ms: web.move_ms(active.name(), moments).map(tenths),
        web_return_ms: web.return_ms(active.name(), seen.healed.at).map(tenths),
        active_site: active.name().to_owned(),
        active_site_after: after.and_then(|g| g.active_site().map(str::to_owned)),
        moved_to: moved_to(after.as_ref(), &seen.aim),
        dns_flip_ms: measure::dns_flip_ms(&seen.events, &seen.reachable, &sides, moments).map(tenths),
        dns_flip_client_ms: measure::client_flip_ms(&seen.events, &sides, moments).map(tenths),
        db_write_gap_ms: measure::write_gap_ms(&seen.acks, moments).map(tenths),
        acked_writes: seen.acks.len() as u64,
        lost_acked_writes: seen.lost.as_ref().ok().copied(),
        acked_swaps: seen.registers.as_ref().ok().map(|v| v.swapped),
        wrong_swaps: seen.registers.as_ref().ok().map(|v| v.wrong.len() as u64),
        kine_before: seen.kine.as_ref().ok().map(|(before, _)| *before),
        kine_after: seen.kine.as_ref().ok().map(|(_, after)| *after),
        missing_on_standby: seen.missing_on_standby.as_ref().ok().copied().flatten(),
        quarantined: seen.quarantined.clone(),
        dual_writable_ms: Some(tenths(measure::dual_writable_ms(&seen.acks, &sides))),
        epoch_before: before.and_then(|g| g.epoch()),
        epoch_after: after.and_then(|g| g.epoch()),
        stated_loss: seen.injected.stated_loss,
        durability_at_fault: seen.injected.durability.clone().or_else(|| before.map(|g| durability(&g))),
        dns_queries: queries.values().map(|(sent, _)| sent).sum(),
        dns_failures: queries.values().map(|(_, failed)| failed).sum(),
        dns_failures_reachable: failed_at_reachable.map(|(_, (_, failed))| failed).sum(),
        rejoin_ms: seen.rejoined.map(|at| tenths(millis_between(seen.healed.at, at))),
        rejoin_write_gap_ms: measure::pause(&seen.acks, seen.healed.at, load_end(&seen)).map(tenths),
        commits_per_second: tenths(measure::rate(&seen.acks, moments.fault, RATE_OVER)),
        machine_busyness: seen.busyness.map(tenths),
        client_late_ms: measure::client_late_ms(&seen.events),
        refused_writes,
        unknown_writes,
        timeline: timeline(&seen, moments),
        ..Run::default()
    };
    run.failures = failures(&run, &seen);
    run
}

/// The server that is primary now, where it is not the one that was struck.
fn moved_to(after: Option<&GroupView<'_>>, aim: &Aim) -> Option<String> {
    after?.primary().filter(|name| *name != aim.primary.name).map(str::to_owned)
}

/// What the users saw whom the fault left on the air.
pub fn web_view(events: &[Event], fault: Fault, active: LabSite) -> WebView {
    let dark = faults::dark_site(fault, active);
    WebView::of(events).without(|user| dark.is_some() && load::site_of_user(user) == dark)
}

/// The last commit of the load: what comes after it is no pause but its end.
fn load_end(seen: &Seen) -> Timestamp {
    seen.acks.last().map_or(seen.ended, |a| a.at)
}

/// The first few observations that contradict each other say where to look.
const WRONG_SHOWN: usize = 5;

/// What is held against a run.
fn failures(run: &Run, seen: &Seen) -> Vec<String> {
    let mut failures = Vec::new();
    let mut hold = |holds: bool, what: String| {
        if !holds {
            failures.push(what);
        }
    };
    let loses = faults::loses(seen.fault);
    match &seen.lost {
        Ok(lost) if loses => {
            let held = kept(*lost, run.stated_loss);
            hold(held.is_ok(), held.err().unwrap_or_default());
        }
        Ok(lost) => hold(*lost == 0, format!("{lost} acknowledged writes are not on the final primary")),
        Err(e) => hold(false, format!("the audit of the writes could not be made: {e:#}")),
    }
    match &seen.registers {
        // A register whose swaps were lost is seen to go back: that is the loss which was stated.
        Ok(_) if loses => {}
        Ok(verdict) => {
            for wrong in verdict.wrong.iter().take(WRONG_SHOWN) {
                hold(false, format!("no single history explains what clients saw: {wrong}"));
            }
            let more = verdict.wrong.len().saturating_sub(WRONG_SHOWN);
            hold(more == 0, format!("nor does one explain {more} more observations"));
            hold(verdict.swapped > 0, "no register was swapped".to_owned());
        }
        Err(e) => hold(false, format!("the registers could not be read: {e:#}")),
    }
    match (&seen.kine, seen.aim.expect) {
        (Ok((before, after)), Expect::Failover | Expect::InSite) if seen.fault != Fault::Switchover => {
            hold(
                *after >= before + KINE_GAP,
                format!("K3s's revisions went from {before} to {after}: no gap"),
            );
        }
        (Ok((before, after)), Expect::Failover | Expect::InSite | Expect::Stay) => {
            hold(
                after == before,
                format!("K3s's revisions went from {before} to {after}, and nothing was lost"),
            );
        }
        (Ok((before, after)), Expect::Serve) => hold(after >= before, "K3s's revisions went back".to_owned()),
        (Err(e), _) => hold(false, format!("K3s's revisions could not be read: {e:#}")),
    }
    let dual = run.dual_writable_ms.unwrap_or_default();
    hold(dual == 0.0, format!("both databases acknowledged writes, for {dual} ms"));
    let durability = run.durability_at_fault.as_deref().unwrap_or("unknown");
    let wanted = faults::durability(seen.fault);
    hold(durability == wanted, format!("durability at the fault was {durability}, not {wanted}"));
    let rate = run.commits_per_second;
    hold(
        rate >= rate_min(),
        format!("the load before the fault was {rate:.0} commits a second, under {}", rate_min()),
    );
    let last = seen.statuses.last().map_or("no status at all", |l| l.what.as_str());
    let ended_well = seen.rejoined.is_some() || seen.quarantined.is_some();
    if loses {
        let kept = seen.quarantined.is_some();
        hold(kept, "the old primary, which has what was lost, was not kept for a person".to_owned());
    }
    hold(ended_well, format!("the group did not return to Sync; last seen: {last}"));
    if let Some(at) = seen.rejoined {
        let written = seen.acks.last().is_some_and(|ack| ack.at > at);
        hold(written, "no write was acknowledged once the group was in Sync again".to_owned());
    }
    hold(run.db_write_gap_ms.is_some(), "no write was acknowledged before the fault".to_owned());
    match &seen.missing_on_standby {
        Ok(missing) => hold(
            missing.unwrap_or(0) == 0,
            format!(
                "{} acknowledged writes are not on the standby, which is in Sync",
                missing.unwrap_or_default()
            ),
        ),
        Err(e) => hold(false, format!("the standby could not be read: {e:#}")),
    }
    match &seen.overflowed {
        Ok(frames) => {
            hold(*frames == 0, format!("the WAN hub was too slow and dropped {frames} frames by itself"))
        }
        Err(e) => hold(false, format!("{e:#}")),
    }
    if faults::takes_entry(seen.fault) && run.web_requests > 0 {
        hold(run.web_move_ms.is_some(), "the web clients did not follow to the other site".to_owned());
        hold(run.web_return_ms.is_some(), "the struck site's entry served nobody any more".to_owned());
    }
    let site_after = seen.aim.site_after().map(LabSite::name);
    match seen.aim.expect {
        expect @ (Expect::Failover | Expect::InSite) => {
            let to = if expect == Expect::InSite { "its site's other server" } else { "the other site" };
            let there = run.active_site_after.as_deref() == site_after;
            let by = seen.aim.successor().filter(|_| expect == Expect::InSite).map(|h| h.name);
            let follows = by.is_none_or(|name| run.moved_to.as_deref() == Some(name));
            hold(there && follows, format!("the group did not move to {to}"));
            hold(run.epoch_after > run.epoch_before, "the epoch did not rise".to_owned());
            hold(run.dns_flip_ms.is_some(), format!("not every reachable DNS server answered {to}"));
        }
        Expect::Serve => hold(run.epoch_after >= run.epoch_before, "the epoch went down".to_owned()),
        Expect::Stay => {
            hold(run.active_site_after.as_deref() == site_after, "the group moved".to_owned());
            hold(run.moved_to.is_none(), "another server is primary".to_owned());
            hold(run.epoch_after == run.epoch_before, "the epoch changed".to_owned());
        }
    }
    failures
}

/// In `Async` the loss is at most what was stated to the person who accepted it.
fn kept(lost: u64, stated: Option<u64>) -> Result<(), String> {
    match stated {
        Some(stated) if lost <= stated => Ok(()),
        Some(stated) => {
            Err(format!("{lost} acknowledged writes are lost, and a loss of {stated} was stated"))
        }
        None => Err(format!("{lost} acknowledged writes are lost, and no loss was stated")),
    }
}

fn timeline(seen: &Seen, moments: Moments) -> Vec<Moment> {
    let (fault, sides) = (moments.fault, seen.aim.sides());
    let mut all = vec![
        moment(fault, seen.injected.began, "lab", format!("fault begins: {}", seen.injected.what)),
        moment(fault, seen.injected.ended, "lab", "fault is in force".to_owned()),
        moment(fault, seen.healed.at, "lab", format!("healed: {}", seen.healed.what)),
    ];
    if let Some(at) = seen.rejoined {
        all.push(moment(fault, at, "lab", "the group is in Sync again".to_owned()));
    }
    if let Some((from, to)) = measure::longest_pause(&seen.acks, moments) {
        all.push(moment(fault, from, "clients", "last commit before the longest pause".to_owned()));
        if let Some(ack) = to {
            let what = format!("first commit after it, from {}, by writer {}", ack.address, ack.row.0);
            all.push(moment(fault, ack.at, "clients", what));
        }
    }
    if let Some(last) = seen.acks.iter().rev().find(|a| a.address == sides.old) {
        all.push(moment(fault, last.at, "clients", format!("last commit from {}", last.address)));
    }
    if let Some(first) = seen.acks.iter().find(|a| sides.new.contains(&a.address)) {
        all.push(moment(fault, first.at, "clients", format!("first commit from {}", first.address)));
    }
    all.extend(
        troubles(&seen.events, moments).into_iter().map(|(at, what)| moment(fault, at, "clients", what)),
    );
    all.extend(answers(&seen.events, fault).into_iter().map(|(at, what)| moment(fault, at, "dns", what)));
    all.extend(seen.pages.iter().map(|(at, what)| moment(fault, *at, "clients", what.clone())));
    all.extend(seen.statuses.iter().map(|l| moment(fault, l.at, "status", l.what.clone())));
    all.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
    all
}

/// What went wrong for the writers while the fault was observed: each kind once, with its count.
fn troubles(events: &[Event], moments: Moments) -> Vec<(Timestamp, String)> {
    let mut kinds: BTreeMap<String, (Timestamp, Timestamp, u64)> = BTreeMap::new();
    for event in events {
        let (kind, at) = match event {
            Event::ConnectFailed { at, address, why, .. } => {
                let to = address.map_or("nowhere".to_owned(), |a| a.to_string());
                (format!("connects to {to} failed: {why}"), *at)
            }
            Event::WriteFailed { at, address, why, .. } => {
                (format!("commits on {address} failed: {why}"), *at)
            }
            _ => continue,
        };
        if at > moments.fault && at <= moments.until {
            let (first, last, count) = kinds.entry(kind).or_insert((at, at, 0));
            *first = (*first).min(at);
            *last = (*last).max(at);
            *count += 1;
        }
    }
    let told = |(kind, (first, last, count)): (String, (Timestamp, Timestamp, u64))| {
        let until = millis_between(moments.fault, last);
        (first, format!("{count} {kind} (the last at {until:.0} ms)"))
    };
    kinds.into_iter().map(told).collect()
}

/// A DNS client that saw nothing for less than this had a lost datagram or a slow moment: counted,
/// but no part of the story.
const BLINK: Duration = Duration::from_millis(250);

/// When, which address, and with which response code.
type Change<'a> = (Timestamp, Option<Ipv4Addr>, &'a str);

/// What the DNS clients saw from the fault on, without blinks.
fn answers(events: &[Event], fault: Timestamp) -> Vec<(Timestamp, String)> {
    let mut seen: BTreeMap<&str, Vec<Change>> = BTreeMap::new();
    for event in events {
        match event {
            Event::Answered { server, at, address, code } => {
                seen.entry(server).or_default().push((*at, *address, code));
            }
            Event::Resolved { at, address } => {
                seen.entry("a client that honours the TTL").or_default().push((*at, *address, ""));
            }
            _ => {}
        }
    }
    let mut told = Vec::new();
    for (who, changes) in seen {
        let mut last = None;
        for (index, (at, address, code)) in changes.iter().enumerate() {
            let next = changes.get(index + 1).map(|(at, _, _)| *at);
            let blink = address.is_none() && next.is_some_and(|next| next.since(*at) < BLINK);
            if blink || last == Some(*address) {
                continue;
            }
            if *at >= fault {
                let what = address.map_or_else(|| format!("no address ({code})"), |a| a.to_string());
                told.push((*at, format!("{who}: {what}")));
            }
            last = Some(*address);
        }
    }
    told
}

/// DESIGN §4's word for it.
fn durability(group: &GroupView<'_>) -> String {
    match group.durability() {
        "sync" => "Sync".to_owned(),
        "catch-up" => "CatchUp".to_owned(),
        "async" => "Async".to_owned(),
        other => other.to_owned(),
    }
}

/// A tenth of a millisecond is finer than anything here is measured.
fn tenths(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_kept_to_what_was_stated_and_never_to_nothing() {
        assert_eq!((kept(700, Some(700)), kept(0, Some(0))), (Ok(()), Ok(())));
        assert!(kept(701, Some(700)).is_err_and(|why| why.contains("701") && why.contains("700 was stated")));
        assert!(kept(0, None).is_err_and(|why| why.contains("no loss was stated")));
    }

    /// Goal: a blink is no line of the story, a silence and a new address are.
    #[test]
    fn the_story_leaves_blinks_out() {
        let t = |ms: u64| Timestamp(ms * 1_000);
        let (old, new) = (Ipv4Addr::new(10, 77, 1, 10), Ipv4Addr::new(10, 77, 2, 10));
        let said = |ms, address| Event::Answered {
            server: "pdc-1".to_owned(),
            at: t(ms),
            address,
            code: "timeout".to_owned(),
        };
        let events = [
            said(0, Some(old)),
            said(1100, None),
            said(1200, Some(old)),
            said(2000, None),
            said(3000, Some(new)),
            said(3100, None),
            said(3200, Some(new)),
        ];
        let told: Vec<_> =
            answers(&events, t(1000)).into_iter().map(|(at, what)| (at.0 / 1_000, what)).collect();
        assert_eq!(
            told,
            [(2000, "pdc-1: no address (timeout)".to_owned()), (3000, "pdc-1: 10.77.2.10".to_owned())]
        );
    }
}
