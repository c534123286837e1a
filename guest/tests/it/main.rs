//! The real `clf-cattle` against a scripted controller on loopback: real processes, real files,
//! real HTTP. Nothing here sleeps to wait; conditions are awaited with a deadline.

#![allow(clippy::unwrap_used, missing_docs)]

mod controller;
mod vm;

mod check;
mod clock;
mod end;
mod env;
mod handover;
mod logs;
mod peer;
mod persona;
mod restart;
mod result;
mod runner;
mod secrets;
