//! Making and removing a lab's ground: lock, namespaces, hub, supervisor, files.
//!
//! Invariants: whoever changes the ground holds the lab's lock; [`tear_down`] works from names
//! alone and so removes a lab in whatever state an interruption left it, any number of times; it
//! deletes only files that a lab is made of, and only in a directory that is marked as a lab's.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup;
use crate::cluster;
use crate::disk;
use crate::layout::{Host, HostKind, Lab};
use crate::net::{self, NetError};
use crate::spec::{LabSpec, SpecError};
use crate::supervisor::{self, SupervisorRequest};

/// The supervisor makes four WAN ports before it answers.
const SUPERVISOR_DEADLINE: Duration = Duration::from_secs(15);

/// A SIGKILLed process is gone in milliseconds, unless its disk hangs.
const DEATH_DEADLINE: Duration = Duration::from_secs(10);

/// How often a thing that is waited for is looked at.
const TICK: Duration = Duration::from_millis(20);

/// What a lab's directory is made of. Nothing else in it is ever deleted.
const CONTENTS: [&str; 14] = [
    "wan.sock",
    "supervisor.sock",
    "supervisor.log",
    "state.json",
    "twofold.yaml",
    "pki",
    "secrets",
    "hosts",
    "log",
    "clients",
    "web",
    "run",
    "lab.json",
    // Last: as long as it stands, the directory is a lab's.
    ".twofold-lab",
];

/// What the marker says to whoever finds it.
const MARKER_TEXT: &str = "This directory is a twofold lab's: `twofold lab down --dir` removes it.\n";

