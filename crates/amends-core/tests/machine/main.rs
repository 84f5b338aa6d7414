//! The state machine seen from outside: tables of what follows from what, and laws that hold whatever happens.
#![cfg(test)]

mod laws;
mod play;
mod transitions;
