//! `clawdlets`: for operators.

use std::process::ExitCode;

fn main() -> ExitCode {
    cattle_cli::clawdlets(std::env::args_os())
}
