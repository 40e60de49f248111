//! Golden scripts: `testdata/*.txt` hold commands and what they print, to be read as a manual.
//!
//! A block is commands, a line `----`, and the output up to the next empty line. `UPDATE_GOLDEN=1` writes
//! the output anew. Every script runs on a world of its own.

#![allow(clippy::unwrap_used)]

mod dns;
mod health;

use std::fmt::Write as _;
use std::path::Path;

/// What runs a script's commands: `Ok(output)`, or the reason a command is not understood.
trait World {
    fn run(&mut self, command: &str) -> Result<String, String>;
}

/// Runs one script and returns it with the output it really has.
fn replay(script: &str, world: &mut dyn World) -> String {
    let mut out = String::new();
    let mut commands: Vec<&str> = Vec::new();
    let mut lines = script.lines();
    while let Some(line) = lines.next() {
        writeln!(out, "{line}").unwrap();
        if line == "----" {
            for command in commands.drain(..) {
                match world.run(command) {
                    Ok(printed) => out.push_str(&printed),
                    Err(why) => panic!("{command:?}: {why}"),
                }
            }
            for skipped in lines.by_ref() {
                if skipped.is_empty() {
                    writeln!(out).unwrap();
                    break;
                }
            }
        } else if !line.is_empty() && !line.starts_with('#') {
            commands.push(line);
        }
    }
    assert!(commands.is_empty(), "commands without a line ---- after them: {commands:?}");
    out
}

fn check(name: &str, world: &mut dyn World) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    let script = std::fs::read_to_string(&path).unwrap();
    let printed = replay(&script, world);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, printed).unwrap();
        return;
    }
    for (number, (wanted, got)) in (1..).zip(script.lines().zip(printed.lines())) {
        assert_eq!(got, wanted, "{name}:{number} differs; UPDATE_GOLDEN=1 writes it anew");
    }
    assert_eq!(printed.lines().count(), script.lines().count(), "{name} differs in length");
}

#[test]
fn zone_data_is_answered_as_the_rfcs_say() {
    check("zone.txt", &mut dns::Dns::default());
}

#[test]
fn what_lies_below_a_dname_lies_below_its_target() {
    check("dname.txt", &mut dns::Dns::default());
}

#[test]
fn bound_names_follow_the_route_and_the_quorum() {
    check("bound.txt", &mut dns::Dns::default());
}

#[test]
fn pooled_names_follow_verdicts() {
    check("pooled.txt", &mut dns::Dns::default());
}

#[test]
fn every_answer_is_explained() {
    check("explain.txt", &mut dns::Dns::default());
}

#[test]
fn mistakes_are_all_found_at_once() {
    check("problems.txt", &mut dns::Dns::default());
}

#[test]
fn verdicts_are_damped_and_need_a_quorum() {
    check("health.txt", &mut health::World::default());
}
