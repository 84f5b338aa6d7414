//! Tests, CI and tidy checks.

fn main() {}
