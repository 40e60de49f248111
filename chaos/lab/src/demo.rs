//! `lab demo`: lab, load, fault, measurement, report; run after run.
//!
//! ```text
//!  Sync ─► load ─► steady ─► fault ─► observed ─► healed ─► Sync again ─► load ends ─► audit ─► judged
//! ```
//!
//! Runs are consecutive and none is discarded: a run that goes wrong is reported as failed, and the
//! next one begins when the group is in `Sync` again, or not at all. A lab that a person brought up is
//! left alone.

mod evidence;
mod judge;
mod report_file;
mod run;
mod watch;
mod web;

use anyhow::Context;

use crate::audit;
use crate::cli::{DemoArgs, Exit, Fence, Shape};
use crate::faults;
use crate::interrupt::{Interrupt, Interrupted};
use crate::layout::Lab;
use crate::lifecycle::{self, LabLock};
use crate::measure::{self, RowKey};
use crate::ready;
use crate::report::Report;
use crate::spec::{LabSpec, Maker};
use crate::supervisor;
use crate::up::{self, Progress, Wanted};

pub use report_file::NoReportFile;
use report_file::ReportFile;

/// How the numbers are to be read; printed into every report.
const NOTES: [&str; 4] = [
    "each fault strikes the site that is active at that moment, so runs that move the group go to and fro",
    "dns_flip_ms is when the last DNS server that the fault left reachable answered the new site",
    "clients inside a struck site are instruments and live on; they share its cut",
    "dns_failures counts queries to dead servers too; dns_failures_reachable does not",
];

/// What is different without gates.
const LADDER_NOTE: &str =
    "the database hosts have no gate (--fence ladder): W is longer by the ladder's second";

/// A lab that a person brought up, and may be at work in.
#[derive(Debug, thiserror::Error)]
#[error("lab {dir} is up and no demo made it; `twofold lab down` first, or choose another --dir")]
pub struct LabInUse {
    dir: String,
}

/// `lab demo`.
///
/// # Errors
/// [`LabInUse`], [`NoReportFile`]; when the lab cannot be brought up or a run cannot be made.
pub fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    let lab = Lab::at(&args.lab.dir);
    up::check(&lab)?;
    let report_file = args.json.as_deref().map(ReportFile::open).transpose()?;
    let interrupt = Interrupt::watch()?;
    let progress = Progress::new();
    let lock = lifecycle::lock(&lab)?;
    leave_alone_what_is_in_use(&lab)?;
    let wanted = Wanted {
        flavour: args.flavour,
        fence: args.fence,
        shape: Shape::Witness,
        equipment: faults::needs(&args.faults),
        maker: Maker::Demo,
        twofold: args.twofold.as_deref(),
    };
    let ground = up::gather(&wanted, &interrupt, &progress)?;
    up::clear(&lab, &lock, &progress)?;
    let outcome = up::make(&lab, &ground, &lock, &interrupt, &progress).and_then(|spec| {
        ready::wait(&lab, &spec, &interrupt, &progress)?;
        all_runs(&lab, &spec, args, &interrupt, &progress)
    });
    end(&lab, &lock, args, &progress, &outcome)?;
    let report = outcome?;
    print!("{}", report.table());
    if let Some(file) = report_file {
        file.write(&report)?;
    }
    Ok(if report.passed() { Exit::Done } else { Exit::Failed })
}

/// Refuses to take away a lab that is up, unless a demo made it.
fn leave_alone_what_is_in_use(lab: &Lab) -> Result<(), LabInUse> {
    let by_demo = LabSpec::read(lab).is_ok_and(|spec| spec.maker == Maker::Demo);
    if !by_demo && supervisor::status(lab).is_ok() {
        return Err(LabInUse { dir: lab.dir().display().to_string() });
    }
    Ok(())
}

/// Takes the lab away unless it is to be kept; of a demo that did not pass, evidence stays.
fn end(
    lab: &Lab,
    lock: &LabLock,
    args: &DemoArgs,
    progress: &Progress,
    outcome: &anyhow::Result<Report>,
) -> anyhow::Result<()> {
    if args.keep {
        progress.say(&format!("the lab stays up in {0}, logs in {0}/log", lab.dir().display()));
        progress.say("`twofold lab down` takes it away, and so does the next demo there");
        return Ok(());
    }
    if !outcome.as_ref().is_ok_and(Report::passed) {
        match evidence::keep(lab, outcome.as_ref().ok()) {
            Ok(None) => {}
            Ok(Some(folder)) => progress.say(&format!("logs and report stay in {}", folder.display())),
            // The lab goes all the same: a demo leaves no processes behind.
            Err(e) => progress.say(&format!("the logs could not be kept: {e:#}")),
        }
    }
    progress.say("taking the lab away");
    lifecycle::tear_down(lab, lock).context("taking the lab away")
}

fn all_runs(
    lab: &Lab,
    spec: &LabSpec,
    args: &DemoArgs,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<Report> {
    let mut report = Report {
        fault: args.faults.iter().map(|f| f.name()).collect::<Vec<_>>().join(","),
        flavour: spec.flavour,
        fallback: spec.fallback.clone(),
        runs: Vec::new(),
        notes: NOTES.map(str::to_owned).to_vec(),
    };
    if args.fence == Fence::Ladder {
        report.notes.push(LADDER_NOTE.to_owned());
    }
    let mut acked: Vec<(u32, std::collections::BTreeSet<RowKey>)> = Vec::new();
    let all = args.faults.iter().cycle().take(args.faults.len() * args.runs as usize);
    let last = u32::try_from(all.clone().count()).expect("a thousand runs of some faults");
    for (number, fault) in (1..).zip(all.copied()) {
        progress.say(&format!("run {number} of {last}: {}", fault.name()));
        let made = run::one(lab, spec, args, fault, number, interrupt, progress);
        let (run, rows) = match made {
            Ok(made) => made,
            // Leaves a report of what was made until then; the lab is not in a state for more.
            Err(e) if !e.is::<Interrupted>() => {
                report.runs.push(run::broken(number, fault, &e));
                break;
            }
            Err(e) => return Err(e),
        };
        progress.say(&run::line(&run));
        acked.push((number, rows));
        let quarantined = run.quarantined.clone();
        report.runs.push(run);
        if let Some(what) = quarantined.filter(|_| number < last) {
            let none = anyhow::anyhow!("it cannot begin: a server waits in quarantine, {what}");
            report.runs.push(run::broken(number + 1, fault, &none));
            break;
        }
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
