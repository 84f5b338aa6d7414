//! Commands that talk to a server.

use super::failure::Failure;
use amends_client::Client;
use clap::Args;
use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

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
    /// The token that says who asks; the variable or a file keeps it out of the list of processes
    #[arg(long, value_name = "TOKEN", env = "AMENDS_TOKEN", hide_env_values = true, help_heading = "Server")]
    token: Option<Credential>,
    /// A file with the token in it, which goes before --token
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    token_file: Option<PathBuf>,
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
        let client = match self.token()? {
            Some(Credential(token)) => client.with_token(&token)?,
            None => client,
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

impl Remote {
    fn token(&self) -> Result<Option<Credential>, Failure> {
        let Some(path) = &self.token_file else {
            // A variable that is set to nothing says nothing.
            return Ok(self.token.clone().filter(|Credential(token)| !token.is_empty()));
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::new(format!("{} cannot be read: {error}", path.display())))?;
        Ok(Some(Credential(text.trim().to_owned())))
    }
}

/// A token, which is not shown with the command that has it.
#[derive(Clone)]
struct Credential(String);

impl FromStr for Credential {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Credential, Infallible> {
        Ok(Credential(text.trim().to_owned()))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a token)")
    }
}

/// Whether a header can carry it.
fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= 128 && name.chars().all(|c| c == ' ' || c.is_ascii_graphic())
}
