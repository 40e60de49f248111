//! The recipient's side: the stream becomes files, and the files a data directory that a server starts from.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;
use std::process::Stdio;

use model::GtidSet;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;

use super::tool::Tool;
use super::{CopyError, CopyPlace, DonorStates, file};
use crate::deadline::Deadline;
use crate::position;

/// Where the tool tells the position; the second is the name of later releases.
const POSITION_FILES: [&str; 2] = ["xtrabackup_binlog_info", "mariadb_backup_binlog_info"];
/// What else it leaves for itself.
const OWN_FILES: [&str; 2] = ["xtrabackup_", "mariadb_backup_"];

/// A copy that arrives.
#[derive(Debug)]
pub struct Receiving {
    tool: Tool,
    input: ChildStdin,
}

impl Receiving {
    /// Begins with an empty directory; what was there is removed. `unpacker` is the command that runs mbstream.
    pub async fn start(place: &CopyPlace, unpacker: &[String]) -> Result<Receiving, CopyError> {
        place.clear().await?;
        fs::create_dir(&place.beside).map_err(|e| file("create", &place.beside, e))?;
        let none = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&place.beside, none).map_err(|e| file("create", &place.beside, e))?;
        let arguments = ["-x".to_owned(), "-C".to_owned(), place.beside.display().to_string()];
        let mut tool = Tool::start(unpacker, &arguments, Stdio::piped(), Stdio::null())?;
        let input = tool.input();
        Ok(Receiving { tool, input })
    }

    /// Takes the next bytes of the stream.
    pub async fn take(&mut self, bytes: &[u8]) -> Result<(), CopyError> {
        let program = self.tool.name();
        self.input.write_all(bytes).await.map_err(|source| CopyError::Pipe { program, source })
    }

    /// Behind the last byte: all of it is unpacked.
    pub async fn end(mut self, deadline: Deadline) -> Result<(), CopyError> {
        let program = self.tool.name();
        self.input.shutdown().await.map_err(|source| CopyError::Pipe { program, source })?;
        drop(self.input);
        self.tool.end("unpack the copy", deadline).await
    }
}

/// Makes what was received a data directory: consistent, with the donor's state for a server that has binary logs
/// called `logs`, with the owner of the data that it is to take the place of, and on the disk. Returns the state.
pub async fn prepare(
    place: &CopyPlace,
    program: &[String],
    logs: &str,
    donor: &DonorStates,
    deadline: Deadline,
) -> Result<GtidSet, CopyError> {
    let told = position_in(&place.beside)?;
    let state = position::state_of_copy(&donor.donor, &donor.before, &donor.after, &told)?;
    let arguments = [
        "--no-defaults".to_owned(),
        "--prepare".to_owned(),
        format!("--target-dir={}", place.beside.display()),
    ];
    let tool = Tool::start(program, &arguments, Stdio::null(), Stdio::null())?;
    tool.end("prepare the copy", deadline).await?;
    let (place, lines) = (place.clone(), position::state_lines(&state));
    let state_file = format!("{logs}.state");
    let settled = tokio::task::spawn_blocking(move || {
        remove_own_files(&place.beside)?;
        let path = place.beside.join(state_file);
        fs::write(&path, lines).map_err(|e| file("write", &path, e))?;
        let as_before = fs::metadata(&place.data).map_err(|e| file("look at", &place.data, e))?;
        own(&place.beside, as_before.uid(), as_before.gid())?;
        fs::set_permissions(&place.beside, as_before.permissions())
            .map_err(|e| file("set the rights of", &place.beside, e))?;
        let sync = || -> io::Result<()> { Ok(rustix::fs::syncfs(fs::File::open(&place.beside)?)?) };
        sync().map_err(|e| file("sync", &place.beside, e))
    });
    match deadline.bound(settled).await {
        Err(_) => Err(CopyError::Timeout { doing: "put the copy on the disk" }),
        Ok(Err(e)) => Err(file("write", Path::new("the copy"), io::Error::other(e))),
        Ok(Ok(done)) => done.map(|()| state),
    }
}

/// File, offset, and the last number of every domain, separated by tabs.
fn position_in(copy: &Path) -> Result<String, CopyError> {
    let paths = POSITION_FILES.map(|name| copy.join(name));
    let path = paths.iter().find(|path| path.is_file()).unwrap_or(&paths[0]);
    let text = fs::read_to_string(path).map_err(|e| file("read", path, e))?;
    Ok(text.trim_end().splitn(3, '\t').nth(2).unwrap_or_default().to_owned())
}

fn remove_own_files(copy: &Path) -> Result<(), CopyError> {
    let entries = fs::read_dir(copy).map_err(|e| file("read", copy, e))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == "backup-my.cnf" || OWN_FILES.iter().any(|own| name.starts_with(own)) {
            fs::remove_file(entry.path()).map_err(|e| file("remove", &entry.path(), e))?;
        }
    }
    Ok(())
}

fn own(path: &Path, user: u32, group: u32) -> Result<(), CopyError> {
    lchown(path, Some(user), Some(group)).map_err(|e| file("give away", path, e))?;
    let meta = fs::symlink_metadata(path).map_err(|e| file("look at", path, e))?;
    if meta.is_dir() {
        for entry in fs::read_dir(path).map_err(|e| file("read", path, e))? {
            own(&entry.map_err(|e| file("read", path, e))?.path(), user, group)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_is_the_third_field_under_either_name() {
        for (name, text, told) in [
            ("xtrabackup_binlog_info", "binlog.000001\t2094\t0-2-10\n", "0-2-10"),
            ("mariadb_backup_binlog_info", "binlog.000001\t2094\t0-2-10,7-1-3\n", "0-2-10,7-1-3"),
            ("xtrabackup_binlog_info", "binlog.000001\t330\t\n", ""),
            ("xtrabackup_binlog_info", "binlog.000001\t330\n", ""),
        ] {
            let copy = tempfile::tempdir().unwrap();
            fs::write(copy.path().join(name), text).unwrap();
            assert_eq!(position_in(copy.path()).unwrap(), told, "{text:?}");
        }
        let none = tempfile::tempdir().unwrap();
        assert!(position_in(none.path()).unwrap_err().to_string().contains("xtrabackup_binlog_info"));
    }

    #[test]
    fn the_tools_own_files_go_and_the_servers_stay() {
        let copy = tempfile::tempdir().unwrap();
        for name in ["xtrabackup_info", "backup-my.cnf", "mariadb_backup_checkpoints", "ibdata1"] {
            fs::write(copy.path().join(name), "").unwrap();
        }
        remove_own_files(copy.path()).unwrap();
        let left: Vec<_> = fs::read_dir(copy.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["ibdata1"]);
    }
}
