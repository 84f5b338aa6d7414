//! What becomes of an answer: replayed, passed on, or not kept.

use crate::service::{Caller, DAY_SECONDS, Service, keyed};
use amends_idempotency::Options;
use axum::body::Body;
use axum::extract::Request;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

fn scripted(key: &str, script: &Value) -> Request {
    let request = Request::post("/scripted").header("idempotency-key", key).header("content-type", "application/json");
    request.body(Body::from(script.to_string())).unwrap()
}

#[tokio::test]
async fn a_repeat_is_answered_what_the_first_was() {
    let service = Service::new();
    let headers = json!({ "location": "/orders/1", "etag": "\"v1\"", "x-trace": "1", "set-cookie": "a=b" });
    let script = json!({ "status": 201, "body": "{\"id\": 1}\n", "headers": headers });
    let first = service.send(scripted("k", &script)).await;
    assert_eq!((first.status, first.replayed()), (201, false));
    for _ in 0..3 {
        let again = service.send(scripted("k", &script)).await;
        assert!(again.replayed());
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        for name in ["location", "etag", "content-type"] {
            assert_eq!(again.headers.get_all(name).iter().collect::<Vec<_>>(), [&first.headers[name]], "{name}");
        }
        for name in ["x-trace", "set-cookie"] {
            assert!(first.headers.contains_key(name) && !again.headers.contains_key(name), "{name}");
        }
    }
    assert_eq!((service.effects(), service.records()), (1, 1));
}

#[tokio::test]
async fn an_empty_answer_and_bytes_that_are_no_text_are_replayed_as_they_were() {
    let service = Service::new();
    for body in ["", "\u{0}\u{7f}é\u{10ffff}"] {
        let script = json!({ "status": 200, "body": body });
        let first = service.send(scripted(&format!("k{}", body.len()), &script)).await;
        let again = service.send(scripted(&format!("k{}", body.len()), &script)).await;
        assert_eq!((first.body.clone(), again.body.clone()), (body.into(), body.into()));
        assert!(again.replayed());
    }
}

#[tokio::test]
async fn a_refusal_is_stored_without_its_writes() {
    for status in [400, 402, 404, 409, 410, 422, 451] {
        let service = Service::new();
        let script = json!({ "status": status });
        assert_eq!(service.send(scripted("k", &script)).await.status, status);
        let again = service.send(scripted("k", &script)).await;
        assert_eq!((again.status, again.replayed()), (status, true));
        assert_eq!((service.effects(), service.records()), (0, 1), "{status}");
    }
}

#[tokio::test]
async fn an_answer_about_the_caller_or_the_moment_is_passed_on() {
    for status in [401, 403, 408, 425, 429, 500, 502, 503, 504] {
        let service = Service::new();
        for _ in 0..2 {
            let reply = service.send(scripted("k", &json!({ "status": status }))).await;
            assert_eq!((reply.status, reply.replayed(), &reply.body[..]), (status, false, &b"answered"[..]));
        }
        assert_eq!((service.effects(), service.records()), (0, 0), "{status}");
        assert_eq!(service.send(scripted("k", &json!({ "status": 201 }))).await.status, 201, "the key is free again");
        assert_eq!(service.effects(), 1);
    }
}

