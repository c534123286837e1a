//! The core's decisions, tested through its public face. One binary, so that it links once.

#![allow(clippy::unwrap_used)]

mod candidates;
mod charge;
mod convergence;
mod cost;
mod describe;
mod fixture;
mod guard;
mod identity;
mod images;
mod labels;
mod lifecycle;
mod model;
mod ownership;
mod plan;
mod rate;
mod status;
