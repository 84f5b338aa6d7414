#![doc = include_str!("../README.md")]

mod execution;
mod in_flight;
mod layer;
mod problem;
mod records;
mod store;
mod transaction;

pub use layer::{Idempotency, IdempotencyLayer, Options};
pub use rusqlite;
pub use store::{OpenError, Store};
pub use transaction::{Transaction, TransactionError};