#[tokio::test]
async fn a_refusal_that_invites_another_try_is_passed_on() {
    let service = Service::new();
    let script = json!({ "status": 409, "headers": { "retry-after": "3" } });
    for _ in 0..2 {
        let reply = service.send(scripted("k", &script)).await;
        assert_eq!((reply.status, reply.replayed(), reply.asks_again()), (409, false, true));
    }
    assert_eq!((service.effects(), service.records()), (0, 0));
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_success() {
    let service = Service::new();
    let script = json!({ "status": 303, "headers": { "location": "/orders/1" } });
    assert_eq!(service.send(scripted("k", &script)).await.status, 303);
    let again = service.send(scripted("k", &script)).await;
    assert_eq!(
        (again.status, again.replayed(), &again.headers["location"]),
        (303, true, &"/orders/1".parse().unwrap())
    );
    assert_eq!(service.effects(), 1);
}

#[tokio::test]
async fn a_large_answer_is_sent_on_and_never_run_again() {
    let service = Service::with(Options { response_bytes: 100, ..Options::default() }, Caller::Single);
    let script =
        |bytes: usize| json!({ "status": 201, "body": "x".repeat(bytes), "headers": { "location": "/orders/1" } });
    let first = service.send(scripted("large", &script(101))).await;
    assert_eq!((first.status, first.body.len()), (201, 101));
    for _ in 0..2 {
        let again = service.send(scripted("large", &script(101))).await;
        assert_eq!(again.problem(), (409, "answer-not-kept".into()));
        assert_eq!(again.headers["location"], "/orders/1");
        assert!(!again.asks_again());
        assert_eq!(serde_json::from_slice::<Value>(&again.body).unwrap()["original_status"], 201);
    }
    assert_eq!(service.effects(), 1);
    service.send(scripted("fits", &script(100))).await;
    assert_eq!(service.send(scripted("fits", &script(100))).await.body.len(), 100);
}

#[tokio::test]
async fn a_stream_is_sent_on_and_never_run_again() {
    let service = Service::new();
    let first = service.send(keyed("/stream", "k", Body::empty())).await;
    assert_eq!((first.status, &first.body[..]), (200, &b"a stream"[..]));
    let again = service.send(keyed("/stream", "k", Body::empty())).await;
    assert_eq!(again.problem(), (409, "answer-not-kept".into()));
    assert_eq!(again.headers["location"], "/streams/1");
    assert_eq!(service.effects(), 1);
}

#[tokio::test]
async fn an_expired_key_is_a_new_one() {
    let (service, seconds) = Service::timed();
    let script = json!({ "status": 201 });
    service.send(scripted("k", &script)).await;
    seconds.fetch_add(30 * DAY_SECONDS - 1, Ordering::SeqCst);
    assert!(service.send(scripted("k", &script)).await.replayed());
    seconds.fetch_add(1, Ordering::SeqCst);
    let other = service.send(scripted("k", &json!({ "status": 202 }))).await;
    assert_eq!((other.status, other.replayed()), (202, false));
    assert_eq!((service.effects(), service.records()), (2, 1));
    assert!(service.send(scripted("k", &json!({ "status": 202 }))).await.replayed());
}

#[tokio::test]
async fn expired_records_go_in_batches_with_new_ones() {
    let (service, seconds) = Service::timed();
    let script = json!({ "status": 201, "body": "x".repeat(1_000) });
    for key in 0..20 {
        service.send(scripted(&format!("old-{key}"), &script)).await;
    }
    seconds.fetch_add(31 * DAY_SECONDS, Ordering::SeqCst);
    for (key, left) in [13, 6, 3, 4].into_iter().enumerate() {
        service.send(scripted(&format!("new-{key}"), &script)).await;
        assert_eq!(service.records(), left, "after {} new ones", key + 1);
    }
    assert_eq!(service.remembered(), 20, "their keys stay, so that what took effect can still be undone");
}

#[tokio::test]
async fn of_what_had_no_effect_nothing_stays() {
    let (service, seconds) = Service::timed();
    service.send(scripted("refused", &json!({ "status": 402 }))).await;
    seconds.fetch_add(31 * DAY_SECONDS, Ordering::SeqCst);
    service.send(scripted("new", &json!({ "status": 201 }))).await;
    assert_eq!((service.records(), service.remembered()), (1, 0));
}

#[tokio::test]
async fn an_expired_record_that_cannot_be_read_stands_in_nobodys_way() {
    let (service, seconds) = Service::timed();
    service.send(scripted("damaged", &json!({ "status": 201 }))).await;
    service.database().execute("UPDATE amends_idempotency SET kind = 'something else'", []).unwrap();
    seconds.fetch_add(31 * DAY_SECONDS, Ordering::SeqCst);
    assert_eq!(service.send(scripted("new", &json!({ "status": 201 }))).await.status, 201);
    assert_eq!((service.records(), service.remembered()), (1, 1), "it may have taken effect");
}
