//! Queues in Amazon SQS, by the trait [`Queues`] that stores implement with rows, and the [`Relay`] that takes what steps send
//! from a store's queue to one here.
//!
//! What differs from a store's queue, because SQS is made so:
//!
//! - A message carries its sender's id in the attribute `amends-id`, since SQS gives it another id with every sending. SQS knows
//!   nothing of that id: a message that is sent twice is there twice. One without the attribute goes by SQS's id.
//! - Times are whole seconds, rounded up. A message is kept back for 15 minutes at most; a later one is refused. One that was
//!   received is held for 12 hours at most, counted from the receiving; what is asked beyond eleven is held for eleven.
//! - How often a message may be received is in the queue's redrive policy, as is where the dead ones are.
//! - At most ten are received at once. Where receiving ends early, because its future is dropped, SQS may have handed some out all
//!   the same: those come again when their time is over.
//! - Dead messages are shown by receiving some of them for a moment, so it is a sample, and each showing counts as a receiving. SQS
//!   does not say when they died; the time at which they were sent stands for it.
//! - A redrive has 1 to 500 messages a second and no bound; SQS names it, and only while it runs. It takes every message to the
//!   queue that it died in, so with a queue of dead messages that several share it is about all of them.
//!
//! FIFO queues are refused: their order would hold only until the first message that fails, and their groups have no place in the trait.

mod batch;
mod dead;
mod failure;
mod relay;

pub use relay::Relay;

use amends_core::time::Timestamp;
use amends_store::queues::{
    DeadMessage, DeadQuery, Delivery, Depth, Handled, Handling, NewMessage, NewRedrive, QueueError, Queues,
    ReceiveRequest, Redrive, Sent,
};
use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Region;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use batch::Change;
use failure::{failure, refused};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::OnceCell;

/// The attribute of a message that has its sender's id.
pub const ID_ATTRIBUTE: &str = "amends-id";

/// The most messages of one call.
pub(crate) const BATCH: usize = 10;

/// The longest that SQS waits for a message, in seconds.
const WAIT_SECONDS: u64 = 20;

/// The longest that a message is held from its receiving, in seconds.
const VISIBILITY_SECONDS: u64 = 12 * 60 * 60;

/// How long a call may take, waiting for messages included.
const ATTEMPT: Duration = Duration::from_secs(30);

/// Which queues there are, and how SQS is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqsOptions {
    /// Another address than the region's own.
    pub endpoint: Option<String>,
    /// The region; without it the environment or the profile says so.
    pub region: Option<String>,
    /// By the name that Amends has for a queue: its address in SQS, or its name there.
    pub queues: BTreeMap<String, String>,
}

/// Queues in SQS.
#[derive(Debug)]
pub struct SqsQueues {
    client: Client,
    queues: BTreeMap<String, Place>,
}

/// Where a queue is.
#[derive(Debug)]
struct Place {
    /// Its address or its name.
    told: String,
    /// Its address, once it is known.
    address: OnceCell<String>,
}

impl SqsQueues {
    /// Finds region and credentials as AWS's tools do, single sign-on excepted. Nothing is asked of SQS yet.
    ///
    /// # Errors
    /// [`QueueError::Refused`] where there is no region, or a queue is a FIFO queue.
    pub async fn new(options: SqsOptions) -> Result<SqsQueues, QueueError> {
        let http = aws_smithy_http_client::Builder::new();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http.tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https())
            .retry_config(RetryConfig::standard())
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build());
        if let Some(endpoint) = options.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(region) = options.region {
            loader = loader.region(Region::new(region));
        }
        let config = loader.load().await;
        if config.region().is_none() {
            return Err(refused("no region is configured; set `sqs.region` or AWS_REGION"));
        }
        SqsQueues::with_client(Client::new(&config), options.queues)
    }

    /// Queues that are reached by a client which was made elsewhere: by Amends' name for a queue its address in SQS, or its name there.
    ///
    /// # Errors
    /// [`QueueError::Refused`] where one of them is a FIFO queue.
    pub fn with_client(client: Client, queues: BTreeMap<String, String>) -> Result<SqsQueues, QueueError> {
        if let Some((name, _)) = queues.iter().find(|(_, told)| told.ends_with(".fifo")) {
            return Err(refused(format!("{name} is a FIFO queue; only standard queues are used")));
        }
        let place = |(name, told)| (name, Place { told, address: OnceCell::new() });
        Ok(SqsQueues { client, queues: queues.into_iter().map(place).collect() })
    }

    /// The address of a queue; by its name it is asked for once.
    async fn address(&self, queue: &str) -> Result<&str, QueueError> {
        let place = self.queues.get(queue);
        let place = place.ok_or_else(|| refused(format!("no queue of SQS is configured as {queue}")))?;
        let address = place.address.get_or_try_init(|| async {
            if place.told.contains("://") {
                return Ok(place.told.clone());
            }
            let found = self.client.get_queue_url().queue_name(&place.told).send().await;
            let found = found.map_err(|error| failure(&error))?;
            found.queue_url.ok_or_else(|| refused("SQS gives no address for the queue"))
        });
        address.await.map(String::as_str)
    }

    /// What SQS knows of a queue.
    async fn attributes(
        &self,
        address: &str,
        names: &[QueueAttributeName],
    ) -> Result<HashMap<QueueAttributeName, String>, QueueError> {
        let asked = self.client.get_queue_attributes().queue_url(address).set_attribute_names(Some(names.to_vec()));
        let answer = asked.send().await.map_err(|error| failure(&error))?;
        Ok(answer.attributes.unwrap_or_default())
    }
}

