//! `twofold`: one binary. This file is the command line; each command is one call into its module.
//!
//! `serve`, `guard`, `check`, `cert`, `lab` and `sim` are doors to their crates; `status`, `explain`
//! and `failover` speak the HTTP API and nothing else. Exit codes (DESIGN §7): 0 done, 1 failed,
//! 2 usage or bad input, 3 refused by a rule, 4 no quorum.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod audit;
mod audit_segments;
mod caller;
mod cli;
mod clock;
mod daemon;
mod generation_file;
mod guard;
mod links;
mod outage;
mod supervised;
mod wire;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Everything that speaks TLS uses ring; whoever builds a client finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = cli::Cli::parse();
    ExitCode::from(cli::run(cli))
}
