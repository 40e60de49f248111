//! The lab's commands as a program of their own: `chaos-lab lab up --twofold PATH`.
//!
//! `twofold lab …` is the operators' door to the same code. This one lets the lab's own tests run
//! its hidden commands (hub, supervisor, clients) without linking the daemon.

#![deny(unsafe_code)]

use std::process::ExitCode;

use chaos_lab::cli::LabCommand;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "chaos-lab", about = "two datacentres and a witness on this machine")]
struct Cli {
    #[command(subcommand)]
    door: Door,
}

#[derive(Subcommand)]
enum Door {
    /// Two datacentres and a witness on this machine.
    #[command(subcommand)]
    Lab(LabCommand),
}

fn main() -> ExitCode {
    let Door::Lab(command) = Cli::parse().door;
    ExitCode::from(chaos_lab::cli::run(command))
}
