//! The short commands on a lab that is up: exec, kill, cut, heal, down.

use crate::cli::{CutArgs, Exit, LabSignal};
use crate::enter;
use crate::layout::{Host, Lab, LabSite};
use crate::lifecycle;
use crate::spec::LabSpec;
use crate::supervisor::{self, SupervisorRequest, Target, TargetError};
use crate::wan::{self, Direction, WanRequest};

/// `lab down`.
///
/// # Errors
/// What could not be removed.
pub fn down(lab: &Lab) -> anyhow::Result<Exit> {
    let lock = lifecycle::lock(lab)?;
    lifecycle::tear_down(lab, &lock)?;
    drop(lock);
    println!("lab {} is gone", lab.dir().display());
    Ok(Exit::Done)
}

/// `lab exec`: becomes the command inside the host's namespace; returns only on failure.
///
/// # Errors
/// An unknown host, a lab that is not up, a command that cannot be run.
pub fn exec(lab: &Lab, host: &str, command: &[String]) -> anyhow::Result<Exit> {
    let host = Host::named(host).ok_or_else(|| TargetError(host.to_owned()))?;
    LabSpec::read(lab)?;
    Err(enter::become_process(&lab.netns_file(&host), None, command).into())
}

/// `lab kill`.
///
/// # Errors
/// An unknown target; a site that is told to pause; a lab that is not up.
pub fn kill(lab: &Lab, target: &str, signal: LabSignal) -> anyhow::Result<Exit> {
    let request = match (target.parse::<LabSite>(), signal) {
        // `cli` is a site and a host, and holds nothing that runs.
        (Ok(site), LabSignal::Kill) => SupervisorRequest::PowerOff { site },
        (Ok(site), _) => anyhow::bail!("site {site} cannot be paused; pause its hosts"),
        (Err(_), signal) => {
            let target: Target = target.parse()?;
            match signal {
                LabSignal::Kill => SupervisorRequest::Kill { target },
                LabSignal::Stop => SupervisorRequest::Stop { target },
                LabSignal::Cont => SupervisorRequest::Cont { target },
            }
        }
    };
    supervisor::tell(lab, &request)?;
    Ok(Exit::Done)
}

/// `lab cut`.
///
/// # Errors
/// An unknown site; a lab that is not up.
pub fn cut(lab: &Lab, args: &CutArgs) -> anyhow::Result<Exit> {
    let from: LabSite = args.from.parse()?;
    let to: Option<LabSite> = args.to.as_deref().map(str::parse).transpose()?;
    let meant = |d: &Direction| {
        let forth = d.from == from && to.is_none_or(|t| d.to == t);
        let back = d.to == from && to.is_none_or(|t| d.from == t);
        forth || (back && !args.one_way)
    };
    wan::tell(lab, &WanRequest::Cut { directions: wan::directions().filter(meant).collect() })?;
    Ok(Exit::Done)
}

/// `lab heal`: power for the site, or for all sites and a WAN as new.
///
/// # Errors
/// An unknown site; a lab that is not up.
pub fn heal(lab: &Lab, site: Option<&str>) -> anyhow::Result<Exit> {
    let sites = match site {
        Some(name) => vec![name.parse::<LabSite>()?],
        None => supervisor::status(lab)?.powered_off,
    };
    for site in sites {
        supervisor::tell(lab, &SupervisorRequest::PowerOn { site })?;
    }
    if site.is_none() {
        wan::tell(lab, &WanRequest::Heal)?;
    }
    Ok(Exit::Done)
}
