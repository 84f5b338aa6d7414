//! Commands that talk to a server.

use super::failure::Failure;
use amends_client::Client;
use clap::Args;
use std::path::{Path, PathBuf};

/// Which server, and who asks.
#[derive(Args, Clone, Debug)]
pub(super) struct Remote {
    /// The server's address
    #[arg(
        long,
        value_name = "URL",
        env = "AMENDS_SERVER",
        default_value = "http://127.0.0.1:7700",
        hide_env_values = true
    )]
    #[arg(help_heading = "Server")]
    server: String,
    /// The authority that an https server's certificate comes from, in PEM [default: those of the system]
    #[arg(long, value_name = "FILE", env = "AMENDS_CA", hide_env_values = true, help_heading = "Server")]
    ca: Option<PathBuf>,
    /// Who acts, for the audit log [default: $USER]
    #[arg(long, value_name = "NAME", env = "AMENDS_ACTOR", hide_env_values = true, help_heading = "Server")]
    actor: Option<String>,
    /// Print JSON, for programs
    #[arg(long)]
    pub(super) json: bool,
}

impl Remote {
    /// A client of the server.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let client = match &self.ca {
            Some(path) => Client::trusting(&self.server, &read(path)?)?,
            None => Client::new(&self.server)?,
        };
        let user = || std::env::var("USER").ok().filter(|user| is_name(user));
        match &self.actor {
            Some(actor) if is_name(actor) => Ok(client.acting_as(actor)),
            Some(_) => Err(Failure::with_help("the actor is not a name", "give 1 to 128 printable ASCII characters")),
            None => Ok(user().map_or(client.clone(), |user| client.acting_as(user))),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        Failure::with_help(
            format!("{} cannot be read: {error}", path.display()),
            "give the authority's certificate, in PEM",
        )
    })
}

/// Whether a header can carry it.
fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= 128 && name.chars().all(|c| c == ' ' || c.is_ascii_graphic())
}
