//! `amends audit-log`.

use super::failure::Failure;
use super::remote::Remote;
use super::sagas::say_more;
use super::{Outcome, output, show};
use amends_client::{AuditExport, AuditHead, AuditQuery};
use amends_core::chain::{Head, Misfit, Verifier};
use amends_core::text::hexadecimal;
use clap::{Args, Subcommand};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum AuditLogCommand {
    /// List entries, newest first
    List(ListArgs),
    /// Print the sealed entries, oldest first, a line each: to be kept elsewhere
    Export(ExportArgs),
    /// Verify that nothing was changed, left out or moved, without believing the server
    Verify(VerifyArgs),
}

/// Which entries.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
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

/// Which part of the chain.
#[derive(Args, Debug)]
pub(super) struct ExportArgs {
    /// Begin after the entry with this number, where an earlier export ended
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

/// What to hold to what.
#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// An exported file [default: what the server exports now]
    file: Option<PathBuf>,
    /// An end of the log that was kept: it must lead there, or past it
    #[arg(long, value_name = "NUMBER:HASH")]
    head: Option<Head>,
    /// The end of an earlier export, which this one goes on from
    #[arg(long, value_name = "NUMBER:HASH")]
    after: Option<Head>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(command: AuditLogCommand) -> Outcome {
    match command {
        AuditLogCommand::List(arguments) => list(arguments).await,
        AuditLogCommand::Export(arguments) => export(arguments).await,
        AuditLogCommand::Verify(arguments) => verify(arguments).await,
    }
}

async fn list(ListArgs { saga, limit, cursor, remote }: ListArgs) -> Outcome {
    let page = remote.client()?.audit(&AuditQuery { saga, cursor, limit }).await?;
    if remote.json {
        output::print_json(&page)?;
    } else {
        output::print(&show::audit(&page.items))?;
        say_more(page.next.as_deref());
    }
    Ok(ExitCode::SUCCESS)
}

/// The lines go out byte for byte: their hashes are over these bytes.
async fn export(ExportArgs { after, remote }: ExportArgs) -> Outcome {
    let mut lines = remote.client()?.export_audit(&AuditExport { after }).await?;
    let mut output = BufWriter::new(std::io::stdout().lock());
    while let Some(line) = lines.next().await? {
        output.write_all(line.as_bytes())?;
        output.write_all(b"\n")?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn verify(VerifyArgs { file, head, after, remote }: VerifyArgs) -> Outcome {
    let after = after.unwrap_or(Head::BEGINNING);
    if head.is_some_and(|head| head.number < after.number) {
        return Err(Failure::new("--head names an entry before the one that --after names, so it would say nothing"));
    }
    let mut verifier = Verifier::new(after, head);
    match file {
        Some(path) => take_file(&mut verifier, &path)?,
        None => {
            let query = AuditExport { after: Some(after.number) };
            let mut lines = remote.client()?.export_audit(&query).await?;
            while let Some(line) = lines.next().await? {
                verifier.take(&line).map_err(misfit)?;
            }
        }
    }
    let end = verifier.finish().map_err(misfit)?;
    if remote.json {
        output::print_json(&AuditHead { number: end.number, hash: hexadecimal(&end.hash) })?;
    } else {
        anstream::eprintln!("{} entries fit; the log ends with", end.number - after.number);
        output::print(&end.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn take_file(verifier: &mut Verifier, path: &Path) -> Result<(), Failure> {
    let unreadable = |error| Failure::new(format!("{} cannot be read: {error}", path.display()));
    // Not by `lines`, which takes a carriage return away with the end of a line.
    for line in BufReader::new(File::open(path).map_err(unreadable)?).split(b'\n') {
        verifier.take(&String::from_utf8_lossy(&line.map_err(unreadable)?)).map_err(misfit)?;
    }
    Ok(())
}

fn misfit(misfit: Misfit) -> Failure {
    Failure::with_help(misfit.to_string(), "an earlier export says what was there")
}
