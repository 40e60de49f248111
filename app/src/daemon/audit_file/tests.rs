use std::fs;

use serde_json::json;

use super::*;
use crate::audit::{Begin, Broken, Chain, Found, walk};
use crate::audit_segments::Move;

const SEGMENTS: usize = 3;

fn limits(config: &str) -> AuditLimits {
    let text = format!("{}\n{config}\n", include_str!("../../../config/testdata/smallest.yaml"));
    app_config::check(&text, Path::new("/")).config.expect("it is well").audit()
}

/// Room for some lines in a segment.
fn small() -> Limits {
    let mut limits = limits(&format!("audit: {{segments: {SEGMENTS}}}"));
    limits.segment_bytes = 700;
    Box::new(move || limits)
}

fn put(file: &mut AuditFile, head: &mut Head, n: u64) {
    let (line, after) = head.seal(n, json!({ "event": "routed", "n": n }));
    file.put(&line, head, &after);
    *head = after;
}

fn walked(path: &Path) -> Result<Chain, Found> {
    let opened = Folder::of(path).open().unwrap();
    let texts: Vec<String> = opened.files.into_iter().map(|(_, f)| io::read_to_string(f).unwrap()).collect();
    let anchor = opened.anchor.unwrap();
    walk(Begin::Whole(anchor.as_ref()), texts.iter().flat_map(|text| text.lines()))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A log of `lines` lines.
fn log(path: &Path, lines: u64) -> AuditFile {
    let (mut head, mut file) = (Head::default(), AuditFile::open(path, small()).unwrap());
    (1..=lines).for_each(|n| put(&mut file, &mut head, n));
    file
}

/// Goal: a replayed log writes nothing twice, a torn line is taken back, a gap is marked, and the
/// file is a chain that holds throughout.
#[test]
fn restarts_torn_lines_and_snapshots_leave_a_chain_that_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    drop(log(&path, 3));
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"v\":1,\"en").unwrap();

    let mut file = AuditFile::open(&path, small()).unwrap();
    let mut replayed = Head::default();
    (1..=4).for_each(|n| put(&mut file, &mut replayed, n));
    let mut elsewhere = replayed.clone();
    for n in 5..=8 {
        elsewhere = elsewhere.seal(n, json!({ "event": "routed", "n": n })).1;
    }
    file.skip_to(&elsewhere);
    put(&mut file, &mut elsewhere, 9);
    let chain = walked(&path).unwrap();
    assert_eq!((chain.hashes.len(), chain.gaps.as_slice()), (6, &[(5, 8)][..]));
}

/// Goal: whatever the end of the file is, it is not overwritten, the node goes on, and what is lost is told.
#[test]
fn a_file_whose_end_is_no_line_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    drop(log(&path, 2));
    fs::write(&path, "somebody's notes\n").unwrap();
    let mut file = AuditFile::open(&path, small()).unwrap();
    let mut head = Head { entries: 9, hash: "00".into() };
    put(&mut file, &mut head, 10);
    assert_eq!(names(folder.path()).len(), 2, "put aside");
    assert_eq!(walked(&path).unwrap().gaps, [(1, 9)]);

    // With closed segments the new one goes on where they end.
    drop(file);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    drop(log(&path, 8));
    let closed_end = Folder::of(&path).begins().expect("it has rotated").entries;
    fs::write(&path, "somebody's notes\n").unwrap();
    let mut file = AuditFile::open(&path, small()).unwrap();
    let mut replayed = Head::default();
    (1..=9).for_each(|n| put(&mut file, &mut replayed, n));
    let chain = walked(&path).unwrap();
    assert!(closed_end < 8 && chain.gaps.is_empty() && chain.hashes.contains_key(&9), "{chain:?}");
}

/// Goal: the log stays within its bound, nothing between its old end and the newest line is missing, and
/// where it begins is said.
#[test]
fn a_log_stays_within_its_bound_and_says_where_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    drop(log(&path, 60));
    let chain = walked(&path).unwrap();
    assert!(chain.behind > 0 && chain.gaps.is_empty());
    assert_eq!(chain.hashes.len() as u64, 60 - chain.behind + 1, "every entry since, and the anchor");
    let anchor = Folder::of(&path).anchor().unwrap().unwrap();
    assert_eq!(anchor.entries, chain.behind);
    let files = names(folder.path());
    assert_eq!(files.iter().filter(|name| name.ends_with(".jsonl")).count(), SEGMENTS, "{files:?}");
    for name in files {
        assert!(fs::metadata(folder.path().join(&name)).unwrap().len() <= 700, "{name}");
    }
    // Told again from the first entry on, as after a start, it writes nothing.
    let before = names(folder.path());
    drop(log(&path, 60));
    assert_eq!((names(folder.path()), walked(&path).unwrap()), (before, chain));
}

