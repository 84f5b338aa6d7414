//! The queue of compensations.

use super::{
    EVERYTHING, ME, OTHER, PARTICIPANT, Subject, at, birth, commit_all, enlist, following, id, put_message, receive,
    receive_as, steps,
};
use crate::{Commit, Message, Received, Rest, Write};

async fn put(store: &Subject, saga: u128, messages: &[(&str, u64)]) {
    let writes = messages.iter().map(|(step, when)| put_message(step, *when)).collect();
    commit_all(store, vec![Commit { writes, ..birth(saga, Rest::Parked) }]).await;
}

/// The one whose time came first comes first; among equals the older saga, then the step's name.
pub async fn messages_come_oldest_first(store: Subject) {
    enlist(&store, ME).await;
    put(&store, 2, &[("b", 20), ("a", 20), ("z", 5)]).await;
    put(&store, 1, &[("c", 20), ("d", 30)]).await;
    assert_eq!(steps(&receive(&store, 30).await), ["z", "c", "a", "b", "d"]);
}

/// Not before.
pub async fn a_message_comes_when_its_time_has_come(store: Subject) {
    enlist(&store, ME).await;
    assert_eq!(receive(&store, 0).await, Received::default());
    put(&store, 1, &[("a", 10), ("b", 20)]).await;
    assert_eq!(receive(&store, 9).await, Received { messages: vec![], next_at: Some(at(10)) });
    let received = receive(&store, 10).await;
    let expected = Message { saga: id(1), step: "a".into(), receives: 1 };
    assert_eq!(received, Received { messages: vec![expected], next_at: Some(at(20)) });
}

/// Whoever received it has this long to deal with it.
pub async fn a_message_is_invisible_until_its_time(store: Subject) {
    enlist(&store, ME).await;
    put(&store, 1, &[("a", 10)]).await;
    assert_eq!(receive(&store, 10).await.next_at, Some(at(60_010)), "the message itself, should nobody deal with it");
    assert_eq!(receive(&store, 60_009).await, Received { messages: vec![], next_at: Some(at(60_010)) });
}

/// One that was not dealt with comes again, and says how often it has come.
pub async fn a_message_comes_again_and_is_counted(store: Subject) {
    enlist(&store, ME).await;
    put(&store, 1, &[("a", 10)]).await;
    for (now, receives) in [(10, 1), (60_010, 2), (120_010, 3)] {
        let received = receive(&store, now).await;
        assert_eq!(received.messages, [Message { saga: id(1), step: "a".into(), receives }]);
    }
}

/// Putting it again means that another try was decided: at that time, by that participant, counted from the start.
pub async fn a_message_that_is_put_again_moves_and_counts_anew(store: Subject) {
    enlist(&store, ME).await;
    put(&store, 1, &[("a", 10)]).await;
    assert_eq!(receive(&store, 10).await.messages.len(), 1);
    let sooner = Commit { writes: vec![put_message("a", 500)], ..following(1, 1, Rest::Parked) };
    commit_all(&store, vec![sooner]).await;
    assert_eq!(receive(&store, 499).await, Received { messages: vec![], next_at: Some(at(500)) });
    assert_eq!(receive(&store, 500).await.messages, [Message { saga: id(1), step: "a".into(), receives: 1 }]);
    let elsewhere = Write::PutMessage { step: "a".into(), participant: "ledger".into(), at: at(600) };
    commit_all(&store, vec![Commit { writes: vec![elsewhere], ..following(1, 2, Rest::Parked) }]).await;
    assert_eq!(receive(&store, 600).await, Received::default(), "it has another participant now");
}

/// Moving it says nothing about a try: what was received before still counts. One that is not there cannot be moved.
pub async fn a_message_that_is_moved_keeps_its_count(store: Subject) {
    enlist(&store, ME).await;
    put(&store, 1, &[("a", 10)]).await;
    assert_eq!(receive(&store, 10).await.messages.len(), 1);
    let moved = ["a", "never-put"].map(|step| Write::MoveMessage { step: step.into(), at: at(500) });
    commit_all(&store, vec![Commit { writes: moved.into(), ..following(1, 1, Rest::Parked) }]).await;
    assert_eq!(receive(&store, 499).await, Received { messages: vec![], next_at: Some(at(500)) });
    assert_eq!(receive(&store, 500).await.messages, [Message { saga: id(1), step: "a".into(), receives: 2 }]);
}

