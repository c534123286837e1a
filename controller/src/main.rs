//! `clf-orchestrator`: see the library of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    cattle_controller::program::main()
}
