use super::show::{self, Background};
use super::table::{Cell, lay_out};
use amends_client::{
    AuditEntry, Change, Claim, DeadLetter, DeadLetterGroup, Decision, Event, Plan, PlannedCall, PlannedStep, Saga,
    SagaStatus, SagaSummary, Step, StepStatus, Token,
};
use anstream::adapter::strip_str;
use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde_json::{Value, json};

const ID: &str = "0197a3c2-7d3e-7c41-9a55-3f0e8c1d2b6a";

fn now() -> Timestamp {
    "2026-03-01T03:00:00Z".parse().unwrap()
}

fn step(name: &str, status: StepStatus, attempts: u32) -> Step {
    Step {
        name: name.into(),
        status,
        attempts,
        compensation_attempts: 0,
        idempotency_key: (attempts > 0).then(|| format!("A-1017-{ID}-{name}")),
        output: Value::Null,
        error: None,
        next_at: None,
    }
}

fn saga(status: SagaStatus, steps: Vec<Step>) -> Saga {
    Saga {
        id: ID.into(),
        definition: "order-fulfilment".into(),
        version: "5f".repeat(32),
        key: "A-1017".into(),
        status,
        paused: false,
        reason: None,
        input: json!({ "order_id": "A-1017" }),
        created_at: "2026-03-01T02:47:48.000Z".into(),
        deadline_at: None,
        finished_at: None,
        can_cancel: status == SagaStatus::Running,
        steps,
    }
}

fn letter() -> DeadLetter {
    DeadLetter {
        id: format!("{ID}.14"),
        saga: ID.into(),
        definition: "order-fulfilment".into(),
        key: "A-1017".into(),
        step: Some("charge-payment".into()),
        direction: "compensation".into(),
        claim: Claim::Done,
        error: "answered 403: refunds are closed at night".into(),
        fingerprint: "55e6a5d073714260".into(),
        participant: Some("payment".into()),
        opened_at: "2026-03-01T02:58:30.000Z".into(),
        closed_at: None,
        resolution: None,
        decisions: vec![Decision::Retry, Decision::Undone, Decision::Skip],
        seen: Some(14),
        saga_status: Some(SagaStatus::Stuck),
        call: Some(call("charge-payment", "compensation")),
        attempts: Vec::new(),
    }
}

fn call(step: &str, direction: &str) -> PlannedCall {
    PlannedCall {
        step: step.into(),
        direction: direction.into(),
        method: "POST".into(),
        participant: "payment".into(),
        path: "/refunds".into(),
        idempotency_key: format!("A-1017-{ID}-{step}"),
        body: json!({ "amount": 1200 }),
    }
}

fn plan() -> Plan {
    let step = |name: &str, status| PlannedStep { name: name.into(), status };
    Plan {
        seen: 14,
        calls: vec![call("ship", "compensation"), call("charge-payment", "compensation")],
        status: SagaStatus::Compensating,
        status_at_last: SagaStatus::Compensated,
        steps: vec![step("charge-payment", StepStatus::Compensated), step("confirm", StepStatus::Skipped)],
        changes: Vec::new(),
    }
}

fn group() -> DeadLetterGroup {
    DeadLetterGroup {
        fingerprint: "55e6a5d073714260".into(),
        count: 4012,
        definition: "order-fulfilment".into(),
        step: Some("charge-payment".into()),
        direction: "compensation".into(),
        participant: Some("payment".into()),
        oldest_at: "2026-02-28T23:00:00.000Z".into(),
        newest_at: "2026-03-01T02:58:30.000Z".into(),
        sample: format!("{ID}.14"),
        error: "answered 403: refunds are closed at night".into(),
    }
}

fn event(sequence: u64, at: &str, kind: &str, step: &str, detail: Value) -> Event {
    let step = (!step.is_empty()).then(|| step.to_owned());
    Event { sequence, at: format!("2026-03-01T{at}Z"), kind: kind.into(), step, detail }
}

/// What stands on a terminal, without its colours.
fn seen(text: &str) -> String {
    strip_str(text).to_string()
}

#[test]
fn a_stuck_saga_says_why_and_what_to_do() {
    let charge = Step {
        compensation_attempts: 12,
        error: Some("answered 403: refunds are closed at night".into()),
        ..step("charge-payment", StepStatus::Dead, 2)
    };
    let release = Step {
        compensation_attempts: 3,
        error: Some("answered 500".into()),
        next_at: Some("2026-03-01T03:00:05.000Z".into()),
        ..step("reserve-inventory", StepStatus::Compensating, 1)
    };
    let refused = Step { error: Some("answered 409: no courier".into()), ..step("ship", StepStatus::Refused, 1) };
    let reason = "the compensation of charge-payment was given up: answered 403: refunds are closed at night";
    let saga = Saga {
        reason: Some(reason.into()),
        ..saga(SagaStatus::Stuck, vec![release, charge, refused, step("confirm", StepStatus::Skipped, 0)])
    };
    insta::assert_snapshot!(seen(&show::saga(&saga, &[letter()], now())));
    let forward = Saga { can_cancel: true, ..saga };
    assert!(seen(&show::saga(&forward, &[], now())).contains("amends cancel"), "stuck on its way forward");
}

