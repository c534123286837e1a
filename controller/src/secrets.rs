//! Secrets, as files by name.
