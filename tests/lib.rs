//! Nothing here: see `e2e.rs`.
