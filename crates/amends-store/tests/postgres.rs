//! What only a store on PostgreSQL does: leases, several schemas' worth of starting, poolers, TLS and failover.

#![cfg(test)]

use amends_core::chain::{Head, Verifier, line};
use amends_core::time::Timestamp;
use amends_store::{
    AuditLog, Commit, Item, Outcome, Patience, PermitRequest, PostgresError, PostgresOptions, PostgresStore, Rest,
    Store, StoreError, Views, Write, conformance, migrate_postgres,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use test_postgres::{Durability, Pooler, Server, Stop};
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

/// Long enough for a machine that is busy with other things.
const LEASE: Duration = Duration::from_secs(2);
const NOW: Timestamp = Timestamp(1_000);

async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(PostgresOptions { lease: LEASE, ..PostgresOptions::new(url) }).await.unwrap()
}

fn birth(saga: Uuid, rest: Rest) -> Commit {
    conformance::birth(saga.as_u128(), rest)
}

fn following(saga: Uuid, after: u64, rest: Rest) -> Commit {
    conformance::following(saga.as_u128(), after, rest)
}

async fn commit(store: &PostgresStore, who: Uuid, commit: Commit) -> Result<Outcome, StoreError> {
    Ok(store.commit(who, vec![commit].into()).await?.remove(0))
}

/// Whoever gives no sign of life loses what it owns, and cannot write any more when it comes back.
#[tokio::test]
async fn a_lease_that_runs_out_is_taken_over() {
    let store = open(&test_postgres::database()).await;
    let (silent, other, saga) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    store.enlist(silent, NOW).await.unwrap();
    assert_eq!(commit(&store, silent, birth(saga, Rest::Owned)).await.unwrap(), Outcome::Committed);
    store.enlist(other, NOW).await.unwrap();
    assert_eq!(store.take_over().await.unwrap(), 0, "it may be alive");
    for _ in 0..4 {
        sleep(LEASE / 2).await; // tidy: allow-sleep a lease runs out by the database's clock
        store.renew(other).await.unwrap();
    }
    assert_eq!(store.take_over().await.unwrap(), 1);
    assert_eq!(store.take_over().await.unwrap(), 0, "once is enough");
    assert!(matches!(store.renew(silent).await, Err(StoreError::Fenced)));
    let late = commit(&store, silent, following(saga, 1, Rest::Owned)).await;
    assert!(matches!(late, Err(StoreError::Fenced)), "{late:?}");
    let now = store.time().await.unwrap();
    let claimed = store.claim(other, now, 10).await.unwrap();
    assert_eq!(claimed.records.iter().map(|record| record.id).collect::<Vec<_>>(), [saga]);
    assert_eq!(commit(&store, other, following(saga, 1, Rest::Owned)).await.unwrap(), Outcome::Committed);
}

/// A sign of life in time keeps everything where it is.
#[tokio::test]
async fn a_lease_that_is_renewed_is_kept() {
    let store = open(&test_postgres::database()).await;
    let (me, saga) = (Uuid::now_v7(), Uuid::now_v7());
    store.enlist(me, NOW).await.unwrap();
    assert_eq!(commit(&store, me, birth(saga, Rest::Owned)).await.unwrap(), Outcome::Committed);
    for _ in 0..3 {
        sleep(LEASE / 2).await; // tidy: allow-sleep a lease runs out by the database's clock
        store.renew(me).await.unwrap();
        assert_eq!(store.take_over().await.unwrap(), 0);
    }
    assert_eq!(commit(&store, me, following(saga, 1, Rest::Owned)).await.unwrap(), Outcome::Committed);
}

/// A dead one's sagas are handed out whole, however many there are, also where whoever began to do so has died over it.
#[tokio::test]
async fn many_sagas_are_handed_out() {
    let store = open(&test_postgres::database()).await;
    let me = Uuid::now_v7();
    store.enlist(me, NOW).await.unwrap();
    let batch: Vec<Commit> = (0..2_500).map(|_| birth(Uuid::now_v7(), Rest::Owned)).collect();
    assert_eq!(store.commit(me, batch.into()).await.unwrap().len(), 2_500);
    store.retire(me, NOW).await.unwrap();
    let other = Uuid::now_v7();
    store.enlist(other, NOW).await.unwrap();
    assert_eq!(store.claim(other, NOW, 3_000).await.unwrap().records.len(), 2_500);
}

