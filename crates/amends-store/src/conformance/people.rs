//! Dead letters.

use super::{
    DEFINITION, EVERYTHING, ME, Subject, at, birth, close_dead_letter, commit_all, enlist, following, id,
    open_dead_letter,
};
use crate::{Commit, DeadLetter, DeadLetterQuery, GroupQuery, Rest, Write};

async fn open(store: &Subject, saga: u128, letters: &[&str]) {
    let writes = letters.iter().map(|letter| open_dead_letter(letter)).collect();
    commit_all(store, vec![Commit { writes, ..birth(saga, Rest::Parked) }]).await;
}

async fn letters(store: &Subject, query: DeadLetterQuery) -> Vec<String> {
    let found = store.dead_letters(query).await.expect("dead letters can be listed");
    found.into_iter().map(|letter| letter.id).collect()
}

async fn letter(store: &Subject, id: &str) -> Option<DeadLetter> {
    store.dead_letter(id).await.expect("a dead letter can be read")
}

/// Everything that was said of it is there, and what it needs of its saga.
pub async fn a_dead_letter_is_opened_and_closed(store: Subject) {
    enlist(&store, ME).await;
    assert_eq!(letter(&store, "letter-1").await, None);
    open(&store, 1, &["letter-1"]).await;
    let mut expected = DeadLetter {
        id: "letter-1".into(),
        saga: id(1),
        definition: DEFINITION.into(),
        key: "order-1".into(),
        step: Some("charge-payment".into()),
        direction: "compensation".into(),
        claim: "unknown".into(),
        error: "503 from payment".into(),
        fingerprint: "00f1".into(),
        participant: Some("payment".into()),
        opened_at: at(700),
        closed: None,
        place: 1,
    };
    assert_eq!(letter(&store, "letter-1").await, Some(expected.clone()));
    let close = Commit { writes: vec![close_dead_letter("letter-1")], ..following(1, 1, Rest::Owned) };
    commit_all(&store, vec![close]).await;
    expected.closed = Some((at(800), "refunded by hand, ticket 12".into()));
    assert_eq!(letter(&store, "letter-1").await, Some(expected.clone()));
    let all = DeadLetterQuery { closed: true, limit: EVERYTHING, ..DeadLetterQuery::default() };
    assert_eq!(store.dead_letters(all).await.expect("dead letters can be listed"), [expected]);
}

/// A second resolution, or one by another saga, is not taken; nor is one of a letter that is not there.
pub async fn a_dead_letter_is_settled_once_and_by_its_own_saga(store: Subject) {
    enlist(&store, ME).await;
    open(&store, 1, &["letter-1"]).await;
    let strange = Commit { writes: vec![close_dead_letter("letter-1")], ..birth(2, Rest::Owned) };
    commit_all(&store, vec![strange]).await;
    assert_eq!(letter(&store, "letter-1").await.expect("it is there").closed, None);
    let close = Commit { writes: vec![close_dead_letter("letter-1")], ..following(1, 1, Rest::Owned) };
    commit_all(&store, vec![close]).await;
    let settled = letter(&store, "letter-1").await;
    let late = Write::CloseDeadLetter { id: "letter-1".into(), resolution: "changed my mind".into(), at: at(999) };
    let writes = vec![late, close_dead_letter("no-such-letter")];
    commit_all(&store, vec![Commit { writes, ..following(1, 2, Rest::Owned) }]).await;
    assert_eq!(letter(&store, "letter-1").await, settled);
}

/// Only what is open, of that saga, and about no step of it.
pub async fn a_dead_letter_about_the_saga_is_settled_by_the_saga(store: Subject) {
    enlist(&store, ME).await;
    open(&store, 1, &["about-a-step"]).await;
    open(&store, 2, &[]).await;
    for (saga, id) in [(1, "about-one"), (2, "about-two")] {
        let mut letter = open_dead_letter(id);
        if let Write::OpenDeadLetter { step, .. } = &mut letter {
            *step = None;
        }
        commit_all(&store, vec![Commit { writes: vec![letter], ..following(saga, 1, Rest::Owned) }]).await;
    }
    for (after, resolution) in [(2, "it can be read again"), (3, "and again")] {
        let close = Write::CloseSagaDeadLetter { resolution: resolution.into(), at: at(900) };
        commit_all(&store, vec![Commit { writes: vec![close], ..following(1, after, Rest::Owned) }]).await;
    }
    let closed = letter(&store, "about-one").await.expect("it is there").closed;
    assert_eq!(closed, Some((at(900), "it can be read again".into())));
    for id in ["about-a-step", "about-two"] {
        assert_eq!(letter(&store, id).await.expect("it is there").closed, None, "{id}");
    }
}

/// Newest first, each page from where the last one ended.
pub async fn dead_letters_come_in_pages(store: Subject) {
    enlist(&store, ME).await;
    open(&store, 1, &["a", "b"]).await;
    open(&store, 2, &["c", "d", "e"]).await;
    let mut query = DeadLetterQuery { limit: 2, ..DeadLetterQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = store.dead_letters(query.clone()).await.expect("dead letters can be listed");
        let Some(last) = page.last() else { break };
        query.before = Some(last.place);
        assert!(page.len() <= 2, "a page keeps to its limit");
        seen.extend(page.into_iter().map(|letter| letter.id));
    }
    assert_eq!(seen, ["e", "d", "c", "b", "a"]);
}

