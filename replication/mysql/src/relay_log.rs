//! The relay log's files on this host: put on the disk before anything in them is acknowledged.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::deadline::Deadline;
use crate::outcome::{ActError, Stop};
use crate::read::last_row;
use crate::session::Session;

/// Syncs every file of the default channel's relay log, with its index and folder (fsync(2)). Call it
/// while nothing is received. One that is purged meanwhile was applied, which is on disk by
/// `sync_binlog=1`.
pub(crate) async fn sync(session: &mut Session, deadline: Deadline) -> Result<(), Stop> {
    let sql = "SELECT @@GLOBAL.relay_log_index AS relay_log_index, @@GLOBAL.datadir AS datadir, \
               @@server_uuid AS server_uuid";
    let sets = session.ask("find the relay log", sql, deadline).await?;
    let row = last_row(&sets, "the relay log's place")?;
    let folder = PathBuf::from(row.text("datadir")?);
    let index = folder.join(row.text("relay_log_index")?);
    let uuid = row.text("server_uuid")?;
    let work = tokio::task::spawn_blocking(move || sync_files(&index, &folder, &uuid));
    match tokio::time::timeout(deadline.left(), work).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(Stop::Failed(ActError::RelayLog(error))),
        Ok(Err(_)) | Err(_) => {
            let late = io::Error::new(io::ErrorKind::TimedOut, "it was not done in time, and is tried again");
            Err(Stop::Failed(ActError::RelayLog(late)))
        }
    }
}

fn sync_files(index: &Path, folder: &Path, uuid: &str) -> io::Result<()> {
    // The server's paths may be those of a container: then other files, or none, would be synced.
    let identity = fs::read_to_string(folder.join("auto.cnf"))?;
    if !identity.contains(uuid) {
        let why = format!("{} is another server's folder on this host", folder.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    // A server that never received has no index.
    let Some(list) = present(fs::read_to_string(index))? else { return Ok(()) };
    for line in list.lines().filter(|l| !l.is_empty()) {
        if let Some(file) = present(File::open(folder.join(line)))? {
            file.sync_all()?;
        }
    }
    File::open(index)?.sync_all()?;
    File::open(index.parent().unwrap_or(folder))?.sync_all()
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: files are found beside the data folder or by full path; a purged one and a missing index
    /// are no errors, a file that cannot be opened is one.
    #[test]
    fn purged_files_are_passed_over_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("relay.index");
        assert!(sync_files(&index, folder.path(), "u-1").is_err(), "a folder of nobody's");
        fs::write(folder.path().join("auto.cnf"), "[auto]\nserver-uuid=u-1\n").unwrap();
        assert!(sync_files(&index, folder.path(), "u-2").is_err(), "a folder of another server's");
        sync_files(&index, folder.path(), "u-1").unwrap();
        let whole = folder.path().join("relay.000002");
        fs::write(&whole, "x").unwrap();
        fs::write(folder.path().join("relay.000003"), "y").unwrap();
        fs::write(&index, format!("./relay.000001\n{}\n./relay.000003\n", whole.display())).unwrap();
        sync_files(&index, folder.path(), "u-1").unwrap();
        std::os::unix::fs::symlink("relay.000009", folder.path().join("relay.000009")).unwrap();
        fs::write(&index, "./relay.000009\n").unwrap();
        assert!(sync_files(&index, folder.path(), "u-1").is_err(), "a loop of links is no purged file");
    }
}
