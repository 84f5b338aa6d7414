//! Incarnations, and who owns a saga.

use super::{
    EVERYTHING, ME, OTHER, PARTICIPANT, Subject, assert_fenced, at, birth, close_dead_letter, commit, commit_all,
    commit_as, dump, enlist, following, id, look, open_dead_letter, put_message, receive_as, record, rest, row,
};
use crate::{Acquired, Claimed, Commit, Outcome, Receive, Rest, Row};
use uuid::Uuid;

async fn claim(store: &Subject, now: u64, limit: usize) -> Claimed {
    store.claim(ME, at(now), limit).await.expect("a live incarnation can claim")
}

fn ids(claimed: &Claimed) -> Vec<Uuid> {
    claimed.records.iter().map(|record| record.id).collect()
}

async fn assert_dead(store: &Subject, who: Uuid) {
    let nothing = Receive { participant: PARTICIPANT.into(), limit: 1, now: at(0), invisible_until: at(1) };
    assert_fenced(store.commit(who, vec![birth(99, Rest::Owned)].into()).await);
    assert_fenced(store.commit(who, Vec::new().into()).await);
    assert_fenced(store.claim(who, at(0), EVERYTHING).await);
    assert_fenced(store.acquire(who, id(1)).await);
    assert_fenced(store.receive(who, nothing).await);
}

/// One that never enlisted is as good as dead.
pub async fn only_a_live_incarnation_can_do_anything(store: Subject) {
    assert_dead(&store, ME).await;
    enlist(&store, ME).await;
    assert_dead(&store, OTHER).await;
    assert_eq!(commit(&store, birth(1, Rest::Owned)).await, Outcome::Committed);
}

/// An answer can be lost, so the engine may ask twice.
pub async fn enlisting_again_changes_nothing(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned)]).await;
    enlist(&store, ME).await;
    assert_eq!(rest(&store, 1).await, Rest::Owned);
    commit_all(&store, vec![following(1, 1, Rest::Owned)]).await;
}

/// There should be no orphans; if there are, a start of the server picks them up, and nothing else that is parked.
pub async fn enlisting_makes_orphans_due(store: Subject) {
    enlist(&store, ME).await;
    let held = Row { paused: true, ..row(Rest::Parked) };
    commit_all(
        &store,
        vec![
            birth(1, Rest::Parked),
            Commit { writes: vec![put_message("a", 5)], ..birth(2, Rest::Parked) },
            Commit { writes: vec![open_dead_letter("open")], ..birth(3, Rest::Parked) },
            Commit { row: held, ..birth(4, Rest::Parked) },
            birth(5, Rest::Finished(at(3))),
            Commit { writes: vec![open_dead_letter("closed"), close_dead_letter("closed")], ..birth(6, Rest::Parked) },
        ],
    )
    .await;
    store.enlist(ME, at(77)).await.expect("a live incarnation can enlist again");
    let expected = [Rest::Until(at(77)), Rest::Parked, Rest::Parked, Rest::Parked, Rest::Finished(at(3))];
    for (number, expected) in (1..).zip(expected.into_iter().chain([Rest::Until(at(77))])) {
        assert_eq!(rest(&store, number).await, expected, "saga {number}");
    }
    assert_eq!(ids(&claim(&store, 77, EVERYTHING).await), [id(1), id(6)]);
}

/// Whatever a dead incarnation still wants to say comes too late, and it cannot come back.
pub async fn a_retired_incarnation_is_fenced_for_good(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned)]).await;
    store.retire(ME, at(50)).await.expect("an incarnation can be retired");
    assert_dead(&store, ME).await;
    assert_fenced(store.enlist(ME, at(60)).await);
    store.retire(ME, at(70)).await.expect("it can be retired again");
    assert_eq!(rest(&store, 1).await, Rest::Until(at(50)), "its sagas became due once");
    assert_dead(&store, ME).await;
}

/// What it worked on is due at once for whoever comes; what nobody owned stays as it was.
pub async fn retiring_frees_what_was_owned(store: Subject) {
    enlist(&store, ME).await;
    let others = [Rest::Until(at(9_000)), Rest::Parked, Rest::Finished(at(3))];
    commit_all(&store, vec![birth(1, Rest::Owned), birth(2, Rest::Owned)]).await;
    for (number, rest) in (3..).zip(others) {
        let writes = vec![open_dead_letter(&format!("letter {number}"))];
        commit_all(&store, vec![Commit { writes, ..birth(number, rest) }]).await;
    }
    store.retire(ME, at(50)).await.expect("an incarnation can be retired");
    for (number, expected) in (1..).zip([Rest::Until(at(50)); 2].into_iter().chain(others)) {
        assert_eq!(rest(&store, number).await, expected, "saga {number}");
    }
    enlist(&store, OTHER).await;
    let claimed = store.claim(OTHER, at(50), EVERYTHING).await.expect("a live incarnation can claim");
    assert_eq!(ids(&claimed), [id(1), id(2)]);
    assert_eq!(commit_as(OTHER, &store, following(1, 1, Rest::Owned)).await, Outcome::Committed);
}

