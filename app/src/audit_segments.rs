//! The files of one node's audit log: `audit.jsonl` is written, `audit.000001.jsonl` and so on are closed,
//! `audit.anchor` says behind which entry the oldest kept one begins once older ones fell off.
//!
//! A rotation is a list of moves, each of which a killed node may have been the last to make: after any
//! beginning of the list no line is missing, and what is half done is finished by the next open.
//! Deliberately absent: when to rotate, which `daemon::audit_file` says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::audit::{Head, Line, line_of};

/// So much of a file's end surely holds its last line, and of its beginning the first: an event is a few
/// kilobytes.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// A listing that changes while it is looked at is taken again; a rotation is milliseconds, and they are
/// megabytes apart.
const LOOKS_MAX: usize = 10;

/// Where the files are.
#[derive(Debug, Clone)]
pub struct Folder {
    active: PathBuf,
}

/// `audit.anchor`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorFile {
    v: u32,
    entries: u64,
    hash: String,
}

/// One act of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// To the disk, all of it.
    Sync(PathBuf),
    /// The names in the folder to the disk.
    SyncFolder,
    /// A whole file beside where it is to be, on the disk.
    Part(String),
    /// Another name.
    Rename { from: PathBuf, to: PathBuf },
    /// Gone.
    Remove(PathBuf),
}

/// All files of a log as they were at one moment.
pub struct Opened {
    /// Name and file, oldest first.
    pub files: Vec<(String, File)>,
    /// Up to where the log fell off; what is wrong with the file that says it.
    pub anchor: Result<Option<Head>, String>,
}

impl Folder {
    /// Of the log whose newest file is `active`.
    #[must_use]
    pub fn of(active: &Path) -> Self {
        Self { active: active.to_path_buf() }
    }

    /// The file that is written.
    #[must_use]
    pub fn active(&self) -> &Path {
        &self.active
    }

    /// The name of a closed one.
    #[must_use]
    pub fn closed_path(&self, number: u64) -> PathBuf {
        self.active.with_extension(format!("{number:06}.jsonl"))
    }

    fn anchor_path(&self) -> PathBuf {
        self.active.with_extension("anchor")
    }

    fn part_path(&self) -> PathBuf {
        self.active.with_extension("part")
    }

