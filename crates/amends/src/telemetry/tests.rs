use super::spans::{Span, Tracker, is_sampled};
use super::{Collector, Watcher};
use crate::config::{Config, Sources};
use crate::server::Server;
use amends_core::answer::Failure;
use amends_core::lint;
use amends_core::machine::{Claim, Direction, Event, Trouble};
use amends_core::time::Timestamp;
use amends_engine::{Committed, Engine, EngineOptions, Participant, Settings, Snapshot, StartRequest, trace};
use amends_store::{MemoryStore, Processes, StoreAndViews};
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A purchase whose second step fails once and whose third is refused, so that two are undone.
const PURCHASE: &str = r#"
saga: purchase
key: "{{ input.id }}"
retry: { attempts: 3, initial: 1ms }
steps:
  reserve: { action: { post: "shop:/works" }, compensation: { post: "shop:/works" } }
  charge: { action: { post: "shop:/second-time" }, compensation: { post: "bank:/works" } }
  ship: { action: { post: "shop:/refuses" }, compensation: none }
"#;

const CALLER_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER_SPAN: &str = "00f067aa0ba902b7";

/// A call: its step, direction and attempt, as its headers say them.
type Place = (String, String, String);

/// What the participants and the collector were sent.
#[derive(Clone, Default)]
struct Seen {
    traceparents: Arc<Mutex<HashMap<Place, String>>>,
    requests: Arc<Mutex<Vec<Value>>>,
    tries: Arc<AtomicU32>,
    refusals: Arc<AtomicU32>,
}

impl Seen {
    fn note(&self, headers: &HeaderMap) {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let place = (header("amends-step"), header("amends-direction"), header("amends-attempt"));
        self.traceparents.lock().unwrap().insert(place, header("traceparent"));
    }

    /// Every span that the collector took.
    fn spans(&self) -> Vec<Value> {
        let requests = self.requests.lock().unwrap();
        let batches = requests.iter().map(|request| request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array());
        batches.flat_map(|batch| batch.unwrap().clone()).collect()
    }
}

