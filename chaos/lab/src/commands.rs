//! The short commands on a lab that is up: exec, kill, cut, heal, down. Each says in one line what was
//! done, or that nothing was to be done.

use std::fmt::Display;

use crate::cli::{CutArgs, Exit};
use crate::control::ControlError;
use crate::enter;
use crate::layout::{Host, Lab, LabSite};
use crate::lifecycle::{self, LifecycleError, Standing};
use crate::spec::LabSpec;
use crate::supervisor::{self, SupervisorError, SupervisorRequest, SupervisorStatus, Target, TargetError};
use crate::wan::{self, Direction, LinkStatus, WanRequest};

/// What `lab kill` does to a host or a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// SIGKILL; started again after its pause.
    Kill,
    /// SIGKILL; started again by `lab heal`.
    Hold,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Cont,
}

/// What is asked for makes no sense, whatever state the lab is in.
#[derive(Debug, thiserror::Error)]
pub enum Misuse {
    /// Power knows on and off only.
    #[error("site {0} can only be killed, not paused or woken; name its hosts one by one")]
    SitePaused(LabSite),
    /// Nothing there has power.
    #[error("site cli holds measuring clients only: nothing runs there that could be killed")]
    NothingToKill,
    /// There is no such link.
    #[error("site {0} cannot be cut from itself; name two sites, or one to cut it from all others")]
    CutFromItself(LabSite),
}

/// The lab is there and nobody takes orders.
#[derive(Debug, thiserror::Error)]
#[error("the supervisor of lab {dir} is gone: `twofold lab down`, then `twofold lab up`")]
pub struct SupervisorGone {
    dir: String,
}

/// What runs in a lab that is up.
///
/// # Errors
/// [`SpecError::Absent`](crate::spec::SpecError::Absent) where there is no lab, [`SupervisorGone`].
pub fn standing(lab: &Lab) -> anyhow::Result<SupervisorStatus> {
    LabSpec::read(lab)?;
    supervisor::status(lab).map_err(|e| match e {
        SupervisorError::Control(ControlError::Connect { .. }) => {
            SupervisorGone { dir: lab.dir().display().to_string() }.into()
        }
        other => other.into(),
    })
}

/// `lab down`.
///
/// # Errors
/// What could not be removed; a directory of somebody else's.
pub fn down(lab: &Lab) -> anyhow::Result<Exit> {
    let dir = lab.dir().display();
    let lock = lifecycle::lock(lab)?;
    let (standing, runs) = (lifecycle::standing(lab)?, lifecycle::runs(lab)?);
    match (standing, runs) {
        (Standing::Foreign, false) => {
            return Err(LifecycleError::Foreign { dir: lab.dir().to_path_buf() }.into());
        }
        (Standing::Nothing, false) => println!("there was no lab in {dir}"),
        (Standing::Lab | Standing::Nothing, _) => {
            lifecycle::tear_down(lab, &lock)?;
            println!("lab {dir} is gone");
        }
        (Standing::Foreign, true) => {
            lifecycle::tear_down(lab, &lock)?;
            println!("lab {dir} is gone, but for files that do not look like a lab's: they stay");
        }
    }
    Ok(Exit::Done)
}

/// A host that this lab has, and not only others.
fn standing_host(lab: &Lab, host: Host) -> anyhow::Result<Host> {
    let stands = host.stands(LabSpec::read(lab)?.servers);
    Ok(stands.then_some(host).ok_or_else(|| TargetError::Host(host.name.to_owned()))?)
}

/// The same of an order's target.
fn has_target(lab: &Lab, target: &Target) -> anyhow::Result<()> {
    let host = Host::named(&target.host).ok_or_else(|| TargetError::Host(target.host.clone()))?;
    standing_host(lab, host).map(|_| ())
}

/// `lab exec`: becomes the command inside the host's namespace; returns only on failure.
///
/// # Errors
/// An unknown host, a lab that is not up, a command that cannot be run.
pub fn exec(lab: &Lab, host: &str, command: &[String]) -> anyhow::Result<Exit> {
    let known = Host::named(host).ok_or_else(|| TargetError::Host(host.to_owned()))?;
    let host = standing_host(lab, known)?;
    Err(enter::become_process(&lab.netns_file(&host), None, command).into())
}

/// `lab kill`.
///
/// # Errors
/// An unknown target; [`Misuse`]; a lab that is not up.
pub fn kill(lab: &Lab, target: &str, order: Order) -> anyhow::Result<Exit> {
    let done = match (target.parse::<LabSite>(), order) {
        // `cli` is a site and a host, and holds nothing that runs.
        (Ok(LabSite::Cli), _) => return Err(Misuse::NothingToKill.into()),
        // A site without power is held down anyway.
        (Ok(site), Order::Kill | Order::Hold) => power_off(lab, site)?,
        (Ok(site), _) => return Err(Misuse::SitePaused(site).into()),
        (Err(_), order) => send(lab, target.parse()?, order)?,
    };
    println!("{done}");
    Ok(Exit::Done)
}

