//! Control groups (v2), by which all processes of a host or a site are killed by one write.
//!
//! `cgroup.kill` (Documentation/admin-guide/cgroup-v2.rst) reaches every descendant at once, also
//! those that fork meanwhile, and never a stranger that took over a process id. Machines without a
//! writable v2 hierarchy do without: the supervisor then kills process groups.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where a v2 hierarchy may be mounted: alone, or beside v1 ("hybrid").
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A killed process leaves its group when it is reaped, which takes milliseconds.
const EMPTY_DEADLINE: Duration = Duration::from_secs(5);

/// How often an emptying group is looked at.
const EMPTY_TICK: Duration = Duration::from_millis(5);

/// The folder of the lab's group, whether it exists or not; none where no v2 hierarchy is mounted.
#[must_use]
pub fn folder(name: &str) -> Option<PathBuf> {
    MOUNTS.iter().map(Path::new).find(|m| m.join("cgroup.controllers").exists()).map(|m| m.join(name))
}

/// Makes a group, or none where the hierarchy is absent, read-only or too old for `cgroup.kill`.
#[must_use]
pub fn make(name: &str) -> Option<PathBuf> {
    let path = folder(name)?;
    std::fs::create_dir_all(&path).ok()?;
    path.join("cgroup.kill").exists().then_some(path)
}

/// Makes a group below another.
///
/// # Errors
/// The system's.
pub fn make_below(parent: &Path, name: &str) -> std::io::Result<PathBuf> {
    let path = parent.join(name);
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

/// Sends SIGKILL to every process of a group and of those below it, at once.
///
/// # Errors
/// The system's; a group that does not exist has nobody to kill.
pub fn kill(path: &Path) -> std::io::Result<()> {
    match std::fs::write(path.join("cgroup.kill"), "1") {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes a group and those below it, after its processes have been killed.
///
/// # Errors
/// When processes stay in it past the deadline.
pub fn remove(path: &Path) -> std::io::Result<()> {
    let until = Instant::now() + EMPTY_DEADLINE;
    loop {
        match remove_tree(path) {
            Err(e) if e.kind() == std::io::ErrorKind::ResourceBusy && Instant::now() < until => {
                std::thread::sleep(EMPTY_TICK);
            }
            other => return other,
        }
    }
}

fn remove_tree(path: &Path) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match std::fs::remove_dir(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