/// A saga that is left to one who is dead and has nothing more to hand out would never be woken: it is seen, and mended.
#[tokio::test]
async fn a_saga_of_one_long_dead_is_an_orphan() {
    let url = test_postgres::database();
    let store = open(&url).await;
    let (me, saga) = (Uuid::now_v7(), Uuid::now_v7());
    store.enlist(me, NOW).await.unwrap();
    assert_eq!(commit(&store, me, birth(saga, Rest::Owned)).await.unwrap(), Outcome::Committed);
    assert_eq!(store.statistics().await.unwrap().orphans, 0);
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("UPDATE amends.incarnation SET live = false, released = true").await.unwrap();
    assert_eq!(store.statistics().await.unwrap().orphans, 1);
    let other = Uuid::now_v7();
    store.enlist(other, NOW).await.unwrap();
    assert_eq!(store.statistics().await.unwrap().orphans, 0);
    assert_eq!(store.claim(other, NOW, 10).await.unwrap().records.len(), 1);
}

/// What is left for another is found by it alone, is answered once, and is gone when it is collected or withdrawn.
#[tokio::test]
async fn what_is_left_for_another_is_found_and_answered() {
    let store = open(&test_postgres::database()).await;
    let (to, saga) = (Uuid::now_v7(), Uuid::now_v7());
    let item = |id| Item { id, to, saga, body: b"pause".to_vec() };
    let ids = [Uuid::now_v7(), Uuid::now_v7()];
    for id in ids {
        store.leave(item(id)).await.unwrap();
        store.leave(item(id)).await.unwrap();
    }
    assert_eq!(store.inbox(Uuid::now_v7()).await.unwrap(), []);
    assert_eq!(store.inbox(to).await.unwrap(), ids.map(item));
    assert_eq!(store.collect(ids[0], Patience::Wait).await.unwrap(), None);
    store.answer(ids[0], b"done".to_vec()).await.unwrap();
    store.answer(ids[0], b"done twice".to_vec()).await.unwrap();
    assert_eq!(store.inbox(to).await.unwrap(), [item(ids[1])]);
    assert_eq!(store.collect(ids[0], Patience::GiveUp).await.unwrap(), Some(b"done".to_vec()));
    assert_eq!(store.collect(ids[0], Patience::Wait).await.unwrap(), None);
    assert_eq!(store.collect(ids[1], Patience::GiveUp).await.unwrap(), None);
    assert_eq!(store.inbox(to).await.unwrap(), []);
}

/// Several servers may start at once on a new database, and each may be started again.
/// Three processes ask for as many as they can get, for a while.
#[tokio::test]
async fn those_who_share_a_store_share_the_rate_of_compensations() {
    const PER_SECOND: u32 = 100;
    let url = test_postgres::database();
    let began = Instant::now();
    let request = PermitRequest { wanted: 1_000, per_second: PER_SECOND, use_within_ms: 0 };
    let ask = async |store: PostgresStore| {
        let mut granted = 0;
        while began.elapsed() < Duration::from_millis(1_500) {
            granted += store.permits(request).await.unwrap();
        }
        granted
    };
    let granted = tokio::join!(ask(open(&url).await), ask(open(&url).await), ask(open(&url).await));
    let (granted, took) = (granted.0 + granted.1 + granted.2, began.elapsed());
    // A few may be granted a twentieth of a second early.
    let most = (took.as_secs_f64() + 0.05) * f64::from(PER_SECOND) + 1.0;
    assert!(granted > 20 && granted as f64 <= most, "{granted} in {took:?}");
}

#[tokio::test]
async fn several_can_bring_the_schema_up_to_date_at_once() {
    let url = test_postgres::database();
    let mut migrations = JoinSet::new();
    for _ in 0..6 {
        let url = url.clone();
        migrations.spawn(async move { migrate_postgres(&url).await.unwrap() });
    }
    let migrations = migrations.join_all().await;
    assert!(migrations.iter().all(|migration| migration.to == 1), "{migrations:?}");
    let again = migrate_postgres(&url).await.unwrap();
    assert_eq!((again.from, again.to), (1, 1));
}

