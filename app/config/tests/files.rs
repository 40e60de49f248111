//! The checked-in files: the sample of version 1 and the smallest file are read back and printed,
//! and a file with twenty mistakes is told of each. `UPDATE_GOLDEN=1` rewrites what is compared.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use app_config::{Config, check};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(testdata(name)).unwrap()
}

fn accepted(text: &str) -> Config {
    let checked = check(text, Path::new("/etc/twofold"));
    assert_eq!(checked.problems, [], "the file was refused");
    checked.config.unwrap()
}

fn golden(name: &str, now: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(testdata(name), now).unwrap();
    }
    let expected = std::fs::read_to_string(testdata(name)).unwrap_or_default();
    assert_eq!(now, expected, "{name} is stale; look at the change, then run with UPDATE_GOLDEN=1");
}

#[test]
fn the_sample_of_version_1_is_read_and_printed_as_the_golden_file_says() {
    golden("twofold.txt", &accepted(&read("twofold.yaml")).to_string());
}

#[test]
fn two_sites_with_nothing_tuned_work() {
    golden("smallest.txt", &accepted(&read("smallest.yaml")).to_string());
}

#[test]
fn the_resolved_form_reads_back_as_the_same_configuration() {
    for name in ["twofold.yaml", "smallest.yaml"] {
        let config = accepted(&read(name));
        assert_eq!(accepted(&config.to_string()), config, "{name}");
    }
}

/// Goal: no mistake hides another, and each is told at its own place. Method: the mistakes are
/// marked in the file by number; every marked line must have as many problems as marks.
#[test]
fn all_of_twenty_mistakes_are_told_at_their_places() {
    let text = read("twenty-mistakes.yaml");
    let checked = check(&text, Path::new("/etc/twofold"));
    assert_eq!(checked.config, None);
    let shown: Vec<String> =
        checked.problems.iter().map(|problem| format!("twenty-mistakes.yaml:{problem}\n")).collect();
    golden("twenty-mistakes.txt", &shown.concat());
    let mut marks = 0;
    for (at, line) in text.lines().enumerate().skip(1) {
        let marked = line.split_once('#').map_or(0, |(_, comment)| comment.matches(": ").count());
        let told = checked.problems.iter().filter(|problem| problem.line == at + 1).count();
        assert_eq!(told, marked, "line {}: {line}", at + 1);
        marks += marked;
    }
    assert_eq!(marks, 20);
}

#[test]
fn every_problem_has_a_place_and_a_next_act() {
    let checked = check(&read("twenty-mistakes.yaml"), Path::new("/etc/twofold"));
    for problem in checked.problems {
        assert!(problem.hint.is_some(), "no next act: {problem}");
        assert!(problem.line > 1 && problem.column > 0 && !problem.path.is_empty(), "no place: {problem}");
    }
}
