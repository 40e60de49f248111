//! The whole path for real, once for each fault: `twofold lab demo` brings two datacentres up, puts
//! clients on them, breaks something, heals it, and judges from outside. Every test has a lab
//! directory of its own; `make test` runs them one at a time.
//!
//! Figures are not asserted here (two loaded cores prove nothing about time): `docs/benchmarks.md`
//! has them with the commands. What must hold on any machine is asserted: nothing acknowledged is
//! lost, never two writers, the epoch moves exactly when it should, the old site comes back by itself.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

fn demo(fault: &str, more: &[&str]) -> Value {
    let folder = tempfile::Builder::new().prefix("tfl-").tempdir().expect("a temporary folder");
    let report = folder.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_twofold"))
        .args(["lab", "demo", "--fault", fault, "--runs", "1", "--json"])
        .arg(&report)
        .args(more)
        .arg("--dir")
        .arg(folder.path().join("lab"))
        // How much a machine's disk takes is a benchmark's business; here the protocol is tried.
        .env("TWOFOLD_LAB_RATE_MIN", "20")
        .output()
        .expect("twofold runs");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let text = std::fs::read_to_string(&report).unwrap_or_else(|e| panic!("no report ({e}):\n{said}"));
    let report: Value = serde_json::from_str(&text).expect("the report is JSON");
    assert!(output.status.success(), "{fault} failed:\n{said}\n{report:#}");
    report
}

