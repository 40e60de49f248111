//! The table of diagnoses is shown, name by name: a place where each acts, and one where it holds still.
//!
//! A place is a part of a golden script under a heading, `# acts: group NAME` or `# holds still: server NAME`, up to the
//! next one. That the scripts print what they say is `golden.rs`'s business; here it is whether anything is shown.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use failover_core::{Diagnosis, ServerDiagnosis};

/// From these a move follows by itself; from the others another decision does, or they are told.
const MOVE: [Diagnosis; 8] = [
    Diagnosis::HostSilent,
    Diagnosis::SiteDead,
    Diagnosis::DatabaseDead,
    Diagnosis::DatabaseHung,
    Diagnosis::DiskStalled,
    Diagnosis::DiskFull,
    Diagnosis::DiskFailing,
    Diagnosis::PrimaryLacks,
];

/// A server with one of these takes over from nobody.
const BAR: [ServerDiagnosis; 9] = [
    ServerDiagnosis::Unreachable,
    ServerDiagnosis::Dead,
    ServerDiagnosis::Hung,
    ServerDiagnosis::DiskStalled,
    ServerDiagnosis::DiskFull,
    ServerDiagnosis::DiskFailing,
    ServerDiagnosis::ReplicationStopped,
    ServerDiagnosis::Misconfigured,
    ServerDiagnosis::Errant,
];

/// A part of a script under a heading.
struct Place {
    heading: String,
    lines: Vec<String>,
}

impl Place {
    /// The heading without what is said behind the name.
    fn is(&self, what: &str) -> bool {
        self.heading == what || self.heading.strip_prefix(what).is_some_and(|rest| rest.starts_with(':'))
    }

    fn commands(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str).filter(|l| !l.is_empty() && !l.starts_with([' ', '#']))
    }

    fn printed(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|l| l.strip_prefix("    "))
    }

    fn moves(&self) -> bool {
        self.printed().any(|l| l.trim_start().starts_with("act: begin"))
    }
}

fn places() -> Vec<Place> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut places: Vec<Place> = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "txt") {
            continue;
        }
        let mut inside = false;
        for line in fs::read_to_string(path).unwrap().lines() {
            let heading = line.strip_prefix("# ").filter(|l| {
                l.starts_with("acts: group ")
                    || l.starts_with("acts: server ")
                    || l.starts_with("holds still: group ")
                    || l.starts_with("holds still: server ")
            });
            match heading {
                Some(heading) => {
                    inside = true;
                    places.push(Place { heading: heading.to_owned(), lines: vec![] });
                }
                None if inside => places.last_mut().unwrap().lines.push(line.to_owned()),
                None => {}
            }
        }
    }
    places
}

fn of<'a>(places: &'a [Place], what: &str) -> Vec<&'a Place> {
    let found: Vec<_> = places.iter().filter(|p| p.is(what)).collect();
    assert!(!found.is_empty(), "no script has a place \"# {what}\"");
    found
}

/// Goal: none is added without being shown. Method: for each name of the table, both headings, and beneath each what it
/// promises: that it is told, that the group moves where it must, and that it does not where it must not.
#[test]
fn every_diagnosis_of_a_group_has_a_place_where_it_acts_and_one_where_it_holds_still() {
    let places = places();
    for diagnosis in Diagnosis::ALL {
        let name = diagnosis.name();
        for place in of(&places, &format!("acts: group {name}")) {
            assert!(place.printed().any(|l| l == name), "{}: it is not told", place.heading);
            assert!(!MOVE.contains(&diagnosis) || place.moves(), "{}: nothing follows", place.heading);
        }
        for place in of(&places, &format!("holds still: group {name}")) {
            assert!(place.commands().any(|c| c.starts_with("decide")), "{}: undecided", place.heading);
            assert!(!place.moves(), "{}: it moves the group", place.heading);
        }
    }
}

/// The same for those of a server, which move nothing and may bar the server.
#[test]
fn every_diagnosis_of_a_server_has_a_place_where_it_is_told_and_one_where_it_is_not() {
    let places = places();
    for diagnosis in ServerDiagnosis::ALL {
        let name = diagnosis.name();
        let told = |place: &Place| {
            place
                .printed()
                .any(|l| l.split_once(' ').is_some_and(|(_, l)| l.starts_with(&format!("{name}: "))))
        };
        let acts = of(&places, &format!("acts: server {name}"));
        for place in &acts {
            assert!(told(place), "{}: it is not told", place.heading);
        }
        let barred = |p: &&Place| p.printed().any(|l| l.trim_start().contains(" cannot take over: "));
        assert!(!BAR.contains(&diagnosis) || acts.iter().any(barred), "server {name}: nobody is barred");
        for place in of(&places, &format!("holds still: server {name}")) {
            assert!(place.commands().any(|c| c == "decide servers"), "{}: undecided", place.heading);
            assert!(!told(place), "{}: it is told", place.heading);
        }
    }
}

/// Goal: a heading that names nothing is a typing mistake, or a diagnosis that is gone.
#[test]
fn every_place_names_a_diagnosis() {
    let groups = Diagnosis::ALL.map(|d| format!("group {}", d.name()));
    let servers = ServerDiagnosis::ALL.map(|d| format!("server {}", d.name()));
    for place in places() {
        let known = groups
            .iter()
            .chain(&servers)
            .any(|name| ["acts", "holds still"].iter().any(|how| place.is(&format!("{how}: {name}"))));
        assert!(known, "no diagnosis is named by \"# {}\"", place.heading);
    }
}
