//! The queue of dead messages that a queue's redrive policy names: a sample of it, how much is in it, and its way back.

use crate::failure::{failure, refused};
use crate::{BATCH, ID_ATTRIBUTE, SqsQueues, id, in_i32, now, system_number};
use amends_core::time::Timestamp;
use amends_store::queues::{DeadMessage, DeadQuery, Depth, Handling, NewRedrive, QueueError, Redrive};
use aws_sdk_sqs::types::{
    ListMessageMoveTasksResultEntry, Message, MessageSystemAttributeName, QueueAttributeName as Name,
};
use std::collections::{BTreeMap, HashMap};

/// The most dead messages that are shown at once.
const SHOWN: usize = 100;

/// How long a dead message that is shown is invisible, in seconds, should it not be given back.
const SHOWN_SECONDS: u64 = 10;

/// How many redrives SQS tells of.
const REDRIVES: i32 = 10;

/// The rates that SQS takes.
const MOST_PER_SECOND: u32 = 500;

impl SqsQueues {
    /// The resource name of the queue of dead messages; `None` where the queue has no redrive policy.
    async fn dead_queue(&self, queue: &str) -> Result<Option<String>, QueueError> {
        let known = self.attributes(self.address(queue).await?, &[Name::RedrivePolicy]).await?;
        Ok(known.get(&Name::RedrivePolicy).and_then(|policy| target(policy)))
    }

    /// The address of the queue with this resource name.
    async fn address_of(&self, resource: &str) -> Result<String, QueueError> {
        let mut parts = resource.rsplit(':');
        let (name, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let asked = self.client.get_queue_url().queue_name(name).queue_owner_aws_account_id(account);
        let found = asked.send().await.map_err(|error| failure(&error))?;
        found.queue_url.ok_or_else(|| refused("SQS gives no address for the queue of dead messages"))
    }

    /// Receives dead messages for a moment and gives them back.
    pub(crate) async fn dead_sample(&self, queue: &str, query: DeadQuery) -> Result<Vec<DeadMessage>, QueueError> {
        let Some(resource) = self.dead_queue(queue).await? else { return Ok(Vec::new()) };
        let address = self.address_of(&resource).await?;
        let mut seen = BTreeMap::new();
        let mut receipts = Vec::new();
        while receipts.len() < SHOWN {
            let asked = self.client.receive_message().queue_url(&address).message_attribute_names(ID_ATTRIBUTE);
            let asked = asked
                .max_number_of_messages(in_i32(BATCH as u64))
                .visibility_timeout(in_i32(SHOWN_SECONDS))
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
            // One second: an answer at once is of some of SQS's servers only.
            let answer = asked.wait_time_seconds(1).send().await.map_err(|error| failure(&error))?;
            let messages = answer.messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let receipt = message.receipt_handle.clone().unwrap_or_default();
                receipts.push((receipt, Handling::Reject { at: Timestamp(0) }));
                let message = dead_message(message);
                seen.insert((message.dead_at, message.id.clone()), message);
            }
        }
        self.give_back(&address, receipts).await?;
        let is_wanted = |key: &(Timestamp, String)| query.after.as_ref().is_none_or(|after| key > after);
        Ok(seen.into_iter().filter(|(key, _)| is_wanted(key)).map(|(_, message)| message).take(query.limit).collect())
    }

    async fn give_back(&self, address: &str, receipts: Vec<(String, Handling)>) -> Result<(), QueueError> {
        let (_, changed) = crate::batch::by_call(receipts, now());
        for entries in changed.chunks(BATCH) {
            let asked =
                self.client.change_message_visibility_batch().queue_url(address).set_entries(Some(entries.to_vec()));
            asked.send().await.map_err(|error| failure(&error))?;
        }
        Ok(())
    }

    /// Starts SQS's own task that moves dead messages back to where they died.
    pub(crate) async fn start_move(&self, queue: &str, redrive: NewRedrive) -> Result<Redrive, QueueError> {
        let resource = self.dead_queue(queue).await?;
        let resource = resource.ok_or_else(|| refused("the queue has no redrive policy, and so no dead messages"))?;
        let address = self.address_of(&resource).await?;
        let total = number(&self.attributes(&address, &DEAD).await?, &Name::ApproximateNumberOfMessages);
        let per_second = redrive.per_second.clamp(1, MOST_PER_SECOND);
        let asked = self.client.start_message_move_task().source_arn(resource);
        let asked = asked.max_number_of_messages_per_second(in_i32(u64::from(per_second)));
        let begun = asked.send().await.map_err(|error| failure(&error))?;
        let id = begun.task_handle.ok_or_else(|| refused("SQS gives the redrive no name"))?;
        Ok(Redrive { id, at: redrive.now, per_second, total, moved: 0, is_cancelled: false })
    }

