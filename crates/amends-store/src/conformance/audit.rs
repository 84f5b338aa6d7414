//! The audit log and its chain.

use super::{
    EVERYTHING, ME, Subject, at, audit, birth, commit_all, deed, enlist, following, id, look, open_dead_letter,
};
use crate::{AuditEntry, AuditQuery, Commit, Rest, StoredDefinition, StoredToken, Write};
use amends_core::chain::{self, Head, Verifier};

/// All of the log, newest first.
async fn log(store: &Subject) -> Vec<AuditEntry> {
    let log = store.audit(AuditQuery { limit: EVERYTHING, ..AuditQuery::default() }).await;
    log.expect("the audit log can be read")
}

async fn seal(store: &Subject, limit: usize) -> Option<u64> {
    store.seal(limit).await.expect("the log can be sealed").map(|head| head.number)
}

async fn head(store: &Subject) -> Head {
    store.head().await.expect("the head can be read")
}

async fn sealed(store: &Subject, after: u64, limit: usize) -> Vec<AuditEntry> {
    store.sealed(after, limit).await.expect("the chain can be read")
}

/// Makes a saga and adds so many entries about it.
async fn write(store: &Subject, saga: u128, reasons: &[&str]) {
    let writes = reasons.iter().map(|reason| audit(reason)).collect();
    commit_all(store, vec![Commit { writes, ..birth(saga, Rest::Owned) }]).await;
}

fn pause(reason: &str, when: u64) -> Write {
    Write::Audit { actor: "lee".into(), action: "pause".into(), step: None, reason: reason.into(), at: at(when) }
}

fn token(number: u8) -> StoredToken {
    StoredToken {
        id: id(number.into()),
        name: "billing".into(),
        role: "operator".into(),
        digest: [7; 32],
        created_at: at(100),
        expires_at: None,
        revoked_at: None,
    }
}

/// The order is that of the commits and of the writes in each, and what was refused left no trace.
pub async fn the_audit_log_is_in_the_order_of_the_commits(store: Subject) {
    enlist(&store, ME).await;
    write(&store, 1, &["first", "second"]).await;
    let stale = Commit { writes: vec![audit("stale")], ..following(1, 7, Rest::Owned) };
    let broken = Commit {
        writes: vec![audit("broken"), open_dead_letter("a"), open_dead_letter("a")],
        ..following(1, 1, Rest::Owned)
    };
    let before = look(&store).await;
    store.commit(ME, vec![stale].into()).await.expect("a stale commit is an outcome");
    store.commit(ME, vec![broken].into()).await.expect_err("two dead letters of one id are a defect");
    assert_eq!(look(&store).await, before);
    commit_all(&store, vec![Commit { writes: vec![pause("third", 1)], ..birth(2, Rest::Owned) }]).await;
    let log = log(&store).await;
    assert!(log.is_sorted_by(|newer, older| newer.place > older.place), "{log:?}");
    let entry = |place, reason: &str| AuditEntry {
        place,
        at: at(900),
        actor: "kim".into(),
        action: "skip".into(),
        saga: Some(id(1)),
        subject: None,
        step: Some("charge-payment".into()),
        reason: reason.into(),
        seal: None,
    };
    let third = AuditEntry {
        at: at(1),
        actor: "lee".into(),
        action: "pause".into(),
        saga: Some(id(2)),
        step: None,
        ..entry(log[0].place, "third")
    };
    assert_eq!(log, [third, entry(log[1].place, "second"), entry(log[2].place, "first")]);
}

/// Newest first, all or one saga's, whatever is sealed of it.
pub async fn the_audit_log_comes_in_pages(store: Subject) {
    enlist(&store, ME).await;
    commit_all(&store, vec![birth(1, Rest::Owned), birth(2, Rest::Owned)]).await;
    for after in 1..=3 {
        for saga in [1, 2] {
            let writes = vec![audit(&format!("{saga}-{after}"))];
            commit_all(&store, vec![Commit { writes, ..following(saga, after, Rest::Owned) }]).await;
        }
    }
    assert_eq!(seal(&store, 4).await, Some(4));
    let places: Vec<u128> = log(&store).await.iter().map(|entry| entry.place).collect();
    // Before the entry with this number, counted from the oldest.
    let page = async |saga: Option<u128>, before: Option<usize>, limit: usize| -> Vec<String> {
        let before = before.map(|number| places[places.len() - number]);
        let query = AuditQuery { saga: saga.map(id), before, limit };
        let page = store.audit(query).await.expect("the audit log can be read");
        page.into_iter().map(|entry| entry.reason).collect()
    };
    assert_eq!(page(None, None, 2).await, ["2-3", "1-3"]);
    assert_eq!(page(None, Some(5), 3).await, ["2-2", "1-2", "2-1"]);
    assert_eq!(page(Some(1), None, EVERYTHING).await, ["1-3", "1-2", "1-1"]);
    assert_eq!(page(Some(1), Some(3), EVERYTHING).await, ["1-1"]);
    assert_eq!(page(None, Some(1), EVERYTHING).await, [""; 0]);
    assert_eq!(page(None, None, 0).await, [""; 0]);
}

