//! The table of the protocol, status by status.

use super::{
    ActionOutcome, Answer, CompensationOutcome, Failure, ProbeOutcome, Response, classify_action,
    classify_compensation, classify_probe,
};
use serde_json::{Value, json};
use std::sync::Arc;

fn response(status: u16, retry_after_ms: Option<u64>, body: Value) -> Answer {
    Answer::Response(Response { status, retry_after_ms, body: Arc::new(body), body_dropped: None })
}

/// What an answer means to an action, a compensation, a compensation where 404 is done, and a probe.
fn classes(answer: &Answer) -> [&'static str; 4] {
    let action = match classify_action(answer) {
        ActionOutcome::Done { .. } => "done",
        ActionOutcome::NotDone { .. } => "not-done",
        ActionOutcome::InProgress { .. } => "in-progress",
        ActionOutcome::Refused { .. } => "refused",
        ActionOutcome::Unknown { .. } => "unknown",
    };
    let compensation = |not_found_is_done| match classify_compensation(answer, not_found_is_done) {
        CompensationOutcome::Done => "done",
        CompensationOutcome::Again { uncertain: false, .. } => "again",
        CompensationOutcome::Again { uncertain: true, .. } => "unknown",
        CompensationOutcome::InProgress { .. } => "in-progress",
        CompensationOutcome::Hopeless { .. } => "hopeless",
    };
    let probe = match classify_probe(answer) {
        ProbeOutcome::Answered => "answered",
        ProbeOutcome::Again { .. } => "again",
    };
    [action, compensation(false), compensation(true), probe]
}

/// Statuses, whether there is a `Retry-After`, and the classes.
#[rustfmt::skip]
const STATUSES: &[(std::ops::RangeInclusive<u16>, bool, [&str; 4])] = &[
    (0..=199,   false, ["unknown",     "unknown",     "unknown",     "again"]),
    (200..=299, false, ["done",        "done",        "done",        "answered"]),
    (300..=400, false, ["refused",     "again",       "again",       "again"]),
    (401..=401, false, ["refused",     "hopeless",    "hopeless",    "again"]),
    (402..=402, false, ["refused",     "again",       "again",       "again"]),
    (403..=403, false, ["refused",     "hopeless",    "hopeless",    "again"]),
    (404..=404, false, ["refused",     "hopeless",    "done",        "answered"]),
    (405..=407, false, ["refused",     "again",       "again",       "again"]),
    (408..=408, false, ["unknown",     "unknown",     "unknown",     "again"]),
    (409..=409, false, ["refused",     "again",       "again",       "again"]),
    (410..=410, false, ["refused",     "done",        "done",        "again"]),
    (411..=424, false, ["refused",     "again",       "again",       "again"]),
    (425..=425, false, ["in-progress", "in-progress", "in-progress", "again"]),
    (426..=428, false, ["refused",     "again",       "again",       "again"]),
    (429..=429, false, ["not-done",    "again",       "again",       "again"]),
    (430..=499, false, ["refused",     "again",       "again",       "again"]),
    (500..=999, false, ["unknown",     "unknown",     "unknown",     "again"]),
    // What `Retry-After` changes: a 409 with it says that the first request still runs.
    (200..=299, true,  ["done",        "done",        "done",        "answered"]),
    (300..=400, true,  ["refused",     "again",       "again",       "again"]),
    (401..=401, true,  ["refused",     "hopeless",    "hopeless",    "again"]),
    (404..=404, true,  ["refused",     "hopeless",    "done",        "answered"]),
    (408..=408, true,  ["unknown",     "unknown",     "unknown",     "again"]),
    (409..=409, true,  ["in-progress", "in-progress", "in-progress", "again"]),
    (410..=410, true,  ["refused",     "done",        "done",        "again"]),
    (425..=425, true,  ["in-progress", "in-progress", "in-progress", "again"]),
    (429..=429, true,  ["not-done",    "again",       "again",       "again"]),
    (500..=999, true,  ["unknown",     "unknown",     "unknown",     "again"]),
];

#[test]
fn every_status_has_its_class() {
    let mut seen = [false; 1_000];
    for (statuses, has_retry_after, expected) in STATUSES {
        for status in statuses.clone() {
            let answer = response(status, has_retry_after.then_some(1_000), Value::Null);
            assert_eq!(classes(&answer), *expected, "{status}, Retry-After: {has_retry_after}");
            seen[usize::from(status)] = true;
        }
    }
    assert!(seen.iter().all(|seen| *seen), "the table knows every status");
}

