//! `amends dead-letters`.

use super::remote::Remote;
use super::sagas::say_more;
use super::show::Background;
use super::start::json;
use super::{Outcome, output, show};
use amends_client::{
    Client, DeadLetter, DeadLetterAction, DeadLetterQuery, EditDeadLetter, Effect, GroupQuery, Plan, Reason,
    ResolveDeadLetter,
};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum DeadLettersCommand {
    /// List dead letters, newest first
    List(ListArgs),
    /// List open dead letters, those alike together
    Groups(GroupsArgs),
    /// Show a dead letter, and what can be done about it
    Show(ShowArgs),
    /// Make the call again, with the same key and a fresh budget of attempts
    Retry(DecideArgs),
    /// Say what is the case, as found out elsewhere
    Resolve(ResolveArgs),
    /// Leave the step as it is and let the saga go on without it
    Skip(DecideArgs),
    /// Make the call again with another body, under another key
    Edit(EditArgs),
    /// Undo what the saga did, this step too if it may have happened
    TurnAround(DecideArgs),
}

/// Which dead letters to list.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only those of this definition
    #[arg(long, value_name = "NAME")]
    definition: Option<String>,
    /// Only those of this saga
    #[arg(long, value_name = "ID")]
    saga: Option<String>,
    /// Only those of this step
    #[arg(long, value_name = "NAME")]
    step: Option<String>,
    /// Only those whose call was this participant's
    #[arg(long, value_name = "NAME")]
    participant: Option<String>,
    /// Only those with this fingerprint, as `groups` shows it
    #[arg(long, value_name = "DIGITS")]
    fingerprint: Option<String>,
    /// Only those that were opened longer ago than this, such as 2h
    #[arg(long, value_name = "AGE")]
    older_than: Option<String>,
    /// The settled ones too
    #[arg(long)]
    closed: bool,
    /// How many, 1 to 500
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: Option<u32>,
    /// Go on where an earlier list ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Which groups to list.
#[derive(Args, Debug)]
pub(super) struct GroupsArgs {
    /// How many, 1 to 500
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: Option<u32>,
    /// Go on where an earlier list ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Which dead letter.
#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// The dead letter's id: the saga's id, a dot, a number
    id: String,
    #[command(flatten)]
    remote: Remote,
}

