//! `twofold sim`: runs seeds, tells what broke, and how to see it again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::{Args, ValueEnum};
use model::Flavour;
use serde::Serialize;

use crate::{Kind, MINUTES, Options, Outcome, Replay, Sites, run};

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// `twofold sim …`.
#[derive(Debug, Clone, Args)]
pub struct SimCommand {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Run what this file holds instead, with the whole event log.
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Simulated minutes of each seed, healing included.
    #[arg(long, default_value_t = MINUTES, value_parser = clap::value_parser!(u64).range(3..))]
    pub minutes: u64,
    /// Two sites without a witness: manual mode, with a person in it. Takes four minutes or more.
    #[arg(long)]
    pub two_sites: bool,
    /// Draw from these kinds of faults only.
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with = "calm")]
    pub faults: Vec<Kind>,
    /// Whose the database servers are: `mysql`, or `mariadb` with one server a site.
    #[arg(long, default_value = "mysql", value_parser = flavour)]
    pub flavour: Flavour,
    /// Without faults.
    #[arg(long)]
    pub calm: bool,
    /// End each seed once everything has come together behind healing: with `--minutes 3`, many short storms.
    #[arg(long, conflicts_with = "calm")]
    pub until_settled: bool,
    /// Threads, 1 to 1024; each runs whole seeds.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: u16,
    /// Where the event log and the replay of a failing seed go.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub keep: PathBuf,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Form,
}

fn flavour(text: &str) -> Result<Flavour, String> {
    match text {
        "mysql" => Ok(Flavour::Mysql),
        "mariadb" => Ok(Flavour::Mariadb),
        other => Err(format!("{other:?} is neither mysql nor mariadb")),
    }
}

/// What came out of all seeds.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Seeds run.
    pub seeds: u64,
    /// Simulated seconds in all.
    pub simulated_seconds: u64,
    /// Faults in all.
    pub faults: u64,
    /// Failovers in all.
    pub failovers: u64,
    /// Seeds with at least one failover.
    pub seeds_with_failover: u64,
    /// Events handled.
    pub events: u64,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Acknowledged in `Async`, given up by a failover on record.
    pub given_up: u64,
    /// How often what happened, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// What broke.
    pub violations: Vec<Broken>,
    /// Real milliseconds.
    pub took_ms: u64,
}

/// A seed that broke something.
#[derive(Debug, Clone, Serialize)]
pub struct Broken {
    /// The seed.
    pub seed: u64,
    /// The invariant.
    pub invariant: String,
    /// True time of the run, microseconds.
    pub at_us: u64,
    /// What was seen.
    pub text: String,
    /// The command that shows it again.
    pub replay: String,
    /// Where its event log is.
    pub log: String,
}

/// Runs `seeds` seeds from `first` on `threads` threads, and gives every outcome to `each`.
pub fn run_seeds(first: u64, seeds: u64, threads: usize, options: &Options, each: impl Fn(Outcome) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let offset = next.fetch_add(1, Ordering::Relaxed);
                    if offset >= seeds {
                        return;
                    }
                    let named = Named(first + offset, options);
                    each(run(named.0, options));
                }
            });
        }
    });
}

/// Says which seed it was when a run panics: the cores assert what must be true.
struct Named<'a>(u64, &'a Options);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} panicked; again: {}", self.0, self.1.again(self.0));
        }
    }
}

/// What each run is told, where no file says it.
fn asked(command: &SimCommand) -> Options {
    Options {
        minutes: command.minutes,
        sites: if command.two_sites { Sites::Two } else { Sites::WithWitness },
        faults: command.faults.iter().copied().collect(),
        servers: (command.flavour == Flavour::Mariadb).then_some(2),
        flavour: command.flavour,
        calm: command.calm,
        until_settled: command.until_settled,
        ..Options::default()
    }
}

