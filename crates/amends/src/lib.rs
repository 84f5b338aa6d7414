//! The `amends` program: the HTTP API around the engine, and the command line.

pub mod api;
pub mod auth;
pub mod cli;
pub mod config;
pub mod demo;
pub mod logging;
pub mod server;
pub mod shop_service;
pub mod telemetry;