/// A decision that needs no more than a reason.
#[derive(Args, Debug)]
pub(super) struct DecideArgs {
    /// The dead letter's id: the saga's id, a dot, a number
    id: String,
    /// Why, for the audit log
    #[arg(long)]
    reason: String,
    /// Do nothing, and show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do it only if the saga still has so many events, as `show --json` or a dry run said
    #[arg(long, value_name = "N")]
    seen: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

/// Another body.
#[derive(Args, Debug)]
pub(super) struct EditArgs {
    /// The dead letter's id: the saga's id, a dot, a number
    id: String,
    /// What to send in the place of the body, which `show` shows
    #[arg(long, value_name = "JSON")]
    body: String,
    /// Why, for the audit log
    #[arg(long)]
    reason: String,
    /// Do nothing, and show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do it only if the saga still has so many events, as `show --json` or a dry run said
    #[arg(long, value_name = "N")]
    seen: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

/// What was found out.
#[derive(Args, Debug)]
pub(super) struct ResolveArgs {
    /// The dead letter's id: the saga's id, a dot, a number
    id: String,
    /// Whether the step's effect is there
    #[arg(long, value_enum)]
    effect: EffectArg,
    /// The step's output, where the effect is there and later steps read it
    #[arg(long, value_name = "JSON")]
    output: Option<String>,
    /// How you know, for the audit log
    #[arg(long)]
    reason: String,
    /// Do nothing, and show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do it only if the saga still has so many events, as `show --json` or a dry run said
    #[arg(long, value_name = "N")]
    seen: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EffectArg {
    /// The effect is there
    Done,
    /// The effect is not there, or was undone elsewhere
    Undone,
}

pub(super) async fn run(command: DeadLettersCommand) -> Outcome {
    match command {
        DeadLettersCommand::List(arguments) => list(arguments).await,
        DeadLettersCommand::Groups(arguments) => groups(arguments).await,
        DeadLettersCommand::Show(ShowArgs { id, remote }) => {
            let client = remote.client()?;
            let letter = client.dead_letter(&id).await?;
            let background = background(&client, &letter).await;
            print(&letter, background.as_ref(), &remote)
        }
        DeadLettersCommand::Retry(arguments) => decide(arguments, DeadLetterAction::Retry).await,
        DeadLettersCommand::Resolve(arguments) => resolve(arguments).await,
        DeadLettersCommand::Skip(arguments) => decide(arguments, DeadLetterAction::Skip).await,
        DeadLettersCommand::Edit(arguments) => edit(arguments).await,
        DeadLettersCommand::TurnAround(arguments) => decide(arguments, DeadLetterAction::TurnAround).await,
    }
}

async fn decide(arguments: DecideArgs, action: fn(Reason) -> DeadLetterAction) -> Outcome {
    let DecideArgs { id, reason, dry_run, seen, remote } = arguments;
    let action = action(Reason { reason });
    if dry_run { foresee(&id, &action, &remote).await } else { settle(&id, &action, seen, &remote).await }
}

/// What an edit changes is shown before it is sent.
async fn edit(arguments: EditArgs) -> Outcome {
    let EditArgs { id, body, reason, dry_run, seen, remote } = arguments;
    let action = DeadLetterAction::Edit(EditDeadLetter { body: json(&body, "the body")?, reason });
    if dry_run {
        return foresee(&id, &action, &remote).await;
    }
    if !remote.json {
        let plan = remote.client()?.foresee_dead_letter(&id, &action).await?;
        output::print(&show::changes(&plan.changes))?;
    }
    settle(&id, &action, seen, &remote).await
}

async fn foresee(id: &str, action: &DeadLetterAction, remote: &Remote) -> Outcome {
    let plan = remote.client()?.foresee_dead_letter(id, action).await?;
    let outcome = print_plan(&plan, remote)?;
    if !remote.json {
        output::print(&format!("--seen {} does it only if nothing has happened since\n", plan.seen))?;
    }
    Ok(outcome)
}

async fn settle(id: &str, action: &DeadLetterAction, seen: Option<u64>, remote: &Remote) -> Outcome {
    let letter = remote.client()?.settle_dead_letter(id, action, seen).await?;
    print(&letter, None, remote)
}

/// Prints what would be done.
pub(super) fn print_plan(plan: &Plan, remote: &Remote) -> Outcome {
    if remote.json {
        output::print_json(plan)?;
    } else {
        output::print(&show::plan(plan))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(arguments: ListArgs) -> Outcome {
    let ListArgs { definition, saga, step, participant, fingerprint, older_than, closed, limit, cursor, remote } =
        arguments;
    let query = DeadLetterQuery { definition, saga, step, participant, fingerprint, older_than, closed, cursor, limit };
    let page = remote.client()?.dead_letters(&query).await?;
    if remote.json {
        output::print_json(&page)?;
    } else {
        output::print(&show::dead_letters(&page.items, Timestamp::now()))?;
        say_more(page.next.as_deref());
    }
    Ok(ExitCode::SUCCESS)
}

async fn groups(arguments: GroupsArgs) -> Outcome {
    let GroupsArgs { limit, cursor, remote } = arguments;
    let page = remote.client()?.dead_letter_groups(&GroupQuery { cursor, limit }).await?;
    if remote.json {
        output::print_json(&page)?;
    } else {
        output::print(&show::dead_letter_groups(&page.items, Timestamp::now()))?;
        say_more(page.next.as_deref());
    }
    Ok(ExitCode::SUCCESS)
}

async fn resolve(arguments: ResolveArgs) -> Outcome {
    let ResolveArgs { id, effect, output, reason, dry_run, seen, remote } = arguments;
    let output = output.map_or(Ok(Value::Null), |text| json(&text, "the output"))?;
    let effect = match effect {
        EffectArg::Done => Effect::Done,
        EffectArg::Undone => Effect::Undone,
    };
    let action = DeadLetterAction::Resolve(ResolveDeadLetter { effect, output, reason });
    if dry_run { foresee(&id, &action, &remote).await } else { settle(&id, &action, seen, &remote).await }
}

/// The step of a dead letter with its history; `None` where the saga cannot be read, which is what the letter says.
async fn background(client: &Client, letter: &DeadLetter) -> Option<Background> {
    let saga = client.saga(&letter.saga).await.ok()?;
    let began = saga.created_at.parse().ok()?;
    let step = saga.steps.into_iter().find(|step| Some(&step.name) == letter.step.as_ref())?;
    Some(Background { step, events: letter.attempts.clone(), began })
}

fn print(letter: &DeadLetter, background: Option<&Background>, remote: &Remote) -> Outcome {
    if remote.json {
        output::print_json(letter)?;
    } else {
        output::print(&show::dead_letter(letter, background, Timestamp::now()))?;
    }
    Ok(ExitCode::SUCCESS)
}