#[test]
fn a_saga_that_waits_offers_what_it_waits_for() {
    let approval =
        Step { next_at: Some("2026-03-02T03:00:00.000Z".into()), ..step("approval", StepStatus::Waiting, 0) };
    let saga = Saga {
        paused: true,
        deadline_at: Some("2026-03-03T15:00:00.000Z".into()),
        ..saga(SagaStatus::Running, vec![step("reserve-inventory", StepStatus::Done, 1), approval])
    };
    insta::assert_snapshot!(seen(&show::saga(&saga, &[], now())));
}

#[test]
fn a_saga_that_is_over_offers_nothing() {
    let saga = Saga {
        finished_at: Some("2026-03-01T02:47:49.204Z".into()),
        ..saga(SagaStatus::Completed, vec![step("reserve-inventory", StepStatus::Done, 1)])
    };
    insta::assert_snapshot!(seen(&show::saga(&saga, &[], now())));
    assert_eq!(seen(&show::outcome(&saga, now())), "completed 12m 10s ago (it took 1s)");
}

#[test]
fn a_dead_letter_shows_what_was_tried() {
    let background = Background {
        step: step("charge-payment", StepStatus::Dead, 2),
        began: "2026-03-01T02:47:48Z".parse().unwrap(),
        events: vec![
            event(4, "02:47:48.120", "action-started", "charge-payment", json!({ "attempt": 1, "digest": "d" })),
            event(
                5,
                "02:47:48.620",
                "action-failed",
                "charge-payment",
                json!({ "trouble": "unknown", "failure": { "message": "answered 503" }, "retry_at": "2026-03-01T02:47:49Z" }),
            ),
            event(6, "02:47:49.001", "action-started", "charge-payment", json!({ "attempt": 2, "digest": "d" })),
            event(
                14,
                "02:58:30.000",
                "dead-lettered",
                "charge-payment",
                json!({ "failure": { "message": "answered 403" } }),
            ),
        ],
    };
    insta::assert_snapshot!(seen(&show::dead_letter(&letter(), Some(&background), now())));
    let unreadable = DeadLetter {
        step: None,
        direction: "saga".into(),
        claim: Claim::Unknown,
        decisions: vec![Decision::Retry],
        call: None,
        ..letter()
    };
    insta::assert_snapshot!("unreadable", seen(&show::dead_letter(&unreadable, None, now())));
    let settled = DeadLetter {
        closed_at: Some("2026-03-01T02:59:59.500Z".into()),
        resolution: Some("undone by ada: refunded by hand".into()),
        call: None,
        ..letter()
    };
    insta::assert_snapshot!("settled", seen(&show::dead_letter(&settled, None, now())));
}

#[test]
fn a_plan_says_what_would_be_called_and_what_would_become_of_the_saga() {
    let change = |pointer: &str, old, new| Change { pointer: pointer.into(), old, new };
    let edit = Plan {
        calls: vec![call("charge-payment", "action")],
        status: SagaStatus::Running,
        status_at_last: SagaStatus::Running,
        changes: vec![
            change("/amount", Some(json!(1200)), Some(json!(1100))),
            change("/note", None, Some(json!({ "by": "ada" }))),
            change("", Some(Value::Null), Some(json!([]))),
        ],
        ..plan()
    };
    let pause = Plan { calls: Vec::new(), ..plan() };
    let texts = [show::plan(&plan()), show::plan(&edit), show::plan(&pause)];
    insta::assert_snapshot!(seen(&texts.join("\n")));
}

#[test]
fn lists() {
    let summary = |key: &str, status, reason: Option<&str>| SagaSummary {
        id: ID.into(),
        definition: "order-fulfilment".into(),
        version: String::new(),
        key: key.into(),
        status,
        paused: status == SagaStatus::Running,
        reason: reason.map(str::to_owned),
        created_at: "2026-02-27T20:00:00.000Z".into(),
        finished_at: None,
    };
    let sagas = [
        summary("A-1", SagaStatus::Running, None),
        summary("größer-2", SagaStatus::Compensated, Some("step ship had no effect")),
        summary("注文-3", SagaStatus::Completed, None),
    ];
    let entry = AuditEntry {
        number: Some(1),
        hash: Some("0".repeat(64)),
        sealed: true,
        at: "2026-03-01T02:59:59.500Z".into(),
        actor: "ada".into(),
        action: "pause".into(),
        saga: Some(ID.into()),
        subject: None,
        step: None,
        reason: Some("the warehouse moves".into()),
    };
    let other = AuditEntry {
        number: None,
        hash: None,
        sealed: false,
        action: "revoke token".into(),
        saga: None,
        subject: Some(ID.into()),
        reason: None,
        ..entry.clone()
    };
    let letters = show::dead_letters(&[letter()], now());
    let groups = show::dead_letter_groups(&[group()], now());
    let text = [show::sagas(&sagas, now()), letters, groups, show::audit(&[other, entry])].join("\n");
    insta::assert_snapshot!(seen(&text));
    assert_eq!(show::dead_letter_groups(&[], now()), "no open dead letters\n");
    assert_eq!(show::sagas(&[], now()), "no sagas\n");
}

