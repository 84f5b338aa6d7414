//! `amends queues`.

use super::remote::Remote;
use super::table::{Cell, lay_out};
use super::{Outcome, output};
use amends_client::{DeadMessage, QueueDepth, Redrive, RedriveMessages};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum QueuesCommand {
    /// List the queues of the configuration, and how many messages each has
    List(ListArgs),
    /// List dead messages of a queue, those that died first first
    Dead(QueueArgs),
    /// Make dead messages of a queue ready again, so many a second
    Redrive(RedriveArgs),
    /// List the last redrives of a queue, newest first
    Redrives(QueueArgs),
    /// Stop a redrive: what is not ready yet is dead again
    Cancel(CancelArgs),
}

/// Nothing but where.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    #[command(flatten)]
    remote: Remote,
}

/// Which queue.
#[derive(Args, Debug)]
pub(super) struct QueueArgs {
    /// The queue's name
    queue: String,
    #[command(flatten)]
    remote: Remote,
}

/// What to redrive.
#[derive(Args, Debug)]
pub(super) struct RedriveArgs {
    /// The queue's name
    queue: String,
    /// How many a second, 1 to 500
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=500))]
    per_second: u32,
    /// Why, for the log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

/// Which redrive to stop.
#[derive(Args, Debug)]
pub(super) struct CancelArgs {
    /// The queue's name
    queue: String,
    /// The redrive's id, as it is listed
    id: String,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(command: QueuesCommand) -> Outcome {
    match command {
        QueuesCommand::List(ListArgs { remote }) => {
            let found = remote.client()?.queues().await?.items;
            tell(&remote, &found, || depths(&found))
        }
        QueuesCommand::Dead(QueueArgs { queue, remote }) => {
            let found = remote.client()?.dead_messages(&queue).await?.items;
            tell(&remote, &found, || dead(&found))
        }
        QueuesCommand::Redrive(RedriveArgs { queue, per_second, reason, remote }) => {
            let begun = remote.client()?.redrive(&queue, &RedriveMessages { per_second, reason }).await?;
            tell(&remote, &begun, || redrives(std::slice::from_ref(&begun)))
        }
        QueuesCommand::Redrives(QueueArgs { queue, remote }) => {
            let found = remote.client()?.redrives(&queue).await?.items;
            tell(&remote, &found, || redrives(&found))
        }
        QueuesCommand::Cancel(CancelArgs { queue, id, remote }) => {
            let cancelled = remote.client()?.cancel_redrive(&queue, &id).await?;
            tell(&remote, &cancelled, || redrives(std::slice::from_ref(&cancelled)))
        }
    }
}

fn tell<T: Serialize>(remote: &Remote, found: &T, text: impl FnOnce() -> String) -> Outcome {
    if remote.json {
        output::print_json(found)?;
    } else {
        output::print(&text())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn depths(queues: &[QueueDepth]) -> String {
    if queues.is_empty() {
        return "no queues; `[queues.NAME]` in the configuration makes one\n".to_owned();
    }
    let row = |queue: &QueueDepth| {
        let numbers = [queue.ready, queue.invisible, queue.dead].map(|number| Cell::from(number.to_string()));
        let place = if queue.is_in_store { "store" } else { "SQS" };
        [Cell::from(&queue.name), Cell::from(place)].into_iter().chain(numbers).collect()
    };
    let rows: Vec<Vec<Cell>> = queues.iter().map(row).collect();
    lay_out(&["QUEUE", "KEPT BY", "READY", "INVISIBLE", "DEAD"], &rows, 0)
}

fn dead(messages: &[DeadMessage]) -> String {
    if messages.is_empty() {
        return "no dead messages\n".to_owned();
    }
    let row = |message: &DeadMessage| {
        let receives = message.receives.to_string();
        [&message.id, &message.sent_at, &message.dead_at, &receives].map(Cell::from).into()
    };
    let rows: Vec<Vec<Cell>> = messages.iter().map(row).collect();
    lay_out(&["MESSAGE", "SENT", "DEAD SINCE", "RECEIVES"], &rows, 0)
}

fn redrives(redrives: &[Redrive]) -> String {
    if redrives.is_empty() {
        return "no redrives\n".to_owned();
    }
    let row = |redrive: &Redrive| {
        let state = match redrive.is_cancelled {
            true => "cancelled",
            false if redrive.moved < redrive.total => "under way",
            false => "done",
        };
        let moved = format!("{} of {}", redrive.moved, redrive.total);
        let pace = format!("{}/s", redrive.per_second);
        [redrive.id.as_str(), state, &moved, &pace, &redrive.began_at].map(Cell::from).into()
    };
    let rows: Vec<Vec<Cell>> = redrives.iter().map(row).collect();
    lay_out(&["REDRIVE", "STATE", "MOVED", "PACE", "BEGAN"], &rows, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_as_they_are_shown() {
        let depth = |name: &str, is_in_store, dead| QueueDepth {
            name: name.into(),
            is_in_store,
            ready: 12,
            invisible: 3,
            dead,
        };
        let at = || "2026-11-23T20:00:00.000Z".to_owned();
        let message = DeadMessage { id: "0197-a.pay.action.1".into(), sent_at: at(), dead_at: at(), receives: 5 };
        let redrive = |id: &str, moved, is_cancelled| Redrive {
            id: id.into(),
            began_at: at(),
            per_second: 10,
            total: 40,
            moved,
            is_cancelled,
        };
        let shown = [
            depths(&[]),
            depths(&[depth("payment-commands", true, 0), depth("answers", false, 7)]),
            dead(&[]),
            dead(&[message]),
            redrives(&[]),
            redrives(&[redrive("r-3", 40, false), redrive("r-2", 9, false), redrive("r-1", 9, true)]),
        ];
        insta::assert_snapshot!(anstream::adapter::strip_str(&shown.join("\n")).to_string());
    }
}
