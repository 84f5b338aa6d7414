//! One service of the shop as a process.

use clap::Parser;
use shop::ServiceOptions;

/// A service of the reference shop
#[derive(Parser)]
#[command(name = "shop", version)]
struct Arguments {
    #[command(flatten)]
    options: ServiceOptions,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // Standard output is for the one line that says where the service listens.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    shop::run(arguments.options).await
}
