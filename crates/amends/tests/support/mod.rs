//! What the tests of the real server share.

#![cfg(test)]
#![allow(dead_code, reason = "each test file uses other parts of it")]

pub mod agreement;
pub mod child;
pub mod customers;
pub mod orders;
pub mod relay;
pub mod setting;
pub mod shop;