/// Does what was asked; the exit code: 0 no violation, 1 a violation, 2 a bad file, or too few minutes for any fault.
#[must_use]
pub fn run_command(command: &SimCommand) -> u8 {
    let (first, seeds, options) = match &command.replay {
        None => (command.seed, command.seeds, asked(command)),
        Some(path) => match Replay::read(path) {
            Ok(replay) => (replay.seed, 1, replay.options()),
            Err(error) => {
                eprintln!("{error}");
                return 2;
            }
        },
    };
    if !options.has_room() {
        eprintln!(
            "two sites need four minutes: a person heals them, and with less no fault would come before that: --minutes 4"
        );
        return 2;
    }
    let began = Instant::now();
    let outcomes = std::sync::Mutex::new(Vec::new());
    run_seeds(first, seeds, usize::from(command.threads), &options, |mut outcome| {
        if outcome.violation.is_none() && command.replay.is_none() {
            outcome.log = Vec::new();
        }
        outcomes.lock().expect("no thread panics while it holds this").push(outcome);
    });
    let mut outcomes = outcomes.into_inner().expect("all threads ended well");
    outcomes.sort_by_key(|o| o.seed);
    let mut summary = summarize(&outcomes);
    summary.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    for outcome in &outcomes {
        if command.replay.is_some() && command.output == Form::Text {
            for line in &outcome.log {
                println!("{line}");
            }
        }
        if outcome.violation.is_some() {
            summary.violations.push(keep(command, &options, outcome));
        }
    }
    print(command, &summary);
    u8::from(!summary.violations.is_empty())
}

fn summarize(outcomes: &[Outcome]) -> Summary {
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let mut counts = BTreeMap::new();
    for (name, count) in outcomes.iter().flat_map(|o| &o.counts) {
        *counts.entry(*name).or_default() += count;
    }
    Summary {
        seeds: outcomes.len() as u64,
        simulated_seconds: sum(|o| o.simulated) / 1_000_000,
        faults: sum(|o| o.faults as u64),
        failovers: sum(|o| o.failovers),
        seeds_with_failover: sum(|o| u64::from(o.failovers > 0)),
        events: sum(|o| o.events),
        acknowledged: sum(|o| o.acknowledged),
        given_up: sum(|o| o.given_up),
        counts,
        violations: Vec::new(),
        took_ms: 0,
    }
}

/// Keeps the log and the replay of a failing seed.
fn keep(command: &SimCommand, options: &Options, outcome: &Outcome) -> Broken {
    let violation = outcome.violation.as_ref().expect("it is kept because of one");
    let replay = command.keep.join(format!("sim-seed-{}.json", outcome.seed));
    let log = command.keep.join(format!("sim-seed-{}.log", outcome.seed));
    let kept = Replay::of(outcome.seed, options).write(&replay).and_then(|()| {
        let name = log.display().to_string();
        std::fs::write(&log, outcome.log.join("\n")).map_err(|e| crate::ReplayError::Io(name, e))
    });
    if let Err(error) = kept {
        eprintln!("{error}");
    }
    Broken {
        seed: outcome.seed,
        invariant: format!("{:?}", violation.invariant),
        at_us: violation.at,
        text: violation.text.clone(),
        replay: format!("twofold sim --replay {}", replay.display()),
        log: log.display().to_string(),
    }
}

fn print(command: &SimCommand, summary: &Summary) {
    if command.output == Form::Json {
        println!("{}", serde_json::to_string_pretty(summary).expect("a summary is representable"));
        return;
    }
    println!(
        "{} seeds, {} s simulated, {} faults, {} failovers in {} seeds, {} writes acknowledged, {} given up in \
         async, {} events, {} ms",
        summary.seeds,
        summary.simulated_seconds,
        summary.faults,
        summary.failovers,
        summary.seeds_with_failover,
        summary.acknowledged,
        summary.given_up,
        summary.events,
        summary.took_ms
    );
    let counts: Vec<String> = summary.counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!("{}", counts.join(", "));
    println!("{} violations", summary.violations.len());
    for broken in &summary.violations {
        println!("  seed {}: {} at {} µs: {}", broken.seed, broken.invariant, broken.at_us, broken.text);
        println!("    again: {}    log: {}", broken.replay, broken.log);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        command: SimCommand,
    }

    /// Goal: what a failing seed tells to type is that very run.
    #[test]
    fn the_command_that_is_told_asks_for_the_same_run() {
        let storm = Options { minutes: 3, until_settled: true, ..Options::default() };
        let two = Options { sites: Sites::Two, calm: true, ..Options::default() };
        let mariadb = Options { flavour: Flavour::Mariadb, servers: Some(2), ..Options::default() };
        let few = Options { faults: [Kind::AckLost, Kind::Cut].into(), ..Options::default() };
        for options in [Options::default(), storm, two, mariadb, few] {
            let again = options.again(7);
            let words = again.strip_prefix("twofold ").unwrap().split(' ');
            let typed = Typed::parse_from(words).command;
            assert_eq!((typed.seed, typed.seeds, asked(&typed)), (7, 1, options), "{again}");
        }
    }
}
