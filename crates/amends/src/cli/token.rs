//! `amends token`.

use super::remote::Remote;
use super::sagas::say_more;
use super::{Outcome, output, show};
use amends_client::{NewToken, Role, TokenQuery};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it: nobody can see it again
    Create(CreateArgs),
    /// List tokens, newest first, with those that are not valid any more
    List(ListArgs),
    /// Revoke a token: within five seconds it lets nobody in
    Revoke(RevokeArgs),
}

/// Which token to make.
#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    /// Whose it is, for the audit log
    name: String,
    /// What it permits
    #[arg(long, value_enum)]
    role: RoleArg,
    /// For how long it is valid, such as 90d [default: for ever]
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Which tokens to list.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// How many, 1 to 500
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: Option<u32>,
    /// Go on where an earlier list ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Which token to revoke.
#[derive(Args, Debug)]
pub(super) struct RevokeArgs {
    /// The token's id, as it is listed
    id: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArg {
    /// Reads
    Viewer,
    /// Reads, starts sagas, gives them orders and settles dead letters
    Operator,
    /// Does all this, puts definitions, and says who may call
    Admin,
}

pub(super) async fn run(command: TokenCommand) -> Outcome {
    match command {
        TokenCommand::Create(arguments) => create(arguments).await,
        TokenCommand::List(arguments) => list(arguments).await,
        TokenCommand::Revoke(RevokeArgs { id, remote }) => {
            let token = remote.client()?.revoke_token(&id).await?;
            if remote.json {
                output::print_json(&token)?;
            } else {
                output::print(&show::tokens(&[token], Timestamp::now()))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The token alone goes to standard output, so that it can be led into a file.
async fn create(CreateArgs { name, role, expires, remote }: CreateArgs) -> Outcome {
    let role = match role {
        RoleArg::Viewer => Role::Viewer,
        RoleArg::Operator => Role::Operator,
        RoleArg::Admin => Role::Admin,
    };
    let created = remote.client()?.create_token(&NewToken { name, role, expires_in: expires }).await?;
    if remote.json {
        output::print_json(&created)?;
        return Ok(ExitCode::SUCCESS);
    }
    let about = &created.about;
    anstream::eprintln!("token {} of {}, role {}; keep it: it is not shown again", about.id, about.name, about.role);
    output::print(&created.token)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(ListArgs { limit, cursor, remote }: ListArgs) -> Outcome {
    let page = remote.client()?.tokens(&TokenQuery { cursor, limit }).await?;
    if remote.json {
        output::print_json(&page)?;
    } else {
        output::print(&show::tokens(&page.items, Timestamp::now()))?;
        say_more(page.next.as_deref());
    }
    Ok(ExitCode::SUCCESS)
}
