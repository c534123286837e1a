//! End to end: each file tells one story against real processes.
#![allow(clippy::unwrap_used)]
// A seed to repeat a failure with, and why a test had nothing to do here.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod account;
mod bad_input;
mod batch;
mod breaker;
mod bucket;
mod budget;
mod crash;
mod deaf;
mod defaults;
mod demo;
mod dry_run;
mod emergency_stop;
mod fault_matrix;
mod foreign;
mod git_checkout;
mod guards;
mod handover;
mod identity;
mod images;
mod jobs;
mod keepers;
mod kept;
mod life;
mod locked_ledger;
mod odd_creates;
mod ownership;
mod persona;
mod quotas;
mod secrets;
mod shutdown;
mod stage;
mod state_disk;
mod time;
mod token;
mod trouble;
mod waiting;
mod wall_clock;
