//! Checks the model of the authority protocol, sound or with a rule taken out.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use chaos_model::{Bounds, Finding, Invariant, Limits, Mutant, Protocol, check};
use clap::{Parser, ValueEnum};

/// How far to go.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum BoundsName {
    /// What the tests go through.
    Small,
    /// For the record.
    Large,
}

/// Looks at every reachable state of the authority protocol, within bounds.
#[derive(Parser)]
struct Arguments {
    /// How far to go.
    #[arg(long, default_value = "small")]
    bounds: BoundsName,
    /// Takes a rule out; `--mutants` lists them. May be given more than once.
    #[arg(long, value_name = "NAME", value_parser = mutant)]
    mutant: Vec<Mutant>,
    /// Does not look at this invariant, to see which others stand behind it; may be given more than once.
    #[arg(long, value_name = "INVARIANT", value_parser = invariant)]
    unseen: Vec<Invariant>,
    /// Lists the rules that can be taken out.
    #[arg(long)]
    mutants: bool,
    /// Other bounds than those: epochs.
    #[arg(long)]
    epochs: Option<u8>,
    /// Transactions of clients.
    #[arg(long)]
    transactions: Option<u8>,
    /// Armings of semi-sync.
    #[arg(long)]
    armings: Option<u8>,
    /// Faults of all kinds together.
    #[arg(long)]
    faults: Option<u8>,
    /// Threads; with one, what is found broken is shown by a shortest way to it.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Stops after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    time_max: Option<u64>,
}

fn mutant(name: &str) -> Result<Mutant, String> {
    let found = Mutant::ALL.into_iter().find(|m| m.name() == name);
    found.ok_or_else(|| format!("there is no mutant {name:?}; --mutants lists them"))
}

fn invariant(name: &str) -> Result<Invariant, String> {
    let found = Invariant::ALL.into_iter().find(|i| i.name() == name);
    found.ok_or_else(|| format!("there is no invariant {name:?}"))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.mutants {
        for mutant in Mutant::ALL {
            println!("{mutant}");
        }
        return ExitCode::SUCCESS;
    }
    let bounds = match arguments.bounds {
        BoundsName::Small => Bounds::SMALL,
        BoundsName::Large => Bounds::LARGE,
    };
    let bounds = Bounds {
        epochs: arguments.epochs.unwrap_or(bounds.epochs),
        transactions: arguments.transactions.unwrap_or(bounds.transactions),
        armings: arguments.armings.unwrap_or(bounds.armings),
        faults: arguments.faults.unwrap_or(bounds.faults),
    };
    let limits = Limits {
        threads: arguments.threads,
        generated_max: None,
        time_max: arguments.time_max.map(Duration::from_secs),
    };
    let mut protocol = Protocol::new(bounds, &arguments.mutant);
    protocol.unseen = arguments.unseen;
    println!("bounds  {bounds:?}");
    let finding = check(protocol, &limits);
    print(&finding);
    if finding.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(finding: &Finding) {
    println!("states  {} ({} generated)", finding.states, finding.generated);
    println!("depth   {}", finding.depth);
    println!("seconds {:.1}", finding.took.as_secs_f64());
    for sight in &finding.unseen {
        println!("unseen  {}", sight.name());
    }
    let verdict = match (finding.broken.is_empty(), finding.whole) {
        (false, _) => "broken",
        (true, true) => "holds within these bounds",
        (true, false) => "holds as far as it was looked at",
    };
    println!("verdict {verdict}");
    for broken in &finding.broken {
        println!("\n{} is broken by these steps:", broken.invariant);
        for (number, action) in broken.actions.iter().enumerate() {
            println!("{:4}. {action}", number + 1);
        }
    }
}
