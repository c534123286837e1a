//! The socket API over a real socket, with a ledger in memory and a loop that plans, queues, and
//! starts nothing: what runs is put there by the test.

#![allow(clippy::unwrap_used)]

mod applying;
mod bots;
mod ending;
mod events;
mod harness;
mod http;
mod jobs;
mod looking;
mod pauses;
mod streams;
