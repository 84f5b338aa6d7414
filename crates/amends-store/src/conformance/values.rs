//! Values at the edges of what they can be.

use super::{
    EVERYTHING, ME, Subject, at, birth, commit, commit_all, deed, enlist, following, id, open_dead_letter, put_message,
    receive_as, record, steps,
};
use crate::{Birth, Commit, Outcome, Rest, Row, SagaQuery, StoredDefinition, StoredEvents, Which, Write};
use amends_core::time::Timestamp;

/// A quote, a character beyond the first plane, a combining one, right to left, a NUL, a control and a line end.
const STRANGE: &str = "o'\"r\u{0}d\u{1F9FE}e\u{0301}r \u{05D0}\u{7}%_\\\n";

/// Text comes back byte for byte, and is found by its bytes.
pub async fn text_is_kept_whatever_is_in_it(store: Subject) {
    enlist(&store, ME).await;
    let mut first = birth(1, Rest::Parked);
    first.birth = first.birth.map(|birth| Birth { definition: STRANGE.into(), key: STRANGE.into(), ..birth });
    first.row = Row { reason: Some(STRANGE.into()), ..first.row };
    first.events = Some(StoredEvents { count: 1, at: at(1), body: STRANGE.into() });
    first.writes = vec![put_message(STRANGE, 1), open_dead_letter(STRANGE)];
    assert_eq!(commit(&store, first.clone()).await, Outcome::Committed);
    let read = record(&store, 1).await;
    assert_eq!(
        (Some(read.birth), read.row, read.events.first()),
        (first.birth.clone(), first.row.clone(), first.events.as_ref())
    );
    let again = Commit { saga: id(2), ..first };
    assert_eq!(commit(&store, again).await, Outcome::Exists { saga: id(1), same_input: true });
    let (definition, key) = (Some(STRANGE.to_owned()), Some(STRANGE.to_owned()));
    let query = SagaQuery { definition, key, limit: EVERYTHING, ..SagaQuery::default() };
    assert_eq!(store.sagas(query).await.expect("sagas can be listed").len(), 1);
    assert_eq!(steps(&receive_as(ME, &store, 1, 1).await), [STRANGE]);
    let letter = store.dead_letter(STRANGE).await.expect("a dead letter can be read").expect("it is there");
    assert_eq!((letter.id.as_str(), letter.key.as_str()), (STRANGE, STRANGE));
    let delete = Write::DeleteMessage { step: STRANGE.into() };
    commit_all(&store, vec![Commit { writes: vec![delete], ..following(1, 1, Rest::Parked) }]).await;
    assert_eq!(steps(&receive_as(ME, &store, 90_000, 1).await), [""; 0]);
    let stored = StoredDefinition {
        name: STRANGE.into(),
        version: STRANGE.into(),
        source: STRANGE.repeat(1_000),
        created_at: at(1),
    };
    store.put_definition(stored.clone(), deed("put definition", "orders")).await.expect("a definition can be stored");
    assert_eq!(store.definitions(Which::Version(STRANGE.into())).await.expect("it can be read"), [stored]);
}

/// Keys are bytes: no case folding, no normal form, no trimming, and nothing ends at a NUL.
pub async fn keys_differ_wherever_their_bytes_do(store: Subject) {
    enlist(&store, ME).await;
    let keys = ["", "a", "A", "a ", " a", "a\0", "a\0b", "a\0c", "\u{e9}", "e\u{301}", "1", "01", "1.0"];
    for (number, key) in (1..).zip(keys) {
        let mut first = birth(number, Rest::Owned);
        first.birth = first.birth.map(|birth| Birth { key: key.into(), ..birth });
        assert_eq!(commit(&store, first).await, Outcome::Committed, "{key:?}");
    }
    for (number, key) in (1..).zip(keys) {
        let query = SagaQuery { key: Some(key.into()), limit: EVERYTHING, ..SagaQuery::default() };
        let found = store.sagas(query).await.expect("sagas can be listed");
        assert_eq!(found.iter().map(|saga| saga.id).collect::<Vec<_>>(), [id(number)], "{key:?}");
    }
}

/// Empty ones, ones that are no text, and ones far larger than a page of any store.
pub async fn bodies_are_kept_whatever_their_size(store: Subject) {
    enlist(&store, ME).await;
    let sizes = [0, 1, 1_000, 4_096, 70_000, 5_000_000];
    let body = |size: usize| (0..size).map(|byte| (byte % 251) as u8).collect();
    for (number, size) in (1..).zip(sizes) {
        let written = StoredEvents { count: 1, at: at(1), body: body(size) };
        commit_all(&store, vec![Commit { events: Some(written.clone()), ..birth(number, Rest::Owned) }]).await;
        assert!(record(&store, number).await.events == [written], "a body of {size} bytes came back otherwise");
    }
}

/// From the beginning to the time that never comes.
pub async fn times_are_kept_to_the_end_of_time(store: Subject) {
    enlist(&store, ME).await;
    let ends = [at(0), Timestamp::NEVER];
    for (number, end) in (1..).zip(ends) {
        let events = StoredEvents { count: 1, at: end, body: vec![] };
        let mut first = Commit { events: Some(events), ..birth(number, Rest::Until(end)) };
        first.birth = first.birth.map(|birth| Birth { created_at: end, ..birth });
        commit_all(&store, vec![first]).await;
        let read = record(&store, number).await;
        assert_eq!((read.birth.created_at, read.events[0].at, read.row.rest), (end, end, Rest::Until(end)));
    }
    let claimed = store.claim(ME, at(0), EVERYTHING).await.expect("a live incarnation can claim");
    assert_eq!((claimed.records.len(), claimed.next_due), (1, Some(Timestamp::NEVER)));
}
