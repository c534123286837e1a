//! `clf-cattle`: the guest's program. Everything is in the library, because the controller's demo
//! runs the same guest from its own binary.

use std::process::ExitCode;

use clap::Parser;

/// Runs one clawdlets task inside an ephemeral VM, and hands back its result.
#[derive(Parser)]
#[command(name = "clf-cattle", version)]
struct Program {
    #[command(flatten)]
    cli: cattle_guest::cli::Cli,
}

fn main() -> ExitCode {
    cattle_guest::cli::run(Program::parse().cli)
}
