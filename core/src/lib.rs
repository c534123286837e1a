//! The decisions of clawdlets cattle, and nothing that acts on them.
//!
//! Invariant: no I/O, no clock, no randomness. What a function needs to know is an argument, `now`
//! included; `clippy.toml` beside this crate forbids the calls that would break that.

pub mod account;
pub mod action;
pub mod breaker;
pub mod candidates;
pub mod catalogue;
pub mod charge;
pub mod clock;
pub mod cost;
pub mod desired;
pub mod example;
pub mod expiry;
pub mod fleet;
pub mod grounds;
pub mod guard;
pub mod hearing;
pub mod identity;
pub mod image_ref;
pub mod images;
pub mod labels;
pub mod ledger;
pub mod lifecycle;
pub mod names;
pub mod observed;
pub mod ownership;
pub mod pause;
pub mod plan;
pub mod provider_env;
pub mod rate;
pub mod retired;
pub mod spec;
pub mod status;
pub mod substance;
pub mod untrusted;
pub mod user_data;
pub mod writable;
