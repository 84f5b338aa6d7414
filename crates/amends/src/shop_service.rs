//! `amends shop-service`: one service of the demonstration's shop in a process of its own.

use clap::Args;

/// Which service, and where.
#[derive(Args, Clone, Debug)]
pub struct ShopServiceArgs {
    #[command(flatten)]
    options: shop::ServiceOptions,
}

/// Runs the service until the process is stopped.
///
/// # Errors
/// Where it cannot be set up.
pub async fn run(arguments: ShopServiceArgs) -> anyhow::Result<()> {
    // Standard output is for the one line that says where the service listens.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    shop::run(arguments.options).await
}
