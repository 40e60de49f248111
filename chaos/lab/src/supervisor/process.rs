//! One process that is kept running.
//!
//! Each has a thread that starts it, waits for its end and starts it again. The slot's lock is
//! held while a process is started and while it is reaped, so whoever holds it and sees a process
//! id may signal it: the id cannot have passed to a stranger.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::cgroup;
use crate::faults::wall;
use crate::spec::ProcessSpec;

/// How one process stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// `HOST/NAME`.
    pub label: String,
    /// Its id while it runs.
    pub pid: Option<i32>,
    /// How often it was started.
    pub starts: u32,
    /// How it ended last.
    pub last_exit: Option<String>,
    /// Stopped by SIGSTOP, and not yet woken.
    #[serde(default)]
    pub paused: bool,
    /// It may not run: held down, or without power.
    #[serde(default)]
    pub held: bool,
}

/// Whether the process may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It is kept running.
    On,
    /// It is dead until power returns.
    Off,
    /// It is dead for good, and its thread ends.
    Gone,
}

/// What the process's thread and its orders share.
struct Slot {
    power: Power,
    pid: Option<Pid>,
    starts: u32,
    last_exit: Option<String>,
}

/// One process that is kept running.
pub struct Process {
    spec: ProcessSpec,
    /// The whole command line, through `lab enter`.
    command: Vec<String>,
    log: PathBuf,
    cgroup: Option<PathBuf>,
    slot: Mutex<Slot>,
    changed: Condvar,
}

impl Process {
    /// Describes a process; [`Process::keep_running`] starts it.
    pub fn new(
        spec: ProcessSpec,
        command: Vec<String>,
        log: PathBuf,
        cgroup: Option<PathBuf>,
    ) -> Arc<Process> {
        let slot = Slot { power: Power::On, pid: None, starts: 0, last_exit: None };
        Arc::new(Process { spec, command, log, cgroup, slot: Mutex::new(slot), changed: Condvar::new() })
    }

    /// What it is.
    pub fn spec(&self) -> &ProcessSpec {
        &self.spec
    }

    /// How it stands.
    pub fn status(&self) -> ProcessStatus {
        let slot = self.lock();
        ProcessStatus {
            label: self.spec.label(),
            pid: slot.pid.map(Pid::as_raw),
            starts: slot.starts,
            last_exit: slot.last_exit.clone(),
            paused: slot.pid.is_some_and(is_stopped),
            held: slot.power != Power::On,
        }
    }

    /// Sets its power. Turning it off does not kill: the caller kills many at once.
    pub fn set_power(&self, power: Power) {
        let mut slot = self.lock();
        if slot.power != Power::Gone {
            slot.power = power;
        }
        self.changed.notify_all();
    }

    /// Sends a signal to the process and its children.
    ///
    /// # Errors
    /// The system's. A process that does not run needs no signal.
    pub fn signal(&self, signal: Signal) -> std::io::Result<()> {
        let slot = self.lock();
        let Some(pid) = slot.pid else { return Ok(()) };
        if let (Signal::SIGKILL, Some(group)) = (signal, &self.cgroup) {
            cgroup::kill(group)?;
        }
        // Beside the control group, since a process that was only just started has not joined it.
        match killpg(pid, signal) {
            Err(nix::errno::Errno::ESRCH) | Ok(()) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Waits until the process has ended, at most until `until`; says whether it has.
    pub fn ended_by(&self, until: Instant) -> bool {
        let mut slot = self.lock();
        while slot.pid.is_some() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            slot = self.changed.wait_timeout(slot, left).expect("no holder of the slot panics").0;
        }
        true
    }

    /// Starts the process whenever it may run, until it is gone for good.
    pub fn keep_running(&self) {
        loop {
            let mut slot = self.lock();
            while slot.power == Power::Off {
                slot = self.changed.wait(slot).expect("no holder of the slot panics");
            }
            if slot.power == Power::Gone {
                return;
            }
            slot.starts += 1;
            match self.spawn() {
                Ok(child) => {
                    slot.pid = Some(pid_of(&child));
                    self.changed.notify_all();
                    drop(slot);
                    self.await_end(child);
                }
                Err(e) => {
                    slot.last_exit = Some(format!("could not be started: {e}"));
                    drop(slot);
                }
            }
            self.pause();
        }
    }

    /// Waits for the end without reaping, then reaps under the lock.
    fn await_end(&self, mut child: Child) {
        let pid = pid_of(&child);
        while let Err(nix::errno::Errno::EINTR) =
            waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
        {}
        // Its id is nobody else's yet.
        wall::forget(pid.as_raw());
        let mut slot = self.lock();
        let end = child.wait().map_or_else(|e| format!("unknown: {e}"), |s| s.to_string());
        slot.pid = None;
        slot.last_exit = Some(end);
        self.changed.notify_all();
    }

    /// The pause before the next start; a change of power ends it.
    fn pause(&self) {
        let slot = self.lock();
        let waiting = |s: &mut Slot| s.power == Power::On;
        drop(
            self.changed
                .wait_timeout_while(slot, self.spec.restart_after(), waiting)
                .expect("no holder of the slot panics"),
        );
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let (program, arguments) = self.command.split_first().expect("`lab enter` comes first");
        Command::new(program)
            .args(arguments)
            .envs(&self.spec.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().expect("no holder of the slot panics")
    }
}

/// Whether the kernel holds the process stopped: state T, the first field after the program's name,
/// which stands in parentheses and may hold some itself (proc_pid_stat(5)).
fn is_stopped(pid: Pid) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(')').is_some_and(|(_, fields)| fields.trim_start().starts_with('T'))
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("process ids fit pid_t"))
}