/// Goal: a node killed at any instant of a rotation loses no line and leaves nothing behind. Method: every
/// rotation of a log that has begun to drop segments, cut before each move and in the middle of each
/// write; then a start, the replay of what Raft still has (from the last entry that was synced), and more.
#[test]
fn a_node_killed_at_any_move_of_a_rotation_loses_nothing() {
    let mut cuts = 0;
    for lines in [8, 30] {
        for torn in [false, true] {
            for cut in 0.. {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("audit.jsonl");
                let file = log(&path, lines);
                let first = walked(&path).unwrap().behind;
                let moves = file.folder.rotation(file.number, &file.end, SEGMENTS).unwrap();
                moves[..cut].iter().for_each(|one| file.folder.make(one).unwrap());
                match moves.get(cut) {
                    None if torn => break,
                    Some(Move::Part(text)) if torn => {
                        let part = path.with_extension("part");
                        fs::write(part, &text.as_bytes()[..text.len() / 2]).unwrap();
                    }
                    _ => {}
                }
                let end = file.end.clone();
                drop(file);
                // What an operator reads before the node is up again holds too.
                assert!(walked(&path).unwrap().behind >= first, "cut at {cut} of {moves:?}");

                let mut file = AuditFile::open(&path, small()).unwrap();
                assert_eq!(file.end, end, "cut at {cut} of {moves:?}");
                let mut head = end;
                (lines + 1..=lines + 9).for_each(|n| put(&mut file, &mut head, n));
                let chain = walked(&path).unwrap();
                assert!(chain.gaps.is_empty(), "cut at {cut} of {moves:?}");
                assert_eq!(chain.hashes.last_key_value(), Some((&(lines + 9), &head.hash)));
                let files = names(folder.path());
                let jsonl = files.iter().filter(|name| name.ends_with(".jsonl")).count();
                assert!(jsonl <= SEGMENTS && !files.iter().any(|n| n.ends_with(".part")), "{files:?}");
                cuts += 1;
                if cut == moves.len() {
                    break;
                }
            }
        }
    }
    assert!(cuts > 20, "{cuts}");
}

/// Goal: the oldest segments taken away by hand are told apart from those that fell off.
#[test]
fn a_removed_segment_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    drop(log(&path, 60));
    let closed: Vec<_> = Folder::of(&path).closed().unwrap().into_values().collect();
    let (oldest, newest) = (&closed[0], &closed[1]);
    let text = fs::read(oldest).unwrap();
    fs::remove_file(oldest).unwrap();
    assert!(matches!(walked(&path).unwrap_err().why, Broken::Oldest { .. }));
    fs::write(oldest, &text).unwrap();
    let other = fs::read(newest).unwrap();
    fs::remove_file(newest).unwrap();
    assert!(matches!(walked(&path).unwrap_err().why, Broken::Segment { .. }));
    // Two that changed places.
    fs::write(oldest, &other).unwrap();
    fs::write(newest, &text).unwrap();
    assert!(matches!(walked(&path).unwrap_err().why, Broken::Oldest { .. }));
}

/// Goal: a move that fails stops nothing: lines go on being written and the next try makes it good.
#[test]
fn a_rotation_that_fails_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (mut head, mut file) = (Head::default(), AuditFile::open(&path, small()).unwrap());
    // Nothing can be written beside the log while a folder stands in the part's place.
    let part = path.with_extension("part");
    fs::create_dir(&part).unwrap();
    (1..=12).for_each(|n| put(&mut file, &mut head, n));
    assert_eq!(names(folder.path()), ["audit.000001.jsonl", "audit.part"]);
    fs::remove_dir(&part).unwrap();
    (13..=14).for_each(|n| put(&mut file, &mut head, n));
    let chain = walked(&path).unwrap();
    assert_eq!((chain.hashes.len(), chain.gaps.len()), (14, 0));
    assert!(names(folder.path()).contains(&"audit.jsonl".to_owned()));
}

#[test]
fn the_default_bound_is_a_quarter_of_a_gigabyte() {
    let limits = limits("");
    assert_eq!(limits.segment_bytes * limits.segments as u64, 256 << 20);
}
