//! Golden scripts: `testdata/*.txt` are pages of a manual that are run.
//!
//! A page is a list of commands and what they print; its comments say the goal and which row of the
//! interleavings it stands for. `UPDATE_GOLDEN=1 cargo test -p failover-core --test golden` writes
//! what is printed now; the diff is the review.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use support::World;
use support::script::{parse, replay};

/// The folder of the scripts; `GOLDEN_DIR` runs those of another one, such as a simulator's failures.
fn testdata() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    std::env::var_os("GOLDEN_DIR").map_or_else(own, PathBuf::from)
}

fn rewriting() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1")
}

/// What a command prints when the script itself is wrong.
const MISTAKE: &str = "MISTAKE IN SCRIPT";

/// Runs one script and returns it as it reads and as it would read now.
fn run(path: &Path) -> (String, String) {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let mut world = World::new();
    let printed = replay(&parse(&text), |line, command| {
        let place = format!("{name}:{line}: {command}");
        let result = panic::catch_unwind(AssertUnwindSafe(|| world.run(place, command)));
        result.unwrap_or_else(|why| {
            let text = why.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".into());
            format!("{MISTAKE}: {text}")
        })
    });
    (text, printed)
}

/// The first lines that differ, with their number.
fn difference(expected: &str, printed: &str) -> String {
    let mut out = String::new();
    let (mut e, mut p) = (expected.lines(), printed.lines());
    for number in 1.. {
        match (e.next(), p.next()) {
            (None, None) => break,
            (a, b) if a == b => {}
            (a, b) => {
                out.push_str(&format!("  {number}: says   {}\n", a.unwrap_or("(end)")));
                out.push_str(&format!("  {number}: prints {}\n", b.unwrap_or("(end)")));
                break;
            }
        }
    }
    out
}

/// Goal: the core behaves as the manual says. Method: run every script, compare to the letter.
#[test]
fn every_script_prints_what_it_says() {
    let mut paths: Vec<PathBuf> = fs::read_dir(testdata())
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are scripts");
    let mut wrong = String::new();
    let mut mistakes = Vec::new();
    for path in paths {
        let (text, printed) = run(&path);
        if printed.contains(MISTAKE) {
            mistakes.extend(printed.lines().filter(|l| l.contains(MISTAKE)).map(str::to_owned));
        }
        if text == printed {
            continue;
        }
        if rewriting() {
            fs::write(&path, printed).unwrap();
        } else {
            wrong.push_str(&format!("{}\n{}", path.display(), difference(&text, &printed)));
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    assert!(
        wrong.is_empty(),
        "scripts print something else than they say (UPDATE_GOLDEN=1 rewrites):\n{wrong}"
    );
}
