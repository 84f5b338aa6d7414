//! The queues that services use.

use super::{EVERYTHING, ME, Subject, at, birth, commit, enlist};
use crate::queues::{
    DeadMessage, DeadQuery, Delivery, Depth, Handled, Handling, NewMessage, NewRedrive, ReceiveRequest, Redrive, Sent,
};
use crate::{Commit, Outcome, Rest, Write};

const QUEUE: &str = "payment-commands";
const OTHER_QUEUE: &str = "shipping-commands";

fn message(id: &str, when: u64) -> NewMessage {
    NewMessage { id: id.into(), body: format!("{{\"of\":\"{id}\"}}"), at: at(when) }
}

async fn send(store: &Subject, messages: &[(&str, u64)]) {
    let messages: Vec<NewMessage> = messages.iter().map(|(id, when)| message(id, *when)).collect();
    let expected = vec![Sent::Done; messages.len()];
    assert_eq!(store.send_to(QUEUE, messages).await.expect("messages can be put"), expected);
}

fn request(now: u64) -> ReceiveRequest {
    ReceiveRequest { limit: EVERYTHING, now: at(now), wait_ms: 0, visibility_ms: 1_000, receives_max: 3 }
}

async fn receive_with(store: &Subject, request: ReceiveRequest) -> Vec<Delivery> {
    store.receive_from(QUEUE, request).await.expect("messages can be received")
}

async fn receive(store: &Subject, now: u64) -> Vec<Delivery> {
    receive_with(store, request(now)).await
}

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.id.as_str()).collect()
}

async fn handle(store: &Subject, delivery: &Delivery, handling: Handling, now: u64) -> Handled {
    let handlings = vec![(delivery.receipt.clone(), handling)];
    let mut handled = store.handle(QUEUE, handlings, at(now)).await.expect("messages can be dealt with");
    assert_eq!(handled.len(), 1, "one answer for one message");
    handled.remove(0)
}

async fn dead(store: &Subject, query: DeadQuery) -> Vec<DeadMessage> {
    store.dead(QUEUE, query).await.expect("dead messages can be listed")
}

async fn depth(store: &Subject, now: u64) -> Depth {
    store.depth(QUEUE, at(now)).await.expect("messages can be counted")
}

/// Receives a message until it is dead, from this time on.
async fn let_die(store: &Subject, from: u64) {
    for round in 0..4 {
        receive(store, from + round * 1_000).await;
    }
}

/// Each at its time and with what it says; a receiving does not see another queue's.
pub async fn a_message_is_received_when_its_time_has_come(store: Subject) {
    assert_eq!(receive(&store, 0).await, []);
    send(&store, &[("late", 50), ("b", 20), ("a", 10)]).await;
    store.send_to(OTHER_QUEUE, vec![message("other", 10)]).await.expect("messages can be put");
    assert_eq!(receive(&store, 9).await, []);
    let received = receive(&store, 20).await;
    assert_eq!(ids(&received), ["a", "b"]);
    assert_eq!((received[0].body.as_str(), received[0].receives), ("{\"of\":\"a\"}", 1));
    assert_eq!(ids(&receive(&store, 50).await), ["late"]);
}

/// Whoever sends it again, because no answer came, makes no second one.
pub async fn a_message_with_the_same_id_is_put_once(store: Subject) {
    send(&store, &[("a", 10)]).await;
    let again = NewMessage { body: "another".into(), ..message("a", 99) };
    store.send_to(QUEUE, vec![again]).await.expect("messages can be put");
    let received = receive(&store, 10).await;
    assert_eq!((ids(&received), received[0].body.as_str()), (vec!["a"], "{\"of\":\"a\"}"));
}

/// It goes with the decision, or not at all.
pub async fn a_message_is_put_by_a_commit(store: Subject) {
    enlist(&store, ME).await;
    let sent = |id| Write::Send { queue: QUEUE.into(), message: message(id, 10) };
    let born = Commit { writes: vec![sent("a"), sent("b")], ..birth(1, Rest::Parked) };
    assert_eq!(commit(&store, born).await, Outcome::Committed);
    let refused = Commit { writes: vec![sent("c")], ..birth(1, Rest::Parked) };
    assert_ne!(commit(&store, refused).await, Outcome::Committed);
    assert_eq!(ids(&receive(&store, 10).await), ["a", "b"]);
}

/// Whoever received it has this long to deal with it; then it comes again, and says how often it has come.
pub async fn what_nobody_deals_with_comes_again(store: Subject) {
    send(&store, &[("a", 0)]).await;
    let first = receive(&store, 0).await.remove(0);
    assert_eq!(receive(&store, 999).await, []);
    let second = receive(&store, 1_000).await.remove(0);
    assert_eq!((second.receives, second.receipt != first.receipt), (2, true));
    assert_eq!(handle(&store, &first, Handling::Acknowledge, 1_000).await, Handled::Stale);
    assert_eq!(handle(&store, &second, Handling::Acknowledge, 1_000).await, Handled::Done);
    assert_eq!(handle(&store, &second, Handling::Acknowledge, 1_000).await, Handled::Stale, "it is gone");
    assert_eq!(receive(&store, 9_999).await, []);
}