/// Six services and a collector in one.
async fn world(seen: Seen) -> SocketAddr {
    let router = Router::new()
        .route("/works", post(|State(seen): State<Seen>, headers: HeaderMap| async move { seen.note(&headers) }))
        .route("/second-time", post(second_time))
        .route(
            "/refuses",
            post(|State(seen): State<Seen>, headers: HeaderMap| async move {
                seen.note(&headers);
                (StatusCode::CONFLICT, Json(json!({ "detail": "no courier goes there" })))
            }),
        )
        .route("/v1/traces", post(collect))
        .with_state(seen);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn second_time(State(seen): State<Seen>, headers: HeaderMap) -> StatusCode {
    seen.note(&headers);
    let first = headers["amends-direction"] == "action" && seen.tries.fetch_add(1, Ordering::Relaxed) == 0;
    if first { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// Takes spans, after it has been busy as often as the test wants it to be.
async fn collect(State(seen): State<Seen>, Json(request): Json<Value>) -> StatusCode {
    let busy = seen.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    if busy {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    seen.requests.lock().unwrap().push(request);
    StatusCode::OK
}

/// Runs one purchase to its end on a server that sends traces, and stops the server.
async fn run_purchase(seen: &Seen, traceparent: Option<String>) -> amends_client::Saga {
    let there = world(seen.clone()).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("amends.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nstore = \"sqlite:amends.db\"\n[participants.shop]\nurl = \"http://{there}\"\n\
         [participants.bank]\nurl = \"http://{there}\"\n\
         [telemetry]\notlp_endpoint = \"http://{there}\"\nservice_name = \"amends-in-a-test\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let server =
        Server::start(&Config::load(&Sources { file: Some(file), ..Sources::default() }).unwrap()).await.unwrap();
    let client = amends_client::Client::new(&format!("http://{}", server.address())).unwrap();
    client.put_definition("purchase", PURCHASE).await.unwrap();
    let options = amends_client::StartOptions { wait: Some(std::time::Duration::from_secs(30)), traceparent };
    let saga = client.start("purchase", &json!({ "id": "p-1" }), options).await.unwrap().saga;
    assert_eq!(saga.status, amends_client::SagaStatus::Compensated);
    server.stop().await.unwrap();
    saga
}

fn named<'s>(spans: &'s [Value], name: &str) -> Vec<&'s Value> {
    spans.iter().filter(|span| span["name"] == name).collect()
}

fn attribute<'s>(span: &'s Value, key: &str) -> Option<&'s str> {
    let attributes = span["attributes"].as_array().unwrap();
    attributes.iter().find(|attribute| attribute["key"] == key)?["value"]["stringValue"].as_str()
}

fn time(span: &Value, field: &str) -> u64 {
    span[field].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_saga_becomes_a_trace_that_hangs_together() {
    let seen = Seen::default();
    let saga = run_purchase(&seen, Some(format!("00-{CALLER_TRACE}-{CALLER_SPAN}-01"))).await;
    let spans = seen.spans();
    let mut names: Vec<&str> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "compensate charge",
            "compensate reserve",
            "perform charge",
            "perform charge",
            "perform reserve",
            "perform ship",
            "saga purchase"
        ]
    );
    let whole = named(&spans, "saga purchase")[0];
    assert_eq!((whole["parentSpanId"].as_str(), whole["kind"].as_u64()), (Some(CALLER_SPAN), Some(1)));
    assert_eq!(attribute(whole, "amends.status"), Some("compensated"));
    assert_eq!(attribute(whole, "amends.saga"), Some(saga.id.as_str()));
    assert!(whole["status"]["message"].as_str().unwrap().contains("no courier goes there"), "{whole}");
    for span in &spans {
        assert_eq!(span["traceId"], CALLER_TRACE);
        let (began, ended) = (time(span, "startTimeUnixNano"), time(span, "endTimeUnixNano"));
        assert!(time(whole, "startTimeUnixNano") <= began && began <= ended, "{span}");
        assert!(ended <= time(whole, "endTimeUnixNano"), "{span}");
    }
    let resource = seen.requests.lock().unwrap()[0]["resourceSpans"][0]["resource"].clone();
    assert_eq!(resource["attributes"][0]["value"]["stringValue"], "amends-in-a-test");
}

#[tokio::test]
async fn each_call_carries_the_id_of_its_own_span() {
    let seen = Seen::default();
    run_purchase(&seen, Some(format!("00-{CALLER_TRACE}-{CALLER_SPAN}-01"))).await;
    let (spans, traceparents) = (seen.spans(), seen.traceparents.lock().unwrap().clone());
    assert_eq!(traceparents.len(), 6, "{traceparents:?}");
    let whole = named(&spans, "saga purchase")[0]["spanId"].clone();
    for ((step, direction, attempt), traceparent) in traceparents {
        let is_it = |span: &&Value| {
            attribute(span, "amends.step") == Some(&step)
                && attribute(span, "amends.direction") == Some(&direction)
                && attribute(span, "amends.attempt") == Some(&attempt)
        };
        let span = spans.iter().find(is_it).unwrap_or_else(|| panic!("{step} {direction} {attempt}: {spans:#?}"));
        let id = span["spanId"].as_str().unwrap();
        assert_eq!(traceparent, format!("00-{CALLER_TRACE}-{id}-01"));
        assert_eq!((&span["parentSpanId"], span["kind"].as_u64()), (&whole, Some(3)));
        let called = if step == "charge" && direction == "compensation" { "bank" } else { "shop" };
        assert_eq!(attribute(span, "amends.participant"), Some(called));
        let failed = (step == "charge" && attempt == "1" && direction == "action") || step == "ship";
        assert_eq!(span["status"]["code"] == 2, failed, "{span}");
    }
}