/// An incarnation can be declared dead before anybody has seen it alive.
pub async fn retiring_a_stranger_keeps_it_out(store: Subject) {
    enlist(&store, ME).await;
    store.retire(OTHER, at(1)).await.expect("a stranger can be retired");
    assert_fenced(store.enlist(OTHER, at(2)).await);
    assert_eq!(commit(&store, birth(1, Rest::Owned)).await, Outcome::Committed);
}

/// The one that waited longest comes first; among equals the older saga.
pub async fn claims_come_oldest_first(store: Subject) {
    enlist(&store, ME).await;
    for (number, wake_at) in [(1, 30), (4, 10), (3, 20), (2, 20), (5, 41)] {
        commit_all(&store, vec![birth(number, Rest::Until(at(wake_at)))]).await;
    }
    commit_all(&store, vec![birth(6, Rest::Owned), birth(7, Rest::Parked), birth(8, Rest::Finished(at(1)))]).await;
    assert_eq!(ids(&claim(&store, 40, EVERYTHING).await), [4, 2, 3, 1].map(id));
    assert!(claim(&store, 40, EVERYTHING).await.records.is_empty(), "nothing is claimed twice");
}

/// What is over the limit stays for the next claim.
pub async fn a_claim_keeps_to_its_limit(store: Subject) {
    enlist(&store, ME).await;
    for number in 1..=5 {
        commit_all(&store, vec![birth(number, Rest::Until(at(10)))]).await;
    }
    assert!(claim(&store, 10, 0).await.records.is_empty());
    assert_eq!(ids(&claim(&store, 10, 2).await), [id(1), id(2)]);
    assert_eq!(ids(&claim(&store, 10, 2).await), [id(3), id(4)]);
    assert_eq!(ids(&claim(&store, 10, 2).await), [id(5)]);
}

/// The engine sleeps until then; what is due already but was over the limit makes it come again at once.
pub async fn a_claim_says_when_the_next_is_due(store: Subject) {
    enlist(&store, ME).await;
    assert_eq!(claim(&store, 0, 1).await, Claimed::default());
    commit_all(&store, vec![birth(1, Rest::Until(at(10))), birth(2, Rest::Until(at(20)))]).await;
    assert_eq!(claim(&store, 9, 5).await.next_due, Some(at(10)));
    assert_eq!(claim(&store, 30, 1).await.next_due, Some(at(20)));
    assert_eq!(claim(&store, 30, 1).await.next_due, None);
}

/// A claimed saga comes with everything, and is no longer at rest.
pub async fn what_is_claimed_is_owned(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Until(at(10))), following(1, 1, Rest::Until(at(11)))]).await;
    let claimed = claim(&store, 11, 1).await;
    assert_eq!(claimed.records, [record(&store, 1).await]);
    assert_eq!(claimed.records[0].row.rest, Rest::Owned);
    assert_eq!(claimed.records[0].events.len(), 2);
    commit_all(&store, vec![following(1, 2, Rest::Until(at(10)))]).await;
    assert_eq!(ids(&claim(&store, 11, 1).await), [id(1)], "it can be put back to rest and claimed again");
}

/// A callback or an operator needs it now, not when it would have woken.
pub async fn a_saga_at_rest_is_acquired_whether_due_or_not(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Until(at(9_000))), birth(2, Rest::Parked)]).await;
    for number in [1, 2] {
        let acquired = store.acquire(ME, id(number)).await.expect("a live incarnation can acquire");
        let record = record(&store, number).await;
        assert_eq!(record.row.rest, Rest::Owned);
        assert_eq!(acquired, Acquired::Yours(Box::new(record)));
    }
    assert_eq!(claim(&store, 9_000, 5).await, Claimed::default());
}

/// After a lost answer the engine acquires again what it has.
pub async fn a_saga_of_mine_is_mine_already(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned)]).await;
    let before = look(&store).await;
    let acquired = store.acquire(ME, id(1)).await.expect("a live incarnation can acquire");
    assert_eq!(acquired, Acquired::Yours(Box::new(record(&store, 1).await)));
    assert_eq!(look(&store).await, before);
}

/// There is nothing left to do with it but look.
pub async fn a_finished_saga_cannot_be_acquired(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Finished(at(5)))]).await;
    let before = look(&store).await;
    let acquired = store.acquire(ME, id(1)).await.expect("a live incarnation can acquire");
    assert_eq!(acquired, Acquired::Finished(Box::new(record(&store, 1).await)));
    assert_eq!(look(&store).await, before);
}

/// Asking for what is not there is no error.
pub async fn a_missing_saga_cannot_be_acquired(store: Subject) {
    enlist(&store, ME).await;
    let acquired = store.acquire(ME, id(1)).await.expect("a live incarnation can acquire");
    assert_eq!(acquired, Acquired::Missing);
}

