//! Becoming a process of a host: join its control group and its network namespace, then exec.
//!
//! A program of its own and not a hook between fork and exec, since such hooks are unsafe code.
//! The process keeps its id through the exec, so whoever started it holds the right one.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, setns};

/// Why a process could not become one of a host.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The control group cannot be joined.
    #[error("control group {path:?} cannot be joined; `lab down` and `lab up` make it anew")]
    Cgroup {
        /// Its folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The namespace is not there, or we are not root.
    #[error("network namespace {path:?} cannot be joined; is the lab up, and are you root?")]
    Netns {
        /// Its file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The program cannot be run.
    #[error("program {program:?} cannot be run")]
    Exec {
        /// The program.
        program: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
}

/// Moves the calling thread into a network namespace. Other threads of the process stay.
///
/// # Errors
/// [`EnterError::Netns`].
pub fn join_netns(path: &Path) -> Result<(), EnterError> {
    let fault = |source| EnterError::Netns { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(fault)?;
    setns(&file, CloneFlags::CLONE_NEWNET).map_err(|e| fault(e.into()))
}

/// Joins and execs; returns only on failure.
#[must_use]
pub fn become_process(netns: &Path, cgroup: Option<&Path>, command: &[String]) -> EnterError {
    if let Some(path) = cgroup {
        let procs = path.join("cgroup.procs");
        if let Err(source) = std::fs::write(procs, std::process::id().to_string()) {
            return EnterError::Cgroup { path: path.to_path_buf(), source };
        }
    }
    if let Err(e) = join_netns(netns) {
        return e;
    }
    let Some((program, arguments)) = command.split_first() else {
        return EnterError::Exec {
            program: String::new(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidInput, "no command given"),
        };
    };
    let source = Command::new(program).args(arguments).exec();
    EnterError::Exec { program: program.clone(), source }
}