#[async_trait]
impl Queues for SqsQueues {
    async fn send_to(&self, queue: &str, messages: Vec<NewMessage>) -> Result<Vec<Sent>, QueueError> {
        let address = self.address(queue).await?;
        let mut sent: Vec<Sent> = Vec::with_capacity(messages.len());
        let mut fit = Vec::new();
        let now = now();
        for message in messages {
            match batch::refusal(&message, now) {
                Some(why) => sent.push(Sent::Refused(why)),
                None => {
                    fit.push((sent.len(), message));
                    // Until SQS has said what came of it.
                    sent.push(Sent::Refused("SQS did not say what came of it".into()));
                }
            }
        }
        for batch in batch::split(fit) {
            let entries = batch.iter().map(|(at, message)| batch::entry(*at, message, now)).collect();
            let asked = self.client.send_message_batch().queue_url(address).set_entries(Some(entries));
            let answer = asked.send().await.map_err(|error| failure(&error))?;
            let done = answer.successful.iter().map(|entry| (entry.id.as_str(), Sent::Done));
            let failed = answer.failed.iter().map(|entry| (entry.id.as_str(), Sent::Refused(batch::said(entry))));
            batch::settle(&mut sent, done.chain(failed));
        }
        Ok(sent)
    }

    async fn receive_from(&self, queue: &str, request: ReceiveRequest) -> Result<Vec<Delivery>, QueueError> {
        if request.limit == 0 {
            return Ok(Vec::new());
        }
        let asked = self.client.receive_message().queue_url(self.address(queue).await?);
        let asked = asked
            .max_number_of_messages(in_i32(request.limit.min(BATCH) as u64))
            .wait_time_seconds(in_i32(seconds(request.wait_ms).min(WAIT_SECONDS)))
            .visibility_timeout(in_i32(seconds(request.visibility_ms).min(VISIBILITY_SECONDS)))
            .message_attribute_names(ID_ATTRIBUTE)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let answer = asked.send().await.map_err(|error| failure(&error))?;
        Ok(answer.messages.unwrap_or_default().into_iter().map(delivery).collect())
    }

    async fn handle(
        &self,
        queue: &str,
        handlings: Vec<(String, Handling)>,
        now: Timestamp,
    ) -> Result<Vec<Handled>, QueueError> {
        let address = self.address(queue).await?;
        let mut handled = vec![Handled::Refused("SQS did not say what came of it".into()); handlings.len()];
        let (deleted, changed) = batch::by_call(handlings, now);
        for entries in deleted.chunks(BATCH) {
            let asked = self.client.delete_message_batch().queue_url(address).set_entries(Some(entries.to_vec()));
            let answer = asked.send().await.map_err(|error| failure(&error))?;
            let done = answer.successful.iter().map(|entry| (entry.id.as_str(), Handled::Done));
            let failed = answer.failed.iter().map(|entry| (entry.id.as_str(), batch::judge(entry, Change::Delete)));
            batch::settle(&mut handled, done.chain(failed));
        }
        for entries in changed.chunks(BATCH) {
            let asked =
                self.client.change_message_visibility_batch().queue_url(address).set_entries(Some(entries.to_vec()));
            let answer = asked.send().await.map_err(|error| failure(&error))?;
            let done = answer.successful.iter().map(|entry| (entry.id.as_str(), Handled::Done));
            let failed = answer.failed.iter().map(|entry| (entry.id.as_str(), batch::judge(entry, Change::Visibility)));
            batch::settle(&mut handled, done.chain(failed));
        }
        Ok(handled)
    }

    async fn dead(&self, queue: &str, query: DeadQuery) -> Result<Vec<DeadMessage>, QueueError> {
        self.dead_sample(queue, query).await
    }

    async fn redrive(&self, queue: &str, redrive: NewRedrive) -> Result<Redrive, QueueError> {
        self.start_move(queue, redrive).await
    }

    async fn redrives(&self, queue: &str, _now: Timestamp) -> Result<Vec<Redrive>, QueueError> {
        self.moves(queue).await
    }

    async fn cancel_redrive(&self, queue: &str, id: &str, _now: Timestamp) -> Result<Option<Redrive>, QueueError> {
        self.cancel_move(queue, id).await
    }

    async fn depth(&self, queue: &str, _now: Timestamp) -> Result<Depth, QueueError> {
        self.count(queue).await
    }
}

fn delivery(message: Message) -> Delivery {
    let receives = system_number(&message, &MessageSystemAttributeName::ApproximateReceiveCount);
    Delivery {
        id: id(&message),
        receives: u32::try_from(receives).unwrap_or(u32::MAX).max(1),
        body: message.body.unwrap_or_default(),
        receipt: message.receipt_handle.unwrap_or_default(),
    }
}

/// The sender's id for a message, or SQS's where the sender gave none.
fn id(message: &Message) -> String {
    let own = message.message_attributes.as_ref().and_then(|attributes| attributes.get(ID_ATTRIBUTE)?.string_value());
    own.or(message.message_id()).unwrap_or_default().to_owned()
}

/// A number that SQS tells of a message as text; 0 where it does not.
fn system_number(message: &Message, name: &MessageSystemAttributeName) -> u64 {
    let told = message.attributes.as_ref().and_then(|attributes| attributes.get(name));
    told.and_then(|told| told.parse().ok()).unwrap_or(0)
}

/// Whole seconds, rounded up: nothing comes before its time.
fn seconds(ms: u64) -> u64 {
    ms.div_ceil(1_000)
}

fn in_i32(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
