//! One run: from `Sync` through a fault back to `Sync`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context;
use model::Timestamp;

use super::aim::Aim;
use super::judge::{self, Seen};
use super::watch::Watch;
use super::web::{self, Struck};
use crate::audit;
use crate::cli::{DemoArgs, Fault, Flavour};
use crate::clients::Event;
use crate::clock::{self, millis_between};
use crate::cluster;
use crate::faults::{self, Expect, Injected, Scene, Target};
use crate::interrupt::Interrupt;
use crate::layout::{Host, HostKind, Lab, LabSite};
use crate::load::{self, Load};
use crate::measure::{self, Moments, RowKey};
use crate::priority;
use crate::ready;
use crate::registers;
use crate::report::{Moment, Run};
use crate::spec::LabSpec;
use crate::status_view::{ClusterStatus, GroupView};
use crate::up::Progress;
use crate::wan;
use crate::web::Visit;
use crate::web_view::WebView;

/// DESIGN §7: at least 100 commits a second.
const RATE_MIN: f64 = 100.0;

/// [`RATE_MIN`], unless a test on a machine with a slow disk says otherwise (`TWOFOLD_LAB_RATE_MIN`).
pub fn rate_min() -> f64 {
    let told = std::env::var("TWOFOLD_LAB_RATE_MIN").ok().and_then(|text| text.parse().ok());
    told.unwrap_or(RATE_MIN)
}

/// Over so long the rate is taken before the fault.
pub const RATE_OVER: Duration = Duration::from_secs(2);

/// From the start of the clients to a steady load.
const STEADY_DEADLINE: Duration = Duration::from_secs(60);

/// A group that is to move has moved by then, or the run has failed.
const FAILOVER_DEADLINE: Duration = Duration::from_secs(30);

/// After everything moved, the old side is watched for so long: it may yet wake up and write.
const AFTERMATH: Duration = Duration::from_secs(4);

/// A group that is to stay is watched for so long: sync_timeout (5 s) + 2 s, and room to see that
/// nothing else comes.
const STAY_WATCHED: Duration = Duration::from_secs(12);

/// The issue asks for 60 s; past this the run is over.
const REJOIN_DEADLINE: Duration = Duration::from_secs(120);

/// The group is in `Sync` again before a run begins, or the demo ends.
const BEGIN_DEADLINE: Duration = Duration::from_secs(120);

/// The load goes on for so long after the return, so that its effects on clients are seen.
const TAIL: Duration = Duration::from_secs(2);

/// A standby that is in `Sync` has received everything, and may have much of it to apply still. It is given up
/// when nothing more arrives for so long…
const APPLY_STALL: Duration = Duration::from_secs(20);

/// …or when it is not done in this time.
const APPLY_DEADLINE: Duration = Duration::from_secs(240);

