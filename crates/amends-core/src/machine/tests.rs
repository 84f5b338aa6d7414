//! The machine under test.
//!
//! - [`actions`], [`compensations`], [`probes`], [`waits`], [`people`], [`recovery`], [`order`], [`limits`]: tables,
//!   one line a transition, behind [`script::check`].
//! - [`faults`]: every fault at every call of a few definitions. [`histories`]: what `fold` makes of histories.
//! - [`random`]: random definitions under random commands, with a ledger of what really happened.
//! - [`laws`]: what must hold after every decision; whatever drives a saga here goes through [`stage::Stage`], which
//!   checks them.

mod actions;
mod compensations;
mod faults;
mod histories;
mod laws;
mod ledger;
mod limits;
mod messages;
mod order;
mod people;
mod plan;
mod probes;
mod prospects;
mod random;
mod recovery;
mod script;
mod spec;
mod stage;
mod transitions;
mod waits;
mod world;
