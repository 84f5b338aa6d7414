//! `amends audit`.

use super::remote::Remote;
use super::sagas::say_more;
use super::{Outcome, output, show};
use amends_client::AuditQuery;
use clap::Args;
use std::process::ExitCode;

/// Which entries.
#[derive(Args, Debug)]
pub(super) struct AuditArgs {
    /// Only those of this saga
    #[arg(long, value_name = "ID")]
    saga: Option<String>,
    /// How many, 1 to 500
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: Option<u32>,
    /// Go on where an earlier list ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(AuditArgs { saga, limit, cursor, remote }: AuditArgs) -> Outcome {
    let page = remote.client()?.audit(&AuditQuery { saga, cursor, limit }).await?;
    if remote.json {
        output::print_json(&page)?;
    } else {
        output::print(&show::audit(&page.items))?;
        say_more(page.next.as_deref());
    }
    Ok(ExitCode::SUCCESS)
}
