//! The pure part of Amends: what a saga *is*, without sockets, clock, randomness or storage.
//!
//! - [`definition`]: a saga's steps as data; [`parse`] reads them from YAML or JSON and [`lint`] judges them.
//! - [`expression`]: the `{{ … }}` in definitions.
//! - [`machine`]: the state machine. `decide` turns a command into events, `apply` folds an event into the state.
//! - [`answer`]: what a participant's answer means. [`retry`]: when to ask again.
//! - [`redact`]: what people are not shown of a saga.
//! - [`idempotency`]: the keys that calls carry, and the rules by which a service honours them. [`signature`]: how a service
//!   knows who calls.
//! - [`chain`]: how the entries of the audit log are sealed, and how that is verified.
//!
//! Time and chance come in as arguments, so whatever happens here can be repeated exactly.

pub mod answer;
pub mod chain;
pub mod definition;
pub mod diagram;
pub mod expression;
pub mod idempotency;
pub mod limits;
pub mod lint;
pub mod machine;
pub mod parse;
pub mod redact;
pub mod retry;
pub mod signature;
pub mod text;
pub mod time;