/// A receipt holds until the message is received again, even when its time is over.
pub async fn what_was_dealt_with_late_is_dealt_with(store: Subject) {
    send(&store, &[("a", 0)]).await;
    let late = receive(&store, 0).await.remove(0);
    assert_eq!(handle(&store, &late, Handling::Acknowledge, 5_000).await, Handled::Done);
    assert_eq!(receive(&store, 9_999).await, []);
}

/// Only while it is invisible: afterwards another one may be about to receive it.
pub async fn the_time_for_a_message_is_extended(store: Subject) {
    send(&store, &[("a", 0)]).await;
    let first = receive(&store, 0).await.remove(0);
    assert_eq!(handle(&store, &first, Handling::Extend { until: at(3_000) }, 900).await, Handled::Done);
    assert_eq!(receive(&store, 2_999).await, []);
    assert_eq!(handle(&store, &first, Handling::Extend { until: at(9_000) }, 3_000).await, Handled::Stale);
    assert_eq!(receive(&store, 3_000).await[0].receives, 2);
}

/// At the time that is said, and the receipt holds no more.
pub async fn what_is_rejected_comes_again(store: Subject) {
    send(&store, &[("a", 0)]).await;
    let first = receive(&store, 0).await.remove(0);
    assert_eq!(handle(&store, &first, Handling::Reject { at: at(300) }, 100).await, Handled::Done);
    assert_eq!(handle(&store, &first, Handling::Acknowledge, 100).await, Handled::Stale);
    assert_eq!(receive(&store, 299).await, []);
    assert_eq!(receive(&store, 300).await[0].receives, 2);
}

/// Made up, or another queue's.
pub async fn a_strange_receipt_is_stale(store: Subject) {
    send(&store, &[("a", 0)]).await;
    let received = receive(&store, 0).await.remove(0);
    let elsewhere = store.handle(OTHER_QUEUE, vec![(received.receipt.clone(), Handling::Acknowledge)], at(0)).await;
    assert_eq!(elsewhere.expect("messages can be dealt with"), [Handled::Stale]);
    for receipt in ["", "a", ".a", "00000000000000000000000000000000.a", "\u{1}.\u{0}"] {
        let strange = Delivery { receipt: receipt.into(), ..received.clone() };
        assert_eq!(handle(&store, &strange, Handling::Acknowledge, 0).await, Handled::Stale, "{receipt:?}");
    }
    assert_eq!(handle(&store, &received, Handling::Acknowledge, 0).await, Handled::Done);
}

/// Those whose time came first, and the rest at the next receiving.
pub async fn receiving_takes_so_many(store: Subject) {
    send(&store, &[("c", 3), ("a", 1), ("b", 2)]).await;
    let two = ReceiveRequest { limit: 2, ..request(10) };
    assert_eq!(ids(&receive_with(&store, two).await), ["a", "b"]);
    assert_eq!(ids(&receive_with(&store, two).await), ["c"]);
}

/// One that was received too often is dead, and is listed with what it says.
pub async fn what_is_received_too_often_is_dead(store: Subject) {
    send(&store, &[("a", 5), ("b", 5)]).await;
    let_die(&store, 10).await;
    assert_eq!(receive(&store, 99_999).await, []);
    let expected = |id: &str| DeadMessage {
        id: id.into(),
        body: message(id, 0).body,
        sent_at: at(5),
        dead_at: at(3_010),
        receives: 3,
    };
    assert_eq!(dead(&store, DeadQuery { after: None, limit: 1 }).await, [expected("a")]);
    let after = Some((at(3_010), "a".to_owned()));
    assert_eq!(dead(&store, DeadQuery { after, limit: 9 }).await, [expected("b")]);
    assert_eq!(depth(&store, 99_999).await, Depth { ready: 0, invisible: 0, dead: 2 });
}

