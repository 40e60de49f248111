//! `twofold sim` as its users meet it: exit codes, the replay file, what is kept of a failing seed.

#![allow(clippy::unwrap_used)]

use chaos_sim::cli::{SimCommand, run_command};
use chaos_sim::{Options, Replay, run};
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    command: SimCommand,
}

fn command(words: &[&str]) -> SimCommand {
    Arguments::parse_from(["sim"].iter().chain(words)).command
}

#[test]
fn seeds_that_hold_exit_zero() {
    assert_eq!(run_command(&command(&["--seeds", "2", "--minutes", "4", "--seed", "3"])), 0);
    assert_eq!(run_command(&command(&["--seeds", "1", "--minutes", "4", "-o", "json"])), 0);
}

/// Goal: what would run nothing, or contradicts itself, is refused as usage (clap's exit code 2).
#[test]
fn words_that_make_no_sense_are_refused() {
    for words in [
        &["--seeds", "0"][..],
        &["--threads", "0"],
        &["--threads", "1025"],
        &["--minutes", "2"],
        &["--calm", "--faults", "cut"],
    ] {
        let refused = Arguments::try_parse_from(["sim"].iter().chain(words)).map(|_| ());
        assert_eq!(refused.map_err(|e| e.exit_code()), Err(2), "{words:?}");
    }
}

/// Goal: a run in which no fault has room is refused: it would hold, and show nothing.
#[test]
fn too_few_minutes_for_a_fault_are_refused() {
    assert_eq!(run_command(&command(&["--two-sites", "--minutes", "3", "--seeds", "1"])), 2);
    assert_eq!(run_command(&command(&["--two-sites", "--minutes", "4", "--seeds", "1"])), 0);
}

/// Goal: a replay file says everything that a run needs. Method: write it, read it, run it.
#[test]
fn a_replay_file_reproduces_its_run() {
    let folder = std::env::temp_dir().join(format!("twofold-sim-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("replay.json");
    let options = Options { minutes: 4, ..Options::default() };
    Replay::of(11, &options).write(&path).unwrap();
    let replay = Replay::read(&path).unwrap();
    assert_eq!(run(replay.seed, &replay.options()).hash, run(11, &options).hash);
    let shown = path.display().to_string();
    assert_eq!(run_command(&command(&["--replay", &shown])), 0);
    std::fs::write(&path, "{\"v\":2}").unwrap();
    assert!(Replay::read(&path).is_err());
    assert_eq!(run_command(&command(&["--replay", &shown])), 2, "a file of another form is bad input");
    std::fs::remove_dir_all(&folder).unwrap();
}
