//! `lab demo`: lab, load, fault, measurement, report; run after run.
//!
//! ```text
//!  Sync ─► load ─► steady ─► fault ─► observed ─► healed ─► Sync again ─► load ends ─► audit ─► judged
//! ```
//!
//! Runs are consecutive and none is discarded: a run that goes wrong is reported as failed, and the
//! next one begins when the group is in `Sync` again, or not at all.

mod judge;
mod run;
mod watch;

use anyhow::Context;

use crate::audit;
use crate::cli::{DemoArgs, Exit};
use crate::interrupt::{Interrupt, Interrupted};
use crate::layout::Lab;
use crate::lifecycle::{self, LabLock};
use crate::measure::{self, RowKey};
use crate::report::Report;
use crate::spec::LabSpec;
use crate::up::{self, Progress};

/// How the numbers are to be read; printed into every report.
const NOTES: [&str; 4] = [
    "each fault strikes the site that is active at that moment, so runs that move the group go to and fro",
    "dns_flip_ms is when the last DNS server that the fault left reachable answered the new site",
    "clients inside a struck site are instruments and live on; they share its cut",
    "dns_failures counts queries to dead servers too; dns_failures_reachable does not",
];

/// `lab demo`.
///
/// # Errors
/// When the lab cannot be brought up or a run cannot be made.
pub fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    let lab = Lab::at(&args.lab.dir);
    let interrupt = Interrupt::watch()?;
    let progress = Progress::new();
    let lock = lifecycle::lock(&lab)?;
    let twofold = up::twofold_binary(args.twofold.as_deref())?;
    let outcome = up::raise(&lab, args.flavour, &twofold, &lock, &interrupt, &progress)
        .and_then(|spec| all_runs(&lab, &spec, args, &interrupt, &progress));
    end(&lab, &lock, args, &progress, outcome.is_err())?;
    let report = outcome?;
    print!("{}", report.table());
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report).expect("a report is plain data");
        std::fs::write(path, text + "\n").with_context(|| format!("report {path:?}"))?;
    }
    Ok(if report.passed() { Exit::Done } else { Exit::Failed })
}

/// Takes the lab away unless it is to be kept, or is needed to see what went wrong.
fn end(lab: &Lab, lock: &LabLock, args: &DemoArgs, progress: &Progress, broken: bool) -> anyhow::Result<()> {
    if args.keep {
        progress.say(&format!("the lab stays up in {}; `lab down` takes it away", lab.dir().display()));
        return Ok(());
    }
    if broken && lab.log_dir().exists() {
        progress.say(&format!("the last logs are in {}", lab.log_dir().display()));
        keep_logs(lab, progress);
    }
    progress.say("taking the lab away");
    lifecycle::tear_down(lab, lock).context("taking the lab away")
}

/// Saves the logs of a demo that broke before its lab goes.
fn keep_logs(lab: &Lab, progress: &Progress) {
    let to = std::env::temp_dir().join(format!("twofold-lab-{}-logs", lab.id()));
    let copied = std::process::Command::new("cp").arg("-aT").arg(lab.log_dir()).arg(&to).status();
    if copied.is_ok_and(|s| s.success()) {
        progress.say(&format!("a copy of them stays in {}", to.display()));
    }
}

fn all_runs(
    lab: &Lab,
    spec: &LabSpec,
    args: &DemoArgs,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<Report> {
    let mut report = Report {
        fault: args.fault,
        flavour: args.flavour,
        runs: Vec::new(),
        notes: NOTES.map(str::to_owned).to_vec(),
    };
    let mut acked: Vec<(u32, std::collections::BTreeSet<RowKey>)> = Vec::new();
    for number in 1..=args.runs {
        progress.say(&format!("run {number} of {}", args.runs));
        let made = run::one(lab, spec, args.fault, number, interrupt, progress);
        let (run, rows) = match made {
            Ok(made) => made,
            // Leaves a report of what was made until then; the lab is not in a state for more.
            Err(e) if !e.is::<Interrupted>() => {
                report.runs.push(run::broken(number, &e));
                break;
            }
            Err(e) => return Err(e),
        };
        progress.say(&run::line(&run));
        acked.push((number, rows));
        report.runs.push(run);
    }
    audit_all(lab, &acked, &mut report);
    Ok(report)
}

/// A later failover could lose what an earlier run had: all runs again, on the last primary.
fn audit_all(lab: &Lab, acked: &[(u32, std::collections::BTreeSet<RowKey>)], report: &mut Report) {
    for (number, rows) in acked {
        let Some(run) = report.runs.iter_mut().find(|r| r.run == *number) else { continue };
        match audit::rows_on_primary(lab, *number) {
            Ok(there) => {
                let lost = measure::lost(rows, &there).len() as u64;
                if lost > run.lost_acked_writes.unwrap_or(0) {
                    run.lost_acked_writes = Some(lost);
                    run.failures
                        .push(format!("{lost} acknowledged writes are not on the last run's primary"));
                }
            }
            Err(e) => run.failures.push(format!("the last audit could not be made: {e:#}")),
        }
    }
}
