//! Pages of this node's audit log, as they stand in its files.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use app_api::v1::{AuditHead, AuditPage, AuditPart};

use crate::audit::{Head, Line, line_of};
use crate::audit_segments::Folder;

/// Lines of one page: a fraction of a megabyte.
const LINES_MAX: usize = 500;
/// The first line of a segment is short; what is longer is none.
const OPENING_BYTES_MAX: u64 = 4_096;

/// As the API says it.
pub fn told(head: Head) -> AuditHead {
    AuditHead { entries: head.entries, hash: head.hash }
}

/// The lines after entry `after`, through all segments. A line that is no audit line is part of the page
/// it stands in: who asks is to see it.
///
/// # Errors
/// A file cannot be read; a log that is not there yet is empty.
pub fn read(path: &Path, node: &str, after: u64) -> io::Result<AuditPage> {
    let opened = Folder::of(path).open()?;
    let (anchor, problem) = match opened.anchor {
        Ok(anchor) => (anchor.map(told), None),
        Err(why) => (None, Some(why)),
    };
    let mut page = AuditPage {
        node: node.to_owned(),
        lines: Vec::new(),
        next: None,
        files: Vec::new(),
        anchor,
        committed: None,
        problem,
    };
    let mut files = opened.files;
    let mut begins = Vec::new();
    for (_, file) in &mut files {
        begins.push(opening(file)?.map(|line| line.entry));
    }
    // What stands before the last one that begins no further on has been asked for already.
    let first = begins.iter().rposition(|at| at.is_some_and(|entry| entry <= after)).unwrap_or(0);
    let mut place = Place { entry: 0, reached: after == 0, after };
    // A page never ends before the first line of a segment, so that one was in the page before.
    let repeated = begins.get(first).copied().flatten() == Some(after) && after > 0;
    for (at, (name, file)) in files.into_iter().enumerate().skip(first) {
        let skipped = usize::from(repeated && at == first);
        place.reached |= skipped > 0;
        if !place.fill(&mut page, name, file, skipped)? {
            break;
        }
    }
    Ok(page)
}

fn opening(file: &mut File) -> io::Result<Option<Line>> {
    let mut text = Vec::new();
    BufReader::new(file.take(OPENING_BYTES_MAX)).read_until(b'\n', &mut text)?;
    file.rewind()?;
    let line = line_of(String::from_utf8_lossy(&text).trim_end());
    Ok(line.filter(|line| line.segment.is_some()))
}

/// How far a page has come.
struct Place {
    entry: u64,
    reached: bool,
    after: u64,
}

impl Place {
    /// Takes the lines of one file. False when the page is full.
    fn fill(&mut self, page: &mut AuditPage, name: String, file: File, skipped: usize) -> io::Result<bool> {
        let mut part = AuditPart { file: name, line: 0, lines: 0 };
        let mut full = false;
        for (at, bytes) in BufReader::new(file).split(b'\n').enumerate() {
            let text = String::from_utf8_lossy(&bytes?).into_owned();
            let line = line_of(&text);
            let opens = line.as_ref().is_some_and(|line| line.segment.is_some());
            if page.lines.len() >= LINES_MAX && !opens {
                page.next = Some(self.entry);
                full = true;
                break;
            }
            self.entry = line.map_or(self.entry, |line| line.entry);
            if self.reached && at >= skipped {
                if part.lines == 0 {
                    part.line = at as u64 + 1;
                }
                part.lines += 1;
                page.lines.push(text);
            } else {
                self.reached |= self.entry >= self.after;
            }
        }
        page.files.extend((part.lines > 0).then_some(part));
        Ok(!full)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(path: &Path) -> Vec<String> {
        let (mut all, mut after) = (Vec::new(), Some(0));
        while let Some(entry) = after {
            let page = read(path, "n", entry).unwrap();
            assert_eq!(page.files.iter().map(|part| part.lines).sum::<u64>(), page.lines.len() as u64);
            all.extend(page.lines);
            after = page.next;
        }
        all
    }

    /// Goal: page after page gives every line of every file once, also one that is no audit line. Method:
    /// one file, then the same lines in segments, some as long as a page.
    #[test]
    fn pages_together_are_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        assert!(read(&path, "n", 0).unwrap().lines.is_empty());
        let (mut head, mut lines, mut heads) = (Head::default(), Vec::new(), vec![Head::default()]);
        for n in 0..2_300 {
            let (line, next) = head.seal(n, json!({ "event": "routed" }));
            lines.push(json!(line).to_string());
            head = next;
            heads.push(head.clone());
        }
        let mut one = lines.clone();
        one.insert(701, "what is this".into());
        std::fs::write(&path, one.join("\n") + "\n").unwrap();
        assert_eq!(all(&path), one);

        for size in [100, 250, 499, 500, 501, 700] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("audit.jsonl");
            let mut expected = Vec::new();
            let count = lines.chunks(size).count();
            for (at, chunk) in lines.chunks(size).enumerate() {
                let number = at as u64 + 1;
                let opening = (at > 0).then(|| json!(heads[at * size].opens(number)).to_string());
                let content: Vec<String> = opening.into_iter().chain(chunk.iter().cloned()).collect();
                let names = Folder::of(&path);
                let to = if number as usize == count { path.clone() } else { names.closed_path(number) };
                std::fs::write(to, content.join("\n") + "\n").unwrap();
                expected.extend(content);
            }
            assert_eq!(all(&path), expected, "segments of {size}");
        }
    }
}
