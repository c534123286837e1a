//! The controller's parts against what they speak to.

#![allow(clippy::unwrap_used)]

mod hetzner;
mod program;
mod rate;
mod stage;
mod trouble;
