use super::{Followers, LAG};
use amends_core::lint;
use amends_core::machine::Operator;
use amends_engine::{Committed, Engine, EngineOptions, Settings, Snapshot, StartRequest};
use amends_store::{MemoryStore, Processes};
use serde_json::json;
use std::sync::Arc;

const WAITS: &str = "saga: waits\nkey: \"{{ input.id }}\"\nsteps:\n  signal: { wait: 1h }\n";

async fn engine() -> Engine {
    let store = Arc::new(MemoryStore::new(Processes::One));
    let options = EngineOptions { store: store.clone(), views: store, settings: Settings::default() };
    let engine = Engine::start(options).await.unwrap();
    engine.put_definition(WAITS, lint::compile(WAITS).unwrap(), "a test").await.unwrap();
    engine
}

async fn start(engine: &Engine, id: &str) -> Snapshot {
    let input = Arc::new(json!({ "id": id }));
    let request = StartRequest { definition: "waits".into(), input, traceparent: None, wait_ms: None };
    engine.start_saga(request).await.unwrap().saga
}

fn deaf() -> Followers {
    Followers { state: Arc::default() }
}

#[tokio::test]
async fn a_follower_hears_of_its_own_saga_and_of_no_other() {
    let engine = engine().await;
    let (one, other) = (start(&engine, "1").await, start(&engine, "2").await);
    let followers = deaf();
    let mut following = followers.follow(one.id).unwrap();
    for saga in [&other, &one] {
        followers.pass_on(&Arc::new(Committed { saga: saga.clone(), events: Vec::new() }));
    }
    assert_eq!(following.next().await.unwrap().saga.id, one.id);
    drop(following);
    assert!(followers.state().by_saga.is_empty(), "who has gone is forgotten");
}

#[tokio::test]
async fn a_follower_that_is_too_slow_is_told_to_read_the_store() {
    let engine = engine().await;
    let saga = start(&engine, "1").await;
    let followers = deaf();
    let (mut slow, mut quick) = (followers.follow(saga.id).unwrap(), followers.follow(saga.id).unwrap());
    let commit = Arc::new(Committed { saga, events: Vec::new() });
    for _ in 0..=LAG {
        followers.pass_on(&commit);
        assert!(quick.next().await.is_some());
    }
    for _ in 0..LAG {
        assert!(slow.next().await.is_some(), "what it was sent it still gets");
    }
    assert!(slow.next().await.is_none());
}

#[tokio::test]
async fn what_the_engine_commits_is_heard() {
    let engine = engine().await;
    let followers = Followers::of(&engine);
    let saga = start(&engine, "1").await;
    let mut following = followers.follow(saga.id).unwrap();
    let operator = Operator { actor: "ada".into(), reason: String::new() };
    let order = amends_engine::Order::Complete { step: "signal".into(), output: Arc::new(json!(null)), operator };
    engine.order(saga.id, order).await.unwrap();
    loop {
        let commit = following.next().await.unwrap();
        if commit.saga.saga.is_finished() {
            break;
        }
    }
}
