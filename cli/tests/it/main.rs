//! The real programs against a scripted controller: what they print, send, and exit with.
#![allow(clippy::unwrap_used, missing_docs)]

mod apply;
mod changes;
mod cost;
mod destroy_all;
mod fake;
mod jobs;
mod list;
mod local;
mod pauses;
mod reads;
mod shell;
mod socket;
mod spawn;
mod strangers;
mod terminal;
mod waits;
