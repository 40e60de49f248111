//! The demo as an oracle: run over a naive failover tool (mutants/naive_failover.rs) it must show
//! what that tool loses, and find nothing where nothing goes wrong.
//!
//! Needs root and MySQL's packages, as the lab does. Run with --test-threads=1.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use chaos_lab::layout::Lab;
use chaos_lab::report::Report;
use chaos_lab::{cgroup, net};

/// Runs the demo to its end and gives its exit code and its report; nothing of its lab may be left.
fn demo(fault: &str) -> (i32, Report) {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("report.json");
    let lab = Lab::at(&dir.path().join("lab"));
    let temporary = dir.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_chaos-lab"))
        .args(["lab", "demo", "--fault", fault, "--dir"])
        .arg(lab.dir())
        .arg("--twofold")
        .arg(env!("CARGO_BIN_EXE_lab-naive-failover"))
        .arg("--json")
        .arg(&json)
        .env("TMPDIR", &temporary)
        .status()
        .unwrap();
    assert!(net::existing(&lab).unwrap().is_empty(), "namespaces are left");
    assert!(cgroup::folder(&lab.cgroup_name()).is_none_or(|g| !g.exists()), "a control group is left");
    assert!(!lab.dir().exists() && !lab.lock_file().exists(), "files are left");
    let report: Report = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let evidence = temporary.join(format!("twofold-lab-{}-failed", lab.id()));
    assert_eq!(evidence.exists(), !report.passed(), "evidence stays of what failed, and of nothing else");
    for name in ["log/pdc-db.mysqld.log", "supervisor.log", "hosts/pdc-db/error.log", "report.json"] {
        assert!(report.passed() || evidence.join(name).exists(), "{name} was not kept");
    }
    (status.code().unwrap(), report)
}

/// Goal: split brain and lost writes do not escape the demo. Method: the site is cut, its own
/// clients go on writing into a database that nobody fences, and the other side has no replica.
#[test]
fn the_demo_shows_the_split_brain_and_the_losses_of_a_naive_tool() {
    let (code, report) = demo("cut-site");
    let run = &report.runs[0];
    assert_eq!(code, 1, "{}", report.table());
    assert!(run.lost_acked_writes.unwrap() > 0, "{:?}", run.failures);
    assert!(run.dual_writable_ms.unwrap() > 0.0, "{:?}", run.failures);
    assert!(run.epoch_after > run.epoch_before);
    // Such a tool may wander back before the end; then no server answers "the other site" at last.
    assert!(run.db_write_gap_ms.is_some());
    assert!(
        run.timeline.iter().any(|m| m.source == "clients") && run.timeline.iter().any(|m| m.source == "dns")
    );
}

/// Goal: the demo finds no fault where there is none.
#[test]
fn the_demo_holds_only_the_missing_standby_against_a_fault_that_touches_nobody() {
    let (code, report) = demo("lose-witness");
    let run = &report.runs[0];
    // What the naive tool cannot have is a standby with the same rows.
    let failures: Vec<_> = run.failures.iter().filter(|f| !f.contains("standby")).collect();
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(code, 1, "the missing standby is held against it");
    assert_eq!((run.lost_acked_writes, run.dual_writable_ms), (Some(0), Some(0.0)));
    assert!(run.acked_writes > 500 && run.dns_queries > 500);
    // A naive tool may have wandered off before the load began, on a busy machine; in the run it stays.
    assert_eq!(run.active_site_after.as_deref(), Some(run.active_site.as_str()));
}
