//! What becomes of the sagas, learnt cheaply: a few lists a look, whatever the number of sagas, and each saga that
//! has left them once. The numbers that people see while it runs come from here.

use amends_client::{
    Client, DeadLetter, DeadLetterQuery, Error, Page, Saga, SagaQuery, SagaStatus, SagaSummary, StepStatus,
};
use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use std::collections::BTreeMap;
use std::future::Future;

/// Where a saga that is not finished can stand.
const UNFINISHED: [SagaStatus; 3] = [SagaStatus::Running, SagaStatus::Compensating, SagaStatus::Stuck];
/// How many sagas are asked for at once.
const AT_ONCE: usize = 8;
/// The length of a page: the longest that the server gives.
const PAGE: u32 = 500;

/// What is known of the sagas of the demo.
pub(super) struct Follower {
    client: Client,
    ended: BTreeMap<String, Ended>,
    unfinished: BTreeMap<String, SagaStatus>,
}

/// A saga's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Every step took effect, so many milliseconds after the saga was accepted.
    Completed { took_ms: u64 },
    /// Every effect was undone, so many milliseconds after the saga was accepted.
    Compensated { took_ms: u64 },
}

/// How many sagas stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Sagas known.
    pub(super) started: usize,
    /// Those that completed.
    pub(super) completed: usize,
    /// Those that were undone.
    pub(super) compensated: usize,
    /// Those that run or compensate.
    pub(super) in_flight: usize,
    /// Those that wait for a person.
    pub(super) stuck: usize,
    /// The latency from accepted to finished; `None` while none is finished.
    pub(super) latency: Option<Latency>,
}

/// The time from accepted to finished, over all sagas that are finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Latency {
    /// Half of the sagas took no longer.
    pub(super) p50_ms: u64,
    /// All but one in a hundred took no longer.
    pub(super) p99_ms: u64,
}

impl Follower {
    /// Nothing known yet of the sagas at `client`'s server.
    pub(super) fn new(client: Client) -> Follower {
        Follower { client, ended: BTreeMap::new(), unfinished: BTreeMap::new() }
    }

    /// Remembers a saga that someone was told of.
    pub(super) fn add(&mut self, id: &str) {
        if !self.ended.contains_key(id) {
            self.unfinished.entry(id.to_owned()).or_insert(SagaStatus::Running);
        }
    }

    /// Looks once.
    pub(super) async fn look(&mut self) -> Result<Tally> {
        let mut listed = BTreeMap::new();
        for status in UNFINISHED {
            let query = SagaQuery { status: Some(status), ..SagaQuery::default() };
            listed.extend(list(&self.client, query).await?.into_iter().map(|saga| (saga.id, saga.status)));
        }
        let left: Vec<String> = self.unfinished.keys().filter(|id| !listed.contains_key(*id)).cloned().collect();
        self.unfinished.extend(listed);
        for saga in sagas(&self.client, left).await? {
            self.note(&saga)?;
        }
        Ok(self.tally())
    }

    /// The sagas that run or compensate, as they were when last looked at.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = &str> {
        self.unfinished.iter().filter(|(_, status)| **status != SagaStatus::Stuck).map(|(id, _)| id.as_str())
    }

    /// Whether nothing more happens to those that wait for a person: their other steps may still be on their way.
    pub(super) async fn parked_are_at_rest(&self) -> Result<bool> {
        let parked = self.unfinished.iter().filter(|(_, status)| **status == SagaStatus::Stuck);
        let sagas = sagas(&self.client, parked.map(|(id, _)| id.clone()).collect::<Vec<_>>()).await?;
        Ok(sagas.iter().all(|saga| saga.steps.iter().all(|step| is_at_rest(step.status))))
    }

    fn note(&mut self, saga: &Saga) -> Result<()> {
        match ended(saga)? {
            Some(ended) => {
                self.unfinished.remove(&saga.id);
                self.ended.insert(saga.id.clone(), ended);
            }
            // It has moved on between the lists; the next look finds it in its new place.
            None => {
                self.unfinished.insert(saga.id.clone(), saga.status);
            }
        }
        Ok(())
    }

    fn tally(&self) -> Tally {
        let stuck = self.unfinished.values().filter(|status| **status == SagaStatus::Stuck).count();
        let completed = self.ended.values().filter(|ended| matches!(ended, Ended::Completed { .. })).count();
        Tally {
            started: self.ended.len() + self.unfinished.len(),
            completed,
            compensated: self.ended.len() - completed,
            in_flight: self.unfinished.len() - stuck,
            stuck,
            latency: Latency::of(self.ended.values().map(|ended| ended.took_ms())),
        }
    }
}