#[test]
fn what_never_came_is_unknown_and_what_was_not_sent_is_not_done() {
    let lost = Answer::Lost { error: "the connection was reset".into() };
    assert_eq!(classes(&lost), ["unknown", "unknown", "unknown", "again"]);
    let not_sent = Answer::NotSent { error: "nobody listens".into() };
    assert_eq!(classes(&not_sent), ["not-done", "again", "again", "again"]);
}

#[test]
fn an_answer_that_was_not_kept_is_that_of_a_success() {
    let problem =
        |kind: &str, original: Value| response(409, Some(1_000), json!({ "type": kind, "original_status": original }));
    let not_kept = "urn:amends:problem:answer-not-kept";
    assert_eq!(classes(&problem(not_kept, json!(201))), ["done", "done", "done", "again"]);
    for original in [json!(422), json!(199), json!(300), json!("200"), Value::Null] {
        assert_eq!(classes(&problem(not_kept, original.clone()))[0], "in-progress", "{original}");
    }
    assert_eq!(classes(&problem("about:blank", json!(201)))[0], "in-progress");
    let elsewhere = response(422, None, json!({ "type": not_kept, "original_status": 201 }));
    assert_eq!(classes(&elsewhere)[0], "refused");
}

#[test]
fn what_the_participant_asks_for_is_passed_on() {
    for (status, expected) in [(429, Some(7_000)), (425, Some(7_000)), (409, Some(7_000)), (503, Some(7_000))] {
        let answer = response(status, Some(7_000), Value::Null);
        let asked = match classify_action(&answer) {
            ActionOutcome::NotDone { retry_after_ms, .. }
            | ActionOutcome::InProgress { retry_after_ms, .. }
            | ActionOutcome::Unknown { retry_after_ms, .. } => retry_after_ms,
            ActionOutcome::Done { .. } | ActionOutcome::Refused { .. } => None,
        };
        assert_eq!(asked, expected, "{status}");
        let asked = match classify_compensation(&answer, false) {
            CompensationOutcome::Again { retry_after_ms, .. }
            | CompensationOutcome::InProgress { retry_after_ms, .. } => retry_after_ms,
            CompensationOutcome::Done | CompensationOutcome::Hopeless { .. } => None,
        };
        assert_eq!(asked, expected, "{status}");
        let ProbeOutcome::Again { retry_after_ms, .. } = classify_probe(&answer) else { panic!("{status}") };
        assert_eq!(retry_after_ms, expected, "{status}");
    }
}

#[test]
fn the_output_is_the_body() {
    let outcome = classify_action(&response(200, None, json!({ "id": 7 })));
    assert_eq!(outcome, ActionOutcome::Done { output: Arc::new(json!({ "id": 7 })) });
}

/// What people read of a body.
#[test]
fn a_failure_in_one_sentence() {
    let long = "x".repeat(400);
    #[rustfmt::skip]
    let rows = [
        (Value::Null, "answered 422"),
        (json!({}), "answered 422"),
        (json!({ "detail": "no stock", "title": "Refused" }), "answered 422: no stock"),
        (json!({ "title": "Refused", "message": "m" }), "answered 422: Refused"),
        (json!({ "message": "m", "error": "e" }), "answered 422: m"),
        (json!({ "error": "e" }), "answered 422: e"),
        (json!({ "error": { "code": 7 } }), "answered 422"),
        (json!({ "detail": 7, "title": "t" }), "answered 422: t"),
        (json!("  plain text\n"), "answered 422: plain text"),
        (json!("   "), "answered 422"),
        (json!(["a"]), "answered 422"),
    ];
    for (body, expected) in rows {
        let response = Response { status: 422, retry_after_ms: None, body: Arc::new(body), body_dropped: None };
        assert_eq!(response.failure(), Failure { status: Some(422), message: expected.into(), kind: None });
    }
    let response = Response { status: 500, retry_after_ms: None, body: Arc::new(json!(long)), body_dropped: None };
    assert_eq!(response.failure().message, format!("answered 500: {}", "x".repeat(300)));
    let body_dropped = Some("the answer is too long and is not kept".to_owned());
    let response = Response { status: 422, retry_after_ms: None, body: Arc::new(Value::Null), body_dropped };
    assert_eq!(response.failure().message, "answered 422 (the answer is too long and is not kept)");
}
