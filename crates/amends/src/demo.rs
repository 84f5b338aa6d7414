//! `amends demo`: the shop, its orders and its faults, in one process.

use clap::{Args, ValueEnum};
use std::num::NonZeroU32;

/// What the demonstration does.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// How many orders to place
    #[arg(long, value_name = "N", default_value = "200")]
    pub orders: NonZeroU32,
    /// How many orders to place each second
    #[arg(long, value_name = "PER_SECOND", default_value = "50")]
    pub rate: NonZeroU32,
    /// How much goes wrong
    #[arg(long, value_enum, default_value_t = Faults::Some)]
    pub faults: Faults,
    /// Keep the server and the shop running afterwards
    #[arg(long)]
    pub keep: bool,
    /// Report as JSON
    #[arg(long)]
    pub json: bool,
}

/// How much goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Faults {
    /// Nothing
    None,
    /// A little of everything
    Some,
    /// A lot of everything
    Many,
}

/// Runs the demonstration.
///
/// # Errors
/// Where it cannot be set up.
pub async fn run(_arguments: DemoArgs) -> anyhow::Result<()> {
    anyhow::bail!("this build has no demonstration")
}
