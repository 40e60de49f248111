//! Whatever the text, `check` answers: with a configuration or with problems, never with a panic.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use app_config::check;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const SAMPLE: &str = include_str!("../testdata/twofold.yaml");
const MISTAKES: &str = include_str!("../testdata/twenty-mistakes.yaml");

/// Pieces that YAML and the readers care about.
const PIECES: [&str; 30] = [
    "",
    "~",
    "null",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "\n",
    "  ",
    "\t",
    "&a ",
    "*a",
    "!t ",
    "|",
    ">",
    "%",
    "---",
    "#",
    "\"",
    "'",
    "é",
    "\u{0}",
    "0",
    "99999999999999999999",
    "1s",
    "-1",
    "?",
    "<<",
];

fn answers(text: &str) {
    let checked = check(text, Path::new("/etc/twofold"));
    assert_eq!(checked.config.is_some(), checked.problems.is_empty());
    assert!(
        !checked.problems.iter().any(|problem| problem.message.contains("no reason recorded")),
        "refused without a reason: {text}"
    );
    for problem in &checked.problems {
        assert!(problem.line >= 1 && problem.column >= 1, "{problem}");
    }
    if let Some(config) = checked.config {
        let again = check(&config.to_string(), Path::new("/etc/twofold"));
        assert_eq!(again.problems, [], "the resolved form was refused");
        assert_eq!(again.config, Some(config));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_answered(bytes in vec(any::<u8>(), 0..400)) {
        answers(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn pieces_of_yaml_are_answered(pieces in vec(select(&PIECES[..]), 0..60)) {
        answers(&pieces.concat());
    }

    /// A line lost, doubled or swapped, and a word replaced: mistakes as people make them.
    #[test]
    fn a_sample_with_damage_is_answered(
        mistaken in any::<bool>(),
        damage in vec((any::<Index>(), any::<Index>(), 0..4u8, select(&PIECES[..])), 1..5),
    ) {
        let source = if mistaken { MISTAKES } else { SAMPLE };
        let mut lines: Vec<String> = source.lines().map(str::to_owned).collect();
        for (at, other, kind, piece) in damage {
            let (at, other) = (at.index(lines.len()), other.index(lines.len()));
            match kind {
                0 => { lines.remove(at); }
                1 => { let line = lines[at].clone(); lines.insert(other, line); }
                2 => lines.swap(at, other),
                _ => {
                    let words: Vec<&str> = lines[at].split(' ').collect();
                    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
                    let word = other % words.len();
                    words[word] = piece.to_owned();
                    lines[at] = words.join(" ");
                }
            }
        }
        answers(&lines.join("\n"));
    }
}

#[test]
fn every_beginning_of_the_sample_is_answered() {
    for (end, _) in SAMPLE.char_indices() {
        answers(&SAMPLE[..end]);
    }
}

#[test]
fn depth_size_aliases_and_documents_are_bounded() {
    for (text, told) in [
        ("[".repeat(100), "nested too deeply"),
        ("[".repeat(100_000), "recursion limit exceeded"),
        ("{a: ".repeat(100), "nested too deeply"),
        ("- ".repeat(100_000), "nested too deeply"),
        (" ".repeat((1 << 20) + 1), "more than 1048576"),
        (format!("[{}]", "a,".repeat(60_000)), "too many values"),
        ("a: &x 1\nb: *x\n".to_owned(), "anchors are not read"),
        ("a: !!int 1\n".to_owned(), "tags are not read"),
        ("version: 1\n---\nversion: 1\n".to_owned(), "a second document begins"),
        (String::new(), "the file is empty"),
        ((0..2000).map(|n| format!("field-{n}: 1\n")).collect(), "there are more problems than are shown"),
        ("a: b: c\n".to_owned(), "not YAML"),
        ("? [a]\n: b\n".to_owned(), "a key must be a word"),
    ] {
        let checked = check(&text, Path::new("/etc/twofold"));
        let messages: Vec<&str> = checked.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert!(messages.iter().any(|message| message.contains(told)), "{told:?} is not in {messages:.400?}");
    }
}
