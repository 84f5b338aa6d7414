//! Queues of the emulator that all tests share. `cargo xtask ci` starts it, and so does `cargo xtask sqs`.

#![cfg(test)]

use amends_core::time::Timestamp;
use amends_sqs::SqsQueues;
use amends_store::queues::{Delivery, Handled, Handling, NewMessage, Queues, ReceiveRequest};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the tests call the queue.
pub const QUEUE: &str = "payment-commands";

/// The address of the emulator.
pub fn emulator() -> String {
    std::env::var("TEST_SQS").expect("these tests need an SQS: run `cargo xtask sqs` beside them, and set what it says")
}

/// A client for what is at this address.
pub fn client(endpoint: &str) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(Region::new("us-east-1"));
    Client::from_conf(config.build())
}

/// A new queue.
pub struct New {
    /// Its name in SQS.
    pub name: String,
    pub queues: SqsQueues,
}

impl New {
    pub async fn standard() -> New {
        New::with_attributes(&[]).await
    }

    /// One whose messages are dead after so many receivings.
    pub async fn with_dead(receives: u32) -> New {
        let (_, dead) = create(&[]).await;
        let asked = client(&emulator()).get_queue_attributes().queue_url(dead);
        let known = asked.attribute_names(QueueAttributeName::QueueArn).send().await.unwrap().attributes.unwrap();
        let resource = &known[&QueueAttributeName::QueueArn];
        let policy = format!("{{\"deadLetterTargetArn\":\"{resource}\",\"maxReceiveCount\":\"{receives}\"}}");
        New::with_attributes(&[(QueueAttributeName::RedrivePolicy, policy)]).await
    }

    pub async fn with_attributes(attributes: &[(QueueAttributeName, String)]) -> New {
        let (name, address) = create(attributes).await;
        New { name, queues: at(&emulator(), &address) }
    }

    pub async fn send(&self, ids: &[&str]) {
        let messages = ids.iter().map(|id| message(id, &format!("of {id}"))).collect();
        let sent = self.queues.send_to(QUEUE, messages).await.unwrap();
        assert!(sent.iter().all(|sent| *sent == amends_store::queues::Sent::Done), "{sent:?}");
    }

    pub async fn receive(&self, wait_ms: u64, visibility_ms: u64) -> Vec<Delivery> {
        let now = now();
        let request = ReceiveRequest { limit: 10, now, wait_ms, visibility_ms, receives_max: 99 };
        self.queues.receive_from(QUEUE, request).await.unwrap()
    }

    pub async fn handle(&self, delivery: &Delivery, handling: Handling) -> Handled {
        self.queues.handle(QUEUE, vec![(delivery.receipt.clone(), handling)], now()).await.unwrap().remove(0)
    }

    /// Takes messages out until so many different ones have come; returns the ids of all that came, in order.
    pub async fn drain(&self, different: usize) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        loop {
            let mut seen = ids.clone();
            seen.sort();
            seen.dedup();
            let received = self.receive(if seen.len() < different { 20_000 } else { 1_000 }, 60_000).await;
            if received.is_empty() {
                ids.sort();
                return ids;
            }
            let handlings = received.iter().map(|one| (one.receipt.clone(), Handling::Acknowledge)).collect();
            self.queues.handle(QUEUE, handlings, now()).await.unwrap();
            ids.extend(received.into_iter().map(|delivery| delivery.id));
        }
    }
}

/// The queues of what is at this address.
pub fn at(endpoint: &str, queue: &str) -> SqsQueues {
    SqsQueues::with_client(client(endpoint), [(QUEUE.to_owned(), queue.to_owned())].into()).unwrap()
}

async fn create(attributes: &[(QueueAttributeName, String)]) -> (String, String) {
    let name = format!("test-{:016x}", fastrand::u64(..));
    let asked = client(&emulator()).create_queue().queue_name(&name);
    let made = asked.set_attributes(Some(attributes.iter().cloned().collect())).send().await;
    (name, made.expect("the emulator makes queues").queue_url.unwrap())
}

pub fn message(id: &str, body: &str) -> NewMessage {
    NewMessage { id: id.into(), body: body.into(), at: Timestamp(0) }
}

pub fn now() -> Timestamp {
    Timestamp(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
}
