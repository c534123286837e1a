//! What the end-to-end tests share: a project on disk, the simulator and the controller as real
//! processes, the CLI, and waiting for something with a deadline.
//!
//! A panic here is a failed test, so everything unwraps.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

mod controller;
mod process;
mod project;
mod sim;
mod socket;

pub use controller::{Controller, files_beneath};
pub use process::{Ran, binary, cli, command, eventually, eventually_within};
pub use project::{MODEL_KEY, Project, SSH_KEY};
pub use sim::{Sim, SimOptions, TOKEN};
