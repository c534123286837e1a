//! `clawdlets` and `clf`: what people and bots type.
//!
//! Both only speak to the controller's socket (and, for `init`, `validate` and `persona`, look at
//! files). Absent on purpose: cloud tokens, decisions about what is to be done (the controller's),
//! and rules for spec files (`cattle_core::spec`, the same code that the controller runs).
//!
//! ```text
//! app -> cattle/*, jobs/*, init -> client -> socket
//!                  |                  |
//!                  v                  v
//!                output            Failure -> report, exit code
//! ```

mod app;
mod beneath;
mod cattle;
mod client;
mod context;
mod exit;
mod init;
mod jobs;
mod output;
mod owner;
mod present;
mod project;
mod report;
mod scaffold;
mod socket_path;
mod spec_files;
mod target;
mod wait;

pub use app::{clawdlets, clf};
