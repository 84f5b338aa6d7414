//! A relay for each queue that is kept in SQS: it takes there what steps have put into the store's queue of the same name.

use crate::config::Config;
use amends_sqs::{Relay, SqsOptions, SqsQueues};
use amends_store::{Queues, StoreAndViews};
use anyhow::Context;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The relays of a server.
pub(super) struct Relays {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    queues: Option<Arc<SqsQueues>>,
}

impl Relays {
    /// Starts them. SQS need not be there: what is sent waits in the store.
    pub(super) async fn start(config: &Config, store: &Arc<dyn StoreAndViews>) -> anyhow::Result<Relays> {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let places = config.queues.iter().filter_map(|(name, queue)| Some((name.clone(), queue.sqs.clone()?)));
        let options = SqsOptions {
            endpoint: config.sqs.endpoint.clone(),
            region: config.sqs.region.clone(),
            queues: places.collect(),
        };
        if options.queues.is_empty() {
            return Ok(Relays { stop, tasks, queues: None });
        }
        let names: Vec<String> = options.queues.keys().cloned().collect();
        let queues = Arc::new(SqsQueues::new(options).await.context("the queues of SQS cannot be used")?);
        for queue in names {
            let lease_ms = config.queues[&queue].visibility_ms;
            let relay = Relay { queue, store: store.clone(), queues: queues.clone(), lease_ms };
            let mut stopped = stopped.clone();
            tasks.spawn(relay.run(async move {
                // The server may also be dropped; then nobody is left to relay for.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            }));
        }
        Ok(Relays { stop, tasks, queues: Some(queues) })
    }

    /// The queues in SQS, if there are some.
    pub(super) fn queues(&self) -> Option<Arc<dyn Queues>> {
        self.queues.clone().map(|queues| queues as Arc<dyn Queues>)
    }

    /// Stops them: what is on its way gets a moment to land.
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}
