//! The wire types of the Amends HTTP API, and a typed client for it.
//!
//! The server answers with these very types, so they cannot drift apart. Errors come as [`Problem`] (RFC 9457).
//!
//! ```no_run
//! # async fn example() -> Result<(), amends_client::Error> {
//! let amends = amends_client::Client::new("http://127.0.0.1:7700")?;
//! let order = serde_json::json!({ "order_id": "0197", "total": 4200 });
//! let saga = amends.start("order-fulfilment", &order, Default::default()).await?.saga;
//! println!("{} is {}", saga.id, saga.status);
//! # Ok(()) }
//! ```

mod client;
mod types;

pub use client::{Client, DeadLetterAction, Error, EventStream, LineStream, SagaOrder, StartOptions, Started};
pub use types::*;