/// What a person got wrong is named, and no password is.
#[tokio::test]
async fn an_address_that_leads_nowhere_is_refused_with_its_reason() {
    let refused = async |url: &str| migrate_postgres(url).await.unwrap_err();
    let nobody = refused("postgres://amends:secret@127.0.0.1:1/amends").await;
    assert!(matches!(nobody, PostgresError::Unreachable { .. }), "{nobody}");
    assert!(nobody.to_string().contains("127.0.0.1") && !nobody.to_string().contains("secret"), "{nobody}");
    let missing = refused(&test_postgres::database().replace("/test_", "/no_such_test_")).await.to_string();
    assert!(missing.contains("does not exist"), "{missing}");
    let unknown = refused("postgres://amends@127.0.0.1/amends?sslmod=require").await;
    assert!(matches!(unknown, PostgresError::Address { .. }), "{unknown}");
    let roots = refused("postgres://amends@127.0.0.1/amends?sslmode=require&sslrootcert=/nowhere.pem").await;
    assert!(roots.to_string().contains("/nowhere.pem"), "{roots}");
}

/// A pooler lends a connection for one transaction at a time: nothing may rest on what an earlier one has left on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_may_stand_between() {
    let server = Server::start(Durability::None).unwrap();
    let pooler = Pooler::start(&server, 3).unwrap();
    let url = pooler.url(&server, &server.create_database().unwrap());
    let stores = [Arc::new(open(&url).await), Arc::new(open(&url).await)];
    let mut work = JoinSet::new();
    for store in stores.iter().cloned().cycle().take(8) {
        work.spawn(async move {
            let me = Uuid::now_v7();
            store.enlist(me, NOW).await.unwrap();
            for _ in 0..40 {
                let saga = Uuid::now_v7();
                assert_eq!(commit(&store, me, birth(saga, Rest::Owned)).await.unwrap(), Outcome::Committed);
                let next = following(saga, 1, Rest::Until(Timestamp(u64::from(u32::MAX))));
                assert_eq!(commit(&store, me, next).await.unwrap(), Outcome::Committed);
                assert_eq!(store.saga(saga).await.unwrap().unwrap().sequence, 2);
            }
            store.retire(me, NOW).await.unwrap();
        });
    }
    work.join_all().await;
    assert_eq!(stores[0].statistics().await.unwrap().orphans, 0);
}

/// A server's certificate is verified, by the roots that are named.
#[tokio::test]
async fn a_server_is_trusted_only_by_its_certificate() {
    let mut server = Server::start(Durability::None).unwrap();
    let url = server.create_database().unwrap().replace("127.0.0.1", "localhost");
    let certificate = server.require_tls().unwrap();
    let refused = async |url: &str| migrate_postgres(url).await.unwrap_err().to_string();
    let plain = refused(&format!("{url}?sslmode=disable")).await;
    assert!(plain.contains("no encryption"), "{plain}");
    for mode in ["prefer", "require", "verify-full"] {
        let stranger = refused(&format!("{url}?sslmode={mode}")).await;
        assert!(stranger.contains("certificate"), "{mode}: {stranger}");
    }
    let certificate = certificate.display();
    let other_name =
        refused(&format!("{}?sslmode=require&sslrootcert={certificate}", url.replace("localhost", "127.0.0.1"))).await;
    assert!(other_name.contains("certificate"), "{other_name}");
    let store = open(&format!("{url}?sslmode=require&sslrootcert={certificate}")).await;
    store.enlist(Uuid::now_v7(), NOW).await.unwrap();
}

/// Two servers as one address, of which the one is found that takes writes.
fn either(one: &Server, other: &Server) -> String {
    format!("postgres://amends@127.0.0.1:{},127.0.0.1:{}/postgres", one.port(), other.port())
}

