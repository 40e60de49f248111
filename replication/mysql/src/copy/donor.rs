//! The donor's side: the tool's stream, and where the binary log stood around it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use model::GtidSet;
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;

use super::tool::Tool;
use super::{CopyError, DonorStates, file};
use crate::deadline::Deadline;
use crate::endpoint::{Address, Endpoint};
use crate::read::{ReadError, last_row};
use crate::session::Session;

/// Files of a data directory that are not copied, or only as far as they were written meanwhile.
const NOT_COUNTED: [&str; 5] = ["binlog.", "relay.", "ib_logfile", "ibtmp", "aria_log"];
/// Descriptors for the tool, which holds every table's file open at once; as many as the system lets it have.
const FILES_MAX: u32 = 1 << 20;

/// Whom to copy, on this host.
#[derive(Debug, Clone)]
pub struct Backup {
    /// The admin account, over the socket.
    pub admin: Endpoint,
    /// The server's data directory.
    pub data_dir: PathBuf,
    /// Command that runs mariadb-backup, without its arguments.
    pub program: Vec<String>,
    /// A folder of the caller's own, for a file with the account.
    pub folder: PathBuf,
}

/// A copy that is being taken.
#[derive(Debug)]
pub struct Sending {
    tool: Tool,
    output: ChildStdout,
    session: Session,
    before: GtidSet,
    expected: u64,
    _account: AccountFile,
}

impl Sending {
    /// Begins a copy.
    pub async fn start(backup: &Backup, deadline: Deadline) -> Result<Sending, CopyError> {
        let mut session = Session::connect(&backup.admin, deadline).await?;
        let account = AccountFile::write(&backup.folder, &backup.admin)?;
        let before = binary_log_state(&mut session, deadline).await?;
        let data_dir = backup.data_dir.clone();
        let expected = tokio::task::spawn_blocking(move || bytes_in(&data_dir)).await.unwrap_or_default();
        let text = |path: &Path| path.display().to_string();
        let arguments = [
            // It must come first, or the host's own files are read.
            format!("--defaults-file={}", text(&account.0)),
            "--backup".to_owned(),
            "--stream=mbstream".to_owned(),
            format!("--target-dir={}", text(&backup.folder.join("backup"))),
            format!("--datadir={}", text(&backup.data_dir)),
            format!("--open-files-limit={FILES_MAX}"),
        ];
        let mut tool = Tool::start(&backup.program, &arguments, Stdio::null(), Stdio::piped())?;
        let output = tool.output();
        Ok(Sending { tool, output, session, before, expected, _account: account })
    }

    /// Bytes that the stream may have, by the size of the files that are copied.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// The next bytes of the stream; none at its end. Safe to give up and call again.
    pub async fn next(&mut self, into: &mut [u8]) -> Result<usize, CopyError> {
        let program = self.tool.name();
        self.output.read(into).await.map_err(|source| CopyError::Pipe { program, source })
    }

    /// Behind the last byte: whether the stream is a copy, and where the server stood.
    pub async fn end(mut self, deadline: Deadline) -> Result<DonorStates, CopyError> {
        drop(self.output);
        self.tool.end("end the copy", deadline).await?;
        let after = binary_log_state(&mut self.session, deadline).await?;
        Ok(DonorStates { donor: self.session.server_uuid().clone(), before: self.before, after })
    }
}

/// The last number of every server that ever wrote to its binary log.
async fn binary_log_state(session: &mut Session, deadline: Deadline) -> Result<GtidSet, CopyError> {
    let sql = "SELECT @@GLOBAL.gtid_binlog_state AS state";
    let sets = session.ask("read the binary log's state", sql, deadline).await?;
    let text = last_row(&sets, "the binary log's state").and_then(|row| row.text("state"))?;
    session.gtid_set("state", &text).map_err(|error: ReadError| error.into())
}

/// The account as the tool reads it: in a file for its owner alone, not in the list of processes.
#[derive(Debug)]
struct AccountFile(PathBuf);

impl AccountFile {
    fn write(folder: &Path, admin: &Endpoint) -> Result<AccountFile, CopyError> {
        let text = options(admin)?;
        let path = folder.join("backup.cnf");
        let write = || {
            // One that is left behind may have other rights.
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(text.as_bytes())
        };
        write().map_err(|e| file("write", &path, e))?;
        Ok(AccountFile(path))
    }
}

impl Drop for AccountFile {
    fn drop(&mut self) {
        // One that stays is written anew by the next copy.
        let _ = fs::remove_file(&self.0);
    }
}

/// An option file's group (MariaDB manual, "Configuring MariaDB with Option Files": values in quotes, with escapes).
fn options(admin: &Endpoint) -> Result<String, CopyError> {
    let quoted = |what, word: &str| {
        if word.contains(['\n', '\r']) {
            return Err(CopyError::Option { what });
        }
        Ok(format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")))
    };
    let way = match &admin.address {
        Address::Socket(path) => format!("socket={}", quoted("socket", &path.display().to_string())?),
        Address::Tcp(address) => format!("protocol=tcp\nhost={}\nport={}", address.ip(), address.port()),
    };
    let (user, password) = (quoted("user", &admin.user)?, quoted("password", &admin.password)?);
    Ok(format!("[mariabackup]\nuser={user}\npassword={password}\n{way}\n"))
}

/// Bytes of the files that a copy has. What cannot be read is not counted: it is an estimate.
fn bytes_in(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes += bytes_in(&entry.path()),
            Ok(meta) if meta.is_file() && !NOT_COUNTED.iter().any(|n| name.starts_with(n)) => {
                bytes += meta.len();
            }
            _ => {}
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_stands_in_quotes_and_in_one_line() {
        let admin = Endpoint::socket("/run/s", "twofold", r#"a#b "c\d"#);
        assert_eq!(
            options(&admin).unwrap(),
            "[mariabackup]\nuser=\"twofold\"\npassword=\"a#b \\\"c\\\\d\"\nsocket=\"/run/s\"\n"
        );
        let broken = Endpoint::socket("/run/s", "twofold", "a\nport=1");
        assert!(matches!(options(&broken), Err(CopyError::Option { what: "password" })));
    }

    #[test]
    fn the_accounts_file_is_its_owners_alone_and_goes() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let admin = Endpoint::socket("/run/s", "twofold", "secret");
        fs::write(folder.path().join("backup.cnf"), "left behind, readable").unwrap();
        let account = AccountFile::write(folder.path(), &admin).unwrap();
        assert_eq!(fs::metadata(&account.0).unwrap().permissions().mode() & 0o777, 0o600);
        let path = account.0.clone();
        drop(account);
        assert!(!path.exists());
    }

    #[test]
    fn logs_are_not_counted_and_tables_are() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("app")).unwrap();
        for (name, bytes) in [("ibdata1", 5), ("app/t.ibd", 7), ("binlog.000001", 100), ("ib_logfile0", 100)]
        {
            fs::write(folder.path().join(name), vec![0; bytes]).unwrap();
        }
        assert_eq!(bytes_in(folder.path()), 12);
        assert_eq!(bytes_in(Path::new("/no/such/folder")), 0);
    }
}
