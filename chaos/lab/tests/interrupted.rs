//! `lab up` that is interrupted, killed, or begun twice: nothing may be left behind, and the next
//! command finds its way.
//!
//! Over the naive tool (mutants/naive_failover.rs), since the cluster does not matter here. Needs
//! root and MySQL's packages, as the lab does. Run with --test-threads=1.

#![allow(clippy::unwrap_used)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chaos_lab::layout::Lab;
use chaos_lab::{cgroup, net};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(60);

fn command(verb: &str, lab: &Lab) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos-lab"));
    command.args(["lab", verb, "--dir"]).arg(lab.dir()).stdout(Stdio::null());
    if verb == "up" {
        command.arg("--twofold").arg(env!("CARGO_BIN_EXE_lab-naive-failover"));
    }
    command
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "it never came about that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An `up` that has got as far as its supervisor.
fn half_way(lab: &Lab) -> Child {
    let up = command("up", lab).spawn().unwrap();
    eventually("the supervisor is there", || lab.supervisor_socket().exists());
    up
}

fn assert_nothing_is_left(lab: &Lab) {
    assert!(net::existing(lab).unwrap().is_empty(), "namespaces are left");
    assert!(cgroup::folder(&lab.cgroup_name()).is_none_or(|g| !g.exists()), "a control group is left");
    assert!(!lab.dir().exists(), "files are left in {:?}", lab.dir());
    assert!(!lab.lock_file().exists(), "the lock is left");
    let dir = lab.dir().to_string_lossy().into_owned();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        assert!(!line.contains(&dir), "a process is left: {line}");
    }
}

#[test]
fn an_interrupted_up_takes_away_what_it_made() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::at(&dir.path().join("lab"));
    let mut up = half_way(&lab);
    kill(Pid::from_raw(i32::try_from(up.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(1));
    assert_nothing_is_left(&lab);
}

/// Goal: after a kill -9 of `up`, another `up` comes through by itself, and `down` twice is no error.
#[test]
fn after_a_killed_up_another_one_comes_up_and_down_leaves_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::at(&dir.path().join("lab"));
    let mut up = half_way(&lab);
    let busy = command("up", &lab).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(busy.status.code(), Some(3), "two at once are refused");
    assert!(String::from_utf8_lossy(&busy.stderr).contains("another command"));
    up.kill().unwrap();
    up.wait().unwrap();
    assert!(command("up", &lab).status().unwrap().success());
    let status = command("status", &lab).stdout(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.status.success() && text.contains("pdc-db") && !text.contains("DOWN"), "{text}");
    for _ in 0..2 {
        assert!(command("down", &lab).status().unwrap().success());
        assert_nothing_is_left(&lab);
    }
}
