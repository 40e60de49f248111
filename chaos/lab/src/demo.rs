//! `lab demo`: lab, load, fault, measurement, report; run after run.
//!
//! ```text
//!  Sync ─► load ─► steady ─► fault ─► observed ─► healed ─► Sync again ─► load ends ─► audit ─► judged
//! ```
//!
//! Runs are consecutive and none is discarded: a run that goes wrong is reported as failed, and the
//! next one begins when the group is in `Sync` again, or not at all. With `--resume` only those are made
//! that the report's file lacks. A lab that a person brought up is left alone.

mod aim;
mod evidence;
mod judge;
mod promotion;
mod record;
mod report_file;
mod run;
mod watch;
mod web;

use std::collections::BTreeSet;

use anyhow::Context;

use crate::audit;
use crate::cli::{DemoArgs, Exit, Fault, Fence, Shape};
use crate::faults;
use crate::interrupt::{Interrupt, Interrupted};
use crate::layout::Lab;
use crate::lifecycle::{self, LabLock};
use crate::measure::{self, RowKey};
use crate::ready;
use crate::report::{Report, Run};
use crate::spec::{LabSpec, Maker};
use crate::supervisor;
use crate::up::{self, Progress, Wanted};

pub use record::RecordError;
use record::{Conditions, Record};
pub use report_file::NoReportFile;
use report_file::ReportFile;

/// How the numbers are to be read; printed into every report.
const NOTES: [&str; 4] = [
    "each fault strikes the site that is active at that moment, so runs that move the group go to and fro",
    "dns_flip_ms is when the last DNS server that the fault left reachable answered the new primary",
    "clients inside a struck site are instruments and live on; they share its cut",
    "dns_failures counts queries to dead servers too; dns_failures_reachable does not",
];

/// What is different without gates.
const LADDER_NOTE: &str =
    "the database hosts have no gate (--fence ladder): W is longer by the ladder's second";

/// What is different with two database servers a site.
const SERVERS_NOTE: &str = "each data site has two database servers: a fault of the primary's host or database alone moves the \
     group to its site's other server, and rejoin_ms ends when every server has its part again";

/// A lab that a person brought up, and may be at work in.
#[derive(Debug, thiserror::Error)]
#[error("lab {dir} is up and no demo made it; `twofold lab down` first, or choose another --dir")]
pub struct LabInUse {
    dir: String,
}

/// Where the report goes.
enum Output {
    /// Nowhere but to the terminal.
    Terminal,
    /// To a file, at the end.
    Once(ReportFile),
    /// To a file that is gone on with, after each run.
    Each(Record),
}

impl Output {
    fn open(args: &DemoArgs) -> anyhow::Result<Output> {
        Ok(match &args.json {
            None => Output::Terminal,
            Some(path) if args.resume => Output::Each(Record::open(path, Conditions::of(args))?),
            Some(path) => Output::Once(ReportFile::open(path)?),
        })
    }

    /// What earlier sittings made.
    fn earlier(&self) -> Option<&Report> {
        match self {
            Output::Each(record) => record.earlier(),
            Output::Terminal | Output::Once(_) => None,
        }
    }

    fn after_a_run(&self, report: &Report) -> anyhow::Result<()> {
        match self {
            Output::Each(record) => record.write(report),
            Output::Terminal | Output::Once(_) => Ok(()),
        }
    }

    fn at_the_end(self, report: &Report) -> anyhow::Result<()> {
        match self {
            Output::Terminal => Ok(()),
            Output::Once(file) => file.write(report),
            Output::Each(record) => record.write(report),
        }
    }
}

/// What came of the runs of one command.
struct Sitting {
    /// With the runs of earlier ones.
    report: Report,
    /// The number of its first run.
    first: u32,
}

impl Sitting {
    /// Whether each of its own runs passed.
    fn passed(&self) -> bool {
        self.report.runs.iter().filter(|r| r.run >= self.first).all(Run::passed)
    }
}

/// `lab demo`.
///
/// # Errors
/// [`LabInUse`], [`NoReportFile`], [`RecordError`]; when the lab cannot be brought up or a run cannot be made.
pub fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    let lab = Lab::at(&args.lab.dir);
    up::check(&lab)?;
    let output = Output::open(args)?;
    let progress = Progress::new();
    let made = output.earlier().map_or(&[][..], |report| &report.runs);
    let wanted = record::missing(&args.faults, args.runs, made);
    if let (Some(report), []) = (output.earlier(), &wanted[..]) {
        progress.say(&format!("nothing is missing: the file has {} run(s)", report.runs.len()));
        return Ok(verdict(report));
    }
    let interrupt = Interrupt::watch()?;
    let lock = lifecycle::lock(&lab)?;
    leave_alone_what_is_in_use(&lab)?;
    let ground = up::gather(&made_of(args, output.earlier()), &interrupt, &progress)?;
    up::clear(&lab, &lock, &progress)?;
    let outcome = up::make(&lab, &ground, &lock, &interrupt, &progress).and_then(|spec| {
        ready::wait(&lab, &spec, &interrupt, &progress)?;
        let report = begin(&spec, args, output.earlier());
        let (spec, output, interrupt, progress) = (&spec, &output, &interrupt, &progress);
        Runs { lab: &lab, spec, args, output, interrupt, progress }.make(&wanted, report)
    });
    end(&lab, &lock, args, &progress, &outcome)?;
    let report = outcome?.report;
    output.at_the_end(&report)?;
    Ok(verdict(&report))
}

