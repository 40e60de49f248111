//! The mysqld process beside us: who it is, whether it lives, its end.
//!
//! It is found by its pid file and known by its working directory, which mysqld sets to its data
//! directory: a stale pid file names a stranger, and under a foreign loader the process name says
//! nothing. From then on it is held by a pidfd (pidfd_open(2)), which stays with that one process
//! when its pid is used again.
//!
//! Deliberately absent: starting and restarting it. A supervisor does that.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use model::ProcessStart;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::deadline::Deadline;

/// The files that a server is known by on its own host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// `pid_file`. A killed server leaves it behind; a stopped one removes it before it is gone.
    pub pid_file: PathBuf,
    /// `datadir`, which is the process's working directory.
    pub data_dir: PathBuf,
}

/// Why nothing is known of the process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A file.
    #[error("read {path:?} (this takes root, or the server's own account)")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A system call on the process.
    #[error("{call} of process {pid}")]
    Call {
        /// Its name.
        call: &'static str,
        /// The process.
        pid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The wait ended first.
    #[error("process {pid} still lives at the deadline")]
    StillAlive {
        /// The process.
        pid: u32,
    },
    /// It did not stop in time: a thread of it waits for a disk, for one. It was let go on.
    #[error("process {pid} was not stopped by the deadline")]
    StillRuns {
        /// The process.
        pid: u32,
    },
}

/// One life of a mysqld.
#[derive(Debug)]
pub struct MysqldProcess {
    pid: u32,
    start: ProcessStart,
    pidfd: OwnedFd,
}

/// Bits of a pid: PID_MAX_LIMIT is 2²² (include/linux/threads.h), which leaves 42 bits of clock ticks:
/// 1,394 years at 100 a second.
const PID_BITS: u32 = 22;

/// Between two looks whether all threads are stopped.
const TICK: std::time::Duration = std::time::Duration::from_millis(2);

impl MysqldProcess {
    /// The live server of these files; `None` when there is none. Looks first at the pid file, then at
    /// all processes that work in the data directory: a server that is starting has no pid file yet and
    /// one that is stopping has none any more.
    pub fn find(files: &ServerFiles) -> Result<Option<MysqldProcess>, ProcessError> {
        if let Some(pid) = pid_in(&files.pid_file)?
            && let Some(process) = Self::open(pid, &files.data_dir)?
        {
            return Ok(Some(process));
        }
        for pid in pids()? {
            if let Some(process) = Self::open(pid, &files.data_dir)? {
                return Ok(Some(process));
            }
        }
        Ok(None)
    }

    /// Takes hold of `pid` if it is alive and is the server of `data_dir`.
    fn open(pid: u32, data_dir: &Path) -> Result<Option<MysqldProcess>, ProcessError> {
        if !serves(pid, data_dir)? {
            return Ok(None);
        }
        let Some(kernel_pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let pidfd = match pidfd_open(kernel_pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(e) => return Err(ProcessError::Call { call: "pidfd_open", pid, source: e.into() }),
        };
        // Between the look and the open the pid may have gone to another; now it cannot any more.
        let Some(start) = start_of(pid) else { return Ok(None) };
        let process = MysqldProcess { pid, start, pidfd };
        let still = serves(pid, data_dir)? && process.is_alive()?;
        Ok(still.then_some(process))
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its identity within this boot.
    #[must_use]
    pub fn start(&self) -> ProcessStart {
        self.start
    }

    /// The pid that a life had.
    #[must_use]
    pub fn pid_of(start: ProcessStart) -> u32 {
        u32::try_from(start.0 & ((1 << PID_BITS) - 1)).expect("22 bits fit")
    }

    /// True until all its threads have ended; a zombie that nobody reaped has ended.
    pub fn is_alive(&self) -> Result<bool, ProcessError> {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut fds, Some(&now)) {
            Ok(ready) => Ok(ready == 0),
            Err(e) => Err(ProcessError::Call { call: "poll", pid: self.pid, source: e.into() }),
        }
    }

    /// Sends SIGKILL to this process and no other. Done also when it has ended already. It takes
    /// effect when [`exited`](Self::exited) says so: a process in an uninterruptible wait lives on.
    pub fn kill(&self) -> Result<(), ProcessError> {
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(ProcessError::Call { call: "SIGKILL", pid: self.pid, source: e.into() }),
        }
    }

