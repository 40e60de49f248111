//! What the lab's commands say to bad input, to no lab, and to other people's directories: their exit
//! codes (docs/reference/cli.md) and that nothing is touched. No cluster runs; some need root, as the lab
//! does. Run with --test-threads=1.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use chaos_lab::cli::{Fence, Flavour};
use chaos_lab::layout::{Host, Lab};
use chaos_lab::report::{Report, Run};
use chaos_lab::supervisor::SupervisorRequest;
use chaos_lab::{lifecycle, load, net, supervisor};
use common::{TestLab, eventually, process, reaches};

fn run(dir: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chaos-lab"))
        .arg("lab")
        .args(words)
        .arg("--dir")
        .arg(dir)
        .output()
        .unwrap()
}

/// Exit code, then all that was printed.
fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout, &output.stderr].map(|s| String::from_utf8_lossy(s).into_owned()).concat();
    (output.status.code(), text)
}

#[test]
fn bad_input_is_refused_with_two_and_no_lab_is_named_with_the_next_act() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("lab");
    for (words, code, text) in [
        (&["kill", "pdc-db/nope"][..], 2, "which runs mysqld, guard"),
        (&["kill", "pdc-db/"], 2, "which runs mysqld, guard"),
        (&["kill", "pdc-cli"], 2, "measuring clients only"),
        (&["kill", "cli"], 2, "measuring clients only"),
        (&["kill", "pdc", "--signal", "stop"], 2, "name its hosts one by one"),
        (&["cut", "pdc", "pdc"], 2, "cut from itself"),
        (&["cut", "pdc", "--loss", "120"], 2, "0 to 100"),
        (&["heal", "nowhere"], 2, "its sites are"),
        (&["up", "--flavour", "oracle"], 2, "[possible values: mysql, mariadb]"),
        (&["demo", "--flavour", "oracle"], 2, "[possible values: mysql, mariadb]"),
        (&["demo", "--json", "/no/such/dir/r.json"], 2, "/no/such/dir/r.json cannot be written"),
        (&["demo", "--json", "/no/such/dir/r.json", "--resume"], 2, "cannot be gone on with"),
        (&["demo", "--resume"], 2, "--json <FILE>"),
        (&["up", "--servers", "3"], 2, "3 is not in 1..=2"),
        (&["demo", "--servers", "0"], 2, "0 is not in 1..=2"),
        (&["kill", "pdc"], 1, "`twofold lab up`"),
        (&["cut", "pdc"], 1, "`twofold lab up`"),
        (&["heal"], 1, "`twofold lab up`"),
        (&["status"], 1, "`twofold lab up`"),
        (&["down"], 0, "there was no lab in"),
    ] {
        let (got, printed) = said(&run(&dir, words));
        assert_eq!(got, Some(code), "{words:?}: {printed}");
        assert!(printed.contains(text), "{words:?}: {printed}");
    }
    assert!(!dir.exists() && !Lab::at(&dir).lock_file().exists(), "nothing was made");
}

/// Goal: a report that lacks no run is told with its verdict, and a foreign one refused; no lab is made.
#[test]
fn a_demo_that_is_resumed_with_nothing_missing_ends_by_its_reports_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, json) = (folder.path().join("lab"), folder.path().join("r.json"));
    let report = |failures: &[&str]| Report {
        fault: "cut-link".to_owned(),
        flavour: Flavour::Mysql,
        fallback: None,
        fence: Some(Fence::Nftables),
        servers: 1,
        writers: Some(load::WRITERS),
        runs: vec![Run {
            run: 1,
            fault: "cut-link".to_owned(),
            failures: failures.iter().map(|f| (*f).to_owned()).collect(),
            ..Run::default()
        }],
        notes: Vec::new(),
    };
    let file = json.to_string_lossy().into_owned();
    let words = ["demo", "--fault", "cut-link", "--json", &file, "--resume"];
    let foreign = [&words[..], &["--servers", "2"]].concat();
    for (failures, words, code, text) in [
        (&[][..], &words[..], 0, "nothing is missing: the file has 1 run(s)"),
        (&["the group moved"], &words, 1, "the group moved"),
        (&[], &foreign, 2, "made with --servers 1, and --servers 2 is asked for"),
    ] {
        let before = serde_json::to_vec(&report(failures)).unwrap();
        std::fs::write(&json, &before).unwrap();
        let (got, printed) = said(&run(&dir, words));
        assert_eq!((got, printed.contains(text)), (Some(code), true), "{printed}");
        assert_eq!(std::fs::read(&json).unwrap(), before, "the file is as it was");
    }
    assert!(!dir.exists() && !Lab::at(&dir).lock_file().exists(), "nothing was made");
}

