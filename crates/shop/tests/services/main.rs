//! The services as processes: what each does, that it does it once, and that faults strike where they are meant to.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is the report")]

mod checkout;
mod each_alone;
mod faults;
mod process;