/// Makes one run: its report, and the rows that were acknowledged in it.
pub fn one(
    lab: &Lab,
    spec: &LabSpec,
    args: &DemoArgs,
    fault: Fault,
    number: u32,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<(Run, BTreeSet<RowKey>)> {
    ready::wait_for_sync(lab, spec, interrupt, BEGIN_DEADLINE, &mut |_| {})?;
    let mut load = Load::start(lab, spec, number, args.writers)?;
    await_steady(&mut load, args.writers, spec.has_entries(), interrupt)?;
    let before = ClusterStatus::ask(lab, spec)?;
    let group = before.group(cluster::GROUP).context("the group is not in the status")?;
    let aim = Aim::of(&group, fault, spec.servers)?;
    let Aim { active, primary, .. } = aim;
    let epoch = group.epoch().context("the group has no epoch")?;
    let leader = before.leader().map(str::to_owned);
    let scene =
        Scene { lab, spec, target: Target { active, primary, leader, epoch, run: number }, interrupt };
    let overflowed_before = overflowed(lab)?;
    let watch = Watch::start(lab, spec);
    let leader = before.leader().unwrap_or("nobody");
    let place = if spec.servers > 1 { primary.name } else { active.name() };
    progress.say(&format!("  load is steady, {place} is active, {leader} leads"));
    let mut pages = vec![page(lab, "before", active, interrupt, progress)?];
    let kine_before = audit::kine_on_primary(lab)?;
    // All that took its time, and the load is judged up to the fault.
    await_steady(&mut load, args.writers, spec.has_entries(), interrupt)?;
    let undo = Undo::of(&scene, fault);
    let injected = faults::inject(&scene, fault)?;
    progress.say(&format!("  fault: {}", injected.what));
    let reachable = reachable_servers(fault, active);
    let struck = Struck { fault, site: active, at: injected.began };
    match aim.expect {
        Expect::Failover | Expect::InSite => {
            let to = aim.site_after().context("the active site has no peer")?;
            await_move(&mut load, &reachable, &aim, struck, interrupt, progress)?;
            pages.push(page(lab, "after", to, interrupt, progress)?);
            progress.say(&format!("  watching the old side for {} s more", AFTERMATH.as_secs()));
            interrupt.sleep(AFTERMATH)?;
        }
        wanted @ (Expect::Stay | Expect::Serve) => {
            let must = if wanted == Expect::Stay { "stay" } else { "serve in the end" };
            progress.say(&format!("  watching for {} s: the group must {must}", STAY_WATCHED.as_secs()));
            let began = Instant::now();
            if wanted == Expect::Stay {
                web::await_move(&mut load, struck, interrupt, progress)?;
            }
            interrupt.sleep(STAY_WATCHED.saturating_sub(began.elapsed()))?;
            if wanted == Expect::Stay {
                pages.push(page(lab, "after", active, interrupt, progress)?);
            }
        }
    }
    interrupt.sleep(faults::lasts(fault).saturating_sub(clock::now().since(injected.began)))?;
    let until = clock::now();
    let healed = faults::heal(&scene, fault, &injected)?;
    undo.not_needed();
    progress.say(&format!("  healed: {}", healed.what));
    let epoch = epoch + u64::from(aim.expect.moves());
    // MariaDB's extra transactions are for a person: no command of this version takes the server back.
    // So are those that were acknowledged in `Async`.
    let waits_for_a_person = (spec.flavour == Flavour::Mariadb && aim.expect.moves()) || faults::loses(fault);
    let (rejoined, quarantined) = match await_sync(&watch, healed.at, epoch, interrupt, progress, || {
        watch.quarantined_since(healed.at).filter(|_| waits_for_a_person)
    })? {
        Some(End::Sync(at)) => (Some(at), None),
        Some(End::Quarantine(what)) => (None, Some(what)),
        None => (None, None),
    };
    web::await_return(&mut load, struck, healed.at, interrupt, progress)?;
    interrupt.sleep(TAIL)?;
    let statuses = watch.stop();
    let events = load.stop()?;
    let ended = clock::now();
    let after = ClusterStatus::ask(lab, spec).ok();
    let acks = measure::acks(&events);
    let acked: BTreeSet<RowKey> = acks.iter().map(|a| a.row).collect();
    progress.say(&format!("  the load has ended; looking for {} writes on both databases", acked.len()));
    let on_primary = audit::rows_on_primary(lab, number);
    let registers = audit::registers_on_primary(lab, number).map(|last| registers::judge(&events, &last));
    let kine = audit::kine_on_primary(lab).map(|after| (kine_before, after));
    let missing_on_standby = match quarantined {
        Some(_) => Ok(None),
        None => missing_on_standby(lab, spec, number, after.as_ref(), &acked, interrupt).map(Some),
    };
    let seen = Seen {
        number,
        fault,
        aim,
        before,
        after,
        injected,
        healed,
        until,
        rejoined,
        quarantined,
        ended,
        reachable,
        events,
        acks,
        statuses,
        registers,
        kine,
        lost: on_primary.map(|rows| measure::lost(&acked, &rows).len() as u64),
        missing_on_standby,
        pages,
        busyness: priority::busyness(),
        overflowed: overflowed(lab).map(|now| now - overflowed_before),
    };
    Ok((judge::judge(seen), acked))
}

/// Undoes a fault when the run ends before it did, also where only half of it was injected: a lab that is
/// kept must not stay broken.
struct Undo<'a> {
    scene: &'a Scene<'a>,
    fault: Fault,
    needed: bool,
}

