//! Commands about one saga, and the list of them.

use super::dead_letters::print_plan;
use super::failure::Failure;
use super::remote::Remote;
use super::start::json;
use super::{Outcome, output, show};
use amends_client::{Client, DeadLetterQuery, Saga, SagaOrder, SagaQuery, SagaStatus};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;
use std::process::ExitCode;

/// Which saga to show.
#[derive(Args, Debug)]
pub(super) struct GetArgs {
    /// The saga's id
    #[arg(required_unless_present = "key", conflicts_with_all = ["key", "definition"])]
    id: Option<String>,
    /// Find it by its business key
    #[arg(long, requires = "definition")]
    key: Option<String>,
    /// The definition that the key belongs to
    #[arg(long, value_name = "NAME", requires = "key")]
    definition: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Which sagas to list.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only sagas of this definition
    #[arg(long, value_name = "NAME")]
    definition: Option<String>,
    /// Only sagas with this status
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Only the saga with this business key
    #[arg(long)]
    key: Option<String>,
    /// How many, 1 to 500
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: Option<u32>,
    /// Go on where an earlier list ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Status {
    Running,
    Compensating,
    Completed,
    Compensated,
    Stuck,
}

impl From<Status> for SagaStatus {
    fn from(status: Status) -> SagaStatus {
        match status {
            Status::Running => SagaStatus::Running,
            Status::Compensating => SagaStatus::Compensating,
            Status::Completed => SagaStatus::Completed,
            Status::Compensated => SagaStatus::Compensated,
            Status::Stuck => SagaStatus::Stuck,
        }
    }
}

/// An order that needs no more than a reason.
#[derive(Args, Debug)]
pub(super) struct OrderArgs {
    /// The saga's id
    id: String,
    /// Why, for the audit log
    #[arg(long)]
    reason: String,
    /// Do nothing, and show what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    remote: Remote,
}

/// The good end of a step.
#[derive(Args, Debug)]
pub(super) struct CompleteArgs {
    /// The saga's id
    id: String,
    /// The step's name
    step: String,
    /// The step's output, for the steps after it
    #[arg(long, value_name = "JSON")]
    output: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// The bad end of a step.
#[derive(Args, Debug)]
pub(super) struct FailArgs {
    /// The saga's id
    id: String,
    /// The step's name
    step: String,
    /// Why
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn get(arguments: GetArgs) -> Outcome {
    let client = arguments.remote.client()?;
    let saga = find(&client, &arguments).await?;
    show(&client, &saga, arguments.remote.json).await
}

async fn find(client: &Client, arguments: &GetArgs) -> Result<Saga, Failure> {
    if let Some(id) = &arguments.id {
        return Ok(client.saga(id).await?);
    }
    let query =
        SagaQuery { definition: arguments.definition.clone(), key: arguments.key.clone(), ..SagaQuery::default() };
    match client.sagas(&query).await?.items.first() {
        Some(found) => Ok(client.saga(&found.id).await?),
        None => {
            Err(Failure::with_help("no saga of this definition has this key", "`amends list` shows those there are"))
        }
    }
}

pub(super) async fn list(arguments: ListArgs) -> Outcome {
    let query = SagaQuery {
        definition: arguments.definition,
        status: arguments.status.map(SagaStatus::from),
        key: arguments.key,
        cursor: arguments.cursor,
        limit: arguments.limit,
    };
    let page = arguments.remote.client()?.sagas(&query).await?;
    if arguments.remote.json {
        output::print_json(&page)?;
    } else {
        output::print(&show::sagas(&page.items, Timestamp::now()))?;
        say_more(page.next.as_deref());
    }
    Ok(ExitCode::SUCCESS)
}

/// Says how to get the next page, if there is one. It is no part of the list, so it goes to standard error.
pub(super) fn say_more(next: Option<&str>) {
    if let Some(cursor) = next {
        anstream::eprintln!("there are more: add --cursor {cursor}");
    }
}

pub(super) async fn order(arguments: OrderArgs, order: SagaOrder) -> Outcome {
    let OrderArgs { id, reason, dry_run, remote } = arguments;
    let client = remote.client()?;
    if dry_run {
        return print_plan(&client.foresee_saga(&id, order, &reason).await?, &remote);
    }
    let saga = match order {
        SagaOrder::Cancel => client.cancel(&id, &reason).await?,
        SagaOrder::Pause => client.pause(&id, &reason).await?,
        SagaOrder::Resume => client.resume(&id, &reason).await?,
    };
    show(&client, &saga, remote.json).await
}

pub(super) async fn complete(arguments: CompleteArgs) -> Outcome {
    let CompleteArgs { id, step, output, remote } = arguments;
    let output = output.map_or(Ok(Value::Null), |text| json(&text, "the output"))?;
    let client = remote.client()?;
    let saga = client.complete_step(&id, &step, output).await?;
    show(&client, &saga, remote.json).await
}

pub(super) async fn fail(FailArgs { id, step, reason, remote }: FailArgs) -> Outcome {
    let client = remote.client()?;
    let saga = client.fail_step(&id, &step, &reason).await?;
    show(&client, &saga, remote.json).await
}

/// Shows a saga, with its dead letters where it is stuck.
async fn show(client: &Client, saga: &Saga, json: bool) -> Outcome {
    if json {
        output::print_json(saga)?;
        return Ok(ExitCode::SUCCESS);
    }
    let letters = match saga.status {
        SagaStatus::Stuck => {
            let query = DeadLetterQuery { saga: Some(saga.id.clone()), ..DeadLetterQuery::default() };
            client.dead_letters(&query).await?.items
        }
        SagaStatus::Running | SagaStatus::Compensating | SagaStatus::Completed | SagaStatus::Compensated => Vec::new(),
    };
    output::print(&show::saga(saga, &letters, Timestamp::now()))?;
    Ok(ExitCode::SUCCESS)
}