/// A dead letter with a fingerprint and a time of its own.
fn letter_like(id: &str, like: &str, opened_at: u64) -> Write {
    let mut letter = open_dead_letter(id);
    if let Write::OpenDeadLetter { fingerprint, at: opened, .. } = &mut letter {
        (*fingerprint, *opened) = (like.into(), at(opened_at));
    }
    letter
}

/// Those that are open, of all sagas, with their times; the newest one stands for the others.
pub async fn dead_letters_alike_are_counted_together(store: Subject) {
    enlist(&store, ME).await;
    let first = vec![letter_like("a", "x", 300), letter_like("b", "y", 100), letter_like("c", "x", 200)];
    commit_all(&store, vec![Commit { writes: first, ..birth(1, Rest::Parked) }]).await;
    let second = vec![letter_like("d", "x", 250), letter_like("e", "z", 400), letter_like("f", "y", 500)];
    commit_all(&store, vec![Commit { writes: second, ..birth(2, Rest::Parked) }]).await;
    let writes = vec![close_dead_letter("e"), close_dead_letter("f")];
    commit_all(&store, vec![Commit { writes, ..following(2, 1, Rest::Parked) }]).await;
    let groups = store.dead_letter_groups(GroupQuery { before: None, limit: EVERYTHING }).await;
    let groups = groups.expect("groups can be listed").into_iter();
    let told: Vec<_> = groups.map(|group| (group.sample, group.count, group.oldest_at, group.newest_at)).collect();
    let sample = async |id| letter(&store, id).await.expect("it is there");
    let expected = [(sample("d").await, 3, at(200), at(300)), (sample("b").await, 1, at(100), at(100))];
    assert_eq!(told, expected);
}

/// Newest first, each page from where the last one ended.
pub async fn groups_of_dead_letters_come_in_pages(store: Subject) {
    enlist(&store, ME).await;
    assert_eq!(store.dead_letter_groups(GroupQuery { before: None, limit: 2 }).await.expect("there are none"), []);
    let likes = ["x", "y", "z", "x", "w"];
    let writes = ["a", "b", "c", "d", "e"].into_iter().zip(likes).map(|(id, like)| letter_like(id, like, 1)).collect();
    commit_all(&store, vec![Commit { writes, ..birth(1, Rest::Parked) }]).await;
    let mut query = GroupQuery { before: None, limit: 2 };
    let mut pages = Vec::new();
    loop {
        let page = store.dead_letter_groups(query.clone()).await.expect("groups can be listed");
        let Some(last) = page.last() else { break };
        query.before = Some(last.sample.place);
        pages.push(page.into_iter().map(|group| group.sample.id).collect::<Vec<_>>());
    }
    assert_eq!(pages, [["e", "d"], ["c", "b"]]);
}

/// Open ones unless asked otherwise; by definition, by saga, by what failed, and by several of these.
pub async fn dead_letters_are_filtered(store: Subject) {
    enlist(&store, ME).await;
    open(&store, 1, &["a", "b"]).await;
    let other = Write::OpenDeadLetter {
        id: "c".into(),
        step: Some("ship".into()),
        direction: "action".into(),
        claim: "undone".into(),
        error: "422".into(),
        fingerprint: "00f2".into(),
        participant: None,
        at: at(750),
    };
    let mut other = Commit { writes: vec![other], ..birth(2, Rest::Parked) };
    other.birth.as_mut().expect("it is a birth").definition = "returns".into();
    commit_all(&store, vec![other]).await;
    let close = Commit { writes: vec![close_dead_letter("a")], ..following(1, 1, Rest::Parked) };
    commit_all(&store, vec![close]).await;
    let any = DeadLetterQuery { limit: EVERYTHING, ..DeadLetterQuery::default() };
    let all = DeadLetterQuery { closed: true, ..any.clone() };
    let orders = Some(DEFINITION.to_owned());
    let cases: [(DeadLetterQuery, &[&str]); 14] = [
        (any.clone(), &["c", "b"]),
        (all.clone(), &["c", "b", "a"]),
        (DeadLetterQuery { definition: orders.clone(), ..any.clone() }, &["b"]),
        (DeadLetterQuery { definition: orders.clone(), ..all.clone() }, &["b", "a"]),
        (DeadLetterQuery { saga: Some(id(2)), ..all.clone() }, &["c"]),
        (DeadLetterQuery { saga: Some(id(2)), definition: orders, ..all.clone() }, &[]),
        (DeadLetterQuery { saga: Some(id(1)), limit: 1, ..all.clone() }, &["b"]),
        (DeadLetterQuery { step: Some("ship".into()), ..any.clone() }, &["c"]),
        (DeadLetterQuery { participant: Some("payment".into()), ..any.clone() }, &["b"]),
        (DeadLetterQuery { participant: Some("payment".into()), ..all.clone() }, &["b", "a"]),
        (DeadLetterQuery { fingerprint: Some("00f1".into()), ..any.clone() }, &["b"]),
        (DeadLetterQuery { fingerprint: Some("00f2".into()), saga: Some(id(1)), ..all.clone() }, &[]),
        (DeadLetterQuery { opened_before: Some(at(750)), ..all }, &["b", "a"]),
        (DeadLetterQuery { opened_before: Some(at(751)), ..any }, &["c", "b"]),
    ];
    for (query, expected) in cases {
        assert_eq!(letters(&store, query.clone()).await, expected, "{query:?}");
    }
}
