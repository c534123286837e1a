//! The controller's parts against what they speak to.

#![allow(clippy::unwrap_used)]

mod hetzner;
mod program;
mod stage;
mod trouble;