/// All of one saga's, and no others; they come when they are moved, and have been received as often as before.
pub async fn messages_that_are_held_wait_until_they_are_moved(store: Subject) {
    enlist(&store, ME).await;
    put(&store, 1, &[("a", 10), ("b", 10)]).await;
    put(&store, 2, &[("a", 10)]).await;
    assert_eq!(receive(&store, 10).await.messages.len(), 3);
    commit_all(&store, vec![Commit { writes: vec![Write::HoldMessages], ..following(1, 1, Rest::Parked) }]).await;
    assert_eq!(receive(&store, 1 << 40).await.messages, [Message { saga: id(2), step: "a".into(), receives: 2 }]);
    let moved = Write::MoveMessage { step: "b".into(), at: at(20) };
    commit_all(&store, vec![Commit { writes: vec![moved], ..following(1, 2, Rest::Parked) }]).await;
    assert_eq!(receive(&store, 20).await.messages, [Message { saga: id(1), step: "b".into(), receives: 2 }]);
}

/// A message that is not there can be deleted too: the saga's own events say what was dealt with.
pub async fn a_message_that_was_dealt_with_is_gone(store: Subject) {
    enlist(&store, ME).await;
    put(&store, 1, &[("a", 10), ("b", 10)]).await;
    put(&store, 2, &[("a", 10)]).await;
    let gone = ["a", "never-put"].map(|step| Write::DeleteMessage { step: step.into() });
    commit_all(&store, vec![Commit { writes: gone.into(), ..following(1, 1, Rest::Parked) }]).await;
    let received = receive(&store, 10).await;
    let left: Vec<_> = received.messages.iter().map(|message| (message.saga, message.step.as_str())).collect();
    assert_eq!(left, [(id(1), "b"), (id(2), "a")]);
}

/// Who has retired will not deal with it; what is put back for later, or for good, stays where it was put.
pub async fn what_a_retired_incarnation_received_comes_again(store: Subject) {
    enlist(&store, ME).await;
    put(&store, 1, &[("a", 10), ("b", 10), ("later", 500)]).await;
    put(&store, 2, &[("a", 10)]).await;
    assert_eq!(receive(&store, 10).await.messages.len(), 3);
    let moved = Write::PutMessage { step: "b".into(), participant: PARTICIPANT.into(), at: at(700) };
    commit_all(&store, vec![Commit { writes: vec![moved], ..following(1, 1, Rest::Parked) }]).await;
    store.retire(ME, at(20)).await.expect("an incarnation can be retired");
    enlist(&store, OTHER).await;
    let again = receive_as(OTHER, &store, 20, EVERYTHING).await;
    let found: Vec<_> = again.messages.iter().map(|message| (message.saga, message.receives)).collect();
    assert_eq!((found, steps(&again)), (vec![(id(1), 2), (id(2), 2)], vec!["a", "a"]));
    assert_eq!(steps(&receive_as(OTHER, &store, 700, EVERYTHING).await), ["later", "b"]);
}

/// Each participant has its own queue.
pub async fn messages_of_other_participants_stay(store: Subject) {
    enlist(&store, ME).await;
    let other = Write::PutMessage { step: "a".into(), participant: format!("{PARTICIPANT}s"), at: at(1) };
    commit_all(&store, vec![Commit { writes: vec![other], ..birth(1, Rest::Parked) }]).await;
    assert_eq!(receive(&store, 10).await, Received::default());
}

/// What is over the limit stays, and makes the engine come again at once.
pub async fn receiving_keeps_to_its_limit(store: Subject) {
    enlist(&store, ME).await;
    put(&store, 1, &[("a", 10), ("b", 11), ("c", 12)]).await;
    assert_eq!(receive_as(ME, &store, 50, 0).await, Received { messages: vec![], next_at: Some(at(10)) });
    let received = receive_as(ME, &store, 50, 2).await;
    assert_eq!((steps(&received), received.next_at), (vec!["a", "b"], Some(at(12))));
    assert_eq!(steps(&receive_as(ME, &store, 50, 2).await), ["c"]);
}

/// It is in flight, whoever asks.
pub async fn a_message_that_one_received_is_invisible_to_the_other(store: Subject) {
    enlist(&store, ME).await;
    enlist(&store, OTHER).await;
    put(&store, 1, &[("a", 10)]).await;
    assert_eq!(receive(&store, 10).await.messages.len(), 1);
    assert_eq!(receive_as(OTHER, &store, 10, EVERYTHING).await.messages, []);
    let again = receive_as(OTHER, &store, 60_010, EVERYTHING).await;
    assert_eq!(again.messages, [Message { saga: id(1), step: "a".into(), receives: 2 }]);
}
