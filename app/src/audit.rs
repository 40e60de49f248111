//! The audit chain: every committed event is a line, and each line's hash covers the one before, so
//! whoever changes, drops or inserts a line breaks all that follow (as RFC 9162's logs do, without the
//! tree). The chain is counted from the cluster's first entry and its head is in every snapshot, so
//! all nodes write the same lines with the same hashes, and one node's file is held against another's.
//!
//! ```text
//!   {"v":1,"entry":7,"index":31,"event":{…},"hash":"…"}     hash = SHA-256(hash before ‖ entry ‖ index ‖ event)
//!   {"v":1,"entry":90,"skipped-from":8,"hash":"…"}          this node took a snapshot: 8 to 90 are elsewhere
//!   {"v":1,"entry":90,"segment":3,"hash":"…"}               first line of the third file: the chain stands here
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
    /// Set instead of index and event on the first line of a file that follows another: its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u64>,
    hash: String,
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A line is no line of this form.
    #[error("not a line of the audit log ({why})")]
    Unreadable { why: String },
    /// A number is missing, or there twice.
    #[error("entry {found} where {wanted} is due: lines were taken out, or put in")]
    Order { wanted: u64, found: u64 },
    /// The content is not what was hashed.
    #[error("entry {entry} does not match its hash: it, or one before it, was changed")]
    Hash { entry: u64 },
    /// A file begins further on than the one before it ends.
    #[error(
        "entries {from} to {to} are missing: the segment with them was removed, or segments changed places"
    )]
    Segment { from: u64, to: u64 },
    /// Less is there than the anchor says.
    #[error(
        "entries {from} to {to} are missing, and the anchor does not say that they fell off the old end: the oldest segments were removed by hand"
    )]
    Oldest { from: u64, to: u64 },
    /// What the anchor says is not what the log says.
    #[error(
        "the anchor's hash behind entry {entry} is not the log's: audit.anchor or the oldest segment was changed"
    )]
    Anchor { entry: u64 },
}

/// What is wrong, and at which line, counted from 1 through all files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Found {
    pub line: usize,
    pub why: Broken,
}

/// Where a log may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin<'a> {
    /// At the first entry, or behind the anchor: a node's whole log.
    Whole(Option<&'a Head>),
    /// Wherever its first line says: some segments of one.
    Part,
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
            segment: None,
            hash: hash.clone(),
        };
        (line, Head { entries: entry, hash })
    }

    /// The line that stands for what a node after `self` has not got, up to `to`.
    #[must_use]
    pub fn skip_to(&self, to: &Head) -> Line {
        let skipped_from = Some(self.entries + 1);
        let hash = to.hash.clone();
        Line { v: 1, entry: to.entries, index: None, event: None, skipped_from, segment: None, hash }
    }

    /// The first line of a further file, which goes on from `self`.
    #[must_use]
    pub fn opens(&self, segment: u64) -> Line {
        let (entry, hash) = (self.entries, self.hash.clone());
        Line { v: 1, entry, index: None, event: None, skipped_from: None, segment: Some(segment), hash }
    }

    /// Follows one line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn follow(&self, text: &str) -> Result<(Line, Head), Broken> {
        let unreadable = |why: String| Broken::Unreadable { why };
        let line: Line = serde_json::from_str(text).map_err(|e| unreadable(e.to_string()))?;
        if line.v != 1 {
            return Err(unreadable(format!("form {}; this program reads form 1", line.v)));
        }
        if line.segment.is_some() {
            return self.follow_opening(line);
        }
        let wanted = self.entries + 1;
        let first = line.skipped_from.unwrap_or(line.entry);
        if first != wanted || line.entry < first {
            return Err(Broken::Order { wanted, found: first });
        }
        match (line.index, &line.event, line.skipped_from) {
            (Some(index), Some(event), None) => {
                if hash(&self.hash, line.entry, index, event) != line.hash {
                    return Err(Broken::Hash { entry: line.entry });
                }
            }
            // What was skipped is proven by other nodes' files.
            (None, None, Some(_)) => {}
            _ => return Err(unreadable("it has neither an event nor a gap".into())),
        }
        let head = line.head();
        Ok((line, head))
    }

    fn follow_opening(&self, line: Line) -> Result<(Line, Head), Broken> {
        if line.index.is_some() || line.event.is_some() || line.skipped_from.is_some() {
            return Err(Broken::Unreadable { why: "it opens a segment and tells an event".into() });
        }
        if line.entry > self.entries {
            return Err(Broken::Segment { from: self.entries + 1, to: line.entry });
        }
        if line.entry < self.entries {
            return Err(Broken::Order { wanted: self.entries + 1, found: line.entry + 1 });
        }
        if line.hash != self.hash {
            return Err(Broken::Hash { entry: line.entry });
        }
        Ok((line, self.clone()))
    }
}

impl Line {
    /// Where a chain stands after it, believed as it says.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { entries: self.entry, hash: self.hash.clone() }
    }
}

/// A line, unproven; none for what is no line.
#[must_use]
pub fn line_of(text: &str) -> Option<Line> {
    serde_json::from_str(text).ok().filter(|line: &Line| line.v == 1)
}

/// An event's text is canonical: serde_json sorts the keys of a `Value`.
fn hash(before: &str, entry: u64, index: u64, event: &Value) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{before}\n{entry}\n{index}\n{event}"));
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A chain that holds: the hash after each entry that its files have, and the gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// The entry behind which it begins; 0 for one that has all.
    pub behind: u64,
    /// By entry.
    pub hashes: std::collections::BTreeMap<u64, String>,
    /// First and last entry of each gap.
    pub gaps: Vec<(u64, u64)>,
}