/// The store is one process's, so whoever owned something before this one is dead.
pub async fn enlisting_frees_the_sagas_of_all_others(store: Subject) {
    enlist(&store, ME).await;
    let parked = Commit { writes: vec![open_dead_letter("letter")], ..birth(2, Rest::Parked) };
    commit_all(&store, vec![birth(1, Rest::Owned), parked, birth(3, Rest::Until(at(9)))]).await;
    store.enlist(OTHER, at(77)).await.expect("a fresh incarnation can enlist");
    assert_eq!(rest(&store, 1).await, Rest::Until(at(77)));
    assert_eq!(rest(&store, 2).await, Rest::Parked);
    assert_eq!(rest(&store, 3).await, Rest::Until(at(9)));
}

/// There is one at a time, and the one before cannot come back.
pub async fn enlisting_fences_the_one_before(store: Subject) {
    enlist(&store, ME).await;
    enlist(&store, OTHER).await;
    assert_dead(&store, ME).await;
    assert_fenced(store.enlist(ME, at(1)).await);
    assert_eq!(commit_as(OTHER, &store, birth(1, Rest::Owned)).await, Outcome::Committed);
}

/// A newcomer says nothing about the others.
pub async fn enlisting_frees_nobody_elses_sagas(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned)]).await;
    enlist(&store, OTHER).await;
    assert_eq!(rest(&store, 1).await, Rest::Owned);
    commit_all(&store, vec![following(1, 1, Rest::Owned)]).await;
}

/// Whoever gets a callback for it hears whose it is.
pub async fn a_saga_owned_elsewhere_cannot_be_acquired(store: Subject) {
    enlist(&store, ME).await;
    enlist(&store, OTHER).await;
    assert_eq!(commit_as(OTHER, &store, birth(1, Rest::Owned)).await, Outcome::Committed);
    let before = look(&store).await;
    assert_eq!(store.acquire(ME, id(1)).await.expect("a live incarnation can ask"), Acquired::Elsewhere(OTHER));
    assert_eq!(look(&store).await, before);
}

/// Knowing how many events it has does not make it one's own.
pub async fn a_saga_owned_elsewhere_cannot_be_committed_to(store: Subject) {
    enlist(&store, ME).await;
    enlist(&store, OTHER).await;
    assert_eq!(commit_as(OTHER, &store, birth(1, Rest::Owned)).await, Outcome::Committed);
    let before = look(&store).await;
    assert_eq!(commit(&store, following(1, 1, Rest::Parked)).await, Outcome::Stale);
    assert_eq!(look(&store).await, before);
    assert_eq!(commit_as(OTHER, &store, following(1, 1, Rest::Parked)).await, Outcome::Committed);
    commit_all(&store, vec![following(1, 2, Rest::Owned)]).await;
}

/// A message that somebody received who cannot work on its saga would be kept from the one who can.
pub async fn messages_of_a_saga_go_to_its_owner(store: Subject) {
    enlist(&store, ME).await;
    enlist(&store, OTHER).await;
    let births = [(1, OTHER, Rest::Owned), (2, ME, Rest::Owned), (3, OTHER, Rest::Parked)];
    for (number, who, rest) in births {
        let with_message = Commit { writes: vec![put_message("a", 10)], ..birth(number, rest) };
        assert_eq!(commit_as(who, &store, with_message).await, Outcome::Committed);
    }
    let mine = receive_as(ME, &store, 10, EVERYTHING).await;
    assert_eq!(mine.messages.iter().map(|message| message.saga).collect::<Vec<_>>(), [id(2), id(3)]);
    let theirs = receive_as(OTHER, &store, 10, EVERYTHING).await;
    assert_eq!(theirs.messages.iter().map(|message| message.saga).collect::<Vec<_>>(), [id(1)]);
    assert_eq!(theirs.messages[0].receives, 1);
}

/// Each due saga goes to one of them.
pub async fn two_claims_never_share_a_saga(store: Subject) {
    enlist(&store, ME).await;
    enlist(&store, OTHER).await;
    for number in 1..=4 {
        commit_all(&store, vec![birth(number, Rest::Until(at(10)))]).await;
    }
    assert_eq!(ids(&claim(&store, 10, 3).await), [1, 2, 3].map(id));
    let theirs = store.claim(OTHER, at(10), 3).await.expect("a live incarnation can claim");
    assert_eq!(ids(&theirs), [id(4)]);
}

/// Taking over from one does not disturb another.
pub async fn retiring_one_leaves_the_other(store: Subject) {
    enlist(&store, ME).await;
    enlist(&store, OTHER).await;
    commit_all(&store, vec![birth(1, Rest::Owned)]).await;
    assert_eq!(commit_as(OTHER, &store, birth(2, Rest::Owned)).await, Outcome::Committed);
    store.retire(ME, at(50)).await.expect("an incarnation can be retired");
    let seen = dump(&store, OTHER).await.expect("the other lives");
    assert_eq!(seen.next_due, Some(at(50)));
    assert_eq!(rest(&store, 2).await, Rest::Owned);
    assert_eq!(commit_as(OTHER, &store, following(2, 1, Rest::Owned)).await, Outcome::Committed);
}