/// Bytes of a unix socket's path (unix(7)): 108 with the final zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Why a lab's ground could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// Namespaces, TAPs and control groups are root's.
    #[error("the lab needs root for its network namespaces; run it with sudo")]
    NotRoot,
    /// Somebody else is at it.
    #[error("lab {dir:?} is being changed by another command; wait for it, or use another --dir")]
    Busy {
        /// The lab's directory.
        dir: PathBuf,
    },
    /// The directory holds other things.
    #[error("directory {dir:?} is not empty and not a lab's; choose another --dir")]
    Foreign {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory's path leads to, or through, what is none.
    #[error("{} is not a directory; choose another --dir", .dir.display())]
    NotDirectory {
        /// The path.
        dir: PathBuf,
    },
    /// The kernel would not make sockets below it.
    #[error(
        "the path of lab directory {} is too long for the sockets in it: {bytes_max} bytes at most; choose a shorter --dir",
        .dir.display()
    )]
    TooLong {
        /// The lab's directory.
        dir: PathBuf,
        /// What fits.
        bytes_max: usize,
    },
    /// A file of the lab.
    #[error("lab file {path:?} cannot be made, opened or removed")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The network.
    #[error("the lab's network")]
    Net(#[from] NetError),
    /// A database's disk.
    #[error("a disk of the lab's databases")]
    Disk(#[from] crate::disk::DiskError),
    /// The description.
    #[error("the lab's description")]
    Spec(#[from] SpecError),
    /// The supervisor did not come up.
    #[error("the lab's supervisor did not start; its log {log:?} ends: {tail}")]
    Supervisor {
        /// Its log.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// A process would not die.
    #[error("process {pid} of the lab did not die of SIGKILL")]
    Immortal {
        /// Its id.
        pid: i32,
    },
}

/// The right to change a lab, held until dropped; the kernel drops it with the process. Its file
/// goes with the lab.
#[must_use]
#[derive(Debug)]
pub struct LabLock {
    file: Flock<File>,
    path: PathBuf,
    lab: Lab,
}

impl Drop for LabLock {
    fn drop(&mut self) {
        if !is_a_labs(&self.lab) {
            // Removed while it is held: whoever opened it meanwhile sees that it is not the one
            // that stands there (see [`lock`]) and takes a new one.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl LabLock {
    /// Whether the file that is locked is still the one that stands at its path.
    fn stands(&self) -> bool {
        let inode = |m: std::io::Result<std::fs::Metadata>| m.map(|m| (m.dev(), m.ino())).ok();
        let held = inode(self.file.metadata());
        held.is_some() && held == inode(std::fs::metadata(&self.path))
    }
}

/// Takes the right to change a lab.
///
/// # Errors
/// [`LifecycleError::NotRoot`], [`LifecycleError::Busy`].
pub fn lock(lab: &Lab) -> Result<LabLock, LifecycleError> {
    /// Each try after the first means that another command ended in that very moment.
    const TRIES: usize = 8;
    if !nix::unistd::geteuid().is_root() {
        return Err(LifecycleError::NotRoot);
    }
    for _ in 0..TRIES {
        let path = lab.lock_file();
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = match file {
            Ok(file) => file,
            Err(source) => return Err(LifecycleError::File { path, source }),
        };
        let Ok(file) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { break };
        let lock = LabLock { file, path, lab: lab.clone() };
        if lock.stands() {
            return Ok(lock);
        }
    }
    Err(LifecycleError::Busy { dir: lab.dir().to_path_buf() })
}

/// What stands where a lab would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: no directory, or an empty one.
    Nothing,
    /// A lab's directory, whatever state the lab is in.
    Lab,
    /// Other things.
    Foreign,
}

/// What stands in the lab's directory.
///
/// # Errors
/// [`LifecycleError::NotDirectory`], and when it cannot be read.
pub fn standing(lab: &Lab) -> Result<Standing, LifecycleError> {
    let dir = lab.dir().to_path_buf();
    let mut entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Standing::Nothing),
        Err(e) if e.kind() == ErrorKind::NotADirectory => return Err(LifecycleError::NotDirectory { dir }),
        Err(source) => return Err(LifecycleError::File { path: dir, source }),
    };
    Ok(match entries.next() {
        None => Standing::Nothing,
        Some(_) if is_a_labs(lab) => Standing::Lab,
        Some(_) => Standing::Foreign,
    })
}

/// Whether a lab can be made in the directory; looks only.
///
/// # Errors
/// [`LifecycleError::Foreign`], [`LifecycleError::NotDirectory`], [`LifecycleError::TooLong`].
pub fn check_directory(lab: &Lab) -> Result<(), LifecycleError> {
    let dir = || lab.dir().to_path_buf();
    let below = |path: &Path| path.as_os_str().len() - lab.dir().as_os_str().len();
    let databases = Host::of_kind(HostKind::Database).map(|h| cluster::instance(lab, &h).socket);
    let longest = databases.chain([lab.wan_socket(), lab.supervisor_socket()]).map(|s| below(&s)).max();
    let bytes_max = SOCKET_PATH_BYTES_MAX - longest.expect("a lab has sockets");
    if lab.dir().as_os_str().len() > bytes_max {
        return Err(LifecycleError::TooLong { dir: dir(), bytes_max });
    }
    match standing(lab)? {
        Standing::Foreign => Err(LifecycleError::Foreign { dir: dir() }),
        Standing::Nothing | Standing::Lab => Ok(()),
    }
}

/// A file called lab.json may be anybody's; one that is a lab's description is a lab's.
fn is_a_labs(lab: &Lab) -> bool {
    lab.marker_file().exists() || LabSpec::read(lab).is_ok()
}

/// Whether anything of the lab is on the machine outside of its directory: processes, namespaces.
///
/// # Errors
/// When ip(8) or /proc refuse.
pub fn runs(lab: &Lab) -> Result<bool, LifecycleError> {
    let group = cgroup::folder(&lab.cgroup_name()).is_some_and(|g| g.exists());
    Ok(group || !net::existing(lab)?.is_empty() || !processes(lab)?.is_empty())
}

/// Makes the lab's directory, marks it as a lab's, and writes its description.
///
/// # Errors
/// Those of [`check_directory`].
pub fn make_directory(lab: &Lab, spec: &LabSpec) -> Result<(), LifecycleError> {
    check_directory(lab)?;
    let dir = lab.dir();
    let file = |path: &Path| {
        let path = path.to_path_buf();
        move |source| LifecycleError::File { path, source }
    };
    std::fs::create_dir_all(dir).map_err(file(dir))?;
    let marker = lab.marker_file();
    std::fs::write(&marker, MARKER_TEXT).map_err(file(&marker))?;
    spec.write(lab)?;
    for sub in [lab.log_dir(), lab.dir().join("hosts"), lab.secrets_dir(), lab.pki_dir()] {
        std::fs::create_dir_all(&sub).map_err(file(&sub))?;
    }
    Ok(())
}

/// Makes namespaces and starts the supervisor, which starts everything that the lab's description
/// names. The directory and the description must be there.
///
/// # Errors
/// [`LifecycleError`]; what was made until then stays for [`tear_down`].
pub fn start(lab: &Lab, spec: &LabSpec, _lock: &LabLock) -> Result<(), LifecycleError> {
    spec.write(lab)?;
    net::create(lab, spec.servers)?;
    let log = lab.dir().join("supervisor.log");
    let file = |source| LifecycleError::File { path: log.clone(), source };
    let out = OpenOptions::new().create(true).append(true).open(&log).map_err(file)?;
    let err = out.try_clone().map_err(file)?;
    let mut child = Command::new(&spec.program)
        .args(["lab", "supervise", "--dir"])
        .arg(lab.dir())
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|source| LifecycleError::File { path: spec.program.clone(), source })?;
    let until = Instant::now() + SUPERVISOR_DEADLINE;
    while supervisor::status(lab).is_err() {
        let ended = child.try_wait().ok().flatten().is_some();
        if ended || Instant::now() > until {
            return Err(LifecycleError::Supervisor { tail: tail_of(&log), log });
        }
        std::thread::sleep(TICK);
    }
    Ok(())
}

/// Removes whatever there is of the lab. Done twice, the second time does nothing.
///
/// # Errors
/// [`LifecycleError`]; what could not be removed stays and is named.
pub fn tear_down(lab: &Lab, _lock: &LabLock) -> Result<(), LifecycleError> {
    // What waits for a frozen disk cannot be killed.
    disk::thaw_all(lab);
    // The polite way first: a supervisor that is there kills and reaps its own.
    let _ = supervisor::tell(lab, &SupervisorRequest::Shutdown);
    end_supervisor(lab)?;
    end_strays(lab)?;
    net::remove(lab)?;
    disk::remove(lab)?;
    remove_files(lab)
}

/// Kills a supervisor that did not answer, so that it starts nothing again, and its hub. Found by
/// their command lines, since an interruption may have left no file that names them.
fn end_supervisor(lab: &Lab) -> Result<(), LifecycleError> {
    for pid in processes(lab)? {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        await_death(pid, |p| is_ours(lab, p))?;
    }
    Ok(())
}

/// The lab's supervisor and hub, as far as they run.
fn processes(lab: &Lab) -> Result<Vec<i32>, LifecycleError> {
    let file = |source| LifecycleError::File { path: "/proc".into(), source };
    let entries = std::fs::read_dir("/proc").map_err(file)?.flatten();
    let ids = entries.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    Ok(ids.filter(|pid| is_ours(lab, *pid)).collect())
}

/// Whether a process is this lab's supervisor or hub, by its command line.
fn is_ours(lab: &Lab, pid: i32) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let arguments: Vec<&[u8]> = line.split(|b| *b == 0).collect();
    let dir = lab.dir().as_os_str().as_encoded_bytes();
    arguments.contains(&dir) && arguments.iter().any(|a| *a == b"supervise" || *a == b"wan")
}