/// With what it tells of, and only where that changed anything.
pub async fn what_concerns_no_saga_is_in_the_log_once(store: Subject) {
    let (name, version, source) = ("orders".to_owned(), "o1".to_owned(), "saga: orders".to_owned());
    let definition = StoredDefinition { name, version, source, created_at: at(1) };
    for _ in 0..2 {
        let put = store.put_definition(definition.clone(), deed("put definition", "orders o1")).await;
        put.expect("a definition can be stored");
        store.put_token(token(7), deed("make token", "billing")).await.expect("a token can be kept");
        store.revoke_token(id(7), deed("revoke token", "billing")).await.expect("a token can be revoked");
        store.revoke_token(id(8), deed("revoke token", "nobody")).await.expect("nothing is no error");
    }
    store.put_token(token(9), deed("make token", "refused")).await.expect_err("a digest is one token's");
    let log = log(&store).await;
    let told: Vec<_> = log.iter().map(|entry| (entry.action.as_str(), entry.subject.as_deref())).collect();
    let expected =
        [("revoke token", Some("billing")), ("make token", Some("billing")), ("put definition", Some("orders o1"))];
    assert_eq!(told, expected);
    for entry in log {
        assert_eq!((entry.saga, entry.step, entry.reason.as_str(), entry.at), (None, None, "", at(900)));
    }
}

/// Numbers from 1 without gaps, whoever they are about.
pub async fn entries_are_sealed_in_their_order(store: Subject) {
    enlist(&store, ME).await;
    assert_eq!(head(&store).await, Head::BEGINNING);
    assert_eq!(seal(&store, EVERYTHING).await, None);
    write(&store, 1, &["first", "second"]).await;
    assert_eq!(sealed(&store, 0, EVERYTHING).await, []);
    assert_eq!(seal(&store, EVERYTHING).await, Some(2));
    write(&store, 2, &["third"]).await;
    assert_eq!(seal(&store, EVERYTHING).await, Some(3));
    let mut log = log(&store).await;
    log.reverse();
    assert_eq!(log.iter().map(|entry| entry.seal.map(|seal| seal.number)).collect::<Vec<_>>(), [1, 2, 3].map(Some));
    assert_eq!(log.iter().map(|entry| entry.reason.as_str()).collect::<Vec<_>>(), ["first", "second", "third"]);
    assert_eq!(sealed(&store, 0, EVERYTHING).await, log);
    assert_eq!(Some(head(&store).await), log[2].seal);
}

/// And says how far it came.
pub async fn sealing_keeps_to_its_limit_and_does_nothing_twice(store: Subject) {
    enlist(&store, ME).await;
    write(&store, 1, &["1", "2", "3", "4", "5"]).await;
    assert_eq!(seal(&store, 0).await, None);
    assert_eq!(seal(&store, 2).await, Some(2));
    let two = sealed(&store, 0, EVERYTHING).await;
    assert_eq!(two.len(), 2);
    assert_eq!(seal(&store, 2).await, Some(4));
    assert_eq!(seal(&store, 2).await, Some(5));
    assert_eq!(seal(&store, 2).await, None);
    assert_eq!(sealed(&store, 0, 2).await, two, "what is sealed stays as it is");
}

/// From the entry after any number, as far as is asked for.
pub async fn the_chain_is_read_from_any_place(store: Subject) {
    enlist(&store, ME).await;
    write(&store, 1, &["1", "2", "3", "4", "5"]).await;
    seal(&store, EVERYTHING).await;
    let reasons = async |after, limit| -> Vec<String> {
        sealed(&store, after, limit).await.into_iter().map(|entry| entry.reason).collect()
    };
    assert_eq!(reasons(0, 2).await, ["1", "2"]);
    assert_eq!(reasons(2, 2).await, ["3", "4"]);
    assert_eq!(reasons(4, 2).await, ["5"]);
    assert_eq!(reasons(5, 2).await, [""; 0]);
    assert_eq!(reasons(u64::MAX, 2).await, [""; 0]);
    assert_eq!(reasons(0, 0).await, [""; 0]);
}

/// Whatever is in its texts: what is read is what was sealed.
pub async fn the_chain_is_what_anybody_can_compute(store: Subject) {
    enlist(&store, ME).await;
    write(&store, 1, &["", "a\0b", "\u{1a}0", "\"ü\"\n\\ \u{7f}\u{1f980}"]).await;
    store.put_token(token(7), deed("make token", "a\0b")).await.expect("a token can be kept");
    while seal(&store, 2).await.is_some() {}
    let head = head(&store).await;
    let mut verifier = Verifier::new(Head::BEGINNING, Some(head));
    let mut previous = Head::BEGINNING;
    for entry in sealed(&store, 0, EVERYTHING).await {
        let seal = entry.seal.expect("it is sealed");
        verifier.take(&chain::line(entry.entry(), &previous.hash, &seal)).expect("it fits");
        previous = seal;
    }
    assert_eq!(verifier.finish(), Ok(head));
    assert_eq!(head.number, 5);
}

/// A chain is only ever lengthened, whatever its entries say of the time.
pub async fn what_is_written_after_a_sealing_is_sealed_behind_it(store: Subject) {
    enlist(&store, ME).await;
    write(&store, 2, &["late"]).await;
    assert_eq!(seal(&store, EVERYTHING).await, Some(1));
    let before = sealed(&store, 0, EVERYTHING).await;
    commit_all(&store, vec![Commit { writes: vec![pause("early", 0)], ..birth(1, Rest::Owned) }]).await;
    assert_eq!(seal(&store, EVERYTHING).await, Some(2));
    let after = sealed(&store, 0, EVERYTHING).await;
    assert_eq!(after[..1], before);
    assert_eq!(after[1].reason, "early");
}
