#![doc = include_str!("../README.md")]

mod execution;
mod in_flight;
mod layer;
mod problem;
mod records;
mod signature;
mod store;
mod transaction;

pub use amends_core::signature::{Key, KeyError};
pub use layer::{Idempotency, IdempotencyLayer, Options};
pub use rusqlite;
pub use signature::{SignatureLayer, SignatureOptions, SignedOnly};
pub use store::{OpenError, Store};
pub use transaction::{Transaction, TransactionError};
