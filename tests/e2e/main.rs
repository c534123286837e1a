//! End to end: each file tells one story against real processes.
#![allow(clippy::unwrap_used)]

mod life;
