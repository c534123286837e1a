//! End to end: each file tells one story against real processes.
#![allow(clippy::unwrap_used)]

mod batch;
mod dry_run;
mod git_checkout;
mod kept;
mod life;
mod persona;
mod shutdown;
