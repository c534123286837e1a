//! The controller's parts against what they speak to.

#![allow(clippy::unwrap_used)]

mod hetzner;
mod offer;
mod program;
mod rate;
mod requests;
mod stage;
mod time;
mod trouble;
