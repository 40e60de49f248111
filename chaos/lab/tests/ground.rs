//! The lab's ground without any database: namespaces, hub, supervisor, power switches.
//!
//! Real namespaces, real processes; needs root, as the lab does. Run with --test-threads=1.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use chaos_lab::layout::LabSite;
use chaos_lab::supervisor::{self, SupervisorRequest, Target};
use chaos_lab::wan::{self, Direction, WanRequest};
use chaos_lab::{cgroup, net};
use common::{TestLab, address, echo_one, eventually, process, reaches};

/// Goal: frames cross the WAN with its delay, and a cut is a cut in its direction alone.
/// Method: datagrams between sockets that live in the hosts' namespaces.
#[test]
fn frames_cross_with_delay_and_cuts_work_in_each_direction_alone() {
    let up = TestLab::up(vec![]);
    let (pdc, mdc, wit) = (up.udp("pdc-1"), up.udp("mdc-1"), up.udp("wit-1"));
    let sent = Instant::now();
    assert!(reaches(&pdc, &mdc, "mdc-1", 1));
    assert!(sent.elapsed() >= wan::DELAY_DEFAULT, "a frame was faster than the link's delay");

    let forth = Direction { from: LabSite::Pdc, to: LabSite::Mdc };
    wan::tell(&up.lab, &WanRequest::Cut { directions: vec![forth] }).unwrap();
    assert!(!reaches(&pdc, &mdc, "mdc-1", 2), "a frame passed a cut");
    assert!(reaches(&mdc, &pdc, "pdc-1", 3), "the other direction is not cut");
    assert!(reaches(&pdc, &wit, "wit-1", 4), "the other link is not cut");

    wan::tell(&up.lab, &WanRequest::Heal).unwrap();
    assert!(reaches(&pdc, &mdc, "mdc-1", 5), "healed");

    wan::tell(&up.lab, &WanRequest::Loss { directions: vec![forth], percent: 100.0 }).unwrap();
    assert!(!reaches(&pdc, &mdc, "mdc-1", 6), "a frame passed whole loss");
    wan::tell(&up.lab, &WanRequest::Heal).unwrap();

    let slow = Duration::from_millis(60);
    let micros = u64::try_from(slow.as_micros()).unwrap();
    wan::tell(&up.lab, &WanRequest::Delay { directions: vec![forth], micros }).unwrap();
    let sent = Instant::now();
    assert!(reaches(&pdc, &mdc, "mdc-1", 7));
    assert!(sent.elapsed() >= slow, "a frame was faster than the link's delay");
    assert!(wan::status(&up.lab).unwrap().iter().all(|l| l.overflowed == 0));
}

/// Goal: a killed process is started again, with all of its children dead before.
#[test]
fn a_killed_process_and_its_children_die_and_it_is_started_again() {
    let up = TestLab::up(vec![process("pdc-1", "node", &["sh", "-c", "sleep 1000 & sleep 1000"])]);
    let netns = up.lab.netns(&chaos_lab::layout::Host::named("pdc-1").unwrap());
    eventually("the process has its children", || net::processes_in(&netns).unwrap().len() == 3);
    let before = net::processes_in(&netns).unwrap();
    supervisor::tell(&up.lab, &SupervisorRequest::Kill { target: Target::process("pdc-1", "node") }).unwrap();
    eventually("it is started again, and nothing of the old one is left", || {
        let now = net::processes_in(&netns).unwrap();
        now.len() == 3 && now.iter().all(|p| !before.contains(p))
    });
    let status = supervisor::status(&up.lab).unwrap();
    assert_eq!(status.processes[0].starts, 2);
    assert!(status.hub_alive);
}

