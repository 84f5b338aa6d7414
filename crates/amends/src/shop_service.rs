//! `amends shop-service`: one service of the demonstration's shop in a process of its own.

use clap::Args;

/// Which service, and where.
#[derive(Args, Clone, Debug)]
pub struct ShopServiceArgs {
    /// The service's name
    pub name: String,
}

/// Runs the service until the process is stopped.
///
/// # Errors
/// Where it cannot be set up.
pub async fn run(_arguments: ShopServiceArgs) -> anyhow::Result<()> {
    anyhow::bail!("this build has no shop")
}