fn power_off(lab: &Lab, site: LabSite) -> anyhow::Result<String> {
    if standing(lab)?.powered_off.contains(&site) {
        return Ok(format!("site {site} has no power already: nothing was to be done"));
    }
    supervisor::tell(lab, &SupervisorRequest::PowerOff { site })?;
    Ok(format!("site {site}: links silent, then all processes killed; without power until `lab heal {site}`"))
}

fn send(lab: &Lab, target: Target, order: Order) -> anyhow::Result<String> {
    let there = standing(lab)?;
    has_target(lab, &target)?;
    let running: Vec<_> = there.processes.iter().filter(|p| target.covers_label(&p.label)).collect();
    let met: Vec<_> = running
        .iter()
        .filter(|p| match order {
            Order::Kill => p.pid.is_some(),
            // Also one that is just about to be started again.
            Order::Hold => !p.held,
            Order::Stop => p.pid.is_some() && !p.paused,
            Order::Cont => p.paused,
        })
        .map(|p| p.label.as_str())
        .collect();
    let named = target.clone();
    let (request, verb, idle) = match order {
        Order::Kill => (SupervisorRequest::Kill { target: named }, "killed", "runs"),
        Order::Hold => (SupervisorRequest::Hold { target: named }, "killed", "runs or is to be started"),
        Order::Stop => (SupervisorRequest::Stop { target: named }, "paused", "runs unpaused"),
        Order::Cont => (SupervisorRequest::Cont { target: named }, "woken", "is paused"),
    };
    if met.is_empty() {
        return Ok(format!("nothing of {target} {idle}: nothing was to be done"));
    }
    supervisor::tell(lab, &request)?;
    let then = match order {
        Order::Kill => "; started again after its pause".to_owned(),
        Order::Hold => ", and held down until `lab heal`".to_owned(),
        Order::Stop => format!(", until `lab kill {target} --signal cont`"),
        Order::Cont => String::new(),
    };
    Ok(format!("{verb}: {}{then}", met.join(", ")))
}

/// `lab stop` and `lab start`.
///
/// # Errors
/// An unknown target; a lab that is not up.
pub fn stay(lab: &Lab, target: &str, up: Stay) -> anyhow::Result<Exit> {
    let target: Target = target.parse()?;
    standing(lab)?;
    has_target(lab, &target)?;
    let (request, said) = match up {
        Stay::Down => (
            SupervisorRequest::Down { target: target.clone() },
            format!("stopped: {target}, until `lab start {target}`"),
        ),
        Stay::Up => (SupervisorRequest::Up { target: target.clone() }, format!("started: {target}")),
    };
    supervisor::tell(lab, &request)?;
    println!("{said}");
    Ok(Exit::Done)
}

/// What `lab stop` and `lab start` leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Not started again.
    Down,
    /// Kept running.
    Up,
}

/// `lab cut`.
///
/// # Errors
/// An unknown site; [`Misuse`]; a lab that is not up.
pub fn cut(lab: &Lab, args: &CutArgs) -> anyhow::Result<Exit> {
    let from: LabSite = args.from.parse()?;
    let to: Option<LabSite> = args.to.as_deref().map(str::parse).transpose()?;
    if to == Some(from) {
        return Err(Misuse::CutFromItself(from).into());
    }
    let meant = |d: &Direction| {
        let forth = d.from == from && to.is_none_or(|t| d.to == t);
        let back = d.to == from && to.is_none_or(|t| d.from == t);
        forth || (back && !args.one_way)
    };
    standing(lab)?;
    let directions: Vec<_> = wan::directions().filter(meant).collect();
    if args.delay.is_some() || args.loss.is_some() {
        println!("{}", worsen(lab, directions, args.delay, args.loss)?);
        return Ok(Exit::Done);
    }
    let before = wan::status(lab)?;
    let fresh = before.iter().filter(|l| meant(&l.direction) && !l.cut).map(|l| l.direction);
    let fresh: Vec<_> = fresh.collect();
    wan::tell(lab, &WanRequest::Cut { directions })?;
    if fresh.is_empty() {
        println!("cut already: nothing was to be done");
    } else {
        println!("cut: {}; `lab heal` mends", listed(&fresh));
    }
    Ok(Exit::Done)
}