    /// Stops it and sees that every thread has stopped: from then on it does nothing, and nobody takes it for
    /// ended. What follows is [`kill`](Self::kill), or [`resume`](Self::resume). Where it cannot be seen, it runs on.
    pub async fn pause(&self, deadline: Deadline) -> Result<(), ProcessError> {
        self.signal("SIGSTOP", Signal::STOP)?;
        let stopped = async {
            while !all_stopped(self.pid) {
                tokio::time::sleep(TICK).await;
            }
        };
        if deadline.bound(stopped).await.is_ok() {
            return Ok(());
        }
        self.resume()?;
        Err(ProcessError::StillRuns { pid: self.pid })
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<(), ProcessError> {
        self.signal("SIGCONT", Signal::CONT)
    }

    fn signal(&self, call: &'static str, signal: Signal) -> Result<(), ProcessError> {
        pidfd_send_signal(&self.pidfd, signal).map_err(|e| ProcessError::Call {
            call,
            pid: self.pid,
            source: e.into(),
        })
    }

    /// Waits for its end. Its sockets are closed by then, though what is queued in the kernel may
    /// still leave: the gate stands for that.
    pub async fn exited(&self, deadline: Deadline) -> Result<(), ProcessError> {
        let call = |e: io::Error| ProcessError::Call { call: "watch", pid: self.pid, source: e };
        // A descriptor of its own, so that several may watch; a pidfd is readable from the end on.
        let fd = self.pidfd.try_clone().map_err(call)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that might give up their descriptor; an OwnedFd keeps it"
        )]
        let watch = AsyncFd::with_interest(fd, Interest::READABLE).map_err(call)?;
        match deadline.bound(watch.readable()).await {
            Ok(ready) => ready.map(drop).map_err(call),
            Err(_) => Err(ProcessError::StillAlive { pid: self.pid }),
        }
    }

    /// Kills it and waits for its end: the ladder's third rung.
    pub async fn kill_and_wait(&self, deadline: Deadline) -> Result<(), ProcessError> {
        self.kill()?;
        self.exited(deadline).await
    }
}

/// Every thread is stopped by a signal: state T (proc_pid_stat(5)). One that ends meanwhile counts as stopped.
fn all_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_else(|_| ") T".to_owned());
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    })
}

/// The number in a pid file; `None` when there is no file or nothing in it yet.
fn pid_in(path: &Path) -> Result<Option<u32>, ProcessError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ProcessError::File { path: path.to_owned(), source }),
    }
}

fn pids() -> Result<Vec<u32>, ProcessError> {
    let path = PathBuf::from("/proc");
    let entries = fs::read_dir(&path).map_err(|source| ProcessError::File { path: path.clone(), source })?;
    Ok(entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect())
}

/// True when `pid` was started as a server and works in `data_dir`: a shell that stands in the
/// directory is not one. A server whose directory may not be read is an error, since "not ours" would
/// be taken for "not alive".
fn serves(pid: u32, data_dir: &Path) -> Result<bool, ProcessError> {
    let Ok(arguments) = fs::read(format!("/proc/{pid}/cmdline")) else { return Ok(false) };
    if !is_server(&arguments) {
        return Ok(false);
    }
    let path = PathBuf::from(format!("/proc/{pid}/cwd"));
    match fs::read_link(&path) {
        Ok(cwd) => Ok(fs::canonicalize(data_dir).is_ok_and(|real| real == cwd)),
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            Err(ProcessError::File { path, source })
        }
        Err(_) => Ok(false),
    }
}

/// A server's own name stands among its arguments, also behind a loader (`ld-linux … /usr/sbin/mysqld`).
fn is_server(cmdline: &[u8]) -> bool {
    cmdline.split(|&b| b == 0).any(|argument| {
        let name = argument.rsplit(|&b| b == b'/').next().unwrap_or(argument);
        matches!(name, b"mysqld" | b"mariadbd" | b"mysqld-debug")
    })
}

/// The identity of `pid`; `None` when there is no such process.
fn start_of(pid: u32) -> Option<ProcessStart> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(ProcessStart((start_ticks(&stat)? << PID_BITS) | u64::from(pid)))
}

