//! The shapes on the wire, and nothing else: spec file, task, persona and fleet configuration,
//! status, events, the socket API, the guest API.
//!
//! Invariants: every type here is data (serde + schemars), camelCase in JSON, without behaviour
//! beyond parsing and printing itself. Absent on purpose: validation against a fleet (core), I/O,
//! and any type that holds a secret in a printable form except [`guest::EnvReply`], which exists to
//! carry secrets to the guest and has no `Debug`.

pub mod api;
pub mod duration;
pub mod event;
pub mod fleet;
pub mod guest;
pub mod job;
pub mod pause;
pub mod persona;
pub mod problem;
pub mod runners;
pub mod spec_file;
pub mod status;
pub mod task;

/// Instants on the wire: RFC 3339, UTC.
pub type Timestamp = chrono::DateTime<chrono::Utc>;