/// What must be true of every run, whatever the fault.
fn run_of(report: &Value, fault: &str) -> Value {
    assert_eq!(report["fault"], fault);
    assert_eq!(report["flavour"], "mysql", "the lab fell back: install what it asks for");
    let runs = report["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    assert_eq!(run["durability_at_fault"], "Sync", "{run:#}");
    assert_eq!(run["lost_acked_writes"], 0, "{run:#}");
    assert_eq!(run["dual_writable_ms"].as_f64(), Some(0.0), "{run:#}");
    assert!(run["acked_writes"].as_u64().is_some_and(|n| n > 100), "{run:#}");
    run.clone()
}

fn moves(fault: &str, more: &[&str]) {
    let run = run_of(&demo(fault, more), fault);
    assert_eq!(run["epoch_after"].as_u64(), run["epoch_before"].as_u64().map(|e| e + 1), "{run:#}");
    assert!(run["dns_flip_ms"].is_number() && run["db_write_gap_ms"].is_number(), "{run:#}");
    assert!(run["rejoin_ms"].is_number(), "the old site is back in Sync by itself: {run:#}");
}

fn stays(fault: &str) {
    let run = run_of(&demo(fault, &[]), fault);
    assert_eq!(run["epoch_after"], run["epoch_before"], "{run:#}");
}

/// Goal: what stands still and comes back, dies a second time, or fails without dying loses nothing either. Method: one
/// lab, one after the other; the demo judges each run by what must come of its fault, and fails as a whole.
#[test]
fn a_silent_guard_a_second_failure_and_a_stopped_applier_lose_nothing() {
    let faults = "pause-guard,second-failure,replication-error";
    let report = demo(faults, &[]);
    assert_eq!(report["fault"], faults);
    let runs = report["runs"].as_array().expect("runs");
    let made: Vec<_> = runs.iter().filter_map(|run| run["fault"].as_str()).collect();
    assert_eq!(made.join(","), faults);
    for run in runs {
        assert_eq!(run["durability_at_fault"], "Sync", "{run:#}");
        assert_eq!(run["lost_acked_writes"], 0, "{run:#}");
        assert_eq!(run["dual_writable_ms"].as_f64(), Some(0.0), "{run:#}");
    }
}

/// What libfaketime shares on this machine (shm_overview(7)).
fn shared_memory() -> BTreeSet<String> {
    let files = std::fs::read_dir("/dev/shm").expect("shared memory").flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains("faketime")).collect()
}

/// Goal: a primary whose commits stand still for its disk is left, though it answers every SELECT, and the group stays
/// where it is while the daemons' wall clocks are two hours apart.
#[test]
fn a_hung_disk_and_a_full_one_move_the_group_and_clocks_do_not() {
    let faults = "hung-disk,disk-full,clock-step";
    let shared = shared_memory();
    let report = demo(faults, &[]);
    let left: Vec<_> = shared_memory().difference(&shared).cloned().collect();
    assert!(left.is_empty(), "the clocks of daemons that were killed leave {left:?}");
    let runs = report["runs"].as_array().expect("runs");
    let moved = |run: &Value| run["epoch_after"].as_u64() > run["epoch_before"].as_u64();
    assert_eq!(runs.iter().map(moved).collect::<Vec<_>>(), [true, true, false], "{report:#}");
    for run in runs {
        assert_eq!(run["durability_at_fault"], "Sync", "{run:#}");
        assert_eq!(run["lost_acked_writes"], 0, "{run:#}");
        assert_eq!(run["dual_writable_ms"].as_f64(), Some(0.0), "{run:#}");
    }
}

/// Goal: in `Async` no more is lost than was stated to the person who accepted it, by the clients' own count, and the
/// old primary, which has it still, waits for a person.
#[test]
fn out_of_async_no_more_is_lost_than_a_person_accepted() {
    let report = demo("async-failover", &[]);
    let run = &report["runs"][0];
    assert_eq!(run["durability_at_fault"], "Async", "{run:#}");
    let (lost, stated) = (run["lost_acked_writes"].as_u64(), run["stated_loss"].as_u64());
    assert!(lost > Some(0), "a cut link and a dead site lose something, or this shows nothing: {run:#}");
    assert!(stated.is_some() && lost <= stated, "{run:#}");
    assert_eq!(run["dual_writable_ms"].as_f64(), Some(0.0), "{run:#}");
    assert_eq!(run["epoch_after"].as_u64(), run["epoch_before"].as_u64().map(|e| e + 1), "{run:#}");
    assert!(run["quarantined"].is_string() && run["rejoin_ms"].is_null(), "{run:#}");
}

/// Goal: with two servers in each site a primary that dies is followed by its neighbour, with all that the other site's
/// ackers had acknowledged, and no client leaves the site.
#[test]
fn a_killed_primary_with_a_neighbour_is_followed_within_its_site() {
    let report = demo("kill-primary", &["--servers", "2"]);
    let run = run_of(&report, "kill-primary");
    assert_eq!(report["servers"], 2);
    assert!(run["moved_to"].is_string(), "{run:#}");
    assert_eq!(run["active_site_after"], run["active_site"], "{run:#}");
    assert!(run["epoch_after"].as_u64() > run["epoch_before"].as_u64(), "{run:#}");
}

#[test]
fn a_killed_primary_moves_the_group() {
    moves("kill-primary", &[]);
}

#[test]
fn a_killed_site_moves_the_group() {
    moves("kill-site", &[]);
}

#[test]
fn a_site_cut_off_with_its_clients_moves_the_group() {
    moves("cut-site", &[]);
}

/// Goal: where there is no gate, the end of the lease alone ends the old primary, with its own clients
/// still at it.
#[test]
fn a_site_cut_off_without_a_gate_moves_the_group() {
    moves("cut-site", &["--fence", "ladder"]);
}

/// Goal: without its entry a site keeps its database and loses its web clients, who are served by the other
/// one, and come back.
#[test]
fn a_killed_entry_moves_web_clients_and_nothing_else() {
    let run = run_of(&demo("kill-entry", &[]), "kill-entry");
    assert_eq!(run["epoch_after"], run["epoch_before"], "{run:#}");
    assert_eq!(run["active_site_after"], run["active_site"], "{run:#}");
    assert!(run["web_requests"].as_u64() > run["web_failures"].as_u64(), "{run:#}");
    assert!(run["web_failures"].as_u64() > Some(0), "a killed entry is noticed: {run:#}");
    for field in ["web_outage_ms", "web_move_ms", "web_return_ms"] {
        assert!(run[field].as_f64() > Some(0.0), "{field} of {run:#}");
    }
}

#[test]
fn a_killed_leader_moves_nothing() {
    stays("kill-leader");
}

#[test]
fn a_lost_witness_moves_nothing() {
    stays("lose-witness");
}

#[test]
fn a_cut_between_the_data_sites_moves_nothing() {
    stays("cut-link");
}