    /// The last redrives, newest first.
    pub(crate) async fn moves(&self, queue: &str) -> Result<Vec<Redrive>, QueueError> {
        let Some(resource) = self.dead_queue(queue).await? else { return Ok(Vec::new()) };
        let asked = self.client.list_message_move_tasks().source_arn(resource).max_results(REDRIVES);
        let answer = asked.send().await.map_err(|error| failure(&error))?;
        let mut redrives: Vec<Redrive> = answer.results().iter().map(redrive).collect();
        redrives.sort_by_key(|redrive| std::cmp::Reverse(redrive.at));
        Ok(redrives)
    }

    /// Stops a redrive. One that has ended is told as it is; `None` where SQS tells of none by this name.
    pub(crate) async fn cancel_move(&self, queue: &str, id: &str) -> Result<Option<Redrive>, QueueError> {
        let Some(redrive) = self.moves(queue).await?.into_iter().find(|redrive| redrive.id == id) else {
            return Ok(None);
        };
        if id.starts_with(ENDED) || redrive.is_cancelled {
            return Ok(Some(redrive));
        }
        let answer = self.client.cancel_message_move_task().task_handle(id).send().await;
        let answer = answer.map_err(|error| failure(&error))?;
        let moved = u64::try_from(answer.approximate_number_of_messages_moved).unwrap_or(0);
        Ok(Some(Redrive { moved, total: redrive.total.max(moved), is_cancelled: true, ..redrive }))
    }

    /// How many messages are where.
    pub(crate) async fn count(&self, queue: &str) -> Result<Depth, QueueError> {
        let known = self.attributes(self.address(queue).await?, &COUNTED).await?;
        let dead = match known.get(&Name::RedrivePolicy).and_then(|policy| target(policy)) {
            Some(resource) => {
                let known = self.attributes(&self.address_of(&resource).await?, &DEAD).await?;
                DEAD.iter().map(|name| number(&known, name)).sum()
            }
            None => 0,
        };
        Ok(Depth {
            ready: number(&known, &Name::ApproximateNumberOfMessages),
            invisible: number(&known, &Name::ApproximateNumberOfMessagesNotVisible)
                + number(&known, &Name::ApproximateNumberOfMessagesDelayed),
            dead,
        })
    }
}

/// What the queue of dead messages is asked for.
const DEAD: [Name; 2] = [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];

/// What the queue itself is asked for.
const COUNTED: [Name; 4] = [
    Name::ApproximateNumberOfMessages,
    Name::ApproximateNumberOfMessagesNotVisible,
    Name::ApproximateNumberOfMessagesDelayed,
    Name::RedrivePolicy,
];

/// What the name of a redrive that has ended begins with: SQS names none that does not run.
const ENDED: &str = "ended-";

fn number(known: &HashMap<Name, String>, name: &Name) -> u64 {
    known.get(name).and_then(|told| told.parse().ok()).unwrap_or(0)
}

/// The queue of dead messages that a redrive policy names.
fn target(policy: &str) -> Option<String> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    policy.get("deadLetterTargetArn")?.as_str().map(str::to_owned)
}

fn dead_message(message: Message) -> DeadMessage {
    let sent_at = Timestamp(system_number(&message, &MessageSystemAttributeName::SentTimestamp));
    let receives = system_number(&message, &MessageSystemAttributeName::ApproximateReceiveCount);
    DeadMessage {
        id: id(&message),
        body: message.body.unwrap_or_default(),
        sent_at,
        dead_at: sent_at,
        receives: u32::try_from(receives).unwrap_or(u32::MAX),
    }
}

fn redrive(task: &ListMessageMoveTasksResultEntry) -> Redrive {
    let number = |told: i64| u64::try_from(told).unwrap_or(0);
    let moved = number(task.approximate_number_of_messages_moved());
    let per_second = task.max_number_of_messages_per_second().and_then(|told| u32::try_from(told).ok());
    Redrive {
        id: task.task_handle().map_or_else(|| format!("{ENDED}{}", task.started_timestamp()), str::to_owned),
        at: Timestamp(number(task.started_timestamp())),
        per_second: per_second.unwrap_or(MOST_PER_SECOND),
        total: task.approximate_number_of_messages_to_move().map_or(0, number).max(moved),
        moved,
        is_cancelled: task.status().is_some_and(|status| matches!(status, "CANCELLING" | "CANCELLED")),
    }
}