#[tokio::test]
async fn a_saga_outside_any_trace_has_its_own_and_a_busy_collector_is_asked_again() {
    let seen = Seen::default();
    seen.refusals.store(1, Ordering::Relaxed);
    let saga = run_purchase(&seen, None).await;
    let spans = seen.spans();
    assert_eq!(spans.len(), 7);
    assert!(spans.iter().all(|span| span["traceId"] == saga.id.replace('-', "")), "{spans:#?}");
    assert!(named(&spans, "saga purchase")[0].get("parentSpanId").is_none());
}

#[tokio::test]
async fn a_caller_that_does_not_sample_is_obeyed() {
    let seen = Seen::default();
    run_purchase(&seen, Some(format!("00-{CALLER_TRACE}-{CALLER_SPAN}-00"))).await;
    assert_eq!(seen.spans(), Vec::<Value>::new());
    assert_eq!(seen.traceparents.lock().unwrap().len(), 6, "the trace is passed on all the same");
}

#[tokio::test]
async fn a_collector_that_refuses_is_not_asked_again() {
    // There is nothing at `/elsewhere/v1/traces`.
    let there = world(Seen::default()).await;
    let collector = Collector::at(&format!("http://{there}/elsewhere/"), "amends").unwrap();
    let error = collector.send(&[]).await.unwrap_err();
    assert_eq!(error.to_string(), "the collector answered 404 Not Found");
    assert!(Collector::at("no address", "amends").is_err());
}

/// A saga that has ended, and the store that it is in.
async fn finished_saga() -> (Snapshot, amends_engine::History, Arc<dyn StoreAndViews>) {
    let there = world(Seen::default()).await;
    let participant = Participant::at(format!("http://{there}").parse().unwrap());
    let store: Arc<dyn StoreAndViews> = Arc::new(MemoryStore::new(Processes::One));
    let settings = Settings {
        participants: ["shop", "bank"].map(|name| (name.to_owned(), participant.clone())).into(),
        ..Settings::default()
    };
    let options = EngineOptions { store: store.clone(), views: store.clone(), settings };
    let engine = Engine::start(options).await.unwrap();
    engine.put_definition(PURCHASE, lint::compile(PURCHASE).unwrap(), "a test").await.unwrap();
    let request = StartRequest {
        definition: "purchase".into(),
        input: Arc::new(json!({ "id": "p-1" })),
        traceparent: None,
        wait_ms: Some(30_000),
    };
    let snapshot = engine.start_saga(request).await.unwrap().saga;
    let record = store.saga(snapshot.id).await.unwrap().unwrap();
    let (snapshot, history) = Snapshot::read(&record, snapshot.definition).unwrap();
    (snapshot, history, store)
}

/// All spans of a history, seen from its beginning.
fn spans_of(snapshot: &Snapshot, history: &amends_engine::History) -> Vec<Span> {
    let mut tracker = Tracker::default();
    let numbered = (1..).zip(history);
    numbered.flat_map(|(sequence, (at, event))| tracker.take(snapshot, sequence, *at, event)).collect()
}

/// What a watcher makes of the events from `first` on, when it knew those before `known`.
async fn watched(known: u64, first: u64) -> (Vec<Span>, Vec<Span>) {
    let (snapshot, history, store) = finished_saga().await;
    let numbered: Vec<_> = (1..).zip(&history).map(|(sequence, (at, event))| (sequence, *at, event.clone())).collect();
    let all = spans_of(&snapshot, &history);
    let (spans, mut queue) = mpsc::channel(100);
    let mut tracker = Tracker::default();
    for (sequence, at, event) in numbered.iter().filter(|(sequence, ..)| *sequence < known) {
        tracker.take(&snapshot, *sequence, *at, event);
    }
    let mut watcher =
        Watcher { store, redact: Vec::new(), sagas: HashMap::from([(snapshot.id, tracker)]), spans, dropped: 0 };
    let events = numbered.into_iter().filter(|(sequence, ..)| *sequence >= first).collect();
    watcher.take(&Committed { saga: snapshot, events }).await;
    assert!(watcher.sagas.is_empty(), "a saga that has ended is forgotten");
    drop(watcher);
    let mut seen = Vec::new();
    while let Some(span) = queue.recv().await {
        seen.push(span);
    }
    (seen, all)
}

