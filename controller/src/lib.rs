//! `clf-orchestrator`: makes Hetzner agree with the spec files.
//!
//! Everything here is an effect around the core's decisions. A pass (see [`reconcile`]) reads the
//! spec files, the last list of servers and the ledger, plans, guards, records and acts.

pub mod account;
mod adapters;
pub mod args;
pub mod clock;
mod clock_alarm;
pub mod daemon;
#[cfg(feature = "demo")]
pub mod demo;
mod edit;
mod environment;
mod equipment;
mod escaped;
pub mod execute;
pub mod fleet_file;
pub mod guest_api;
pub mod hetzner;
pub mod identity;
pub mod intake;
mod ledger_watch;
pub mod lister;
pub mod logs;
pub mod meter;
pub mod once;
pub mod parts;
pub mod patience;
pub mod persona_archive;
pub mod program;
pub mod reap;
pub mod reconcile;
pub mod record;
mod report;
pub mod secrets;
pub mod sessions;
pub mod settings;
pub mod socket_api;
pub mod stop;
pub mod store;
pub mod survey;
pub mod token;
pub mod world;

pub use report::report;
