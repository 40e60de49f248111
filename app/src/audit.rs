//! The audit chain: every committed event is a line, and each line's hash covers the one before, so
//! whoever changes, drops or inserts a line breaks all that follow (as RFC 9162's logs do, without the
//! tree). The chain is counted from the cluster's first entry and its head is in every snapshot, so
//! all nodes write the same lines with the same hashes, and one node's file is held against another's.
//!
//! ```text
//!   {"v":1,"entry":7,"index":31,"event":{…},"hash":"…"}     hash = SHA-256(hash before ‖ entry ‖ index ‖ event)
//!   {"v":1,"entry":90,"skipped-from":8,"hash":"…"}          this node took a snapshot: 8 to 90 are elsewhere
//! ```
//! Deliberately absent: files and networks; `daemon::machine` writes, `cli::audit` asks.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Where a chain stands. Zero before the first line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Head {
    /// Lines so far.
    pub entries: u64,
    /// Hash of the last one, lower-case hex; empty before the first.
    pub hash: String,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Line {
    v: u32,
    /// Its number, from 1 without gaps.
    pub entry: u64,
    /// Raft's index of the command that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// What happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// Set instead of index and event where this node has none of these: they came in a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_from: Option<u64>,
    hash: String,
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A line is no line of this form.
    #[error("line {line}: not a line of the audit log ({why})")]
    Unreadable { line: usize, why: String },
    /// A number is missing, or there twice.
    #[error("line {line}: entry {found} where {wanted} is due: lines were taken out, or put in")]
    Order { line: usize, wanted: u64, found: u64 },
    /// The content is not what was hashed.
    #[error("line {line}: entry {entry} does not match its hash: it, or one before it, was changed")]
    Hash { line: usize, entry: u64 },
}

impl Head {
    /// The next line, and where the chain stands with it.
    #[must_use]
    pub fn seal(&self, index: u64, event: Value) -> (Line, Head) {
        let entry = self.entries + 1;
        let hash = hash(&self.hash, entry, index, &event);
        let line = Line {
            v: 1,
            entry,
            index: Some(index),
            event: Some(event),
            skipped_from: None,
            hash: hash.clone(),
        };
        (line, Head { entries: entry, hash })
    }

    /// The line that stands for what a node after `self` has not got, up to `to`.
    #[must_use]
    pub fn skip_to(&self, to: &Head) -> Line {
        let skipped_from = Some(self.entries + 1);
        Line { v: 1, entry: to.entries, index: None, event: None, skipped_from, hash: to.hash.clone() }
    }

    /// Follows one line.
    ///
    /// # Errors
    /// What is wrong with it; `number` is its place in the file, from 1.
    pub fn follow(&self, number: usize, text: &str) -> Result<(Line, Head), Broken> {
        let unreadable = |why: String| Broken::Unreadable { line: number, why };
        let line: Line = serde_json::from_str(text).map_err(|e| unreadable(e.to_string()))?;
        if line.v != 1 {
            return Err(unreadable(format!("form {}; this program reads form 1", line.v)));
        }
        let wanted = self.entries + 1;
        let first = line.skipped_from.unwrap_or(line.entry);
        if first != wanted || line.entry < first {
            return Err(Broken::Order { line: number, wanted, found: first });
        }
        match (line.index, &line.event, line.skipped_from) {
            (Some(index), Some(event), None) => {
                if hash(&self.hash, line.entry, index, event) != line.hash {
                    return Err(Broken::Hash { line: number, entry: line.entry });
                }
            }
            // What was skipped is proven by other nodes' files.
            (None, None, Some(_)) => {}
            _ => return Err(unreadable("it has neither an event nor a gap".into())),
        }
        let head = Head { entries: line.entry, hash: line.hash.clone() };
        Ok((line, head))
    }
}

/// Where a chain stands after a line, believed as it says; none for what is no line.
#[must_use]
pub fn end_of(text: &str) -> Option<Head> {
    let line: Line = serde_json::from_str(text).ok()?;
    (line.v == 1).then_some(Head { entries: line.entry, hash: line.hash })
}

/// An event's text is canonical: serde_json sorts the keys of a `Value`.
fn hash(before: &str, entry: u64, index: u64, event: &Value) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{before}\n{entry}\n{index}\n{event}"));
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A chain that holds: the hash after each entry that its file has, and the gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// By entry.
    pub hashes: std::collections::BTreeMap<u64, String>,
    /// First and last entry of each gap.
    pub gaps: Vec<(u64, u64)>,
}

