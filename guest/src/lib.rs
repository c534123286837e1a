//! The guest: one process that fetches a task's secrets once, runs the task once, and hands back
//! its log and result.
//!
//! ```text
//! bootstrap.json ──> env (once) ──> persona ──> ready ──acknowledged──> runner ──> finished ──> off
//!                                                 │                       │  │
//!                                                 │        heartbeats <───┘  └───> log, by offset
//!                                                 └─ marker on disk: from here on, never again
//! ```
//!
//! Invariants:
//! - The runner starts at most once in the life of a disk: a marker is on it, synced, before.
//! - The runner starts only after the controller acknowledged `ready`.
//! - The runner never waits for us: its output is always read, whatever the controller or the disk
//!   does with it.
//! - Nothing of the runner outlives it, and it does not outlive the guest.
//! - What the runner leaves behind is untrusted: bounded, opened without following links.
//! - Tokens and env values are in memory, in the runner's environment, and, as far as a restart
//!   needs them, in 0600 files on `/run`; never in a log.
//!
//! Absent on purpose: any call to anybody but the controller, DNS and TLS trust decisions (the
//! tailnet is the transport), and a second task.

#![forbid(unsafe_code)]

pub mod cli;

mod accounts;
mod backoff;
mod check;
mod client;
mod clock;
mod guard;
mod heartbeat;
mod input;
mod layout;
mod link;
mod log;
mod peer;
mod persona;
mod power;
mod prepare;
mod process;
mod result;
mod run;
mod runner;
mod state;
mod task;
