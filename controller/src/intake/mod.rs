//! From files to desired state: watch, scan, read.
//!
//! ```text
//! watch.rs    says that something changed, and which files are complete; carries no content
//! scan.rs     walks the spec directories and keeps what it read of every file
//! entry.rs    one spec file: parsed, and completed with fleet, persona and task file
//! tracked.rs  one file on disk: taken when it is complete, never half-written
//! project.rs  personas, and where task files are
//! beneath.rs  reading a regular file beneath a directory, and nothing outside it
//! socket_specs.rs   the directory that the socket writes
//! ```
//!
//! Invariants: a file that cannot be read or understood is [`Broken`], never absent; a directory
//! that cannot be read loses nothing; no path that others chose leads out of its root.
//!
//! [`Broken`]: cattle_core::desired::SpecState::Broken

pub mod beneath;
mod entry;
pub mod project;
pub mod scan;
pub mod socket_specs;
#[cfg(test)]
mod tests;
mod tracked;
pub mod watch;

pub use project::Project;
pub use scan::{Scanned, Scanner};
pub use socket_specs::SocketSpecs;
pub use tracked::Settled;
pub use watch::Watcher;