/// Walks a whole file.
///
/// # Errors
/// The first thing that is wrong.
pub fn walk<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Chain, Broken> {
    let (mut head, mut chain) = (Head::default(), Chain::default());
    for (place, text) in lines.into_iter().enumerate() {
        let (line, next) = head.follow(place + 1, text)?;
        if let Some(from) = line.skipped_from {
            chain.gaps.push((from, line.entry));
        }
        chain.hashes.insert(next.entries, next.hash.clone());
        head = next;
    }
    Ok(chain)
}

impl Chain {
    /// The first entry that both have and that differs: one of the two files was written anew.
    #[must_use]
    pub fn differs_from(&self, other: &Chain) -> Option<u64> {
        let both =
            self.hashes.iter().filter_map(|(entry, hash)| Some((entry, hash, other.hashes.get(entry)?)));
        both.filter(|(_, mine, theirs)| mine != theirs).map(|(entry, _, _)| *entry).min()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(entries: u64) -> (Vec<String>, Head) {
        let (mut head, mut lines) = (Head::default(), Vec::new());
        for n in 1..=entries {
            let (line, next) =
                head.seal(n * 10, json!({"event": "routed", "site": format!("s{n}"), "at": n}));
            lines.push(serde_json::to_string(&line).unwrap());
            head = next;
        }
        (lines, head)
    }

    fn walked(lines: &[String]) -> Result<Chain, Broken> {
        walk(lines.iter().map(String::as_str))
    }

    #[test]
    fn a_chain_as_written_holds_and_ends_at_its_head() {
        let (lines, head) = sample(5);
        let chain = walked(&lines).unwrap();
        assert_eq!(chain.hashes.last_key_value(), Some((&5, &head.hash)));
        assert_eq!(walked(&[]), Ok(Chain::default()));
    }

    /// Goal: no byte of a line can change, no line can go, come twice or move, without being told.
    #[test]
    fn every_kind_of_tampering_is_found_at_its_line() {
        let (lines, _) = sample(4);
        for place in 0..lines[1].len() {
            let mut other = lines.clone();
            let mut bytes = other[1].clone().into_bytes();
            bytes[place] = if bytes[place] == b'7' { b'8' } else { b'7' };
            let Ok(text) = String::from_utf8(bytes) else { continue };
            other[1] = text;
            let found = walked(&other).expect_err("a changed byte");
            let (Broken::Unreadable { line, .. } | Broken::Order { line, .. } | Broken::Hash { line, .. }) =
                found;
            // The hash itself is missed by the line after it.
            assert!(line == 2 || line == 3, "{place}: {found}");
        }
        let without = [&lines[..1], &lines[2..]].concat();
        assert_eq!(walked(&without), Err(Broken::Order { line: 2, wanted: 2, found: 3 }));
        let twice = [&lines[..2], &lines[1..]].concat();
        assert_eq!(walked(&twice), Err(Broken::Order { line: 3, wanted: 3, found: 2 }));
    }

    /// Goal: a file that is consistent in itself but is another history than the others' is found.
    #[test]
    fn a_file_that_was_written_anew_differs_from_the_others() {
        let (lines, _) = sample(3);
        let (mut head, mut other) = (Head::default(), Vec::new());
        for (n, site) in [(1, "s1"), (2, "elsewhere"), (3, "s3")] {
            let (line, next) = head.seal(n * 10, json!({"event": "routed", "site": site, "at": n}));
            other.push(serde_json::to_string(&line).unwrap());
            head = next;
        }
        let (one, two) = (walked(&lines).unwrap(), walked(&other).unwrap());
        assert_eq!(one.differs_from(&two), Some(2));
        assert_eq!(one.differs_from(&one), None);
    }

    #[test]
    fn a_gap_is_followed_and_its_end_is_held_against_others() {
        let (lines, _) = sample(6);
        let (two, _) = walked(&lines[..2]).map(|c| (c.hashes[&2].clone(), ())).unwrap();
        let four = walked(&lines[..4]).unwrap().hashes[&4].clone();
        let gap = Head { entries: 2, hash: two }.skip_to(&Head { entries: 4, hash: four });
        let with_gap = [&lines[..2], &[serde_json::to_string(&gap).unwrap()], &lines[4..]].concat();
        let chain = walked(&with_gap).unwrap();
        assert_eq!(chain.gaps, [(3, 4)]);
        assert_eq!(chain.differs_from(&walked(&lines).unwrap()), None);
    }
}
