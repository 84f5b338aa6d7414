//! The three races of a compensation: repeated, without its action, and before its action.

use crate::service::{DAY_SECONDS, Service, answer, keyed, undo};
use axum::body::Body;
use axum::extract::Request;
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn json(mut request: Request) -> Request {
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    request
}

fn action(status: u16) -> Request {
    json(keyed("/scripted", "a", answer(status)))
}

fn compensation(status: u16) -> Request {
    json(undo("/other", "a-compensation", "a", answer(status)))
}

#[tokio::test]
async fn a_compensation_runs_once_after_its_action() {
    let service = Service::new();
    service.send(action(201)).await;
    let first = service.send(compensation(200)).await;
    assert_eq!((first.status, first.replayed(), first.null_compensation()), (200, false, false));
    let again = service.send(compensation(200)).await;
    assert_eq!((again.status, again.replayed(), again.null_compensation()), (200, true, false));
    assert_eq!(service.effects(), 2, "one action and one compensation");
    assert!(service.send(action(201)).await.replayed(), "a late repeat of the action changes nothing");
    assert_eq!(service.effects(), 2);
}

#[tokio::test]
async fn a_compensation_whose_action_never_arrived_does_not_run() {
    let service = Service::new();
    let first = service.send(compensation(200)).await;
    assert_eq!((first.status, first.null_compensation(), first.replayed()), (200, true, false));
    let again = service.send(compensation(200)).await;
    assert_eq!((again.status, again.null_compensation(), again.replayed()), (200, true, true));
    assert_eq!(first.body, again.body);
    assert_eq!((service.effects(), service.records()), (0, 2), "a tombstone and an answer");
}

#[tokio::test]
async fn an_action_that_meets_a_tombstone_is_refused_for_good() {
    let service = Service::new();
    service.send(compensation(200)).await;
    for status in [201, 201, 202] {
        let reply = service.send(action(status)).await;
        assert_eq!(reply.problem(), (409, "compensated-before-action".into()));
        assert!(!reply.asks_again(), "asking again would change nothing");
    }
    assert_eq!(service.effects(), 0);
    let other = json(undo("/other", "another-compensation", "a", answer(200)));
    assert!(service.send(other).await.null_compensation(), "another compensation meets the same tombstone");
    assert_eq!(service.effects(), 0);
}

#[tokio::test]
async fn a_refused_action_has_nothing_to_undo() {
    let service = Service::new();
    service.send(action(402)).await;
    assert!(service.send(compensation(200)).await.null_compensation());
    assert_eq!(service.effects(), 0);
    let late = service.send(action(402)).await;
    assert_eq!((late.status, late.replayed()), (402, true), "its refusal still stands");
}

#[tokio::test]
async fn an_action_that_failed_is_as_one_that_never_arrived() {
    let service = Service::new();
    service.send(action(500)).await;
    assert!(service.send(compensation(200)).await.null_compensation());
    assert_eq!(service.send(action(201)).await.problem(), (409, "compensated-before-action".into()));
    assert_eq!(service.effects(), 0);
}

#[tokio::test]
async fn a_compensation_that_is_refused_can_be_tried_again() {
    let service = Service::new();
    service.send(action(201)).await;
    let failing = || json(undo("/other", "a-compensation", "a", answer(422)));
    for _ in 0..2 {
        let reply = service.send(failing()).await;
        assert_eq!((reply.status, reply.replayed()), (422, false));
    }
    assert_eq!(service.effects(), 1);
    assert_eq!(service.send(compensation(200)).await.status, 200);
    assert_eq!(service.effects(), 2);
}

#[tokio::test]
async fn a_compensation_under_the_key_of_another_request_is_refused() {
    let service = Service::new();
    service.send(action(201)).await;
    service.send(compensation(200)).await;
    let other = service.send(json(undo("/other", "a-compensation", "a", answer(202)))).await;
    assert_eq!(other.problem(), (422, "idempotency-key-reused".into()));
}

#[tokio::test]
async fn a_compensation_waits_for_its_action() {
    let service = Arc::new(Service::new());
    let running = Arc::clone(&service);
    let action = tokio::spawn(async move { running.send(keyed("/held", "a", Body::empty())).await });
    service.signals.entered.acquire().await.unwrap().forget();
    let early = service.send(compensation(200)).await;
    assert_eq!(early.problem(), (409, "action-in-flight".into()));
    assert!(early.asks_again());
    service.signals.open.add_permits(1);
    assert_eq!(action.await.unwrap().status, 201);
    let late = service.send(compensation(200)).await;
    assert_eq!((late.status, late.null_compensation()), (200, false));
    assert_eq!(service.effects(), 2);
}

/// The record of the action has expired, and other requests have swept it away; its effect is still there.
#[tokio::test]
async fn an_action_is_undone_however_long_ago_it_was() {
    let (service, seconds) = Service::timed();
    service.send(action(201)).await;
    seconds.fetch_add(31 * DAY_SECONDS, Ordering::SeqCst);
    service.send(json(keyed("/scripted", "another", answer(201)))).await;
    assert_eq!((service.records(), service.remembered()), (1, 1));
    let late = service.send(compensation(200)).await;
    assert_eq!((late.status, late.null_compensation()), (200, false));
    assert_eq!(service.effects(), 3, "two actions and one compensation");
    assert_eq!(service.remembered(), 0, "nothing is left to undo");
}

/// A compensation's own key expires too, and it must not be run on top of itself then.
#[tokio::test]
async fn what_was_undone_is_not_undone_again_however_late() {
    for sweep in [false, true] {
        let (service, seconds) = Service::timed();
        service.send(action(201)).await;
        service.send(compensation(200)).await;
        seconds.fetch_add(31 * DAY_SECONDS, Ordering::SeqCst);
        let others = if sweep { 1 } else { 0 };
        for _ in 0..others {
            service.send(json(keyed("/scripted", "another", answer(201)))).await;
        }
        let again = service.send(compensation(200)).await;
        assert_eq!((again.status, again.replayed(), again.null_compensation()), (200, false, true));
        assert_eq!(service.effects(), 2 + others);
        assert_eq!(service.remembered(), 0);
        assert_eq!(service.send(action(201)).await.problem(), (409, "compensated-before-action".into()));
    }
}

/// A key that is used again after its expiry hides the first effect from nobody.
#[tokio::test]
async fn a_refusal_under_an_expired_key_does_not_hide_the_effect_before_it() {
    let (service, seconds) = Service::timed();
    service.send(action(201)).await;
    seconds.fetch_add(31 * DAY_SECONDS, Ordering::SeqCst);
    assert_eq!(service.send(action(402)).await.status, 402);
    let late = service.send(compensation(200)).await;
    assert_eq!((late.status, late.null_compensation()), (200, false));
    assert_eq!(service.effects(), 2);
}

/// Nothing is remembered of a tombstone or a refusal that has expired: the next compensation leaves a tombstone anew.
#[tokio::test]
async fn an_expired_tombstone_and_an_expired_refusal_are_as_nothing() {
    for refused in [false, true] {
        let (service, seconds) = Service::timed();
        if refused {
            service.send(action(402)).await;
        } else {
            service.send(json(undo("/other", "first-compensation", "a", answer(200)))).await;
        }
        seconds.fetch_add(31 * DAY_SECONDS, Ordering::SeqCst);
        assert!(service.send(compensation(200)).await.null_compensation());
        assert_eq!(service.send(action(201)).await.problem(), (409, "compensated-before-action".into()));
        assert_eq!((service.effects(), service.remembered()), (0, 0));
    }
}
