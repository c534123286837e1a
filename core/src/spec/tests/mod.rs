//! One-line deviations from a valid fixture; the wording is part of what is tested.
#![allow(clippy::unwrap_used)]

mod bytes;
mod complete;
mod fixture;
mod hash;
mod shape;
mod substance;
mod task_file;