/// Prints the table; the exit is the report's.
fn verdict(report: &Report) -> Exit {
    print!("{}", report.table());
    if report.passed() { Exit::Done } else { Exit::Failed }
}

/// The lab that the runs are made in.
fn made_of<'a>(args: &'a DemoArgs, earlier: Option<&Report>) -> Wanted<'a> {
    Wanted {
        // All runs of a report are of one flavour, also where the first sitting fell back to it.
        flavour: args.flavour.or(earlier.map(|report| report.flavour)),
        fence: args.fence,
        shape: Shape::Witness,
        servers: args.servers,
        equipment: faults::needs(&args.faults),
        maker: Maker::Demo,
        twofold: args.twofold.as_deref(),
    }
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
    outcome: &anyhow::Result<Sitting>,
) -> anyhow::Result<()> {
    if args.keep {
        progress.say(&format!("the lab stays up in {0}, logs in {0}/log", lab.dir().display()));
        progress.say("`twofold lab down` takes it away, and so does the next demo there");
        return Ok(());
    }
    if !outcome.as_ref().is_ok_and(Sitting::passed) {
        match evidence::keep(lab, outcome.as_ref().ok().map(|sitting| &sitting.report)) {
            Ok(None) => {}
            Ok(Some(folder)) => progress.say(&format!("logs and report stay in {}", folder.display())),
            // The lab goes all the same: a demo leaves no processes behind.
            Err(e) => progress.say(&format!("the logs could not be kept: {e:#}")),
        }
    }
    progress.say("taking the lab away");
    lifecycle::tear_down(lab, lock).context("taking the lab away")
}

/// The report that this sitting's runs come into.
fn begin(spec: &LabSpec, args: &DemoArgs, earlier: Option<&Report>) -> Report {
    let mut notes = earlier.map_or_else(Vec::new, |report| report.notes.clone());
    let ladder = (args.fence == Fence::Ladder).then_some(LADDER_NOTE);
    let two = (args.servers > 1).then_some(SERVERS_NOTE);
    let resumed = earlier.map(|_| record::NOTE);
    for note in NOTES.into_iter().chain(ladder).chain(two).chain(resumed) {
        if !notes.iter().any(|n| n == note) {
            notes.push(note.to_owned());
        }
    }
    Report {
        fault: record::fault_names(earlier, &args.faults),
        flavour: spec.flavour,
        fallback: earlier.and_then(|report| report.fallback.clone()).or_else(|| spec.fallback.clone()),
        fence: Some(args.fence),
        servers: args.servers,
        writers: Some(args.writers),
        runs: earlier.map_or_else(Vec::new, |report| report.runs.clone()),
        notes,
    }
}

/// The runs of one command, one after the other.
struct Runs<'a> {
    lab: &'a Lab,
    spec: &'a LabSpec,
    args: &'a DemoArgs,
    output: &'a Output,
    interrupt: &'a Interrupt,
    progress: &'a Progress,
}

impl Runs<'_> {
    /// Makes those that are wanted, and audits them all at the end.
    fn make(&self, wanted: &[Fault], mut report: Report) -> anyhow::Result<Sitting> {
        let first = record::next_number(&report.runs);
        let mut acked: Vec<(u32, BTreeSet<RowKey>)> = Vec::new();
        for (number, (index, fault)) in (first..).zip(wanted.iter().copied().enumerate()) {
            let of = wanted.len();
            self.progress.say(&format!("run {number} ({} of {of}): {}", index + 1, fault.name()));
            let made = run::one(self.lab, self.spec, self.args, fault, number, self.interrupt, self.progress);
            let (run, rows) = match made {
                Ok(made) => made,
                // Leaves a report of what was made until then; the lab is not in a state for more.
                Err(e) if !e.is::<Interrupted>() => {
                    report.runs.push(run::broken(number, fault, &e));
                    break;
                }
                Err(e) => return Err(e),
            };
            self.progress.say(&run::line(&run));
            acked.push((number, rows));
            let quarantined = run.quarantined.clone();
            report.runs.push(run);
            self.output.after_a_run(&report)?;
            if let (Some(what), Some(next)) = (quarantined, wanted.get(index + 1)) {
                let none = anyhow::anyhow!("it cannot begin: a server waits in quarantine, {what}");
                report.runs.push(run::broken(number + 1, *next, &none));
                break;
            }
        }
        audit_all(self.lab, &acked, &mut report);
        // Once more, with what the last audit found, before the lab is taken away.
        self.output.after_a_run(&report)?;
        Ok(Sitting { report, first })
    }
}

/// A later failover could lose what an earlier run had: all runs again, on the last primary.
fn audit_all(lab: &Lab, acked: &[(u32, BTreeSet<RowKey>)], report: &mut Report) {
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
