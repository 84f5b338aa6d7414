//! Duplicates at one time, and clients that go away.

use crate::service::{Caller, Reply, Service, keyed};
use amends_idempotency::Options;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn held() -> Request {
    keyed("/held", "k", Body::empty())
}

fn patient() -> Options {
    Options { wait: Duration::from_secs(60), ..Options::default() }
}

/// Starts the held request; it has written its effect when this returns.
async fn start_held(service: &Arc<Service>) -> tokio::task::JoinHandle<Reply> {
    let running = Arc::clone(service);
    let first = tokio::spawn(async move { running.send(held()).await });
    service.signals.entered.acquire().await.unwrap().forget();
    first
}

#[tokio::test]
async fn a_repeat_in_flight_is_asked_to_come_again() {
    let service = Arc::new(Service::new());
    let first = start_held(&service).await;
    let repeat = service.send(held()).await;
    assert_eq!(repeat.problem(), (409, "request-in-flight".into()));
    assert!(repeat.asks_again());
    let other = service.send(keyed("/held", "k", "another body")).await;
    assert_eq!(other.problem(), (422, "idempotency-key-reused".into()), "422 is decided before 409");
    service.signals.open.add_permits(1);
    assert_eq!(first.await.unwrap().status, 201);
    assert!(service.send(held()).await.replayed());
    assert_eq!(service.effects(), 1);
}

#[tokio::test]
async fn a_repeat_in_flight_waits_if_it_may() {
    let service = Arc::new(Service::with(patient(), Caller::Single));
    let first = start_held(&service).await;
    let waiting = Arc::clone(&service);
    let mut repeat = tokio::spawn(async move { waiting.send(held()).await });
    // Another body does not wait: it could not be answered however long it did.
    let other = service.send(keyed("/held", "k", "another body")).await;
    assert_eq!(other.problem(), (422, "idempotency-key-reused".into()));
    assert!(futures_now(&mut repeat).await.is_none(), "it was answered before the first was");
    service.signals.open.add_permits(1);
    let (first, repeat) = (first.await.unwrap(), repeat.await.unwrap());
    assert_eq!((first.status, first.replayed()), (201, false));
    assert_eq!((repeat.status, repeat.replayed()), (201, true));
    assert_eq!(service.effects(), 1);
}

/// The task's result if it is there already.
async fn futures_now(task: &mut tokio::task::JoinHandle<Reply>) -> Option<Reply> {
    tokio::select! {
        biased;
        reply = task => Some(reply.unwrap()),
        () = tokio::task::yield_now() => None,
    }
}

#[tokio::test]
async fn the_wait_is_bounded() {
    let wait = Duration::from_millis(50);
    let service = Arc::new(Service::with(Options { wait, ..Options::default() }, Caller::Single));
    let first = start_held(&service).await;
    let before = std::time::Instant::now();
    assert_eq!(service.send(held()).await.problem(), (409, "request-in-flight".into()));
    assert!(before.elapsed() >= wait);
    service.signals.open.add_permits(1);
    assert_eq!(first.await.unwrap().status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_take_effect_once() {
    for options in [Options::default(), patient()] {
        let waits = !options.wait.is_zero();
        let service = Service::with(options, Caller::Single);
        let address = service.listen().await;
        service.signals.open.add_permits(100);
        for round in 1..=5 {
            let key = format!("key-{round}");
            let mut duplicates = tokio::task::JoinSet::new();
            for _ in 0..12 {
                let key = key.clone();
                duplicates.spawn(async move { exchange(address, &key).await });
            }
            let replies = duplicates.join_all().await;
            let first = replies.iter().filter(|reply| reply.status == 201 && !reply.replayed()).count();
            assert_eq!(first, 1, "{replies:?}");
            for reply in replies {
                let answered = reply.status == 201;
                assert!(answered || (!waits && reply.problem() == (409, "request-in-flight".into())), "{reply:?}");
            }
            assert_eq!(service.effects(), round);
            assert!(exchange(address, &key).await.replayed());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_stops_nothing() {
    let service = Service::with(patient(), Caller::Single);
    let address = service.listen().await;
    let client = send(address, "k").await;
    service.signals.entered.acquire().await.unwrap().forget();
    drop(client);
    service.signals.gone.acquire().await.unwrap().forget();
    assert_eq!(service.effects(), 0, "the handler still runs");
    service.signals.open.add_permits(1);
    let repeat = exchange(address, "k").await;
    assert_eq!((repeat.status, repeat.replayed()), (201, true));
    assert_eq!(service.effects(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_on_the_way_is_given_again() {
    let service = Service::with(patient(), Caller::Single);
    let address = service.listen().await;
    service.signals.open.add_permits(2);
    let client = send(address, "k").await;
    // The server has answered once it lets go of the request; nobody has read it.
    service.signals.gone.acquire().await.unwrap().forget();
    drop(client);
    let repeat = exchange(address, "k").await;
    assert_eq!((repeat.status, repeat.replayed()), (201, true));
    assert_eq!(service.effects(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_before_its_body_is_whole_does_nothing() {
    let service = Service::new();
    let address = service.listen().await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let head = "POST /held HTTP/1.1\r\nhost: shop\r\nidempotency-key: k\r\ncontent-length: 10\r\n\r\nhalf";
    client.write_all(head.as_bytes()).await.unwrap();
    drop(client);
    service.signals.gone.acquire().await.unwrap().forget();
    assert_eq!((service.effects(), service.records()), (0, 0));
}

/// A runtime that stops takes the handlers with it: what they wrote is rolled back, and the key is free.
#[test]
fn a_process_that_stops_in_mid_handler_leaves_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let service = Arc::new(Service::new());
    let stopped = Arc::clone(&service);
    drop(runtime.block_on(start_held(&stopped)));
    runtime.shutdown_timeout(Duration::from_secs(10));
    assert_eq!((service.effects(), service.records()), (0, 0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    service.signals.open.add_permits(1);
    assert_eq!(runtime.block_on(service.send(held())).status, 201);
    assert_eq!(service.effects(), 1);
}

/// Sends the held request over a connection of its own.
async fn send(address: SocketAddr, key: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /held HTTP/1.1\r\nhost: shop\r\nidempotency-key: {key}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

async fn exchange(address: SocketAddr, key: &str) -> Reply {
    let mut answer = Vec::new();
    send(address, key).await.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers: HeaderMap =
        headers.map(|(name, value)| (HeaderName::try_from(name).unwrap(), value.parse().unwrap())).collect();
    Reply { status, headers, body: Bytes::copy_from_slice(body.as_bytes()) }
}