/// Walks a whole log, its files one after the other.
///
/// # Errors
/// The first thing that is wrong.
pub fn walk<'a>(begin: Begin<'_>, lines: impl IntoIterator<Item = &'a str>) -> Result<Chain, Found> {
    let mut lines = lines.into_iter().peekable();
    let first = lines.peek().and_then(|text| line_of(text)).filter(|line| line.segment.is_some());
    let mut head = first.map(|line| line.head()).unwrap_or_default();
    let mut chain = Chain { behind: head.entries, ..Chain::default() };
    chain.hashes.extend((head.entries > 0).then(|| (head.entries, head.hash.clone())));
    let at = |line: usize| move |why: Broken| Found { line, why };
    let anchor = match begin {
        Begin::Part => None,
        Begin::Whole(anchor) => {
            let fell_off = anchor.map_or(0, |anchor| anchor.entries);
            if head.entries > fell_off {
                return Err(at(1)(Broken::Oldest { from: fell_off + 1, to: head.entries }));
            }
            anchor
        }
    };
    for (place, text) in lines.enumerate() {
        let (line, next) = head.follow(text).map_err(at(place + 1))?;
        if let Some(from) = line.skipped_from {
            chain.gaps.push((from, line.entry));
        }
        if let Some(anchor) = anchor.filter(|a| a.entries == next.entries && a.hash != next.hash) {
            return Err(at(place + 1)(Broken::Anchor { entry: anchor.entries }));
        }
        chain.hashes.insert(next.entries, next.hash.clone());
        head = next;
    }
    match anchor {
        Some(anchor) if head.entries < anchor.entries => {
            Err(at(1)(Broken::Oldest { from: chain.behind + 1, to: anchor.entries }))
        }
        _ => Ok(chain),
    }
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

    fn walked(lines: &[String]) -> Result<Chain, Found> {
        walk(Begin::Whole(None), lines.iter().map(String::as_str))
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
            // The hash itself is missed by the line after it.
            assert!(found.line == 2 || found.line == 3, "{place}: {found}");
        }
        let without = [&lines[..1], &lines[2..]].concat();
        assert_eq!(walked(&without), Err(Found { line: 2, why: Broken::Order { wanted: 2, found: 3 } }));
        let twice = [&lines[..2], &lines[1..]].concat();
        assert_eq!(walked(&twice), Err(Found { line: 3, why: Broken::Order { wanted: 3, found: 2 } }));
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

    fn head_at(lines: &[String], entry: u64) -> Head {
        Head { entries: entry, hash: walked(lines).unwrap().hashes[&entry].clone() }
    }

    /// Goal: what fell off the old end is told apart from what was taken away. Method: six entries in three
    /// files of two, and every way to take a file away, with and without an anchor.
    #[test]
    fn what_fell_off_is_told_apart_from_what_was_removed() {
        let (lines, _) = sample(6);
        let two = head_at(&lines, 2);
        let opening = |entry, segment| json!(head_at(&lines, entry).opens(segment)).to_string();
        let one = lines[..2].to_vec();
        let second = [vec![opening(2, 2)], lines[2..4].to_vec()].concat();
        let third = [vec![opening(4, 3)], lines[4..].to_vec()].concat();
        let whole = |anchor: Option<&Head>, files: &[&Vec<String>]| {
            let all: Vec<&str> = files.iter().flat_map(|file| file.iter()).map(String::as_str).collect();
            walk(Begin::Whole(anchor), all).map_err(|found| found.why)
        };
        assert_eq!(whole(None, &[&one, &second, &third]).unwrap().hashes.len(), 6);
        // Dropped as it should be: the anchor says so. Before the file itself goes, both are there.
        assert_eq!(whole(Some(&two), &[&second, &third]).unwrap().behind, 2);
        assert_eq!(whole(Some(&two), &[&one, &second, &third]).unwrap().behind, 0);
        // Removed by hand: the oldest without an anchor, one more than it says, all, one from the middle.
        assert_eq!(whole(None, &[&second, &third]), Err(Broken::Oldest { from: 1, to: 2 }));
        assert_eq!(whole(Some(&two), &[&third]), Err(Broken::Oldest { from: 3, to: 4 }));
        assert_eq!(whole(Some(&two), &[]), Err(Broken::Oldest { from: 1, to: 2 }));
        assert_eq!(whole(None, &[&one, &third]), Err(Broken::Segment { from: 3, to: 4 }));
        assert_eq!(whole(None, &[&one, &third, &second]), Err(Broken::Segment { from: 3, to: 4 }));
        assert_eq!(whole(Some(&two), &[&second, &second]), Err(Broken::Order { wanted: 5, found: 3 }));
        // An anchor of another history, and a first line that was changed to fit it.
        let other = Head { entries: 2, hash: "00".into() };
        assert_eq!(whole(Some(&other), &[&second, &third]), Err(Broken::Anchor { entry: 2 }));
        let forged = [vec![json!(other.opens(2)).to_string()], second[1..].to_vec()].concat();
        assert_eq!(whole(Some(&other), &[&forged, &third]), Err(Broken::Hash { entry: 3 }));
        // One segment alone is looked at for itself.
        assert_eq!(walk(Begin::Part, third.iter().map(String::as_str)).unwrap().behind, 4);
    }
}