/// Offers a commit until it is refused with these words. Connections to a server that has ended break first.
async fn until_refused_with(store: &PostgresStore, me: Uuid, offered: Commit, words: &str) -> bool {
    for _ in 0..20 {
        match commit(store, me, offered.clone()).await {
            Err(StoreError::Unavailable(why)) if why.contains(words) => return true,
            Err(StoreError::Unavailable(_) | StoreError::Unknown(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    false
}

/// A standby that has all that was acknowledged is as good as the server before it; the one that it replaced is not.
#[tokio::test]
async fn a_standby_that_has_everything_is_gone_on_with() {
    let mut primary = Server::start(Durability::Full).unwrap();
    let mut standby = primary.standby().unwrap();
    primary.wait_for_standby().unwrap();
    let store = open(&either(&primary, &standby)).await;
    let (me, saga) = (Uuid::now_v7(), Uuid::now_v7());
    store.enlist(me, NOW).await.unwrap();
    store.renew(me).await.unwrap();
    assert_eq!(commit(&store, me, birth(saga, Rest::Owned)).await.unwrap(), Outcome::Committed);
    primary.stop(Stop::Immediate).unwrap();
    standby.promote().unwrap();
    // The first connections break; what was on them is done again by whoever wanted it.
    let mut went_on = commit(&store, me, following(saga, 1, Rest::Owned)).await;
    for _ in 0..10 {
        if went_on.is_ok() {
            break;
        }
        went_on = commit(&store, me, following(saga, 1, Rest::Owned)).await;
    }
    assert_eq!(went_on.unwrap(), Outcome::Committed);
    // It believes that it is still the primary, and has no way to know better.
    primary.start_again().unwrap();
    assert_eq!(store.saga(saga).await.unwrap().unwrap().sequence, 2, "what people read comes from the other one");
    standby.stop(Stop::Immediate).unwrap();
    let refused =
        until_refused_with(&store, me, following(saga, 2, Rest::Owned), "is older than what was seen before").await;
    assert!(refused, "it has worked on a store that was replaced");
}

/// What was acknowledged and is not there would be done once more, or never: it is for a person to say that it is lost.
#[tokio::test]
async fn a_standby_that_lacks_what_was_acknowledged_is_not_worked_on() {
    for lost in ["a commit", "a renewal"] {
        let mut primary = Server::start(Durability::Full).unwrap();
        let standby = primary.standby().unwrap();
        let url = either(&primary, &standby);
        primary.wait_for_standby().unwrap();
        let store = open(&url).await;
        let (me, saga) = (Uuid::now_v7(), Uuid::now_v7());
        store.enlist(me, NOW).await.unwrap();
        store.renew(me).await.unwrap();
        assert_eq!(commit(&store, me, birth(saga, Rest::Owned)).await.unwrap(), Outcome::Committed);
        primary.wait_for_nobody().unwrap();
        standby.stop_following().unwrap();
        if lost == "a commit" {
            assert_eq!(commit(&store, me, following(saga, 1, Rest::Owned)).await.unwrap(), Outcome::Committed);
        } else {
            store.renew(me).await.unwrap();
        }
        primary.stop(Stop::Immediate).unwrap();
        standby.promote().unwrap();
        let named = if lost == "a commit" { format!("event 2 of saga {saga}") } else { "the lease of".into() };
        let why = format!("behind what it has acknowledged: {named}");
        assert!(until_refused_with(&store, me, following(saga, 2, Rest::Owned), &why).await, "{lost}");
        assert!(matches!(store.renew(me).await, Err(StoreError::Unavailable(_))));
        // Whoever starts anew accepts the loss.
        let anew = open(&url).await;
        anew.enlist(Uuid::now_v7(), NOW).await.unwrap();
        assert_eq!(anew.saga(saga).await.unwrap().unwrap().sequence, 1);
        // And takes over from the one before, which is none the wiser for it.
        while anew.take_over().await.unwrap() == 0 {
            sleep(LEASE / 10).await; // tidy: allow-sleep a lease runs out by the server's clock
        }
        assert!(until_refused_with(&store, me, following(saga, 2, Rest::Owned), &why).await, "{lost}");
    }
}

#[tokio::test]
async fn a_standby_is_told_from_a_server_that_takes_writes() {
    let primary = Server::start(Durability::None).unwrap();
    let standby = primary.standby().unwrap();
    let refused = PostgresStore::open(PostgresOptions::new(standby.url("postgres"))).await.unwrap_err().to_string();
    assert!(refused.contains("is a standby"), "{refused}");
}

/// An address that leads somewhere else after a while; behind a pooler nothing breaks that would show it.
#[tokio::test]
async fn another_system_at_the_same_address_is_not_worked_on() {
    let mut before = Server::start(Durability::None).unwrap();
    let mut other = Server::start(Durability::None).unwrap();
    let pooler = Pooler::start(&before, 4).unwrap();
    let url = before.url("postgres");
    // It has the tables.
    drop(open(&other.url("postgres")).await);
    let (direct, pooled) = (open(&url).await, open(&pooler.url(&before, &url)).await);
    let me = Uuid::now_v7();
    for store in [&direct, &pooled] {
        store.enlist(me, NOW).await.unwrap();
        store.renew(me).await.unwrap();
    }
    before.stop(Stop::Fast).unwrap();
    other.stop(Stop::Fast).unwrap();
    other.start_in_place_of(&before).unwrap();
    for store in [&direct, &pooled] {
        let mut why = String::new();
        for _ in 0..10 {
            match store.renew(me).await {
                Err(StoreError::Unavailable(refused)) => why = refused.to_string(),
                Err(StoreError::Unknown(_)) => {}
                other => panic!("{other:?}"),
            }
            if why.contains("another database system") {
                break;
            }
            sleep(Duration::from_millis(100)).await; // tidy: allow-sleep a pooler connects again after a while
        }
        assert!(why.contains("another database system"), "{why}");
        // Nothing else is done on it either, before anybody has looked again.
        let refusals = [
            store.enlist(Uuid::now_v7(), NOW).await.unwrap_err(),
            commit(store, me, birth(Uuid::now_v7(), Rest::Owned)).await.unwrap_err(),
            store.claim(me, NOW, 1).await.unwrap_err(),
            store.retire(me, NOW).await.unwrap_err(),
        ];
        for refusal in refusals {
            assert!(refusal.to_string().contains("another database system"), "{refusal}");
        }
    }
}

fn audited(saga: Uuid, reason: &str) -> Commit {
    let entry =
        Write::Audit { actor: "kim".into(), action: "pause".into(), step: None, reason: reason.into(), at: NOW };
    Commit { writes: vec![entry], ..birth(saga, Rest::Owned) }
}

/// What the chain says, in its order; it fits.
async fn chain(store: &PostgresStore) -> Vec<String> {
    let entries = store.sealed(0, 10_000).await.unwrap();
    let mut verifier = Verifier::new(Head::BEGINNING, Some(store.head().await.unwrap()));
    let mut previous = Head::BEGINNING;
    for entry in &entries {
        let seal = entry.seal.unwrap();
        verifier.take(&line(entry.entry(), &previous.hash, &seal)).unwrap();
        previous = seal;
    }
    verifier.finish().unwrap();
    entries.into_iter().map(|entry| entry.reason).collect()
}

/// Two that write, and three that seal all the while: each entry is sealed once, and none is left out.
#[tokio::test]
async fn several_can_seal_at_once_while_others_write() {
    const EACH: usize = 60;
    let url = test_postgres::database();
    let (writing, sealing) = (Arc::new(AtomicUsize::new(2)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for writer in 0..2 {
        let (store, writing) = (open(&url).await, writing.clone());
        tasks.spawn(async move {
            let me = Uuid::now_v7();
            store.enlist(me, NOW).await.unwrap();
            for number in 0..EACH {
                let outcome = commit(&store, me, audited(Uuid::now_v7(), &format!("{writer} {number}"))).await;
                assert_eq!(outcome.unwrap(), Outcome::Committed);
            }
            writing.fetch_sub(1, Ordering::SeqCst);
        });
    }
    for _ in 0..3 {
        let (store, writing, sealing) = (open(&url).await, writing.clone(), sealing.clone());
        tasks.spawn(async move {
            // Once more when all is written: what was committed last is to be sealed too.
            loop {
                let is_last = writing.load(Ordering::SeqCst) == 0;
                while let Some(head) = store.seal(7).await.unwrap() {
                    sealing.fetch_max(head.number, Ordering::SeqCst);
                }
                if is_last {
                    break;
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let store = open(&url).await;
    while store.seal(100).await.unwrap().is_some() {}
    let reasons = chain(&store).await;
    for writer in 0..2 {
        let own: Vec<&String> = reasons.iter().filter(|reason| reason.starts_with(&format!("{writer} "))).collect();
        assert_eq!(
            own,
            (0..EACH).map(|number| format!("{writer} {number}")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
        );
    }
    assert_eq!(reasons.len(), 2 * EACH);
    assert!(sealing.load(Ordering::SeqCst) > 0, "they sealed while others wrote");
}

/// A transaction that takes long is sealed when it has committed, behind what was sealed before that, and holds nobody up.
#[tokio::test]
async fn what_is_committed_late_is_sealed_late() {
    let url = test_postgres::database();
    let store = open(&url).await;
    let me = Uuid::now_v7();
    store.enlist(me, NOW).await.unwrap();
    let (slow, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    slow.batch_execute(
        "BEGIN; INSERT INTO amends.audit (rank, writer, at, actor, action, reason) VALUES (1, 0, 0, 'kim', 'pause', 'slow')",
    )
    .await
    .unwrap();
    commit(&store, me, audited(Uuid::now_v7(), "quick")).await.unwrap();
    assert_eq!(store.seal(10).await.unwrap().unwrap().number, 1);
    slow.batch_execute("COMMIT").await.unwrap();
    assert_eq!(store.seal(10).await.unwrap().unwrap().number, 2);
    assert_eq!(chain(&store).await, ["quick", "slow"]);
}

/// Who seals locks something, and commits do not look at it; one who died over it has sealed nothing.
#[tokio::test]
async fn nobody_waits_for_who_seals() {
    let url = test_postgres::database();
    let (store, me) = (open(&url).await, Uuid::now_v7());
    store.enlist(me, NOW).await.unwrap();
    commit(&store, me, audited(Uuid::now_v7(), "before")).await.unwrap();
    let (other, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    other
        .batch_execute(
            "BEGIN; SELECT * FROM amends.numbering WHERE list = 'audit' FOR UPDATE;
            UPDATE amends.audit SET number = 1, hash = repeat('x', 32)::bytea",
        )
        .await
        .unwrap();
    assert_eq!(commit(&store, me, audited(Uuid::now_v7(), "meanwhile")).await.unwrap(), Outcome::Committed);
    assert_eq!(store.seal(10).await.unwrap(), None, "another one is at it");
    connection.abort();
    drop(other);
    let mut sealed = None;
    while sealed.is_none() {
        sealed = store.seal(10).await.unwrap();
    }
    assert_eq!(chain(&store).await, ["before", "meanwhile"]);
}

/// Not by mistake, that is: whoever owns the tables can take the triggers away.
#[tokio::test]
async fn the_audit_log_is_neither_changed_nor_deleted_from() {
    let url = test_postgres::database();
    let (store, me) = (open(&url).await, Uuid::now_v7());
    store.enlist(me, NOW).await.unwrap();
    commit(&store, me, audited(Uuid::now_v7(), "sealed")).await.unwrap();
    store.seal(10).await.unwrap().unwrap();
    commit(&store, me, audited(Uuid::now_v7(), "not yet")).await.unwrap();
    for refused in [
        "UPDATE amends.audit SET reason = 'another' WHERE number = 1",
        "UPDATE amends.audit SET number = NULL, hash = NULL WHERE number = 1",
        "UPDATE amends.audit SET reason = 'another' WHERE number IS NULL",
        "DELETE FROM amends.audit WHERE number = 1",
        "DELETE FROM amends.audit WHERE number IS NULL",
        "TRUNCATE amends.audit",
    ] {
        let error = test_postgres::execute(&url, refused).unwrap_err();
        assert!(format!("{error:#}").contains("neither changed nor deleted"), "{refused}: {error:#}");
    }
    store.seal(10).await.unwrap().unwrap();
    assert_eq!(chain(&store).await, ["sealed", "not yet"]);
}

/// An end that somebody cut off all the same is not gone on from as if nothing had been there.
#[tokio::test]
async fn nothing_is_sealed_behind_an_entry_that_is_missing() {
    let url = test_postgres::database();
    let (store, me) = (open(&url).await, Uuid::now_v7());
    store.enlist(me, NOW).await.unwrap();
    commit(&store, me, audited(Uuid::now_v7(), "sealed")).await.unwrap();
    store.seal(10).await.unwrap().unwrap();
    let delete = "ALTER TABLE amends.audit DISABLE TRIGGER ALL; DELETE FROM amends.audit";
    test_postgres::execute(&url, delete).unwrap();
    commit(&store, me, audited(Uuid::now_v7(), "after")).await.unwrap();
    assert!(matches!(store.seal(10).await, Err(StoreError::Damaged(_))));
    assert!(matches!(store.head().await, Err(StoreError::Damaged(_))));
}
