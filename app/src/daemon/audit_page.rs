//! Pages of this node's audit log, as they stand in the file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::Path;

use app_api::v1::AuditPage;

use crate::audit::end_of;

/// Lines of one page: a fraction of a megabyte.
const LINES_MAX: usize = 500;

/// The lines after entry `after`. A line that is no audit line is part of the page it stands in: who
/// asks is to see it.
///
/// # Errors
/// The file cannot be read; one that is not there yet is empty.
pub fn read(path: &Path, node: &str, after: u64) -> io::Result<AuditPage> {
    let mut page = AuditPage { node: node.to_owned(), lines: Vec::new(), next: None };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(page),
        Err(error) => return Err(error),
    };
    let (mut entry, mut reached) = (0, after == 0);
    for line in BufReader::new(file).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if page.lines.len() == LINES_MAX {
            page.next = Some(entry);
            break;
        }
        entry = end_of(&line).map_or(entry, |head| head.entries);
        if reached {
            page.lines.push(line);
        } else {
            reached = entry >= after;
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::Head;

    /// Goal: page after page gives every line of the file once, also one that is no audit line.
    #[test]
    fn pages_together_are_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        assert!(read(&path, "n", 0).unwrap().lines.is_empty());
        let (mut head, mut text) = (Head::default(), String::new());
        for n in 0..1_300 {
            let (line, next) = head.seal(n, json!({ "event": "routed" }));
            text += &format!("{}\n", json!(line));
            if n == 700 {
                text += "what is this\n";
            }
            head = next;
        }
        std::fs::write(&path, &text).unwrap();
        let (mut all, mut after) = (Vec::new(), Some(0));
        while let Some(entry) = after {
            let page = read(&path, "n", entry).unwrap();
            all.extend(page.lines);
            after = page.next;
        }
        assert_eq!(all.join("\n") + "\n", text);
    }
}