#[test]
fn events_are_aligned_lines() {
    let began = "2026-03-01T02:47:48Z".parse().unwrap();
    let operator = json!({ "operator": { "actor": "ada", "reason": "the warehouse moves" } });
    let events = [
        event(1, "02:47:48.000", "started", "", json!({ "input": {} })),
        event(2, "02:47:48.120", "action-started", "charge-payment", json!({ "attempt": 3 })),
        event(3, "02:48:00.000", "paused", "", operator),
        event(
            4,
            "03:47:48.007",
            "wait-started",
            "a-step-with-quite-a-long-name",
            json!({ "until": "2026-03-02T00:00:00.000Z" }),
        ),
        event(5, "03:47:49.000", "compensation-entered", "", json!({ "reason": "the deadline passed" })),
        event(6, "03:47:49.000", "something-new", "", Value::Null),
    ];
    let lines: Vec<String> = events.iter().map(|event| show::event(event, began)).collect();
    insta::assert_snapshot!(seen(&lines.join("\n")));
}

#[test]
fn what_comes_from_elsewhere_cannot_steer_the_terminal() {
    let hostile = "\u{1b}[2J\u{1b}]0;owned\u{7}done\r\nerror: all is well\u{9b}1m";
    let step = Step { error: Some(hostile.into()), ..step("charge-payment", StepStatus::Running, 1) };
    let saga = Saga { key: hostile.into(), reason: Some(hostile.into()), ..saga(SagaStatus::Running, vec![step]) };
    let letter = DeadLetter { error: hostile.into(), key: hostile.into(), ..letter() };
    let event = event(1, "02:47:48.000", "action-failed", "x", json!({ "failure": { "message": hostile } }));
    let failure = super::Failure::from(amends_client::Error::Refused(Box::new(amends_client::Problem {
        kind: String::new(),
        title: String::new(),
        status: 400,
        detail: hostile.into(),
        diagnostics: Vec::new(),
    })));
    let change = Change { pointer: hostile.into(), old: Some(json!(hostile)), new: None };
    let planned = PlannedCall { path: hostile.into(), ..call("ship", "action") };
    let texts = [
        show::plan(&Plan { calls: vec![planned], changes: vec![change], ..plan() }),
        show::saga(&saga, std::slice::from_ref(&letter), now()),
        show::dead_letter(&letter, None, now()),
        show::dead_letters(&[letter], now()),
        show::dead_letter_groups(&[DeadLetterGroup { error: hostile.into(), ..group() }], now()),
        show::event(&event, now()),
        show::outcome(&saga, now()),
        format!("{failure:?}"),
    ];
    for text in texts {
        // Only the colours that this program writes itself are left.
        assert!(!text.contains("\u{1b}[2J") && !text.contains("\u{1b}]"), "{text:?}");
        assert!(!text.contains(['\u{7}', '\r', '\u{9b}']), "{text:?}");
    }
}

#[test]
fn columns_in_which_nothing_stands_are_left_out() {
    let red = AnsiColor::Red.on_default();
    let rows = vec![
        vec![Cell::from("a"), Cell::from(""), Cell::styled("stuck", red), Cell::from("")],
        vec![Cell::from("long"), Cell::from(""), Cell::from(""), Cell::styled("last", Style::new())],
    ];
    let text = lay_out(&["ID", "NOTHING", "STATUS", "WHY"], &rows, 2);
    assert_eq!(seen(&text), "  ID    STATUS  WHY\n  a     stuck\n  long          last\n");
    assert!(text.contains("\u{1b}[31mstuck\u{1b}[0m"), "{text:?}");
}

#[test]
fn tokens_say_whether_they_are_valid() {
    let token = |name: &str, expires_at: Option<&str>, revoked_at: Option<&str>| Token {
        id: ID.into(),
        name: name.into(),
        role: "operator".into(),
        created_at: "2026-02-28T03:00:00.000Z".into(),
        expires_at: expires_at.map(str::to_owned),
        revoked_at: revoked_at.map(str::to_owned),
    };
    let tokens = [
        token("for-ever", None, None),
        token("for-a-while", Some("2026-03-02T03:00:00.000Z"), None),
        token("too-late", Some("2026-03-01T02:59:00.000Z"), None),
        token("taken-back", Some("2026-03-02T03:00:00.000Z"), Some("2026-03-01T02:00:00.000Z")),
    ];
    insta::assert_snapshot!(seen(&format!("{}{}", show::tokens(&tokens, now()), show::tokens(&[], now()))));
}
