//! Traces of sagas: a span for the whole, and one for each attempt at an action, a compensation or a probe, with
//! the times at which they really began and ended. They are made from what the engine commits and not in its way,
//! and their ids are those that the calls carried, so that a participant's own spans hang below them.
//!
//! Nothing here can hold up a saga: a collector that is slow or gone costs spans, which the log says.

mod otlp;
mod spans;

#[cfg(test)]
mod tests;

use crate::config::Config;
use amends_core::redact::{Pointer, Redaction};
use amends_engine::{Committed, Engine, Snapshot};
use amends_store::StoreAndViews;
use otlp::Collector;
use spans::{Span, Tracker};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// How many spans go in one request at most.
const BATCH: usize = 512;
/// How many spans wait to be sent before new ones are dropped.
const WAITING: usize = 16 * BATCH;
/// How long a span waits for others to go with it.
const GATHERING: Duration = Duration::from_secs(1);
/// How many unfinished sagas are kept in mind. Past it all are forgotten, and read from the store when needed.
const SAGAS: usize = 100_000;
/// How long the last spans get to be sent when the server stops.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Sends traces as long as the server runs.
pub struct Exporter {
    stop: oneshot::Sender<()>,
    tasks: [JoinHandle<()>; 2],
}

impl Exporter {
    /// Begins to send, if the configuration says where to.
    ///
    /// # Errors
    /// Where no HTTP client can be set up.
    pub fn start(config: &Config, engine: &Engine, store: &Arc<dyn StoreAndViews>) -> anyhow::Result<Option<Exporter>> {
        let Some(endpoint) = &config.telemetry.otlp_endpoint else { return Ok(None) };
        let collector = Collector::at(endpoint, &config.telemetry.service_name)?;
        let (spans, queue) = mpsc::channel(WAITING);
        let (stop, stopped) = oneshot::channel();
        let (store, redact) = (store.clone(), config.redact.clone());
        let watcher = Watcher { store, redact, sagas: HashMap::new(), spans, dropped: 0 };
        let watching = tokio::spawn(watcher.run(engine.committed(), stopped));
        let sending = tokio::spawn(send(queue, collector));
        Ok(Some(Exporter { stop, tasks: [watching, sending] }))
    }

    /// Sends what is there and ends.
    pub async fn stop(self) {
        // A task that has ended by itself needs no telling.
        let _ = self.stop.send(());
        let [watching, sending] = self.tasks;
        let ended = tokio::time::timeout(LAST_WORDS, async {
            let _ = watching.await;
            let _ = sending.await;
        });
        if ended.await.is_err() {
            tracing::warn!("the last spans could not be sent");
        }
    }
}

/// Turns commits into spans.
struct Watcher {
    store: Arc<dyn StoreAndViews>,
    /// What is shown of no saga, whatever its definition says.
    redact: Vec<Pointer>,
    sagas: HashMap<Uuid, Tracker>,
    spans: mpsc::Sender<Span>,
    dropped: u64,
}

impl Watcher {
    async fn run(mut self, mut commits: broadcast::Receiver<Arc<Committed>>, mut stop: oneshot::Receiver<()>) {
        loop {
            let commit = tokio::select! {
                biased;
                commit = commits.recv() => commit,
                _ = &mut stop => return,
            };
            match commit {
                Ok(commit) => self.take(&commit).await,
                // What was missed is read from the store when the next commit of its saga does not fit.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    async fn take(&mut self, commit: &Committed) {
        let (snapshot, id) = (&commit.saga, commit.saga.id);
        if !spans::is_sampled(&snapshot.saga) {
            return;
        }
        let first = commit.events.first().map_or(1, |(sequence, ..)| *sequence);
        let mut tracker = self.sagas.remove(&id).unwrap_or_default();
        if tracker.next() < first
            && let Err(why) = self.catch_up(snapshot, &mut tracker, first).await
        {
            tracing::debug!(saga = %id, why, "spans are missing, because the saga could not be read");
            tracker = Tracker::from(first);
        }
        for (sequence, at, event) in &commit.events {
            let spans = tracker.take(snapshot, *sequence, *at, event);
            self.queue(snapshot, spans);
        }
        if !snapshot.saga.is_finished() {
            if self.sagas.len() >= SAGAS {
                self.sagas.clear();
            }
            self.sagas.insert(id, tracker);
        }
    }

    /// Reads what came before `first`. A saga that was known is taken up where it was left: what was missed becomes
    /// spans. Of one that was not known, the spans were sent by whoever saw them.
    async fn catch_up(&mut self, snapshot: &Snapshot, tracker: &mut Tracker, first: u64) -> Result<(), String> {
        let known = tracker.next() > 1;
        let record = self.store.saga(snapshot.id).await.map_err(|error| error.to_string())?;
        let record = record.ok_or("it is not in the store")?;
        let (_, history) = Snapshot::read(&record, snapshot.definition.clone()).map_err(|error| error.to_string())?;
        for (sequence, (at, event)) in (1..first).zip(&history) {
            let spans = tracker.take(snapshot, sequence, *at, event);
            if known {
                self.queue(snapshot, spans);
            }
        }
        Ok(())
    }

    fn queue(&mut self, snapshot: &Snapshot, spans: Vec<Span>) {
        for mut span in spans {
            let redaction = Redaction::of(&snapshot.definition, &self.redact);
            span.error = span.error.map(|error| redaction.text(&error).into_owned());
            match self.spans.try_send(span) {
                Ok(()) if self.dropped > 0 => {
                    tracing::warn!(
                        spans = self.dropped,
                        "spans were dropped, because the collector takes them too slowly"
                    );
                    self.dropped = 0;
                }
                Ok(()) => {}
                Err(_) => self.dropped += 1,
            }
        }
    }
}

/// Sends spans in batches until there will be no more.
async fn send(mut queue: mpsc::Receiver<Span>, collector: Collector) {
    while let Some(first) = queue.recv().await {
        let mut batch = vec![first];
        let gathered = tokio::time::timeout(GATHERING, async {
            while batch.len() < BATCH {
                match queue.recv().await {
                    Some(span) => batch.push(span),
                    None => break,
                }
            }
        });
        // A batch is sent when it is full or old enough, whichever comes first.
        let _ = gathered.await;
        if let Err(error) = collector.send(&batch).await {
            tracing::warn!(spans = batch.len(), "spans could not be sent: {error:#}");
        }
    }
}