/// Kills what still runs in the lab's control group and namespaces.
fn end_strays(lab: &Lab) -> Result<(), LifecycleError> {
    if let Some(group) = cgroup::folder(&lab.cgroup_name()) {
        let file = |source| LifecycleError::File { path: group.clone(), source };
        cgroup::kill(&group).map_err(file)?;
        cgroup::remove(&group).map_err(file)?;
    }
    for netns in net::existing(lab)? {
        for pid in net::processes_in(&netns)? {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            await_death(pid, |p| net::processes_in(&netns).is_ok_and(|all| all.contains(&p)))?;
        }
    }
    Ok(())
}

fn await_death(pid: i32, alive: impl Fn(i32) -> bool) -> Result<(), LifecycleError> {
    let until = Instant::now() + DEATH_DEADLINE;
    while alive(pid) {
        if Instant::now() > until {
            return Err(LifecycleError::Immortal { pid });
        }
        std::thread::sleep(TICK);
    }
    Ok(())
}

/// Deletes the lab's files, and its directory if nothing else is in it.
fn remove_files(lab: &Lab) -> Result<(), LifecycleError> {
    if is_a_labs(lab) {
        for name in CONTENTS {
            let path = lab.dir().join(name);
            let removed = match std::fs::symlink_metadata(&path) {
                Err(_) => continue,
                Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(&path),
                Ok(_) => std::fs::remove_file(&path),
            };
            removed.map_err(|source| LifecycleError::File { path, source })?;
        }
        // Something of somebody else's may lie in it; then it stays.
        let _ = std::fs::remove_dir(lab.dir());
    }
    Ok(())
}

/// The last lines of a log, for an error message.
#[must_use]
pub fn tail_of(log: &Path) -> String {
    /// Lines shown; the reason is nearly always in the last ones.
    const LINES: usize = 12;
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
