//! The trait against an emulated SQS. Leases that are lost are not among the cases: the emulator takes receipts that do not hold.

#![cfg(test)]

use crate::support::{New, QUEUE, at, client, emulator, message, now};
use amends_sqs::{ID_ATTRIBUTE, SqsQueues};
use amends_store::queues::{
    DeadQuery, Depth, Handled, Handling, MESSAGE_BYTES, NewMessage, NewRedrive, QueueError, Queues, Sent,
};
use aws_sdk_sqs::types::QueueAttributeName;
use std::time::{Duration, Instant};

fn refused(sent: &Sent) -> &str {
    match sent {
        Sent::Refused(why) => why,
        Sent::Done => panic!("it was taken"),
    }
}

#[tokio::test]
async fn each_message_is_told_what_came_of_it() {
    let new = New::standard().await;
    let mut messages: Vec<NewMessage> = (0..25).map(|number| message(&format!("m-{number:02}"), "paid")).collect();
    messages[7].body = "bell\u{7}".into();
    let sent = new.queues.send_to(QUEUE, messages).await.unwrap();
    for (number, sent) in sent.iter().enumerate() {
        match number {
            7 => assert_eq!(refused(sent), "it has the character U+0007, which SQS does not take"),
            _ => assert_eq!(*sent, Sent::Done, "{number}"),
        }
    }
    let expected: Vec<String> = (0..25).filter(|number| *number != 7).map(|number| format!("m-{number:02}")).collect();
    let mut received = Vec::new();
    while received.len() < 24 {
        received.extend(new.receive(20_000, 60_000).await);
    }
    let handlings = received.iter().map(|delivery| (delivery.receipt.clone(), Handling::Acknowledge)).collect();
    assert_eq!(new.queues.handle(QUEUE, handlings, now()).await.unwrap(), vec![Handled::Done; 24]);
    assert_eq!(new.queues.depth(QUEUE, now()).await.unwrap(), Depth::default());
    let mut ids: Vec<String> = received.into_iter().map(|delivery| delivery.id).collect();
    ids.sort();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_message_has_a_mebibyte_with_its_id_and_no_byte_more() {
    let new = New::standard().await;
    let largest = MESSAGE_BYTES - ID_ATTRIBUTE.len() - "String".len() - "a".len();
    let messages = [largest, 1, largest + 1, largest - 1, 700_000].map(|size| message("a", &"x".repeat(size)));
    let sent = new.queues.send_to(QUEUE, messages.to_vec()).await.unwrap();
    assert_eq!(refused(&sent[2]), "it has 1048577 bytes with its id, and SQS takes 1048576");
    let done = sent.iter().filter(|sent| **sent == Sent::Done).count();
    assert_eq!(done, 4, "each in a batch that is small enough: {sent:?}");
}

#[tokio::test]
async fn a_queue_may_take_less_than_sqs_does() {
    let new = New::with_attributes(&[(QueueAttributeName::MaximumMessageSize, "1024".into())]).await;
    let messages = [10, 2_000, 20].map(|size| message(&format!("m-{size}"), &"x".repeat(size)));
    let sent = new.queues.send_to(QUEUE, messages.to_vec()).await.unwrap();
    assert_eq!((&sent[0], &sent[2]), (&Sent::Done, &Sent::Done));
    assert!(refused(&sent[1]).contains("InvalidParameterValue"), "{sent:?}");
    assert_eq!(new.drain(2).await, ["m-10", "m-20"]);
}

#[tokio::test]
async fn what_a_message_says_is_kept() {
    let new = New::standard().await;
    let body = "{\"name\":\"Grüße, 世界 🦀\"}\t\r\n\u{FFFD}";
    new.queues.send_to(QUEUE, vec![message("saga/step\u{e9}", body)]).await.unwrap();
    let received = new.receive(5_000, 30_000).await.remove(0);
    assert_eq!((received.id.as_str(), received.body.as_str(), received.receives), ("saga/step\u{e9}", body, 1));
}

#[tokio::test]
async fn a_message_of_somebody_else_goes_by_the_id_of_sqs() {
    let new = New::standard().await;
    let client = client(&emulator());
    let address = client.get_queue_url().queue_name(&new.name).send().await.unwrap().queue_url.unwrap();
    let sent = client.send_message().queue_url(address).message_body("reply").send().await.unwrap();
    let received = new.receive(5_000, 30_000).await.remove(0);
    assert_eq!(received.id, sent.message_id.unwrap());
}

#[tokio::test]
async fn a_queue_is_found_by_its_name() {
    let new = New::standard().await;
    new.send(&["a"]).await;
    let named = New { queues: at(&emulator(), &new.name), name: new.name };
    assert_eq!(named.drain(1).await, ["a"]);
}

#[tokio::test]
async fn waiting_ends_when_a_message_comes() {
    let new = New::standard().await;
    let began = Instant::now();
    let (received, ()) = tokio::join!(new.receive(20_000, 30_000), async {
        assert_eq!(new.receive(1_000, 30_000).await, [], "nothing is there, and the other one waits");
        new.send(&["a"]).await;
    });
    // Either of the two may have been first in line.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(received[0].id, "a");
}

#[tokio::test]
async fn waiting_that_is_given_up_ends_at_once() {
    let new = New::standard().await;
    let began = Instant::now();
    let waiting = tokio::time::timeout(Duration::from_millis(100), new.receive(20_000, 30_000));
    assert!(waiting.await.is_err());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_message_is_kept_back_until_its_time() {
    let new = New::standard().await;
    let later = NewMessage { at: now().plus(2_000), ..message("later", "x") };
    let too_late = NewMessage { at: now().plus(16 * 60 * 1_000), ..message("late", "x") };
    let sent = new.queues.send_to(QUEUE, vec![later, too_late]).await.unwrap();
    assert_eq!(sent[0], Sent::Done);
    assert!(refused(&sent[1]).contains("15 minutes"), "{sent:?}");
    assert_eq!(new.receive(0, 30_000).await, []);
    assert_eq!(new.receive(20_000, 30_000).await[0].id, "later");
}

#[tokio::test]
async fn the_time_for_a_message_is_extended_and_taken_back() {
    let new = New::standard().await;
    new.send(&["a"]).await;
    let first = new.receive(5_000, 1_000).await.remove(0);
    assert_eq!(new.handle(&first, Handling::Extend { until: now().plus(60_000) }).await, Handled::Done);
    assert_eq!(new.receive(3_000, 1_000).await, [], "without the extension it would have come again");
    assert_eq!(new.handle(&first, Handling::Reject { at: now() }).await, Handled::Done);
    let second = new.receive(5_000, 60_000).await.remove(0);
    assert_eq!((second.id.as_str(), second.receives), ("a", 2));
    assert_eq!(new.handle(&second, Handling::Acknowledge).await, Handled::Done);
    assert_eq!(new.queues.depth(QUEUE, now()).await.unwrap(), Depth::default());
}

#[tokio::test]
async fn a_strange_receipt_is_stale_and_hinders_no_other() {
    let new = New::standard().await;
    new.send(&["a", "b"]).await;
    let mut received = new.receive(5_000, 60_000).await;
    while received.len() < 2 {
        received.extend(new.receive(5_000, 60_000).await);
    }
    let later = Handling::Extend { until: now().plus(60_000) };
    let handlings = vec![
        ("strange".to_owned(), Handling::Acknowledge),
        (received[0].receipt.clone(), Handling::Acknowledge),
        ("strange".to_owned(), later),
        (received[1].receipt.clone(), later),
    ];
    let handled = new.queues.handle(QUEUE, handlings, now()).await.unwrap();
    assert_eq!(handled, [Handled::Stale, Handled::Done, Handled::Stale, Handled::Done]);
}

/// Receives until all of them are dead.
async fn let_die(new: &New, receives: usize, messages: usize) {
    let mut left = receives * messages;
    while left > 0 {
        // At once visible again.
        left -= new.receive(5_000, 0).await.len();
    }
    assert_eq!(new.receive(0, 0).await, []);
}

#[tokio::test]
async fn what_is_received_too_often_is_dead() {
    let new = New::with_dead(2).await;
    new.send(&["a", "b"]).await;
    let_die(&new, 2, 2).await;
    assert_eq!(new.queues.depth(QUEUE, now()).await.unwrap(), Depth { ready: 0, invisible: 0, dead: 2 });
    for _ in 0..2 {
        let dead = new.queues.dead(QUEUE, DeadQuery { after: None, limit: 9 }).await.unwrap();
        let mut shown: Vec<_> = dead.iter().map(|dead| (dead.id.as_str(), dead.body.as_str())).collect();
        shown.sort();
        assert_eq!(shown, [("a", "of a"), ("b", "of b")], "what is shown is given back");
        let after = Some((dead[0].dead_at, dead[0].id.clone()));
        let rest = new.queues.dead(QUEUE, DeadQuery { after, limit: 9 }).await.unwrap();
        assert_eq!(rest.iter().map(|dead| &dead.id).collect::<Vec<_>>(), [&dead[1].id]);
    }
}

#[tokio::test]
async fn dead_messages_are_redriven_at_a_rate_until_it_is_cancelled() {
    let new = New::with_dead(1).await;
    new.send(&["a", "b", "c"]).await;
    let_die(&new, 1, 3).await;
    let redrive = |per_second| NewRedrive { id: "ours".into(), per_second, now: now() };
    let begun = new.queues.redrive(QUEUE, redrive(1)).await.unwrap();
    assert_eq!((begun.per_second, begun.total, begun.moved, begun.is_cancelled), (1, 3, 0, false));
    assert!(matches!(new.queues.redrive(QUEUE, redrive(1)).await, Err(QueueError::Refused(_))), "one at a time");
    let first = new.receive(20_000, 60_000).await;
    assert_eq!(first.len(), 1, "one a second");
    let running = new.queues.redrives(QUEUE, now()).await.unwrap();
    assert_eq!((running[0].id.as_str(), running[0].total), (begun.id.as_str(), 3));
    let cancelled = new.queues.cancel_redrive(QUEUE, &begun.id, now()).await.unwrap().unwrap();
    assert!(cancelled.is_cancelled && (1..3).contains(&cancelled.moved), "{cancelled:?}");
    assert_eq!(new.queues.cancel_redrive(QUEUE, "another", now()).await.unwrap(), None);
    assert_eq!(new.handle(&first[0], Handling::Acknowledge).await, Handled::Done);
    // The task that was cancelled may still be about to stop.
    while new.queues.redrive(QUEUE, redrive(10_000)).await.is_err() {}
    let mut ids = new.drain(2).await;
    ids.push(first[0].id.clone());
    ids.sort();
    assert_eq!(ids, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_queue_without_dead_messages_has_none_to_show() {
    let new = New::standard().await;
    assert_eq!(new.queues.dead(QUEUE, DeadQuery { after: None, limit: 9 }).await.unwrap(), []);
    assert_eq!(new.queues.redrives(QUEUE, now()).await.unwrap(), []);
    assert_eq!(new.queues.cancel_redrive(QUEUE, "any", now()).await.unwrap(), None);
    let refused = new.queues.redrive(QUEUE, NewRedrive { id: "any".into(), per_second: 1, now: now() }).await;
    assert!(matches!(refused, Err(QueueError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn a_queue_that_is_not_there_refuses_for_good() {
    for queues in [at(&emulator(), "no-such-queue"), at(&emulator(), &format!("{}/000000000000/none", emulator()))] {
        let sent = queues.send_to(QUEUE, vec![message("a", "x")]).await;
        assert!(matches!(sent, Err(QueueError::Refused(_))), "{sent:?}");
        let other = queues.depth("another", now()).await;
        assert!(matches!(other, Err(QueueError::Refused(_))), "{other:?}");
    }
}

#[tokio::test]
async fn an_sqs_that_cannot_be_reached_is_not_available() {
    // A port that nobody listens on any more.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let sent = at(&address, "any").send_to(QUEUE, vec![message("a", "x")]).await;
    assert!(matches!(sent, Err(QueueError::Unavailable(_))), "{sent:?}");
}

#[tokio::test]
async fn a_fifo_queue_is_refused() {
    let queues = [(QUEUE.to_owned(), "payment.fifo".to_owned())].into();
    let refused = SqsQueues::with_client(client("http://127.0.0.1:1"), queues);
    assert!(matches!(refused, Err(QueueError::Refused(_))), "{refused:?}");
}