    fn parent(&self) -> &Path {
        self.active.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Closed ones by their number.
    ///
    /// # Errors
    /// The folder cannot be read; one that is not there is empty.
    pub fn closed(&self) -> io::Result<BTreeMap<u64, PathBuf>> {
        let stem = self.active.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let mut found = BTreeMap::new();
        let entries = match fs::read_dir(self.parent()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = name
                .strip_prefix(stem)
                .and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".jsonl"))
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok());
            found.extend(number.map(|number: u64| (number, path.clone())));
        }
        Ok(found)
    }

    /// Where the log begins, if its beginning fell off.
    ///
    /// # Errors
    /// It cannot be read, or is no anchor.
    pub fn anchor(&self) -> Result<Option<Head>, String> {
        let path = self.anchor_path();
        let told = |why: String| {
            format!("{}: {why}; keep it, and take another node's log for the truth", path.display())
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(told(error.to_string())),
        };
        let file: AnchorFile =
            serde_json::from_str(&text).map_err(|error| told(format!("not an anchor ({error})")))?;
        if file.v != 1 {
            return Err(told(format!("form {}; this program reads form 1", file.v)));
        }
        Ok(Some(Head { entries: file.entries, hash: file.hash }))
    }

    /// All files at one moment, whatever rotates meanwhile.
    ///
    /// # Errors
    /// One cannot be opened.
    pub fn open(&self) -> io::Result<Opened> {
        'look: for _ in 0..LOOKS_MAX {
            let closed = self.closed()?;
            let paths = closed.values().map(PathBuf::as_path).chain([self.active()]);
            let mut files = Vec::new();
            for path in paths {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                match File::open(path) {
                    Ok(file) => files.push((name, file)),
                    // Nothing is written yet, or a rotation is between its moves.
                    Err(error) if error.kind() == ErrorKind::NotFound && path == self.active() => {}
                    Err(error) if error.kind() == ErrorKind::NotFound => continue 'look,
                    Err(error) => return Err(error),
                }
            }
            let anchor = self.anchor();
            // The same names before and after: the written one is what follows the closed ones.
            if self.closed()? == closed {
                return Ok(Opened { files, anchor });
            }
        }
        Err(io::Error::other("the segments changed at every look; ask again"))
    }

    /// What ends the file that is written, as `number`, at `end`, and begins the next; what is more than
    /// `segments` falls off.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn rotation(&self, number: u64, end: &Head, segments: usize) -> io::Result<Vec<Move>> {
        let (mut closed, mut moves) = (self.closed()?, Vec::new());
        let to = self.closed_path(number);
        // A rotation that failed on the way had come so far.
        closed.entry(number).or_insert_with(|| {
            moves.push(Move::Sync(self.active.clone()));
            moves.push(Move::Rename { from: self.active.clone(), to: to.clone() });
            moves.push(Move::SyncFolder);
            to
        });
        moves.extend(self.replaced(self.active.clone(), text_of(&end.opens(number + 1))));
        let paths: Vec<&PathBuf> = closed.values().collect();
        let over = (paths.len() + 1).saturating_sub(segments);
        // Behind what falls off stands the first line of what follows, or its own last; where damage took
        // both, one more falls off with it.
        let begins = |count: usize| match paths.get(count) {
            Some(next) => opening_of(next).or_else(|| end_of(paths[count - 1])),
            None => Some(end.clone()),
        };
        let mut cuts = over.max(1)..=paths.len();
        let cut = cuts.find_map(|count| Some((count, begins(count)?))).filter(|_| over > 0);
        if let Some((count, anchor)) = cut {
            let file = AnchorFile { v: 1, entries: anchor.entries, hash: anchor.hash };
            moves.extend(self.replaced(self.anchor_path(), format!("{}\n", serde_json::json!(file))));
            moves.extend(paths[..count].iter().map(|path| Move::Remove((*path).clone())));
            moves.push(Move::SyncFolder);
        }
        Ok(moves)
    }

    /// A file that is whole or not there.
    fn replaced(&self, to: PathBuf, text: String) -> [Move; 3] {
        [Move::Part(text), Move::Rename { from: self.part_path(), to }, Move::SyncFolder]
    }

    /// Makes one move.
    ///
    /// # Errors
    /// It was not made, or not to its end.
    pub fn make(&self, one: &Move) -> io::Result<()> {
        match one {
            Move::Sync(path) => File::open(path)?.sync_all(),
            Move::SyncFolder => File::open(self.parent())?.sync_all(),
            Move::Part(text) => {
                let mut file = File::create(self.part_path())?;
                file.write_all(text.as_bytes())?;
                file.sync_all()
            }
            Move::Rename { from, to } => fs::rename(from, to),
            Move::Remove(path) => match fs::remove_file(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
        }
    }

    /// Finishes what a rotation left when the node died in it.
    ///
    /// # Errors
    /// A file cannot be made or removed.
    pub fn finish(&self) -> io::Result<()> {
        self.make(&Move::Remove(self.part_path()))?;
        if let Ok(Some(anchor)) = self.anchor() {
            let closed: Vec<PathBuf> = self.closed()?.into_values().collect();
            for pair in closed.windows(2) {
                match opening_of(&pair[1]) {
                    Some(next) if next.entries <= anchor.entries => {
                        self.make(&Move::Remove(pair[0].clone()))?;
                    }
                    _ => break,
                }
            }
        }
        let Some((number, last)) = self.closed()?.pop_last() else { return Ok(()) };
        let empty = fs::metadata(&self.active).map_or(true, |active| active.len() == 0);
        if let Some(end) = end_of(&last).filter(|_| empty) {
            for one in self.replaced(self.active.clone(), text_of(&end.opens(number + 1))) {
                self.make(&one)?;
            }
        }
        Ok(())
    }

    /// Where the file that is written says that it begins; none for the first.
    #[must_use]
    pub fn begins(&self) -> Option<Head> {
        opening_of(&self.active)
    }

    /// The number that the file that is written is closed under.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn number(&self) -> io::Result<u64> {
        let next = self.closed()?.last_key_value().map_or(1, |(number, _)| number + 1);
        let said = first_line(&self.active).and_then(|line| line.segment);
        Ok(said.map_or(next, |said| said.max(next)))
    }
}

/// A line with its end.
#[must_use]
pub fn text_of(line: &Line) -> String {
    format!("{}\n", serde_json::json!(line))
}

fn first_line(path: &Path) -> Option<Line> {
    let mut text = String::new();
    BufReader::new(File::open(path).ok()?.take(LINE_BYTES_MAX)).read_line(&mut text).ok()?;
    line_of(text.trim_end())
}

/// Where a further file says that it begins.
fn opening_of(path: &Path) -> Option<Head> {
    first_line(path).filter(|line| line.segment.is_some()).map(|line| line.head())
}

/// Where a file ends; none where its last line is no audit line.
fn end_of(path: &Path) -> Option<Head> {
    Tail::read(&mut File::open(path).ok()?).ok()?.end
}

/// The end of a file.
pub struct Tail {
    /// Bytes of whole lines.
    pub length: u64,
    /// Where its last whole line stands, none where it is no audit line; zero for an empty file.
    pub end: Option<Head>,
}

impl Tail {
    /// Reads it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(file: &mut File) -> io::Result<Self> {
        let from = file.metadata()?.len().saturating_sub(LINE_BYTES_MAX);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        let whole = tail.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let before = tail[..whole.saturating_sub(1)].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let end = match &tail[before..whole] {
            [] => Some(Head::default()),
            last => {
                std::str::from_utf8(last).ok().and_then(|text| line_of(text.trim_end())).map(|l| l.head())
            }
        };
        Ok(Self { length: from + whole as u64, end })
    }
}