impl Ended {
    fn took_ms(&self) -> u64 {
        match self {
            Ended::Completed { took_ms } | Ended::Compensated { took_ms } => *took_ms,
        }
    }
}

impl Latency {
    /// The percentiles by nearest rank: always a value that was measured.
    pub(super) fn of(took_ms: impl Iterator<Item = u64>) -> Option<Latency> {
        let mut sorted: Vec<u64> = took_ms.collect();
        sorted.sort_unstable();
        let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).checked_sub(1)?).copied();
        Some(Latency { p50_ms: rank(50)?, p99_ms: rank(99)? })
    }
}

/// How a saga ended; `None` while it has not.
pub(super) fn ended(saga: &Saga) -> Result<Option<Ended>> {
    match (saga.status, saga.finished_at.as_deref()) {
        (SagaStatus::Completed, Some(at)) => Ok(Some(Ended::Completed { took_ms: took_ms(saga, at)? })),
        (SagaStatus::Compensated, Some(at)) => Ok(Some(Ended::Compensated { took_ms: took_ms(saga, at)? })),
        (SagaStatus::Completed | SagaStatus::Compensated, None)
        | (SagaStatus::Running | SagaStatus::Compensating | SagaStatus::Stuck, _) => Ok(None),
    }
}

/// Whether a step of a saga that is stuck stays as it is until a person decides.
fn is_at_rest(step: StepStatus) -> bool {
    match step {
        StepStatus::Pending
        | StepStatus::Done
        | StepStatus::Refused
        | StepStatus::Skipped
        | StepStatus::Compensated
        | StepStatus::Dead => true,
        StepStatus::Running
        | StepStatus::Waiting
        | StepStatus::Sleeping
        | StepStatus::Unknown
        | StepStatus::Compensating => false,
    }
}

/// All sagas of a query, over all its pages.
pub(super) async fn list(client: &Client, query: SagaQuery) -> Result<Vec<SagaSummary>, Error> {
    all(|cursor| {
        let query = SagaQuery { cursor, limit: Some(PAGE), ..query.clone() };
        async move { client.sagas(&query).await }
    })
    .await
}

/// All open dead letters.
pub(super) async fn dead_letters(client: &Client) -> Result<Vec<DeadLetter>, Error> {
    all(|cursor| async move {
        client.dead_letters(&DeadLetterQuery { cursor, limit: Some(PAGE), ..DeadLetterQuery::default() }).await
    })
    .await
}

/// The sagas of these ids, in the ids' order.
pub(super) async fn sagas(client: &Client, ids: impl IntoIterator<Item = String>) -> Result<Vec<Saga>, Error> {
    let asked = stream::iter(ids).map(|id| async move { client.saga(&id).await });
    asked.buffered(AT_ONCE).try_collect().await
}

async fn all<T, F>(mut page: impl FnMut(Option<String>) -> F) -> Result<Vec<T>, Error>
where
    F: Future<Output = Result<Page<T>, Error>>,
{
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        let page = page(cursor).await?;
        items.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(items),
        }
    }
}

fn took_ms(saga: &Saga, finished_at: &str) -> Result<u64> {
    let at = |text: &str| -> Result<i64> {
        let time: jiff::Timestamp = text.parse().with_context(|| format!("`{text}` of saga {} is no time", saga.id))?;
        Ok(time.as_millisecond())
    };
    Ok(u64::try_from(at(finished_at)? - at(&saga.created_at)?).unwrap_or(0))
}