#[tokio::test]
async fn commits_that_were_missed_are_read_from_the_store() {
    // The last two events are the end of the last compensation and that of the saga.
    let (_, history, _) = finished_saga().await;
    let last = history.len() as u64;
    let (seen, all) = watched(4, last).await;
    assert_eq!(all.len(), 7);
    let missed = seen.iter().map(|span| &span.name).collect::<Vec<_>>();
    assert_eq!(missed, all[1..].iter().map(|span| &span.name).collect::<Vec<_>>());
}

#[tokio::test]
async fn spans_of_another_process_are_not_sent_again() {
    let (_, history, _) = finished_saga().await;
    let last = history.len() as u64;
    let (seen, all) = watched(1, last - 1).await;
    let names: Vec<&str> = seen.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["compensate reserve", "saga purchase"]);
    let same =
        |span: &Span, other: &Span| (span.began.0 <= span.ended.0) && span.attributes.len() == other.attributes.len();
    assert!(seen.iter().zip(&all[5..]).all(|(span, other)| same(span, other)), "the beginnings come from the store");
}

#[tokio::test]
async fn ids_are_those_of_the_engine() {
    let (snapshot, history, _) = finished_saga().await;
    let spans = spans_of(&snapshot, &history);
    let whole = spans.last().unwrap();
    assert_eq!((whole.trace_id, whole.id), (*snapshot.id.as_bytes(), trace::saga_span_id(snapshot.id)));
    assert!(is_sampled(&snapshot.saga));
    let ids: std::collections::BTreeSet<[u8; 8]> = spans.iter().map(|span| span.id).collect();
    assert_eq!(ids.len(), spans.len(), "no two spans have the same id");
}

/// An attempt whose orchestrator died has no event; the number of the next one says that it was there, and its participant
/// saw that number.
#[tokio::test]
async fn lost_attempts_at_a_compensation_are_counted() {
    let (snapshot, ..) = finished_saga().await;
    let failure = Failure::without_status("answered 503");
    let failed = |attempt| Event::CompensationFailed {
        step: 1,
        attempt,
        trouble: Trouble::Unknown,
        failure: failure.clone(),
        retry_at: Timestamp(1),
    };
    let events = [
        Event::CompensationQueued { step: 1, digest: "d".into(), claim: Claim::Done, by_message: false },
        failed(3),
        failed(4),
        Event::CompensationDone { step: 1 },
    ];
    let mut tracker = Tracker::default();
    let numbered = (1..).zip(&events);
    let spans: Vec<Span> =
        numbered.flat_map(|(sequence, event)| tracker.take(&snapshot, sequence, Timestamp(sequence), event)).collect();
    let ids: Vec<[u8; 8]> = spans.iter().map(|span| span.id).collect();
    assert_eq!(ids, [3, 4, 5].map(|attempt| trace::span_id(snapshot.id, 1, Direction::Compensation, attempt)));
}

/// Whoever is called, and not whoever was called for the action.
#[tokio::test]
async fn a_span_names_the_participant_that_was_called() {
    let (snapshot, history, _) = finished_saga().await;
    let spans = spans_of(&snapshot, &history);
    let of = |name: &str| {
        let span = spans.iter().rfind(|span| span.name == name).unwrap();
        span.attributes.iter().find(|(key, _)| *key == "amends.participant").map(|(_, value)| value.as_str())
    };
    assert_eq!((of("perform charge"), of("compensate charge")), (Some("shop"), Some("bank")));
}
