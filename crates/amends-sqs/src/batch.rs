//! Batches of at most ten, and what SQS says of each of their entries. An entry's id is the number of what it is about.

#[cfg(test)]
mod tests;

use crate::{BATCH, ID_ATTRIBUTE, in_i32, seconds};
use amends_core::time::Timestamp;
use amends_store::queues::{Handled, Handling, MESSAGE_BYTES, NewMessage};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    MessageAttributeValue, SendMessageBatchRequestEntry,
};
use std::sync::Arc;

/// The longest that SQS keeps a message back, in seconds.
const DELAY_SECONDS: u64 = 15 * 60;

/// The longest that a message is asked to be held: an hour less than SQS allows, because SQS counts from the receiving, which we
/// do not know.
const HOLD_SECONDS: u64 = 11 * 60 * 60;

/// The type of the attribute with the id. It counts as a part of the message.
const TEXT: &str = "String";

/// Why SQS would not take this message; `None` where it would. It is found out beforehand: SQS refuses a whole batch for some of these.
pub(crate) fn refusal(message: &NewMessage, now: Timestamp) -> Option<Arc<str>> {
    let strange = |text: &str| text.chars().find(|letter| !is_taken(*letter));
    let size = size(message);
    if message.body.is_empty() || message.id.is_empty() {
        return Some("SQS takes no message without a body or an id".into());
    }
    if size > MESSAGE_BYTES {
        return Some(format!("it has {size} bytes with its id, and SQS takes {MESSAGE_BYTES}").into());
    }
    if let Some(letter) = strange(&message.body).or_else(|| strange(&message.id)) {
        return Some(format!("it has the character U+{:04X}, which SQS does not take", u32::from(letter)).into());
    }
    if seconds(message.at.since(now)) > DELAY_SECONDS {
        return Some("its time is further away than the 15 minutes for which SQS keeps a message back".into());
    }
    None
}

/// The characters of XML 1.0, which are those that SQS takes.
fn is_taken(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | '\u{20}'..='\u{FFFD}' | '\u{10000}'..)
}

/// What SQS counts of a message, in bytes.
fn size(message: &NewMessage) -> usize {
    message.body.len() + ID_ATTRIBUTE.len() + TEXT.len() + message.id.len()
}

/// Batches of so few and so small messages that SQS takes each as a whole: their bytes are bounded together.
pub(crate) fn split(messages: Vec<(usize, NewMessage)>) -> Vec<Vec<(usize, NewMessage)>> {
    let mut batches: Vec<Vec<(usize, NewMessage)>> = Vec::new();
    let mut bytes = 0;
    for (at, message) in messages {
        let more = size(&message);
        match batches.last_mut().filter(|batch| batch.len() < BATCH && bytes + more <= MESSAGE_BYTES) {
            Some(batch) => batch.push((at, message)),
            None => {
                bytes = 0;
                batches.push(vec![(at, message)]);
            }
        }
        bytes += more;
    }
    batches
}

pub(crate) fn entry(at: usize, message: &NewMessage, now: Timestamp) -> SendMessageBatchRequestEntry {
    const COMPLETE: &str = "everything that is needed was given";
    let id = MessageAttributeValue::builder().data_type(TEXT).string_value(&message.id).build().expect(COMPLETE);
    SendMessageBatchRequestEntry::builder()
        .id(at.to_string())
        .message_body(&message.body)
        .message_attributes(ID_ATTRIBUTE, id)
        // Given even where it is 0: the queue may have a delay of its own.
        .delay_seconds(in_i32(seconds(message.at.since(now))))
        .build()
        .expect(COMPLETE)
}

/// Which messages are deleted, and which become visible at another time.
pub(crate) fn by_call(
    handlings: Vec<(String, Handling)>,
    now: Timestamp,
) -> (Vec<DeleteMessageBatchRequestEntry>, Vec<ChangeMessageVisibilityBatchRequestEntry>) {
    const COMPLETE: &str = "everything that is needed was given";
    let (mut deleted, mut changed) = (Vec::new(), Vec::new());
    for (at, (receipt, handling)) in handlings.into_iter().enumerate() {
        let until = match handling {
            Handling::Acknowledge => {
                let entry = DeleteMessageBatchRequestEntry::builder().id(at.to_string()).receipt_handle(receipt);
                deleted.push(entry.build().expect(COMPLETE));
                continue;
            }
            Handling::Extend { until } => until,
            Handling::Reject { at } => at,
        };
        let held = seconds(until.since(now)).min(HOLD_SECONDS);
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(at.to_string()).receipt_handle(receipt);
        changed.push(entry.visibility_timeout(in_i32(held)).build().expect(COMPLETE));
    }
    (deleted, changed)
}

/// Writes down what came of entries, by their ids.
pub(crate) fn settle<'a, T>(outcomes: &mut [T], settled: impl Iterator<Item = (&'a str, T)>) {
    for (id, outcome) in settled {
        if let Some(place) = id.parse().ok().and_then(|at: usize| outcomes.get_mut(at)) {
            *place = outcome;
        }
    }
}

/// What was asked of a message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Delete,
    Visibility,
}

/// What it means that SQS did not do what it was asked with a message that was received.
pub(crate) fn judge(entry: &BatchResultErrorEntry, change: Change) -> Handled {
    let code = entry.code();
    // A message that is gone, or visible again, is told as a parameter that is wrong, in words alone.
    let is_gone = change == Change::Visibility
        && code.ends_with("InvalidParameterValue")
        && entry.message().is_some_and(|message| message.contains("not available for visibility timeout change"));
    if is_gone || code.ends_with("ReceiptHandleIsInvalid") || code.ends_with("MessageNotInflight") {
        return Handled::Stale;
    }
    Handled::Refused(said(entry))
}

/// What SQS said of an entry.
pub(crate) fn said(entry: &BatchResultErrorEntry) -> Arc<str> {
    match entry.message() {
        Some(message) => format!("{}: {message}", entry.code()).into(),
        None => entry.code().into(),
    }
}
