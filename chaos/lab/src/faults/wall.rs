//! Faults of the wall clock under the daemons, by libfaketime(1). They need a lab with clocks of its own.

use std::path::{Path, PathBuf};

use super::{FaultError, Healed, Injected};
use crate::clock;
use crate::layout::{Host, HostKind, Lab, LabSite};
use crate::spec::LabSpec;
use crate::supervisor;

/// What is in the file of a clock that goes right.
pub const RIGHT: &str = "+0\n";

/// Where the daemons of a host are told how far their wall clock is off.
#[must_use]
pub fn file(lab: &Lab, host: &Host) -> PathBuf {
    lab.host_dir(host).join("clock")
}

/// The library's name in a process's map (proc_pid_maps(5)).
const LIBRARY: &str = "libfaketime";

/// Every daemon that runs must be under the library, or nothing would step.
fn check(lab: &Lab) -> Result<(), FaultError> {
    for process in supervisor::status(lab)?.processes {
        let daemon = process.label.ends_with("/node") || process.label.ends_with("/guard");
        let Some(pid) = process.pid.filter(|_| daemon) else { continue };
        let file = PathBuf::from(format!("/proc/{pid}/maps"));
        let maps = std::fs::read_to_string(&file).map_err(|source| FaultError::Clock { file, source })?;
        if !maps.contains(LIBRARY) {
            return Err(FaultError::NoClock(process.label));
        }
    }
    Ok(())
}

/// What libfaketime leaves of a process that was killed, by the process's id.
const LEFT: [&str; 2] = ["/dev/shm/faketime_shm_", "/dev/shm/sem.faketime_sem_"];

/// A process of the lab has ended, and its id is still its own: what the library shared in it goes with it.
pub fn forget(pid: i32) {
    for name in LEFT {
        // One without the library, or that ended in order, left nothing.
        let _ = std::fs::remove_file(format!("{name}{pid}"));
    }
}

/// The daemons of the active site are an hour ahead, those of all others an hour behind.
pub fn step(lab: &Lab, spec: &LabSpec, active: LabSite) -> Result<Injected, FaultError> {
    check(lab)?;
    let began = clock::now();
    set(lab, spec.servers, |host| if host.site == active { "+1h\n" } else { "-1h\n" })?;
    let what = format!("the wall clocks step: an hour ahead in {active}, an hour behind everywhere else");
    Ok(Injected::new(began, clock::now(), what))
}

/// All go right.
pub fn right(lab: &Lab, servers: u32) -> Result<Healed, FaultError> {
    set(lab, servers, |_| RIGHT)?;
    Ok(Healed { at: clock::now(), what: "the wall clocks go right".to_owned() })
}

/// Replaces each file as a whole, so that no daemon reads half of it.
fn set(lab: &Lab, servers: u32, text: impl Fn(&Host) -> &'static str) -> Result<(), FaultError> {
    for host in with_daemons(servers) {
        let (file, beside) = (file(lab, &host), lab.host_dir(&host).join("clock.new"));
        write(&file, &beside, text(&host)).map_err(|source| FaultError::Clock { file, source })?;
    }
    Ok(())
}

/// The hosts that nodes and guards run on.
fn with_daemons(servers: u32) -> impl Iterator<Item = Host> {
    Host::all(servers).filter(|h| matches!(h.kind, HostKind::Node | HostKind::Database))
}

fn write(file: &Path, beside: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(beside, text)?;
    std::fs::rename(beside, file)
}

/// Makes the files, of clocks that go right.
///
/// # Errors
/// [`FaultError::Clock`].
pub fn make(lab: &Lab, servers: u32) -> Result<(), FaultError> {
    for host in with_daemons(servers) {
        let dir = lab.host_dir(&host);
        std::fs::create_dir_all(&dir).map_err(|source| FaultError::Clock { file: dir, source })?;
    }
    right(lab, servers).map(|_| ())
}
