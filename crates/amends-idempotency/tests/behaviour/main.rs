//! Every row of the behaviour table against a real axum service, its effects counted in the service's own table.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is the report")]

mod answers;
mod compensations;
mod keys;
mod races;
mod service;
mod signed;
mod transactions;
