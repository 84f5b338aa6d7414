//! The command line. Results go to standard output, everything else to standard error.
//!
//! Exit status: 0 it worked (for a saga that was waited for: it completed), 1 it did not, 2 the command was
//! written wrongly, 3 the saga was compensated, 4 the saga is stuck, 5 the wait ended before the saga did.

mod audit_log;
mod dead_letters;
mod failure;
mod lint;
mod migrate;
mod output;
mod queues;
mod remote;
mod sagas;
mod serve;
mod show;
mod start;
mod table;
mod token;
mod watch;

#[cfg(test)]
mod tests;

use crate::{api, demo, shop_service};
use amends_client::SagaOrder;
use clap::{Parser, Subcommand};
use failure::Failure;
use std::future::Future;
use std::num::NonZero;
use std::process::ExitCode;

/// A saga server: makes a transaction that spans several services end well.
#[derive(Debug, Parser)]
#[command(name = "amends", version, about, propagate_version = true, max_term_width = 100)]
#[command(after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "Exit status: 0 it worked, 1 it did not, 2 the command was written wrongly; for a saga \
    that was waited for: 0 completed, 3 compensated, 4 stuck, 5 not settled in time.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::ServeArgs),
    /// Watch the orders of a shop of six services succeed, fail and be made good
    Demo(demo::DemoArgs),
    #[command(hide = true)]
    ShopService(shop_service::ShopServiceArgs),
    /// Check definitions without a server
    Lint(lint::LintArgs),
    /// Start a saga
    Start(start::StartArgs),
    /// Show a saga
    Get(sagas::GetArgs),
    /// List sagas, newest first
    List(sagas::ListArgs),
    /// Follow a saga until it is finished or stuck
    Watch(watch::WatchArgs),
    /// Stop a saga and undo what it did
    Cancel(sagas::OrderArgs),
    /// Hold a saga: calls in flight end, no further call is made
    Pause(sagas::OrderArgs),
    /// Let a held saga go on
    Resume(sagas::OrderArgs),
    /// End a waiting step well
    Complete(sagas::CompleteArgs),
    /// End a waiting step badly: the saga compensates
    Fail(sagas::FailArgs),
    /// What the machine gave up on, and a person must settle
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// Who did what, when and why
    #[command(subcommand)]
    AuditLog(audit_log::AuditLogCommand),
    /// Look at queues, and make dead messages ready again
    #[command(subcommand)]
    Queues(queues::QueuesCommand),
    /// Who may call the server
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Bring a store to this program's schema without serving it
    Migrate(migrate::MigrateArgs),
    /// Print the API's description (OpenAPI 3.1)
    Openapi,
}

/// What a command comes to: an exit status, or why it failed.
type Outcome = Result<ExitCode, Failure>;

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    // A wrong command ends the process here, with status 2 and what is wrong with it.
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(status) => status,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Outcome {
    match command {
        Command::Serve(arguments) => on_all_cores(serve::run(arguments)),
        Command::Demo(arguments) => on_all_cores(async { done(demo::run(arguments).await) }),
        Command::ShopService(arguments) => on_all_cores(async { done(shop_service::run(arguments).await) }),
        Command::Lint(arguments) => lint::run(&arguments),
        Command::Start(arguments) => on_one_core(start::run(arguments)),
        Command::Get(arguments) => on_one_core(sagas::get(arguments)),
        Command::List(arguments) => on_one_core(sagas::list(arguments)),
        Command::Watch(arguments) => on_one_core(watch::run(arguments)),
        Command::Cancel(arguments) => on_one_core(sagas::order(arguments, SagaOrder::Cancel)),
        Command::Pause(arguments) => on_one_core(sagas::order(arguments, SagaOrder::Pause)),
        Command::Resume(arguments) => on_one_core(sagas::order(arguments, SagaOrder::Resume)),
        Command::Complete(arguments) => on_one_core(sagas::complete(arguments)),
        Command::Fail(arguments) => on_one_core(sagas::fail(arguments)),
        Command::DeadLetters(command) => on_one_core(dead_letters::run(command)),
        Command::AuditLog(command) => on_one_core(audit_log::run(command)),
        Command::Queues(command) => on_one_core(queues::run(command)),
        Command::Token(command) => on_one_core(token::run(command)),
        Command::Migrate(arguments) => on_one_core(migrate::run(arguments)),
        Command::Openapi => {
            output::print(&api::openapi())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn done(result: anyhow::Result<()>) -> Outcome {
    result?;
    Ok(ExitCode::SUCCESS)
}

/// The store's writer has a thread of its own, so one core is left to it: on a small machine, tasks that move between
/// threads cost more than the last core brings.
fn on_all_cores(work: impl Future<Output = Outcome>) -> Outcome {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(cores.saturating_sub(1).max(1)).enable_all();
    runtime.build().map_err(anyhow::Error::from)?.block_on(work)
}

fn on_one_core(work: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from)?.block_on(work)
}