/// Field 22 of /proc/PID/stat (proc_pid_stat(5)). The name in field 2 may hold anything, so fields
/// are counted from its last closing bracket.
fn start_ticks(stat: &str) -> Option<u64> {
    let rest = &stat[stat.rfind(')')? + 1..];
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};
    use std::time::Duration;

    /// A process that looks like a server of `dir`: it works there and "mysqld" is its first argument.
    fn stand_in(dir: &Path) -> Child {
        use std::os::unix::process::CommandExt;
        Command::new("sleep").arg0("/opt/mysqld").arg("600").current_dir(dir).spawn().unwrap()
    }

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "42 (ld) x (y) S 1 42 42 0 -1 4194304 1 0 0 0 7 8 0 0 20 0 40 0 98765 1 2";
        assert_eq!(start_ticks(stat), Some(98765));
        assert_eq!(start_ticks("42"), None);
    }

    #[test]
    fn a_server_is_known_by_its_arguments_also_behind_a_loader() {
        assert!(is_server(b"/lib/ld-linux.so\0--argv0\0x\0/root/usr/sbin/mysqld\0--user=root\0"));
        assert!(!is_server(b"vi\0mysqld.cnf\0"));
    }

    #[tokio::test]
    async fn a_server_is_found_killed_and_seen_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let files = ServerFiles { pid_file: dir.path().join("pid"), data_dir: dir.path().to_owned() };
        assert!(MysqldProcess::find(&files).unwrap().is_none());
        let mut child = stand_in(dir.path());
        // Found without a pid file, and the same life with one.
        let scanned = loop {
            // The child has its directory and its arguments once exec is through.
            if let Some(found) = MysqldProcess::find(&files).unwrap() {
                break found;
            }
            tokio::task::yield_now().await;
        };
        fs::write(&files.pid_file, child.id().to_string()).unwrap();
        let found = MysqldProcess::find(&files).unwrap().unwrap();
        assert_eq!((found.pid(), found.start()), (child.id(), scanned.start()));
        assert!(found.is_alive().unwrap());
        assert_eq!(MysqldProcess::pid_of(found.start()), found.pid());
        assert!(matches!(
            found.exited(Deadline::after(Duration::ZERO)).await,
            Err(ProcessError::StillAlive { .. })
        ));
        found.kill_and_wait(Deadline::after(Duration::from_secs(20))).await.unwrap();
        // A zombie until it is reaped, and dead nevertheless.
        assert!(!found.is_alive().unwrap());
        assert!(MysqldProcess::find(&files).unwrap().is_none());
        found.kill().unwrap();
        child.wait().unwrap();
        found.kill().unwrap();
    }

    /// Goal: a paused process is stopped when the call returns, can be let go on, and is killed without waking.
    #[tokio::test]
    async fn a_server_is_paused_let_go_on_and_killed_while_it_is_paused() {
        let dir = tempfile::tempdir().unwrap();
        let files = ServerFiles { pid_file: dir.path().join("pid"), data_dir: dir.path().to_owned() };
        let mut child = stand_in(dir.path());
        let found = loop {
            if let Some(found) = MysqldProcess::find(&files).unwrap() {
                break found;
            }
            tokio::task::yield_now().await;
        };
        let patience = || Deadline::after(Duration::from_secs(20));
        found.pause(patience()).await.unwrap();
        assert!(all_stopped(found.pid()) && found.is_alive().unwrap());
        found.resume().unwrap();
        while all_stopped(found.pid()) {
            tokio::task::yield_now().await;
        }
        found.pause(patience()).await.unwrap();
        found.kill_and_wait(patience()).await.unwrap();
        child.wait().unwrap();
        assert!(matches!(found.pause(patience()).await, Err(ProcessError::Call { .. })));
    }

    #[test]
    fn a_stale_pid_file_names_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let files = ServerFiles { pid_file: dir.path().join("pid"), data_dir: dir.path().to_owned() };
        // Our own pid is alive, and is no server of that directory.
        fs::write(&files.pid_file, std::process::id().to_string()).unwrap();
        assert!(MysqldProcess::find(&files).unwrap().is_none());
        fs::write(&files.pid_file, "").unwrap();
        assert!(MysqldProcess::find(&files).unwrap().is_none());
    }
}
