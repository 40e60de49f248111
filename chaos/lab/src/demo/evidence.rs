//! What stays of a demo that failed or broke off when its lab is taken away: logs, configuration, what
//! the guards kept, and the report.
//!
//! Invariant: one folder a lab, with a fixed name, so that failures do not fill the disk; the next one
//! replaces it. Deliberately absent: the databases' data, which is hundreds of megabytes (`--keep`).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::report_file;
use crate::layout::{Host, HostKind, Lab};
use crate::report::Report;

/// Where it stays.
pub fn folder(lab: &Lab) -> PathBuf {
    std::env::temp_dir().join(format!("twofold-lab-{}-failed", lab.id()))
}

/// Copies what is there; gives the folder, or none where the lab left nothing.
///
/// # Errors
/// When it cannot be copied.
pub fn keep(lab: &Lab, report: Option<&Report>) -> anyhow::Result<Option<PathBuf>> {
    let there = contents(lab).into_iter().filter(|p| lab.dir().join(p).exists());
    let there: Vec<_> = there.collect();
    if there.is_empty() && report.is_none() {
        return Ok(None);
    }
    let to = folder(lab);
    remove(&to).with_context(|| format!("removing the earlier {}", to.display()))?;
    // Made anew or not at all: a folder that somebody else laid there is not written to.
    std::fs::create_dir(&to).with_context(|| format!("folder {}", to.display()))?;
    if !there.is_empty() {
        let copied = Command::new("cp")
            .args(["-a", "--parents"])
            .args(&there)
            .arg(&to)
            .current_dir(lab.dir())
            .status();
        anyhow::ensure!(copied?.success(), "cp could not copy all of the logs to {}", to.display());
    }
    if let Some(report) = report {
        std::fs::write(to.join("report.json"), report_file::text(report)).context("report.json")?;
    }
    Ok(Some(to))
}

/// What is kept, as paths below the lab's directory.
fn contents(lab: &Lab) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = ["log", "supervisor.log", "twofold.yaml"].map(PathBuf::from).to_vec();
    for host in Host::of_kind(HostKind::Database) {
        let dir = lab.host_dir(&host);
        let own = dir.strip_prefix(lab.dir()).map(Path::to_path_buf).unwrap_or_default();
        all.extend(["error.log", "my.cnf", "guard"].map(|name| own.join(name)));
    }
    all
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_lies_below_the_labs_directory() {
        let all = contents(&Lab::at(Path::new("/l")));
        assert!(all.contains(&PathBuf::from("hosts/pdc-db/error.log")), "{all:?}");
        assert!(all.iter().all(|p| p.is_relative()));
    }
}
