//! Saving what a server has and nobody else: its binary logs as they are, and the extra transactions
//! as SQL for a person to read.
//!
//! The copy is made beside its final name and renamed when it is whole and on the disk, so a rescue
//! that exists is complete, and one that was interrupted is made again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use model::GtidSet;
use tokio::process::Command;

use crate::deadline::Deadline;

/// What to save and where to.
#[derive(Debug, Clone)]
pub struct Rescue {
    /// The binary logs' index file (`log_bin_index`), which lists them in order.
    pub index: PathBuf,
    /// The transactions that are extra.
    pub extra: GtidSet,
    /// Folder to make. When it exists the rescue was made already.
    pub into: PathBuf,
    /// Command that runs mysqlbinlog, without its arguments. Empty: no SQL is written. MariaDB's tool does not
    /// select transactions by a set, so there a person reads the copies.
    pub mysqlbinlog: Vec<String>,
}

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Copies of the binary logs.
    pub binary_logs: Vec<PathBuf>,
    /// The extra transactions as SQL, where there was a command to write it.
    pub sql: Option<PathBuf>,
}

/// Why nothing was saved.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    /// A file or folder.
    #[error("{doing} {path:?}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// mysqlbinlog did not like it.
    #[error("mysqlbinlog ended with {status}: {message}")]
    Mysqlbinlog {
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it said, cut at 2 KiB.
        message: String,
    },
    /// The deadline passed; what was written so far is in the folder with `.part` at its end.
    #[error("mysqlbinlog was not done by the deadline")]
    Timeout,
}

/// Name of the SQL file.
const SQL: &str = "extra-transactions.sql";
/// Bytes of mysqlbinlog's complaint that are told.
const MESSAGE_BYTES_MAX: usize = 2048;

/// Copies the binary logs and writes `extra` as SQL. The server may run or not; if it runs it should
/// be fenced, so that nothing is added.
pub async fn save_extra_transactions(rescue: &Rescue, deadline: Deadline) -> Result<Saved, RescueError> {
    if rescue.into.is_dir() {
        return saved(&rescue.into);
    }
    let part = part_of(&rescue.into);
    remove_if_there(&part)?;
    fs::create_dir_all(&part).map_err(|e| file("create", &part, e))?;
    let logs = copy_logs(&rescue.index, &part)?;
    if let Some((program, arguments)) = rescue.mysqlbinlog.split_first() {
        write_sql((program, arguments), &rescue.extra, &logs, &part.join(SQL), deadline).await?;
    }
    sync(&part)?;
    fs::rename(&part, &rescue.into).map_err(|e| file("rename", &part, e))?;
    if let Some(parent) = rescue.into.parent() {
        sync(parent)?;
    }
    saved(&rescue.into)
}

fn part_of(into: &Path) -> PathBuf {
    let mut name = into.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    into.with_file_name(name)
}

fn remove_if_there(path: &Path) -> Result<(), RescueError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(file("remove", path, e)),
        _ => Ok(()),
    }
}

/// Copies every log that the index names. Its lines are relative to the folder it lies in, or absolute.
fn copy_logs(index: &Path, to: &Path) -> Result<Vec<PathBuf>, RescueError> {
    let text = fs::read_to_string(index).map_err(|e| file("read", index, e))?;
    let folder = index.parent().unwrap_or(Path::new("."));
    let mut copies = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let log = folder.join(line);
        let Some(name) = log.file_name() else { continue };
        let copy = to.join(name);
        fs::copy(&log, &copy).map_err(|e| file("copy", &log, e))?;
        sync(&copy)?;
        copies.push(copy);
    }
    Ok(copies)
}

async fn write_sql(
    (program, arguments): (&String, &[String]),
    extra: &GtidSet,
    logs: &[PathBuf],
    sql: &Path,
    deadline: Deadline,
) -> Result<(), RescueError> {
    let out = File::create(sql).map_err(|e| file("create", sql, e))?;
    let child = Command::new(program)
        .args(arguments)
        // Without --no-defaults a cnf of the host would have a say; --verbose adds the rows in words.
        .args(["--no-defaults", "--verbose", "--base64-output=AUTO"])
        .arg(format!("--include-gtids={extra}"))
        .args(logs)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| file("run", Path::new(program), e))?;
    let output = deadline
        .bound(child.wait_with_output())
        .await
        .map_err(|_| RescueError::Timeout)?
        .map_err(|e| file("run", Path::new(program), e))?;
    if !output.status.success() {
        let end = output.stderr.len().min(MESSAGE_BYTES_MAX);
        let message = String::from_utf8_lossy(&output.stderr[..end]).trim().to_owned();
        return Err(RescueError::Mysqlbinlog { status: output.status, message });
    }
    sync(sql)
}

fn saved(folder: &Path) -> Result<Saved, RescueError> {
    let sql = folder.join(SQL);
    let entries = fs::read_dir(folder).map_err(|e| file("read", folder, e))?;
    let mut binary_logs: Vec<_> = entries.flatten().map(|e| e.path()).filter(|p| *p != sql).collect();
    binary_logs.sort();
    Ok(Saved { binary_logs, sql: sql.is_file().then_some(sql) })
}

fn sync(path: &Path) -> Result<(), RescueError> {
    File::open(path).and_then(|f| f.sync_all()).map_err(|e| file("sync", path, e))
}

fn file(doing: &'static str, path: &Path, source: io::Error) -> RescueError {
    RescueError::File { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Goal: without a command that selects by a set the binary logs are saved all the same, and once.
    #[tokio::test]
    async fn without_a_command_the_logs_are_copied_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("binlog.000001"), "one").unwrap();
        fs::write(folder.path().join("binlog.index"), "./binlog.000001\n").unwrap();
        let rescue = Rescue {
            index: folder.path().join("binlog.index"),
            extra: GtidSet::empty(),
            into: folder.path().join("saved/it"),
            mysqlbinlog: vec![],
        };
        let deadline = || Deadline::after(Duration::from_secs(60));
        let saved = save_extra_transactions(&rescue, deadline()).await.unwrap();
        assert_eq!(saved.sql, None);
        assert_eq!(fs::read_to_string(&saved.binary_logs[0]).unwrap(), "one");
        fs::remove_file(&rescue.index).unwrap();
        assert_eq!(save_extra_transactions(&rescue, deadline()).await.unwrap(), saved, "it is there already");
    }
}
