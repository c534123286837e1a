//! `clf`: for bots.

use std::process::ExitCode;

fn main() -> ExitCode {
    cattle_cli::clf(std::env::args_os())
}
