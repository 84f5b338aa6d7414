//! `amends watch`: a saga's events as they are committed.

use super::failure::Failure;
use super::remote::Remote;
use super::{Outcome, output, show};
use amends_client::{Client, Error, Saga, SagaStatus};
use clap::Args;
use jiff::Timestamp;
use std::process::ExitCode;
use std::time::Duration;

/// How often a broken stream is taken up again before it is given up.
const TRIES: u32 = 10;
/// How long to wait before each try.
const PAUSE: Duration = Duration::from_secs(1);

/// Which saga to follow.
#[derive(Args, Debug)]
pub(super) struct WatchArgs {
    /// The saga's id
    id: String,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(arguments: WatchArgs) -> Outcome {
    let client = arguments.remote.client()?;
    let saga = client.saga(&arguments.id).await?;
    let began = saga.created_at.parse().unwrap_or_else(|_| Timestamp::now());
    let mut watch = Watch { client, id: arguments.id, json: arguments.remote.json, began, last: 0 };
    let saga = watch.follow_to_the_end().await?;
    if !watch.json {
        output::print(&show::outcome(&saga, Timestamp::now()))?;
        if saga.status == SagaStatus::Stuck {
            output::print(&format!("amends get {} shows what can be done", saga.id))?;
        }
    }
    Ok(exit_status(saga.status))
}

struct Watch {
    client: Client,
    id: String,
    json: bool,
    began: Timestamp,
    /// The last sequence that was shown.
    last: u64,
}

impl Watch {
    /// Shows what happens until the saga is settled. A server that restarts in between is waited for.
    async fn follow_to_the_end(&mut self) -> Result<Saga, Failure> {
        let mut tries = 0;
        loop {
            let seen = self.last;
            let broken = match self.follow().await {
                Ok(Some(saga)) => return Ok(saga),
                Ok(None) => None,
                Err(Interruption::Stream(error)) => Some(error),
                Err(Interruption::Final(failure)) => return Err(failure),
            };
            tries = if self.last > seen { 1 } else { tries + 1 };
            if tries > TRIES {
                let gone = Failure::new("the server ends the stream before the saga is finished");
                return Err(broken.map_or(gone, Failure::from));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Follows one stream to its end. `None` where it ended before the saga was settled.
    async fn follow(&mut self) -> Result<Option<Saga>, Interruption> {
        let mut stream = self.client.follow(&self.id, self.last).await?;
        while let Some(event) = stream.next().await? {
            self.last = event.sequence;
            let shown = if self.json {
                output::print_json_line(&event)
            } else {
                output::print(&show::event(&event, self.began))
            };
            shown.map_err(Interruption::Final)?;
            if event.kind == "dead-lettered" {
                let saga = self.client.saga(&self.id).await?;
                // The history is shown up to where the saga stands; only then is it the last word.
                if saga.status == SagaStatus::Stuck && !self.is_behind().await? {
                    return Ok(Some(saga));
                }
            }
        }
        let saga = self.client.saga(&self.id).await?;
        Ok(is_settled(saga.status).then_some(saga))
    }

    async fn is_behind(&self) -> Result<bool, Error> {
        let events = self.client.events(&self.id).await?.items;
        Ok(events.last().is_some_and(|event| event.sequence > self.last))
    }
}

/// Why a stream could not be followed.
enum Interruption {
    /// It may work again in a moment.
    Stream(Error),
    /// It will not.
    Final(Failure),
}

impl From<Error> for Interruption {
    fn from(error: Error) -> Interruption {
        match error {
            Error::Unreachable { .. } => Interruption::Stream(error),
            Error::Refused(ref problem) if problem.status == 503 => Interruption::Stream(error),
            Error::Refused(_) | Error::BadAddress(_) | Error::BadAuthority(_) | Error::BadToken => {
                Interruption::Final(error.into())
            }
        }
    }
}

/// Whether there is nothing to wait for any more: the saga is finished, or a person must do something.
pub(super) fn is_settled(status: SagaStatus) -> bool {
    status.is_finished() || status == SagaStatus::Stuck
}

/// The exit status that tells how a saga stands.
pub(super) fn exit_status(status: SagaStatus) -> ExitCode {
    ExitCode::from(match status {
        SagaStatus::Completed => 0,
        SagaStatus::Compensated => 3,
        SagaStatus::Stuck => 4,
        SagaStatus::Running | SagaStatus::Compensating => 5,
    })
}