/// Goal: a site that loses power sends nothing more, not even a reset, stays dead until power
/// returns, and comes back with nothing of its old kernel's state.
#[test]
fn a_site_without_power_is_silent_and_dead_and_boots_fresh() {
    let up = TestLab::up(vec![
        process("pdc-1", "node", &["sleep", "1000"]),
        process("pdc-db", "guard", &["sleep", "1000"]),
        process("mdc-1", "node", &["sleep", "1000"]),
    ]);
    let running = |label: &str| {
        let status = supervisor::status(&up.lab).unwrap();
        status.processes.iter().find(|p| p.label == label).unwrap().pid.is_some()
    };
    eventually("all run", || ["pdc-1/node", "pdc-db/guard", "mdc-1/node"].iter().all(|l| running(l)));
    up.inside("pdc-db", || {
        let table = std::process::Command::new("nft").args(["add", "table", "inet", "lab_test"]).status();
        assert!(table.unwrap().success());
    })
    .join()
    .unwrap();
    let echo = echo_one(up.listen("pdc-1", 7000));
    let mut stream = up.connect("mdc-1", address("pdc-1", 7000));
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0u8; 1]).unwrap();

    supervisor::tell(&up.lab, &SupervisorRequest::PowerOff { site: LabSite::Pdc }).unwrap();
    assert!(!running("pdc-1/node") && !running("pdc-db/guard") && running("mdc-1/node"));
    stream.set_read_timeout(Some(common::SHORT)).unwrap();
    stream.write_all(b"y").unwrap();
    let silence = stream.read(&mut [0u8; 1]).unwrap_err();
    assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock, "silence, not a reset");
    drop(stream);

    supervisor::tell(&up.lab, &SupervisorRequest::PowerOn { site: LabSite::Pdc }).unwrap();
    eventually("the site's processes run again", || running("pdc-1/node") && running("pdc-db/guard"));
    let (pdc, mdc) = (up.udp("pdc-1"), up.udp("mdc-1"));
    assert!(reaches(&pdc, &mdc, "mdc-1", 1) && reaches(&mdc, &pdc, "pdc-1", 2));
    let tables = up
        .inside("pdc-db", || {
            std::process::Command::new("nft").args(["list", "tables"]).output().unwrap().stdout
        })
        .join()
        .unwrap();
    assert!(!String::from_utf8_lossy(&tables).contains("lab_test"), "a packet filter outlived a power cut");
    // The listener's thread holds its socket in the old namespace for as long as the test runs.
    drop(echo);
}

/// Goal: nothing is left behind, in whatever state the lab was interrupted, any number of times.
/// Method: kill the supervisor first, as an interruption would, and take the lab down twice.
#[test]
fn a_lab_whose_supervisor_died_goes_without_a_trace_and_twice() {
    let up = TestLab::up(vec![process("pdc-1", "node", &["sleep", "1000"])]);
    let netns = up.lab.netns(&chaos_lab::layout::Host::named("pdc-1").unwrap());
    eventually("the process runs", || !net::processes_in(&netns).unwrap().is_empty());
    let state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(up.lab.state_file()).unwrap()).unwrap();
    let pid = i32::try_from(state["supervisor"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    up.down();
    assert!(net::existing(&up.lab).unwrap().is_empty());
    assert!(!up.lab.dir().exists());
    assert!(cgroup::folder(&up.lab.cgroup_name()).is_none_or(|g| !g.exists()));
    up.down();
}

/// Goal: two labs with the same addresses live side by side.
#[test]
fn two_labs_do_not_meet() {
    let (one, two) = (TestLab::up(vec![]), TestLab::up(vec![]));
    let (a, b) = (one.udp("pdc-1"), one.udp("mdc-1"));
    let (c, d) = (two.udp("pdc-1"), two.udp("mdc-1"));
    assert!(reaches(&a, &b, "mdc-1", 1));
    assert!(reaches(&c, &d, "mdc-1", 2));
    two.down();
    assert!(reaches(&a, &b, "mdc-1", 3), "one lab's end took the other's network");
    let foreign = one.lab.dir().parent().unwrap().join("mine");
    std::fs::create_dir_all(&foreign).unwrap();
    std::fs::write(foreign.join("letter"), "dear").unwrap();
    let refused = chaos_lab::lifecycle::make_directory(&chaos_lab::layout::Lab::at(&foreign), &one.spec);
    assert!(
        matches!(refused, Err(chaos_lab::lifecycle::LifecycleError::Foreign { .. })),
        "a directory of somebody else's"
    );
}
