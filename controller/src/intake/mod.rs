//! Spec directories: watch, scan, read.
