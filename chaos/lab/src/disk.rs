//! File systems of the databases' own (losetup(8)): what is filled or frozen there is the database's disk and
//! nobody else's.
//!
//! They lie in memory. In files of the lab's disk each sync would be a commit of that disk's journal, and those of
//! two databases and five nodes in one row leave some 20 commits a second. So what a sync costs is not to be
//! measured here: disks of their own are for the faults of disks.
//!
//! A plain lab has none: the databases' data lies in folders of the same names.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::layout::{Host, HostKind, Lab};

/// Room for the data, a copy of it while a server is rebuilt, and the logs of many runs.
const BYTES: u64 = 2 << 30;

/// A file system in memory (tmpfs(5)).
const MEMORY: &str = "/dev/shm";

/// What takes all the room in a full one.
const FILLER: &str = "filler";

/// The least that is asked for while it is filled: a block.
const BLOCK: i64 = 4096;

/// Why a disk was not made, filled, frozen or taken away.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A file or folder.
    #[error("disk file {path:?}")]
    File {
        /// It.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A program of the system failed.
    #[error("{program} {path:?}: {said}")]
    Program {
        /// Which.
        program: &'static str,
        /// On what.
        path: PathBuf,
        /// Its last words.
        said: String,
    },
}

/// Makes and mounts one for each database host of a lab with so many servers a site.
///
/// # Errors
/// [`DiskError`]; what was made until then [`remove`] takes away.
pub fn make(lab: &Lab, servers: u32) -> Result<(), DiskError> {
    for host in Host::databases(servers) {
        let (image, dir) = (image(lab, &host), lab.disk_dir(&host));
        std::fs::create_dir_all(&dir).map_err(file(&dir))?;
        let made = File::create(&image).and_then(|f| f.set_len(BYTES));
        made.map_err(file(&image))?;
        // Nothing kept for root, who fills it.
        let options = ["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=0"];
        run("mkfs.ext4", Command::new("mkfs.ext4").args(options).arg(&image), &image)?;
        run("mount", Command::new("mount").args(["-o", "loop,noatime"]).args([&image, &dir]), &dir)?;
    }
    Ok(())
}

/// Lets go what is frozen, so that what waits for it can end: the first of tearing a lab down.
pub fn thaw_all(lab: &Lab) {
    for host in Host::of_kind(HostKind::Database) {
        if is_mounted(lab, &host) {
            // One that is not frozen refuses, and one that stays frozen is told by its unmounting.
            let _ = thaw(lab, &host);
        }
    }
}

/// Unmounts and removes all.
///
/// # Errors
/// What is still in use.
pub fn remove(lab: &Lab) -> Result<(), DiskError> {
    for host in Host::of_kind(HostKind::Database) {
        let (image, dir) = (image(lab, &host), lab.disk_dir(&host));
        if is_mounted(lab, &host) {
            run("umount", Command::new("umount").arg(&dir), &dir)?;
        }
        remove_file(&image)?;
    }
    Ok(())
}

/// Takes all the room.
///
/// # Errors
/// [`DiskError`].
pub fn fill(lab: &Lab, host: &Host) -> Result<(), DiskError> {
    let path = lab.disk_dir(host).join(FILLER);
    let filler = File::create(&path).map_err(file(&path))?;
    let (mut at, mut more) = (0, i64::try_from(BYTES).expect("two GiB"));
    while more >= BLOCK {
        match fallocate(&filler, FallocateFlags::empty(), at, more) {
            Ok(()) => at += more,
            Err(Errno::ENOSPC) => more /= 2,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(file(&path)(errno.into())),
        }
    }
    filler.sync_all().map_err(file(&path))
}

/// Gives the room back. What is not filled stays so.
///
/// # Errors
/// [`DiskError`].
pub fn empty(lab: &Lab, host: &Host) -> Result<(), DiskError> {
    remove_file(&lab.disk_dir(host).join(FILLER))
}

fn remove_file(path: &Path) -> Result<(), DiskError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(file(path)(e)),
        _ => Ok(()),
    }
}

/// No write to it comes back from now on (fsfreeze(8)).
///
/// # Errors
/// [`DiskError`].
pub fn freeze(lab: &Lab, host: &Host) -> Result<(), DiskError> {
    let dir = lab.disk_dir(host);
    run("fsfreeze", Command::new("fsfreeze").arg("--freeze").arg(&dir), &dir)
}

/// Writes go on.
///
/// # Errors
/// [`DiskError`], also where nothing was frozen.
pub fn thaw(lab: &Lab, host: &Host) -> Result<(), DiskError> {
    let dir = lab.disk_dir(host);
    run("fsfreeze", Command::new("fsfreeze").arg("--unfreeze").arg(&dir), &dir)
}

fn image(lab: &Lab, host: &Host) -> PathBuf {
    Path::new(MEMORY).join(format!("twofold-lab-{}-{}.img", lab.id(), host.name))
}

/// By its device, which differs from its parent's.
fn is_mounted(lab: &Lab, host: &Host) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| std::fs::metadata(path).map(|m| m.dev()).ok();
    let dir = lab.disk_dir(host);
    device(&dir).is_some_and(|own| Some(own) != device(&lab.host_dir(host)))
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> DiskError {
    let path = path.to_path_buf();
    move |source| DiskError::File { path, source }
}

fn run(program: &'static str, command: &mut Command, path: &Path) -> Result<(), DiskError> {
    let output = command.stdin(Stdio::null()).output().map_err(file(Path::new(program)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(DiskError::Program { program, path: path.to_path_buf(), said })
}