/// `lab cut --delay --loss`: frames pass, later or not all of them.
fn worsen(
    lab: &Lab,
    directions: Vec<Direction>,
    delay: Option<u64>,
    loss: Option<f64>,
) -> anyhow::Result<String> {
    let mut how = Vec::new();
    if let Some(millis) = delay {
        wan::tell(lab, &WanRequest::Delay { directions: directions.clone(), micros: millis * 1_000 })?;
        how.push(format!("each frame takes {millis} ms"));
    }
    if let Some(percent) = loss {
        wan::tell(lab, &WanRequest::Loss { directions: directions.clone(), percent })?;
        how.push(format!("{percent} % of the frames are lost"));
    }
    let cut: Vec<_> =
        wan::status(lab)?.into_iter().filter(|l| l.cut && directions.contains(&l.direction)).collect();
    let still = if cut.is_empty() { "" } else { " (while it is cut, nothing passes)" };
    Ok(format!("{}: {}{still}; `lab heal` makes it as it was", listed(&directions), how.join(", ")))
}

/// `lab heal`: power for the site and its links mended, or for all sites and a WAN as new.
///
/// # Errors
/// An unknown site; a lab that is not up.
pub fn heal(lab: &Lab, site: Option<&str>) -> anyhow::Result<Exit> {
    let site: Option<LabSite> = site.map(str::parse).transpose()?;
    let there = standing(lab)?;
    let off = there.powered_off;
    // What has no power gets it with its site.
    let lit = |label: &str| !off.iter().any(|s| is_of(label, *s));
    let meant = |label: &str| site.is_none_or(|s| is_of(label, s)) && lit(label);
    let held = there.processes.iter().filter(|p| p.held && meant(&p.label));
    let held: Vec<_> = held.map(|p| p.label.clone()).collect();
    let before = wan::status(lab)?;
    let sites = site.map_or_else(|| off.clone(), |s| vec![s]);
    for site in &sites {
        supervisor::tell(lab, &SupervisorRequest::PowerOn { site: *site })?;
    }
    if site.is_none() {
        for host in &there.hosts_off {
            supervisor::tell(lab, &SupervisorRequest::HostOn { host: host.clone() })?;
        }
        wan::tell(lab, &WanRequest::Heal)?;
        supervisor::tell(lab, &SupervisorRequest::Release)?;
    }
    let lit: Vec<_> = sites.into_iter().filter(|s| off.contains(s)).collect();
    println!("{}", healed(&lit, &held, &before, &wan::status(lab)?));
    for paused in standing(lab)?.processes.iter().filter(|p| p.paused) {
        println!("still paused: {0}; `lab kill {0} --signal cont` wakes it", paused.label);
    }
    Ok(Exit::Done)
}

/// Whether a process, by its label, stands in a site.
fn is_of(label: &str, site: LabSite) -> bool {
    let host = label.split('/').next().and_then(Host::named);
    host.is_some_and(|h| h.site == site)
}

/// What a healing changed.
fn healed(lit: &[LabSite], held: &[String], before: &[LinkStatus], after: &[LinkStatus]) -> String {
    let how = |l: &LinkStatus| (l.cut, l.delay_micros, l.loss_percent.to_bits());
    let changed = |l: &&LinkStatus| after.iter().any(|a| a.direction == l.direction && how(a) != how(l));
    let mended = before.iter().filter(changed).map(|l| l.direction);
    let mended: Vec<_> = mended.collect();
    let told = |what: &str, things: String| (!things.is_empty()).then(|| format!("{what}: {things}"));
    let parts =
        [told("power again", listed(lit)), told("let go", listed(held)), told("mended", listed(&mended))];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "nothing was to be healed".to_owned() } else { parts.join("; ") }
}

fn listed(things: &[impl Display]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(from: LabSite, to: LabSite, cut: bool) -> LinkStatus {
        let direction = Direction { from, to };
        LinkStatus {
            direction,
            cut,
            delay_micros: 0,
            loss_percent: 0.0,
            passed: 0,
            dropped: 0,
            overflowed: 0,
        }
    }

    #[test]
    fn a_healing_says_what_it_changed() {
        use LabSite::{Mdc, Pdc};
        let (cut, whole) = ([link(Pdc, Mdc, true)], [link(Pdc, Mdc, false)]);
        let held = ["pdc-entry/haproxy".to_owned()];
        for (lit, held, before, after, said) in [
            (&[][..], &[][..], &whole, &whole, "nothing was to be healed"),
            (&[], &[], &cut, &whole, "mended: pdc→mdc"),
            (&[], &[], &cut, &cut, "nothing was to be healed"),
            (&[], &held, &cut, &cut, "let go: pdc-entry/haproxy"),
            (&[Pdc], &[], &cut, &whole, "power again: pdc; mended: pdc→mdc"),
        ] {
            assert_eq!(healed(lit, held, before, after), said);
        }
        assert!(is_of("pdc-entry/haproxy", Pdc) && !is_of("pdc-entry/haproxy", Mdc));
    }
}
