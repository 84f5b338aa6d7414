//! Lists of sagas.

use super::{DEFINITION, EVERYTHING, ME, Subject, at, birth, commit_all, enlist, following, id, record};
use crate::{Commit, Rest, Row, SagaQuery, Summary};
use amends_core::machine::Status;
use uuid::Uuid;

async fn list(store: &Subject, query: &SagaQuery) -> Vec<Uuid> {
    let found = store.sagas(query.clone()).await.expect("sagas can be listed");
    found.into_iter().map(|saga| saga.id).collect()
}

/// Each page from where the last one ended, each saga once, and each as it reads alone.
pub async fn sagas_come_newest_first_in_pages(store: Subject) {
    enlist(&store, ME).await;
    for number in [3, 1, 5, 2, 4] {
        commit_all(&store, vec![birth(number, Rest::Owned)]).await;
    }
    let mut query = SagaQuery { limit: 2, ..SagaQuery::default() };
    let mut pages = Vec::new();
    loop {
        let page = list(&store, &query).await;
        let Some(last) = page.last() else { break };
        query.before = Some(*last);
        pages.push(page);
    }
    assert_eq!(pages, [vec![id(5), id(4)], vec![id(3), id(2)], vec![id(1)]]);
    let everything = SagaQuery { limit: EVERYTHING, ..SagaQuery::default() };
    for Summary { id, birth, row } in store.sagas(everything).await.expect("sagas can be listed") {
        let record = record(&store, id.as_u128()).await;
        assert_eq!((birth, row), (record.birth, record.row));
    }
    assert!(list(&store, &SagaQuery::default()).await.is_empty(), "a limit of nothing");
}

/// By definition, by key, by place, and by all of them together.
pub async fn sagas_are_filtered(store: Subject) {
    enlist(&store, ME).await;
    for number in 1..=6 {
        let mut first = birth(number, Rest::Owned);
        let born = first.birth.as_mut().expect("it is a birth");
        born.key = format!("key-{}", number % 3);
        born.definition = if number <= 3 { DEFINITION } else { "returns" }.into();
        commit_all(&store, vec![first]).await;
    }
    let any = SagaQuery { limit: EVERYTHING, ..SagaQuery::default() };
    let (orders, key) = (Some(DEFINITION.to_owned()), Some("key-1".to_owned()));
    let running = Some(Status::Running);
    let cases: [(SagaQuery, &[u128]); 8] = [
        (SagaQuery { definition: orders.clone(), ..any.clone() }, &[3, 2, 1]),
        (SagaQuery { definition: orders.clone(), before: Some(id(3)), ..any.clone() }, &[2, 1]),
        (SagaQuery { definition: orders.clone(), limit: 1, ..any.clone() }, &[3]),
        (SagaQuery { definition: Some("unheard-of".into()), ..any.clone() }, &[]),
        (SagaQuery { key: key.clone(), ..any.clone() }, &[4, 1]),
        (SagaQuery { key: key.clone(), definition: orders.clone(), ..any.clone() }, &[1]),
        (SagaQuery { key: key.clone(), definition: orders, status: running, ..any.clone() }, &[1]),
        (SagaQuery { key, status: Some(Status::Stuck), ..any }, &[]),
    ];
    for (query, expected) in cases {
        let expected: Vec<Uuid> = expected.iter().copied().map(id).collect();
        assert_eq!(list(&store, &query).await, expected, "{query:?}");
    }
}

/// A saga is in the list of the status that it has now, and in no other.
pub async fn sagas_are_filtered_by_every_status(store: Subject) {
    enlist(&store, ME).await;
    let all = [Status::Running, Status::Compensating, Status::Completed, Status::Compensated, Status::Stuck];
    let row = |status| {
        let rest = match status {
            Status::Running | Status::Compensating => Rest::Owned,
            Status::Stuck => Rest::Parked,
            Status::Completed | Status::Compensated => Rest::Finished(at(9)),
        };
        Row { status, paused: false, reason: None, rest }
    };
    for (number, status) in (1..).zip(all) {
        let other = if status == Status::Running { Status::Stuck } else { Status::Running };
        let first = Commit { row: row(other), ..birth(number, Rest::Owned) };
        let second = Commit { row: row(status), ..following(number, 1, Rest::Owned) };
        commit_all(&store, vec![first, second]).await;
    }
    for (number, status) in (1..).zip(all) {
        let query = SagaQuery { status: Some(status), limit: EVERYTHING, ..SagaQuery::default() };
        assert_eq!(list(&store, &query).await, [id(number)], "{status:?}");
        let query = SagaQuery { definition: Some(DEFINITION.into()), ..query };
        assert_eq!(list(&store, &query).await, [id(number)], "{status:?} of a definition");
    }
}

/// Asking for what is not there is no error.
pub async fn a_saga_that_is_missing_is_not_found(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned)]).await;
    assert_eq!(store.saga(id(2)).await.expect("a saga can be read"), None);
}