#[test]
fn a_directory_that_cannot_hold_a_lab_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join("mine");
    std::fs::create_dir_all(mine.join("log")).unwrap();
    // Anybody may have a file of this name.
    std::fs::write(mine.join("lab.json"), r#"{"experiment": 7}"#).unwrap();
    let letter = folder.path().join("letter");
    std::fs::write(&letter, "dear").unwrap();
    let long = folder.path().join("x".repeat(100));
    for (dir, text) in [
        (&mine, "not a lab's"),
        (&letter, "is not a directory"),
        (&letter.join("below"), "is not a directory"),
        (&long, "too long"),
    ] {
        for verb in ["up", "demo"] {
            let (code, printed) = said(&run(dir, &[verb]));
            assert_eq!((code, printed.contains(text)), (Some(2), true), "{verb}: {printed}");
            assert!(!printed.contains("taking away"), "{printed}");
        }
    }
    for dir in [&mine, &letter] {
        assert_eq!(said(&run(dir, &["down"])).0, Some(2));
        assert!(!Lab::at(dir).lock_file().exists());
    }
    assert!(mine.join("log").is_dir() && mine.join("lab.json").is_file() && letter.is_file());
}

/// Goal: nothing takes a lab away that somebody is at work in, but who says so.
#[test]
fn a_lab_that_is_up_survives_refused_commands_and_a_demo() {
    let up = TestLab::up(vec![process("pdc-1", "node", &["sleep", "1000"])]);
    let started = || supervisor::status(&up.lab).unwrap().processes[0].starts;
    eventually("the process runs", || started() == 1);
    // Another process cannot change it while we hold its lock, so it is let go.
    let lab = up.release();
    for (words, code, text) in [
        (&["up", "--flavour", "oracle"][..], 2, "[possible values: mysql, mariadb]"),
        (&["up", "--twofold", "/no/such/binary"], 1, "does not exist"),
        (&["demo"], 3, "`twofold lab down` first"),
    ] {
        let (got, printed) = said(&run(lab.lab.dir(), words));
        assert_eq!(got, Some(code), "{words:?}: {printed}");
        assert!(printed.contains(text) && !printed.contains("taking away"), "{words:?}: {printed}");
        assert_eq!(supervisor::status(&lab.lab).unwrap().processes[0].starts, 1);
    }
}

/// Goal: each order says what was done, or that nothing was to be done; a paused host is shown as such.
#[test]
fn orders_say_what_they_did() {
    let up = TestLab::up(vec![process("pdc-1", "node", &["sleep", "1000"])]);
    eventually("the process runs", || supervisor::status(&up.lab).unwrap().processes[0].pid.is_some());
    let dir = up.lab.dir();
    for (words, text) in [
        (&["kill", "pdc-1", "--signal", "cont"][..], "nothing of pdc-1 is paused"),
        (&["kill", "pdc-1", "--signal", "stop"], "paused: pdc-1/node"),
        (&["kill", "pdc-1", "--signal", "stop"], "nothing of pdc-1 runs unpaused"),
        (&["heal"], "still paused: pdc-1/node"),
        (&["kill", "pdc-1/node", "--signal", "cont"], "woken: pdc-1/node"),
        (&["kill", "mdc-1"], "nothing of mdc-1 runs"),
        (&["kill", "mdc-1", "--hold"], "nothing of mdc-1 runs or is to be started"),
        (&["kill", "pdc-1", "--hold"], "killed: pdc-1/node, and held down until `lab heal`"),
        (&["kill", "pdc-1", "--hold"], "nothing of pdc-1 runs or is to be started"),
        (&["heal", "mdc"], "nothing was to be healed"),
        (&["heal", "pdc"], "let go: pdc-1/node"),
        (&["cut", "pdc", "mdc", "--one-way"], "cut: pdc→mdc;"),
        (&["cut", "pdc", "mdc", "--one-way"], "cut already"),
        (&["kill", "pdc"], "without power until `lab heal pdc`"),
        (&["kill", "pdc"], "no power already"),
        (&["heal", "pdc"], "power again: pdc; mended: "),
        (&["cut", "mdc", "wit", "--delay", "30", "--loss", "5"], "each frame takes 30 ms, 5 % of the frames"),
        (&["heal"], "mended: mdc→wit, wit→mdc"),
        (&["heal"], "nothing was to be healed"),
    ] {
        let (code, printed) = said(&run(dir, words));
        assert_eq!(code, Some(0), "{words:?}: {printed}");
        assert!(printed.contains(text), "{words:?}: {printed}");
    }
}

