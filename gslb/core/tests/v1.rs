//! The form on disk, version 1: a sample that was once written must be read for ever.

#![allow(clippy::unwrap_used)]

use gslb_core::{CLASS_IN, Client, NameBuf, Question, RecordType, Snapshot, SnapshotSpec, answer, v1};

const SAMPLE: &str = include_str!("../testdata/snapshot-v1.json");

fn read(json: &str) -> Result<SnapshotSpec, String> {
    let document: v1::Snapshot = serde_json::from_str(json).map_err(|e| e.to_string())?;
    SnapshotSpec::try_from(document).map_err(|e| e.to_string())
}

#[test]
fn the_sample_is_read_and_answers() {
    let snapshot = Snapshot::build(read(SAMPLE).unwrap()).unwrap();
    assert_eq!(snapshot.generation().0, 42);
    for (name, record_type, records) in [
        ("www.gslb.example.", RecordType::A, 1),
        ("static.gslb.example.", RecordType::TXT, 1),
        ("last.gslb.example.", RecordType::A, 1),
        // A snapshot from disk is stale, and this name wants a quorum.
        ("db.gslb.example.", RecordType::A, 0),
    ] {
        let question = Question {
            name: NameBuf::from(&name.parse::<gslb_core::Name>().unwrap()),
            record_type,
            class: CLASS_IN,
            client: Client::sender("192.0.2.1".parse().unwrap()),
        };
        assert_eq!(answer(&snapshot, &question).answers().count(), records, "{name}");
    }
}

#[test]
fn writing_it_again_changes_nothing() {
    let document = v1::Snapshot::from(&read(SAMPLE).unwrap());
    assert_eq!(serde_json::to_string_pretty(&document).unwrap(), SAMPLE.trim_end());
}

#[test]
fn what_is_not_understood_is_refused() {
    for (from, to) in [
        ("\"generation\": 42", "\"generation\": 42, \"later\": 1"),
        ("\"ttl-max\"", "\"ttl-maximum\""),
        ("\"order\"", "\"disorder\""),
        ("\"wire\": \"05", "\"wire\": \"5"),
        ("\"apex\": \"gslb.example.\"", "\"apex\": \"gslb..example.\""),
        ("\"type\": \"TXT\"", "\"type\": \"TXTT\""),
    ] {
        assert!(SAMPLE.contains(from), "{from}");
        assert!(read(&SAMPLE.replacen(from, to, 1)).is_err(), "{to} was taken");
    }
}
