//! The snapshot on disk, so that a node answers before it has heard from anybody.
//!
//! One file: a line that says what it is, with length and CRC-32 of what follows, then the document of
//! `gslb_core::v1` as JSON. It is written beside its place and renamed over it, with both synced, so after a
//! crash either the old or the new file is there, whole.
//!
//! What is read back begins Stale: a file says what was true, not what is. A file that is damaged or of an
//! unknown version is never half used; the node starts without and says so.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gslb_core::{Snapshot, SnapshotProblem, SnapshotSpec, v1};
use model::WallTime;
use serde::{Deserialize, Serialize};

const MAGIC: &str = "twofold-dns-snapshot";
const VERSION: &str = "v1";
/// Most octets that are read: a hundred thousand names take some 30 MB; a file of another kind must not
/// take the memory that answering needs.
const FILE_MAX: u64 = 1 << 30;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    saved_at: WallTime,
    snapshot: v1::Snapshot,
}

/// A snapshot read back.
#[derive(Debug)]
pub struct Loaded {
    /// The snapshot, Stale.
    pub snapshot: Snapshot,
    /// When it was saved, by the wall clock of then: for people, as the age of what is answered.
    pub saved_at: WallTime,
}

/// Why a snapshot was not saved or not read.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// There is no file: a node's first start.
    #[error("dns snapshot {path}: there is none yet")]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("dns snapshot {path}: cannot {act}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What could not be done.
        act: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not what was once written.
    #[error("dns snapshot {path} is damaged: {why}; move it away, the cluster has the state")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it shows.
        why: String,
    },
    /// Written by another version of twofold.
    #[error("dns snapshot {path} is of version {version:?}; this program reads {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// Whole, but not a snapshot that can be answered from.
    #[error("dns snapshot {path} cannot be answered from: {}", list(problems))]
    Problems {
        /// The file.
        path: PathBuf,
        /// All that is wrong.
        problems: Vec<SnapshotProblem>,
    },
}

fn list(problems: &[SnapshotProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Writes `snapshot` to `path`, replacing what is there. Returns when it is on the disk.
///
/// # Errors
/// [`DiskError::Io`]; the file that was there is then still there.
pub fn save(path: &Path, snapshot: &Snapshot, saved_at: WallTime) -> Result<(), DiskError> {
    let document = Document { saved_at, snapshot: v1::Snapshot::from(&snapshot.to_spec()) };
    let json = serde_json::to_vec(&document).expect("a document of strings and numbers is JSON");
    let head = format!("{MAGIC} {VERSION} bytes={} crc32={:08x}\n", json.len(), crc32fast::hash(&json));
    let io = |act| move |source| DiskError::Io { path: path.to_owned(), act, source };
    let beside = beside(path);
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(head.as_bytes())?;
        file.write_all(&json)?;
        file.sync_all()
    });
    written.map_err(io("write it"))?;
    fs::rename(&beside, path).map_err(io("put it in its place"))?;
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|d| d.sync_all()).map_err(io("sync its directory"))
}

/// The name it is written under first: in the same directory, since a rename does not leave a file system.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Reads the snapshot at `path`.
///
/// # Errors
/// [`DiskError::Absent`] when there is none, and every other variant when it cannot be used.
pub fn load(path: &Path) -> Result<Loaded, DiskError> {
    let bytes = read(path)?;
    let damaged = |why: String| DiskError::Damaged { path: path.to_owned(), why };
    let (head, json) = split(&bytes).ok_or_else(|| damaged("its first line is missing".to_owned()))?;
    let words: Vec<&str> = head.split(' ').collect();
    let [MAGIC, version, length, crc] = words[..] else {
        return Err(damaged("its first line is not a snapshot's".to_owned()));
    };
    if version != VERSION {
        return Err(DiskError::Version { path: path.to_owned(), version: version.to_owned() });
    }
    if length != format!("bytes={}", json.len()) {
        return Err(damaged(format!(
            "it has {} octets of content where its first line says {length}",
            json.len()
        )));
    }
    if crc != format!("crc32={:08x}", crc32fast::hash(json)) {
        return Err(damaged("its checksum does not match".to_owned()));
    }
    let document: Document = serde_json::from_slice(json).map_err(|e| damaged(e.to_string()))?;
    let spec = SnapshotSpec::try_from(document.snapshot).map_err(|e| damaged(e.to_string()))?;
    let snapshot =
        Snapshot::build(spec).map_err(|problems| DiskError::Problems { path: path.to_owned(), problems })?;
    Ok(Loaded { snapshot, saved_at: document.saved_at })
}

fn read(path: &Path) -> Result<Vec<u8>, DiskError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => DiskError::Absent { path: path.to_owned() },
        _ => DiskError::Io { path: path.to_owned(), act: "read it", source },
    };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > FILE_MAX {
        let why = format!("it has {length} octets, more than any snapshot");
        return Err(DiskError::Damaged { path: path.to_owned(), why });
    }
    fs::read(path).map_err(failed)
}

fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}