/// Goal: `down` removes a lab whose description somebody deleted, and `up` may use the directory then.
#[test]
fn a_lab_without_its_description_is_still_a_labs_and_goes() {
    let up = TestLab::up(vec![]).release();
    std::fs::remove_file(up.lab.spec_file()).unwrap();
    lifecycle::check_directory(&up.lab).unwrap();
    let (code, printed) = said(&run(up.lab.dir(), &["down"]));
    assert_eq!(code, Some(0), "{printed}");
    assert!(!up.lab.dir().exists(), "files are left");
    assert!(net::existing(&up.lab).unwrap().is_empty());
    let (code, printed) = said(&run(up.lab.dir(), &["down"]));
    assert_eq!((code, printed.contains("there was no lab in")), (Some(0), true), "{printed}");
}

#[test]
fn orders_to_a_lab_whose_supervisor_is_gone_say_the_way_out() {
    let up = TestLab::up(vec![]);
    let state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(up.lab.state_file()).unwrap()).unwrap();
    let pid = i32::try_from(state["supervisor"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("nobody answers", || supervisor::status(&up.lab).is_err());
    for words in [&["kill", "pdc"][..], &["cut", "pdc"], &["heal"], &["status"]] {
        let (code, printed) = said(&run(up.lab.dir(), words));
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains("`twofold lab down`, then `twofold lab up`"), "{printed}");
    }
    assert!(Host::named("pdc-1").is_some_and(|h| up.lab.netns_file(&h).exists()));
}

/// Goal: a host without power is silent and dead, is not started by an order, and boots when its power is back, by an
/// order of its own, with its site, or with everything. Method: what runs, and whether a packet gets through.
#[test]
fn a_host_without_power_is_silent_and_dead_until_it_has_it_again() {
    let up = TestLab::up(vec![
        process("pdc-db", "mysqld", &["sleep", "1000"]),
        process("pdc-1", "node", &["sleep", "1000"]),
    ]);
    let status = || supervisor::status(&up.lab).unwrap();
    let runs = |label: &str| status().processes.iter().any(|p| p.label == label && p.pid.is_some());
    eventually("both run", || runs("pdc-db/mysqld") && runs("pdc-1/node"));
    let host = "pdc-db".to_owned();
    let off = SupervisorRequest::HostOff { host: host.clone() };
    let on = SupervisorRequest::HostOn { host: host.clone() };
    supervisor::tell(&up.lab, &on).unwrap();
    assert_eq!(status().processes.iter().map(|p| p.starts).max(), Some(1), "it had power already");
    for healed in [&["by itself"][..], &["heal"], &["heal", "pdc"]] {
        let reached = |wanted: bool| {
            let (there, from) = (up.udp("pdc-db"), up.udp("pdc-1"));
            eventually("a packet gets through, or none", || reaches(&from, &there, "pdc-db", 7) == wanted);
        };
        reached(true);
        supervisor::tell(&up.lab, &off).unwrap();
        supervisor::tell(&up.lab, &off).unwrap();
        assert_eq!(status().hosts_off, std::slice::from_ref(&host));
        assert!(!runs("pdc-db/mysqld") && runs("pdc-1/node"), "the host alone is dead");
        reached(false);
        let stay = run(up.lab.dir(), &["start", "pdc-db"]);
        assert!(said(&stay).1.contains("has no power"), "{stay:?}");
        match healed {
            ["by itself"] => drop(supervisor::tell(&up.lab, &on).unwrap()),
            words => assert_eq!(said(&run(up.lab.dir(), words)).0, Some(0)),
        }
        eventually("it boots", || runs("pdc-db/mysqld") && status().hosts_off.is_empty());
    }
    assert!(supervisor::tell(&up.lab, &SupervisorRequest::HostOff { host: "mdc-db".to_owned() }).is_err());
    let second = said(&run(up.lab.dir(), &["kill", "pdc-db-2"]));
    assert!(second.0 == Some(2) && second.1.contains("host \"pdc-db-2\" is not in the lab"), "{second:?}");
}
