//! The simulator alone, for work on it without building the whole of `twofold`.

use std::process::ExitCode;

use chaos_sim::cli::{SimCommand, run_command};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Deterministic simulation of a twofold cluster")]
struct Arguments {
    #[command(flatten)]
    command: SimCommand,
}

fn main() -> ExitCode {
    ExitCode::from(run_command(&Arguments::parse().command))
}
