//! Faults of one process. One that is killed the supervisor starts again, as systemd would, so healing
//! is nothing that anybody does; one that is stopped goes on when it is told to.

use super::{FaultError, Healed, Injected};
use crate::clock;
use crate::layout::{Host, Lab, LabSite};
use crate::supervisor::{self, SupervisorRequest, Target};

/// kill -9 of the databases of some hosts.
pub fn kill_databases(lab: &Lab, hosts: &[Host]) -> Result<Injected, FaultError> {
    let targets: Vec<_> = hosts.iter().map(|h| Target::process(h.name, "mysqld")).collect();
    kill(lab, &targets)
}

/// kill -9 of the leading node.
pub fn kill_leader(lab: &Lab, leader: &str) -> Result<Injected, FaultError> {
    kill(lab, &node(leader))
}

/// kill -9 of the active site's entry, which stays down: a process that is started again after half a
/// second is no fault to a check that must fail twice.
pub fn hold_entry(lab: &Lab, active: LabSite) -> Result<Injected, FaultError> {
    let host = Host::entry_of(active).expect("groups are active in data sites alone");
    let target = Target::process(host.name, "haproxy");
    let what = format!("SIGKILL to {target}, which stays down");
    let acted = supervisor::tell(lab, &SupervisorRequest::Hold { target })?;
    Ok(Injected::new(acted.began, acted.ended, what))
}

/// What was held down is started.
pub fn release(lab: &Lab) -> Result<Healed, FaultError> {
    let acted = supervisor::tell(lab, &SupervisorRequest::Release)?;
    Ok(Healed { at: acted.ended, what: "the entry is started again".to_owned() })
}

/// Processes of a host.
pub fn on_host(host: &Host, processes: &[&str]) -> Vec<Target> {
    processes.iter().map(|p| Target::process(host.name, p)).collect()
}

/// A node's process.
pub fn node(name: &str) -> Vec<Target> {
    vec![Target::process(name, "node")]
}

/// SIGSTOP.
pub fn pause(lab: &Lab, targets: &[Target]) -> Result<Injected, FaultError> {
    let began = clock::now();
    for target in targets {
        supervisor::tell(lab, &SupervisorRequest::Stop { target: target.clone() })?;
    }
    Ok(Injected::new(began, clock::now(), format!("SIGSTOP to {}", list(targets))))
}

/// SIGCONT. What died stopped, and runs anew, is not hurt by it.
pub fn resume(lab: &Lab, targets: &[Target]) -> Result<Healed, FaultError> {
    for target in targets {
        supervisor::tell(lab, &SupervisorRequest::Cont { target: target.clone() })?;
    }
    Ok(Healed { at: clock::now(), what: format!("SIGCONT to {}", list(targets)) })
}

fn list(targets: &[Target]) -> String {
    targets.iter().map(Target::to_string).collect::<Vec<_>>().join(" and ")
}

/// The fault heals from its own instant on.
pub fn healed_by_supervisor(injected: &Injected) -> Healed {
    Healed { at: injected.ended, what: "the supervisor starts it again by itself".to_owned() }
}

fn kill(lab: &Lab, targets: &[Target]) -> Result<Injected, FaultError> {
    let (mut began, mut ended) = (None, clock::now());
    for target in targets {
        let acted = supervisor::tell(lab, &SupervisorRequest::Kill { target: target.clone() })?;
        began = began.or(Some(acted.began));
        ended = acted.ended;
    }
    Ok(Injected::new(began.unwrap_or(ended), ended, format!("SIGKILL to {}", list(targets))))
}
