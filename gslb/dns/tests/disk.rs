//! The snapshot on disk: what is saved is read, and what is damaged is said to be.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use gslb_core::{Freshness, SnapshotSpec};
use gslb_dns::disk::{DiskError, load, save};
use model::WallTime;
use support::{snapshot, spec};

#[test]
fn what_is_saved_is_read_back_stale() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dns.snapshot");
    assert!(matches!(load(&path).unwrap_err(), DiskError::Absent { .. }));
    save(&path, &snapshot(5, "pdc"), WallTime(1_000)).unwrap();
    // A file left over by a crash while writing is in nobody's way.
    fs::write(directory.path().join("dns.snapshot.new"), b"half").unwrap();
    save(&path, &snapshot(6, "mdc"), WallTime(2_000)).unwrap();
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.saved_at, WallTime(2_000));
    let wanted = SnapshotSpec { freshness: Freshness::Stale, ..spec(6, "mdc") };
    assert_eq!(loaded.snapshot.to_spec(), wanted);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn damage_is_always_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dns.snapshot");
    save(&path, &snapshot(5, "pdc"), WallTime(1_000)).unwrap();
    let whole = fs::read(&path).unwrap();
    let damaged = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        let error = load(&path).expect_err(what);
        let named = matches!(error, DiskError::Damaged { .. } | DiskError::Version { .. });
        assert!(named && error.to_string().contains("dns.snapshot"), "{what}: {error}");
    };
    for length in (0..whole.len()).step_by(97).chain([1, whole.len() - 1]) {
        damaged(&whole[..length], &format!("cut to {length}"));
    }
    for at in (0..whole.len()).step_by(61) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        damaged(&flipped, &format!("bit flipped at {at}"));
    }
    damaged(&[whole.as_slice(), b" "].concat(), "longer");
    damaged(b"\xff\xfe\n", "another file");
    let text = String::from_utf8(whole).unwrap();
    fs::write(&path, text.replacen(" v1 ", " v2 ", 1)).unwrap();
    assert!(matches!(load(&path).unwrap_err(), DiskError::Version { version, .. } if version == "v2"));
}

#[test]
fn a_directory_that_is_not_there_is_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent").join("dns.snapshot");
    let error = save(&path, &snapshot(1, "pdc"), WallTime(0)).unwrap_err();
    assert!(matches!(error, DiskError::Io { act: "write it", .. }), "{error}");
}
