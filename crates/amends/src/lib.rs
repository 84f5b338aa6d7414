//! The `amends` program: the HTTP API around the engine, and the command line.

pub mod api;
pub mod config;
