//! The core's decisions, tested through its public face. One binary, so that it links once.

#![allow(clippy::unwrap_used)]

mod convergence;
mod fixture;
mod model;
mod plan;
