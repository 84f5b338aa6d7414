//! Queues in an emulated SQS, and the relay to them.

mod queues;
mod relay;
mod support;
mod way;