impl<'a> Undo<'a> {
    fn of(scene: &'a Scene<'a>, fault: Fault) -> Self {
        Self { scene, fault, needed: true }
    }

    fn not_needed(mut self) {
        self.needed = false;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.needed {
            let now = clock::now();
            let begun = Injected::new(now, now, String::new());
            // The run has failed already, and says why; a lab that cannot be mended is taken away.
            let _ = faults::heal(self.scene, self.fault, &begun);
        }
    }
}

/// Waits until names, a client that resolves them, and writes have arrived at the new primary, and tells
/// each as it comes. Past the deadline the judge says what is missing.
fn await_move(
    load: &mut Load,
    reachable: &BTreeSet<String>,
    aim: &Aim,
    struck: Struck,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<()> {
    let (fault, to, sides) = (struck.at, aim.towards(), aim.sides());
    let mut told = BTreeSet::new();
    let mut moved = |load: &mut Load| {
        let events = load.events();
        let now = Moments { fault, until: clock::now() };
        let first_write = measure::acks(events).iter().find(|a| sides.new.contains(&a.address)).map(|a| a.at);
        let mut milestones = vec![
            (
                format!("every DNS server that can be reached answers {to}"),
                measure::dns_flip_ms(events, reachable, &sides, now),
            ),
            (
                format!("the first write is acknowledged in {to}"),
                first_write.map(|at| millis_between(fault, at)),
            ),
            (
                format!("a client that honours the TTL resolves to {to}"),
                measure::client_flip_ms(events, &sides, now),
            ),
        ];
        milestones.extend(web::milestone(events, struck, now));
        let all = milestones.iter().all(|(_, ms)| ms.is_some());
        for (what, ms) in milestones {
            if let Some(ms) = ms.filter(|_| told.insert(what.clone())) {
                progress.say(&format!("  {what}, {:.2} s after the fault", ms / 1_000.0));
            }
        }
        all
    };
    interrupt.wait_for(FAILOVER_DEADLINE, || Ok(moved(load).then_some(())))?;
    Ok(())
}

/// How the wait for the return ended.
enum End {
    /// In `Sync`, since then.
    Sync(Timestamp),
    /// The old primary waits for a person, as is said here.
    Quarantine(String),
}

/// Waits until the group is in `Sync` again, or in no way to it, and tells each state on the way.
fn await_sync(
    watch: &Watch,
    healed: Timestamp,
    epoch: u64,
    interrupt: &Interrupt,
    progress: &Progress,
    quarantined: impl Fn() -> Option<String>,
) -> anyhow::Result<Option<End>> {
    let mut last = None;
    let end = interrupt.wait_for(REJOIN_DEADLINE, || {
        let now = watch.last_since(healed);
        if let Some(what) = now.as_ref().filter(|_| now != last) {
            progress.say(&format!("  {what}"));
            last = now.clone();
        }
        let in_sync = watch.in_sync_since(healed, epoch).map(End::Sync);
        Ok(in_sync.or_else(|| quarantined().map(End::Quarantine)))
    })?;
    match &end {
        Some(End::Sync(at)) => {
            let seconds = millis_between(healed, *at) / 1_000.0;
            progress.say(&format!("  in Sync again, {seconds:.1} s after healing"));
        }
        Some(End::Quarantine(what)) => {
            progress.say(&format!("  not in Sync again: in quarantine until a person decides: {what}"));
        }
        None => {}
    }
    Ok(end)
}

/// Visits the web application of the site that should serve, as a user would, and tells who served it and
/// how many rows there are. A page that is not served is told, not judged: the writers' figures are.
fn page(
    lab: &Lab,
    when: &str,
    site: LabSite,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<(Timestamp, String)> {
    let web = Host::web_of(site).with_context(|| format!("site {site} has no web application"))?;
    let visit = ready::visit(lab, &web, interrupt);
    interrupt.check()?;
    let what = match visit {
        Ok(visit) => {
            let database =
                Host::at(visit.address).map_or_else(|| visit.address.to_string(), |h| h.name.into());
            let Visit { site, host, visits, .. } = visit;
            format!("page {when}: served by {site} ({host}), data in {database}, rows {visits}")
        }
        Err(e) => format!("page {when}: {} does not serve it: {e:#}", web.name),
    };
    progress.say(&format!("  {what}"));
    Ok((clock::now(), what))
}

/// Frames that the hub dropped because it was too slow itself.
fn overflowed(lab: &Lab) -> anyhow::Result<u64> {
    let links = wan::status(lab).context("the WAN hub is not there any more")?;
    Ok(links.iter().map(|l| l.overflowed).sum())
}

/// The load is steady when it has its rate and every DNS server has answered.
fn await_steady(load: &mut Load, writers: u32, web: bool, interrupt: &Interrupt) -> anyhow::Result<()> {
    let servers = cluster::name_servers().len();
    let mut rate = 0.0;
    let steady = interrupt.wait_for(STEADY_DEADLINE, || {
        let events = load.events();
        let now = clock::now();
        let acks = measure::acks(events);
        rate = measure::rate(&acks, now, RATE_OVER);
        // All of them for as long as the rate is taken over: it is not still rising.
        let writing: BTreeSet<_> =
            acks.iter().filter(|a| now.since(a.at) >= RATE_OVER).map(|a| a.row.0).collect();
        let all_write = writing.len() == writers as usize;
        let answered: BTreeSet<_> = events
            .iter()
            .filter_map(|e| match e {
                Event::Answered { server, address: Some(_), .. } => Some(server.clone()),
                _ => None,
            })
            .collect();
        let served = !web || WebView::of(events).served() == all_users();
        Ok((rate >= rate_min() && all_write && answered.len() == servers && served).then_some(()))
    })?;
    steady.with_context(|| {
        format!(
            "the load is not steady within {STEADY_DEADLINE:?}: {rate:.0} commits a second, {} are wanted",
            rate_min()
        )
    })
}

fn all_users() -> BTreeSet<u32> {
    LabSite::ALL.into_iter().flat_map(load::web_users).map(|u| u.number).collect()
}

/// The DNS servers that the outside client reaches while the fault lasts.
fn reachable_servers(fault: Fault, active: LabSite) -> BTreeSet<String> {
    let dark = faults::dark_site(fault, active);
    Host::of_kind(HostKind::Node).filter(|h| Some(h.site) != dark).map(|h| h.name.to_owned()).collect()
}

/// Acknowledged rows that an acker of the standby site still lacks when it has had time to apply.
fn missing_on_standby(
    lab: &Lab,
    spec: &LabSpec,
    number: u32,
    after: Option<&ClusterStatus>,
    acked: &BTreeSet<RowKey>,
    interrupt: &Interrupt,
) -> anyhow::Result<u64> {
    let group = after.and_then(|s| s.group(cluster::GROUP)).context("the status names no group")?;
    let hosts = standby_hosts(&group, spec.servers).context("the status names no standby")?;
    let mut last = None;
    let mut patience = Patience::new(APPLY_STALL);
    interrupt.wait_for(APPLY_DEADLINE, || {
        let missing = missing_on(lab, &hosts, number, acked);
        let now = Instant::now();
        let ended = match &missing {
            Ok(missing) => *missing == 0 || patience.is_over(*missing, now),
            Err(_) => patience.is_over(u64::MAX, now),
        };
        last = Some(missing);
        Ok(ended.then_some(()))
    })?;
    last.context("the standby was not read")?
}

/// How long to wait for what becomes less: as long as it does.
struct Patience {
    stall: Duration,
    least: Option<(u64, Instant)>,
}

impl Patience {
    fn new(stall: Duration) -> Self {
        Self { stall, least: None }
    }

    /// Whether what is left has not become less for too long.
    fn is_over(&mut self, left: u64, now: Instant) -> bool {
        match self.least {
            Some((least, since)) if left >= least => now.duration_since(since) >= self.stall,
            _ => {
                self.least = Some((left, now));
                false
            }
        }
    }
}

/// The servers of the site that is not active which ack, or all of them where the status calls none so.
fn standby_hosts(group: &GroupView<'_>, servers: u32) -> Option<Vec<Host>> {
    let standby = group.active_site()?.parse::<LabSite>().ok()?.peer()?;
    let all: Vec<_> = Host::databases_of(standby, servers).collect();
    let acks = |h: &&Host| group.servers_that_are("acker").any(|name| name == h.name);
    let ackers: Vec<_> = all.iter().filter(acks).copied().collect();
    Some(if ackers.is_empty() { all } else { ackers })
}

/// Acknowledged rows that any of the hosts lacks.
fn missing_on(lab: &Lab, hosts: &[Host], number: u32, acked: &BTreeSet<RowKey>) -> anyhow::Result<u64> {
    let mut missing = BTreeSet::new();
    for host in hosts {
        missing.extend(measure::lost(acked, &audit::rows_on_host(lab, host, number)?));
    }
    Ok(missing.len() as u64)
}

/// The report of a run that could not be made to its end.
pub fn broken(number: u32, fault: Fault, error: &anyhow::Error) -> Run {
    Run {
        run: number,
        fault: fault.name(),
        failures: vec![format!("the run broke off: {error:#}")],
        ..Run::default()
    }
}

/// A run in a line, as soon as it is over.
pub fn line(run: &Run) -> String {
    let ms = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.0} ms"));
    let end = if run.passed() { "ok".to_owned() } else { format!("FAILED: {}", run.failures.join("; ")) };
    let end =
        run.quarantined.as_ref().map_or(end.clone(), |_| format!("{end}, the old primary in quarantine"));
    format!(
        "  DNS flip {}, web move {}, write gap {}, {} acked, {} lost, rejoin {}, rejoin gap {}: {end}",
        ms(run.dns_flip_ms),
        ms(run.web_move_ms),
        ms(run.db_write_gap_ms),
        run.acked_writes,
        run.lost_acked_writes.map_or("?".to_owned(), |l| l.to_string()),
        ms(run.rejoin_ms),
        ms(run.rejoin_write_gap_ms),
    )
}

/// A moment of the timeline.
pub fn moment(fault: Timestamp, at: Timestamp, source: &str, what: String) -> Moment {
    let at_ms = (millis_between(fault, at) * 10.0).round() / 10.0;
    Moment { at_ms, source: source.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_is_waited_for_as_long_as_it_gets_on() {
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let mut patience = Patience::new(Duration::from_secs(20));
        assert!(!patience.is_over(9000, at(0)));
        assert!(!patience.is_over(9000, at(19)), "it may be slow");
        assert!(!patience.is_over(8999, at(39)), "it got on");
        assert!(!patience.is_over(8999, at(58)));
        assert!(patience.is_over(8999, at(59)), "it stands still");
    }

    #[test]
    fn a_standby_that_cannot_be_read_is_given_up() {
        let began = Instant::now();
        let mut patience = Patience::new(Duration::from_secs(20));
        assert!(!patience.is_over(u64::MAX, began));
        assert!(patience.is_over(u64::MAX, began + Duration::from_secs(20)));
    }
}