/// So many a second, and counted anew.
pub async fn dead_messages_are_redriven_at_a_rate(store: Subject) {
    send(&store, &[("a", 0), ("b", 0), ("c", 0)]).await;
    let_die(&store, 0).await;
    let redrive = NewRedrive { id: "r-1".into(), per_second: 2, now: at(10_000) };
    let begun = store.redrive(QUEUE, redrive).await.expect("dead messages can be redriven");
    let expected = Redrive { id: "r-1".into(), at: at(10_000), per_second: 2, total: 3, moved: 1, is_cancelled: false };
    assert_eq!(begun, expected);
    assert_eq!(dead(&store, DeadQuery { after: None, limit: 9 }).await, []);
    let received = receive(&store, 10_000).await;
    assert_eq!((ids(&received), received[0].receives), (vec!["a"], 1));
    assert_eq!(handle(&store, &received[0], Handling::Acknowledge, 10_000).await, Handled::Done);
    assert_eq!(receive(&store, 10_499).await, []);
    assert_eq!(ids(&receive(&store, 10_500).await), ["b"]);
    let half = store.redrives(QUEUE, at(10_500)).await.expect("redrives can be listed");
    assert_eq!(half, [Redrive { moved: 2, ..expected.clone() }]);
    assert_eq!(ids(&receive(&store, 11_000).await), ["c"]);
    let all = store.redrives(QUEUE, at(11_000)).await.expect("redrives can be listed");
    assert_eq!(all, [Redrive { moved: 3, ..expected }]);
    assert_eq!(store.redrives(OTHER_QUEUE, at(0)).await.expect("redrives can be listed"), []);
}

/// What is not ready yet is dead again; what is goes on.
pub async fn a_redrive_is_cancelled(store: Subject) {
    send(&store, &[("a", 0), ("b", 0), ("c", 0)]).await;
    let_die(&store, 0).await;
    let redrive = NewRedrive { id: "r-1".into(), per_second: 1, now: at(10_000) };
    store.redrive(QUEUE, redrive).await.expect("dead messages can be redriven");
    assert_eq!(ids(&receive(&store, 11_000).await), ["a", "b"]);
    let cancelled = store.cancel_redrive(QUEUE, "r-1", at(11_500)).await.expect("a redrive can be cancelled");
    let expected = Redrive { id: "r-1".into(), at: at(10_000), per_second: 1, total: 3, moved: 2, is_cancelled: true };
    assert_eq!(cancelled, Some(expected.clone()));
    let left = dead(&store, DeadQuery { after: None, limit: 9 }).await;
    assert_eq!(left.iter().map(|dead| (dead.id.as_str(), dead.dead_at)).collect::<Vec<_>>(), [("c", at(11_500))]);
    assert_eq!(ids(&receive(&store, 99_000).await), ["a", "b"]);
    let again = store.cancel_redrive(QUEUE, "r-1", at(99_000)).await.expect("a redrive can be cancelled");
    assert_eq!(again, Some(expected.clone()), "it is as it was");
    assert_eq!(store.redrives(QUEUE, at(99_000)).await.expect("redrives can be listed"), [expected]);
    assert_eq!(store.cancel_redrive(QUEUE, "r-2", at(0)).await.expect("a redrive can be looked for"), None);
    assert_eq!(store.cancel_redrive(OTHER_QUEUE, "r-1", at(0)).await.expect("a redrive can be looked for"), None);
}

/// By where they are now.
pub async fn messages_are_counted(store: Subject) {
    assert_eq!(depth(&store, 0).await, Depth::default());
    send(&store, &[("a", 0), ("b", 10), ("c", 500)]).await;
    assert_eq!(depth(&store, 10).await, Depth { ready: 2, invisible: 1, dead: 0 });
    receive(&store, 0).await;
    assert_eq!(depth(&store, 10).await, Depth { ready: 1, invisible: 2, dead: 0 });
}

/// Whatever is in it, and up to the bound.
pub async fn what_a_message_says_is_kept(store: Subject) {
    let bodies = ["", "a\0b\u{1a}", "Grüße, 世界 🦀", &"x".repeat(crate::queues::MESSAGE_BYTES)];
    for (number, body) in bodies.iter().enumerate() {
        let message = NewMessage { id: format!("m\0{number}"), body: (*body).to_owned(), at: at(0) };
        store.send_to(QUEUE, vec![message]).await.expect("messages can be put");
    }
    let received = receive(&store, 0).await;
    assert_eq!(received.iter().map(|delivery| delivery.body.as_str()).collect::<Vec<_>>(), bodies);
    assert_eq!(handle(&store, &received[3], Handling::Acknowledge, 0).await, Handled::Done);
}

/// Two who receive at once never receive the same.
pub async fn a_message_is_received_by_one(store: Subject) {
    let names: Vec<String> = (0..40).map(|number| format!("m-{number:02}")).collect();
    send(&store, &names.iter().map(|name| (name.as_str(), 0)).collect::<Vec<_>>()).await;
    let some = ReceiveRequest { limit: 10, ..request(0) };
    let all = tokio::join!(
        receive_with(&store, some),
        receive_with(&store, some),
        receive_with(&store, some),
        receive_with(&store, some)
    );
    let mut received: Vec<Delivery> = [all.0, all.1, all.2, all.3].concat();
    received.extend(receive(&store, 0).await);
    received.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(ids(&received), names.iter().map(String::as_str).collect::<Vec<_>>());
}
