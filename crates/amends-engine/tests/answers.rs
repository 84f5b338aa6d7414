//! Every row of the answer table, given by a real server over real TCP: what the saga makes of it, and what the
//! participant sees of that.

#![cfg(test)]

mod support;

use amends_core::machine::{Status, StepStatus};
use serde_json::json as value;
use std::time::{Duration, SystemTime};
use support::{Behaviour, Scripted, engine, json, outcome, with_headers};

const DEFINITION: &str = r#"
saga: table
key: "{{ input.id }}"
steps:
  before:
    action: { post: "shop:/before" }
    compensation: { post: "shop:/before/undo" }
  step:
    action: { post: "shop:/step", timeout: 250ms, body: { id: "{{ input.id }}" } }
    compensation: { post: "shop:/step/undo", retry: { attempts: 2, initial: 5ms }, timeout: 250ms }
    retry: { attempts: 2, initial: 5ms, total: 5s }
"#;

/// What became of a saga whose second step was answered in some way.
#[derive(Debug, PartialEq)]
struct Seen {
    status: Status,
    step: StepStatus,
    /// Requests for the action, for its compensation, for the compensation of the step before.
    calls: (usize, usize, usize),
}

fn seen(status: Status, step: StepStatus, calls: (usize, usize, usize)) -> Seen {
    Seen { status, step, calls }
}

async fn run(action: Vec<Behaviour>, undo: Vec<Behaviour>) -> Seen {
    run_at(&Scripted::start().await, action, undo).await
}

async fn run_at(shop: &Scripted, action: Vec<Behaviour>, undo: Vec<Behaviour>) -> Seen {
    shop.answers("/step", action).answers("/step/undo", undo);
    let engine = engine(shop.address, DEFINITION).await;
    let saga = outcome(&engine, "table", value!({ "id": "o-1" })).await.saga;
    let count = |path| shop.arrived(path).len();
    let keys: Vec<_> =
        shop.arrived("/step").into_iter().map(|request| request.headers["idempotency-key"].clone()).collect();
    assert!(keys.windows(2).all(|two| two[0] == two[1]), "every attempt carries the same key: {keys:?}");
    assert!(shop.arrived("/elsewhere").is_empty(), "a redirect is never followed");
    Seen {
        status: saga.status(),
        step: saga.steps[1].status(),
        calls: (count("/step"), count("/step/undo"), count("/before/undo")),
    }
}

fn raw(text: &str) -> Behaviour {
    Behaviour::Raw(text.as_bytes().to_vec())
}

/// The step took effect.
fn done() -> Seen {
    seen(Status::Completed, StepStatus::Done, (1, 0, 0))
}

/// The step had no effect after this many requests: the step before is undone, this one is not.
fn refused(requests: usize) -> Seen {
    seen(Status::Compensated, StepStatus::Refused, (requests, 0, 1))
}

/// Nobody could say after two requests: both are undone.
fn unknown() -> Seen {
    seen(Status::Compensated, StepStatus::Compensated, (2, 1, 1))
}

#[tokio::test]
async fn answers_to_an_action() {
    let broken = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"half\":";
    let later = |status, retry_after: &str| with_headers(status, &format!("retry-after: {retry_after}\r\n"), "");
    let rows: Vec<(&str, Vec<Behaviour>, Seen)> = vec![
        ("200", vec![json(200, r#"{"id":7}"#)], done()),
        ("201 with text", vec![with_headers(201, "content-type: text/plain\r\n", "fine")], done()),
        ("204 without a body", vec![with_headers(204, "", "")], done()),
        ("200 that is no JSON", vec![json(200, "{not json")], done()),
        (
            "429, then done",
            vec![json(429, "{}"), json(200, "{}")],
            seen(Status::Completed, StepStatus::Done, (2, 0, 0)),
        ),
        ("429 to the end", vec![json(429, "{}")], refused(2)),
        (
            "425, then done",
            vec![json(425, "{}"), json(200, "{}")],
            seen(Status::Completed, StepStatus::Done, (2, 0, 0)),
        ),
        (
            "409 with Retry-After costs no attempt",
            vec![later(409, "0"), later(409, "0"), later(409, "0"), json(200, "{}")],
            seen(Status::Completed, StepStatus::Done, (4, 0, 0)),
        ),
        ("409 without it", vec![json(409, "{}")], refused(1)),
        (
            "409 that says it was done and the answer is gone",
            vec![json(409, r#"{"type":"urn:amends:problem:answer-not-kept","original_status":201}"#)],
            done(),
        ),
        ("400", vec![json(400, "{}")], refused(1)),
        ("401", vec![json(401, "{}")], refused(1)),
        ("404", vec![json(404, "{}")], refused(1)),
        ("422", vec![json(422, "{}")], refused(1)),
        ("301", vec![with_headers(301, "location: /elsewhere\r\n", "")], refused(1)),
        ("307", vec![with_headers(307, "location: /elsewhere\r\n", "")], refused(1)),
        ("500", vec![json(500, "{}")], unknown()),
        (
            "503, then done",
            vec![json(503, "{}"), json(200, "{}")],
            seen(Status::Completed, StepStatus::Done, (2, 0, 0)),
        ),
        ("408", vec![json(408, "{}")], unknown()),
        ("silence", vec![Behaviour::Silence], unknown()),
        ("closed without an answer", vec![raw("")], unknown()),
        ("broken in mid-body", vec![raw(broken)], unknown()),
        ("no HTTP at all", vec![raw("SSH-2.0-OpenSSH_9.2\r\n")], unknown()),
        ("500, then refused: the first may have happened", vec![json(500, "{}"), json(402, "{}")], unknown()),
    ];
    for (name, behaviours, expected) in rows {
        assert_eq!(run(behaviours, vec![json(200, "{}")]).await, expected, "{name}");
    }
}

#[tokio::test]
async fn answers_that_never_end_or_are_too_large_do_not_count_as_lost() {
    let endless = Behaviour::Endless(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n".to_vec());
    assert_eq!(run(vec![endless], vec![]).await, done(), "a body without an end is cut off");
    let large = format!("\"{}\"", "x".repeat(300 * 1024));
    assert_eq!(run(vec![json(200, &large)], vec![]).await, done(), "a body over the bound is not kept");
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(run(vec![json(200, &deep)], vec![]).await, done(), "a body too deep is not kept");
    let slow_head = Behaviour::Endless(b"HTTP/1.1 200 OK\r\nx-header: ".to_vec());
    assert_eq!(run(vec![slow_head], vec![json(200, "{}")]).await, unknown(), "headers without an end");
}

#[tokio::test]
async fn answers_that_are_no_http() {
    let lines = "x-many: 1\r\n".repeat(10_000);
    let with = |head: &str, rest: &str| raw(&format!("HTTP/1.1 200 OK\r\n{head}\r\n{rest}"));
    let bytes = |bytes: &[u8]| Behaviour::Raw(bytes.to_vec());
    let rows: Vec<(&str, Behaviour, Seen)> = vec![
        ("a header of a megabyte", with(&format!("x: {}\r\n", "y".repeat(1024 * 1024)), ""), unknown()),
        ("ten thousand headers", with(&lines, ""), unknown()),
        ("a status of letters", raw("HTTP/1.1 abc OK\r\n\r\n"), unknown()),
        ("a status of two digits", raw("HTTP/1.1 20 OK\r\n\r\n"), unknown()),
        ("a status that HTTP does not define", raw("HTTP/1.1 999 OK\r\ncontent-length: 0\r\n\r\n"), unknown()),
        ("another protocol", raw("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n"), unknown()),
        ("a version that there is not", raw("HTTP/7.0 200 OK\r\n\r\n"), unknown()),
        ("a header without a colon", with("nonsense\r\n", ""), unknown()),
        ("a header with NUL", with("x: \0\r\n", ""), unknown()),
        (
            "a header that is not UTF-8",
            bytes(b"HTTP/1.1 200 OK\r\nretry-after: \xff\r\ncontent-length: 0\r\n\r\n"),
            done(),
        ),
        ("lengths that contradict", with("content-length: 1\r\ncontent-length: 2\r\n", "xx"), unknown()),
        ("a length below zero", with("content-length: -1\r\n", ""), unknown()),
        ("a length beyond counting", with("content-length: 99999999999999999999999\r\n", ""), unknown()),
        ("a length too short", with("content-length: 2\r\n", "{}and more"), done()),
        ("a chunk that is none", with("transfer-encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"), unknown()),
        ("a chunk beyond counting", with("transfer-encoding: chunked\r\n", "FFFFFFFFFFFFFFFFF\r\n{}"), unknown()),
        ("a chunk without the end", with("transfer-encoding: chunked\r\n", "2\r\n{}\r\n"), unknown()),
        ("text that is not UTF-8", bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n\"\xff\xfe\""), done()),
        ("JSON of great depth", json(200, &"[".repeat(200_000)), done()),
        ("a number beyond counting", json(200, &"9".repeat(100_000)), done()),
        ("TLS where none was asked for", bytes(b"\x15\x03\x01\x00\x02\x02\x46"), unknown()),
    ];
    for (name, behaviour, expected) in rows {
        assert_eq!(run(vec![behaviour], vec![json(200, "{}")]).await, expected, "{name}");
    }
}

/// Whoever sends without end is cut off: no call takes longer than its time, and no more is read than is kept.
#[tokio::test]
async fn answers_without_an_end() {
    const MIB: u64 = 1024 * 1024;
    let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 0x10000], b"\r\n".to_vec()].concat();
    let head = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}").into_bytes();
    let early = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".to_vec();
    // What the system itself buffers is on top of what is read.
    let rows: Vec<(&str, Behaviour, Seen, u64)> = vec![
        ("a head by drops", Behaviour::Drip(vec![], head("x-long: xxxxxxxxxxxxxxxx")), unknown(), MIB),
        ("a header by drops", Behaviour::Drip(head("x-long: "), b"x".to_vec()), unknown(), MIB),
        ("a body by drops", Behaviour::Drip(head("content-length: 9999\r\n\r\n"), b"x".to_vec()), unknown(), MIB),
        (
            "chunks by drops",
            Behaviour::Drip(head("transfer-encoding: chunked\r\n\r\n"), b"1\r\nx\r\n".to_vec()),
            unknown(),
            MIB,
        ),
        ("early hints for ever", Behaviour::Flood(vec![], early), unknown(), u64::MAX),
        ("headers for ever", Behaviour::Flood(head(""), b"x-more: 1\r\n".to_vec()), unknown(), 64 * MIB),
        (
            "ten gigabytes",
            Behaviour::Flood(head("content-length: 10000000000\r\n\r\n"), b"x".to_vec()),
            done(),
            64 * MIB,
        ),
        ("chunks for ever", Behaviour::Flood(head("transfer-encoding: chunked\r\n\r\n"), chunk), done(), 64 * MIB),
    ];
    for (name, behaviour, expected, most) in rows {
        let shop = Scripted::start().await;
        let seen = run_at(&shop, vec![behaviour], vec![json(200, "{}")]).await;
        let requests = seen.calls.0;
        assert_eq!(seen, expected, "{name}");
        for _ in 0..requests {
            let taken = shop.taken().await;
            assert!(taken <= most, "{name}: {taken} bytes were taken");
        }
    }
}

/// What comes after an answer on a connection that is kept is not taken for the answer to the next request.
#[tokio::test]
async fn an_answer_that_nobody_asked_for_yet() {
    let one = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let shop = Scripted::start().await;
    shop.answers("/before", [Behaviour::Kept(format!("{one}{one}").into_bytes())]);
    shop.answers("/step", [json(402, "{}")]);
    let engine = engine(shop.address, DEFINITION).await;
    let saga = outcome(&engine, "table", value!({ "id": "o-1" })).await.saga;
    assert_eq!(shop.arrived("/step").len(), 1);
    assert_eq!((saga.status(), saga.steps[1].status()), (Status::Compensated, StepStatus::Refused));
}

/// A participant that is spoken to by TLS and does not speak it, or says nothing: the request was not sent.
#[tokio::test]
async fn no_tls_and_nothing_sent() {
    let garbage = |reads: bool| async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                if reads {
                    let said = tokio::io::AsyncWriteExt::write_all(&mut stream, &[0x16; 64 * 1024]).await;
                    drop(said);
                }
                open.push(stream);
            }
        });
        address
    };
    for answers in [true, false] {
        let (shop, peer) = (Scripted::start().await, garbage(answers).await);
        let definition = DEFINITION.replace("shop:/step\"", "secret:/step\"");
        let engine = support::engine_with(shop.address, &definition, |settings| {
            let url = format!("https://{peer}").parse().expect("an address makes a URL");
            settings.participants.insert("secret".into(), amends_engine::Participant::at(url));
        })
        .await;
        let saga = outcome(&engine, "table", value!({ "id": "o-1" })).await.saga;
        assert_eq!((saga.status(), saga.steps[1].status()), (Status::Compensated, StepStatus::Refused));
        assert_eq!((saga.steps[1].attempts, shop.arrived("/step/undo").len()), (2, 0), "nothing was sent");
    }
}

#[tokio::test]
async fn answers_to_a_compensation() {
    let failing = || vec![json(500, "{}")];
    let compensated = |undos| seen(Status::Compensated, StepStatus::Compensated, (2, undos, 1));
    let stuck = |undos| seen(Status::Stuck, StepStatus::Dead, (2, undos, 0));
    let rows: Vec<(&str, Vec<Behaviour>, Seen)> = vec![
        ("200", vec![json(200, "{}")], compensated(1)),
        ("410", vec![json(410, "{}")], compensated(1)),
        ("500, then done", vec![json(500, "{}"), json(200, "{}")], compensated(2)),
        ("409, then done", vec![json(409, "{}"), json(200, "{}")], compensated(2)),
        ("silence, then done", vec![Behaviour::Silence, json(200, "{}")], compensated(2)),
        (
            "a redirect, then done",
            vec![with_headers(302, "location: /elsewhere\r\n", ""), json(200, "{}")],
            compensated(2),
        ),
        ("425 costs no attempt", vec![json(425, ""), json(500, ""), json(200, "{}")], compensated(3)),
        ("500 to the end", vec![json(500, "{}")], stuck(2)),
        ("401", vec![json(401, "{}")], stuck(1)),
        ("403", vec![json(403, "{}")], stuck(1)),
        ("404", vec![json(404, "{}")], stuck(1)),
    ];
    for (name, behaviours, expected) in rows {
        assert_eq!(run(failing(), behaviours).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_participant_that_is_not_there_has_no_effect() {
    let shop = Scripted::start().await;
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let nobody = gone.local_addr().expect("a bound socket has an address");
    drop(gone);
    let definition = DEFINITION.replace("shop:/step\"", "gone:/step\"");
    let engine = support::engine_with(shop.address, &definition, |settings| {
        let url = format!("http://{nobody}").parse().expect("an address makes a URL");
        settings.participants.insert("gone".into(), amends_engine::Participant::at(url));
    })
    .await;
    let saga = outcome(&engine, "table", value!({ "id": "o-1" })).await.saga;
    assert_eq!((saga.status(), saga.steps[1].status()), (Status::Compensated, StepStatus::Refused));
    assert_eq!(shop.arrived("/step/undo").len(), 0, "nothing was sent, so there is nothing to undo");
    assert_eq!(saga.steps[1].attempts, 2);
}

/// A machine that takes no connections and refuses none: its packets are swallowed. Here a listener whose backlog is full.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_participant_that_swallows_connections_has_no_effect() {
    let shop = Scripted::start().await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let hole = socket.listen(1).expect("a backlog of one");
    let nowhere = hole.local_addr().expect("a bound socket has an address");
    let mut filling = Vec::new();
    let patience = Duration::from_millis(100);
    while let Ok(connection) = tokio::time::timeout(patience, tokio::net::TcpStream::connect(nowhere)).await {
        filling.push(connection.expect("loopback connects"));
    }
    let definition = DEFINITION.replace("shop:/step\"", "hole:/step\"");
    let engine = support::engine_with(shop.address, &definition, |settings| {
        let url = format!("http://{nowhere}").parse().expect("an address makes a URL");
        settings.participants.insert("hole".into(), amends_engine::Participant::at(url));
    })
    .await;
    let saga = outcome(&engine, "table", value!({ "id": "o-1" })).await.saga;
    assert_eq!((saga.status(), saga.steps[1].status()), (Status::Compensated, StepStatus::Refused));
    assert_eq!(shop.arrived("/step/undo").len(), 0, "nothing was sent, so there is nothing to undo");
}

/// The step before has left a connection behind: one that is there already says nothing of what was sent over it.
#[tokio::test]
async fn a_kept_connection_that_breaks_leaves_the_outcome_unknown() {
    for second in [Behaviour::Silence, raw("")] {
        let shop = Scripted::start().await;
        shop.answers("/before", [Behaviour::Kept(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec())]);
        shop.answers("/step", [second.clone()]);
        let engine = engine(shop.address, DEFINITION).await;
        let saga = outcome(&engine, "table", value!({ "id": "o-1" })).await.saga;
        assert_eq!(
            (saga.status(), saga.steps[1].status()),
            (Status::Compensated, StepStatus::Compensated),
            "{second:?}"
        );
        let (before, step) = (shop.arrived("/before"), shop.arrived("/step"));
        assert_eq!(step[0].connection, before[0].connection, "the connection was used again");
        assert_eq!(shop.arrived("/step/undo").len(), 1);
    }
}

#[tokio::test]
async fn every_call_says_who_it_is() {
    let began = SystemTime::now();
    let shop = Scripted::start().await;
    shop.answers("/step", [json(500, "{}")]);
    let engine = engine(shop.address, DEFINITION).await;
    let saga = outcome(&engine, "table", value!({ "id": "o 1" })).await;
    let action = shop.arrived("/step").pop().expect("the action was sent");
    let undo = shop.arrived("/step/undo").pop().expect("the compensation was sent");
    assert_eq!(action.body, r#"{"id":"o 1"}"#);
    assert_eq!(action.headers["idempotency-key"], format!("o%201-{}-step", saga.id));
    assert_eq!(undo.headers["idempotency-key"], format!("o%201-{}-step-compensation", saga.id));
    assert_eq!(undo.headers["amends-action-key"], action.headers["idempotency-key"]);
    for (request, direction, attempt) in [(&action, "action", "2"), (&undo, "compensation", "1")] {
        assert_eq!(request.method, "POST");
        assert_eq!(request.headers["amends-saga"], saga.id.to_string());
        assert_eq!(request.headers["amends-step"], "step");
        assert_eq!(request.headers["amends-direction"], direction);
        assert_eq!(request.headers["amends-attempt"], attempt);
        let deadline = httpdate::parse_http_date(&request.headers["amends-deadline"]).expect("an HTTP date");
        assert!(deadline >= began + Duration::from_millis(250), "a timeout of 250 ms is not over when it begins");
        let (trace, ..) = amends_engine::trace::parse(&request.headers["traceparent"]).expect("a traceparent");
        assert_eq!(trace, *saga.id.as_bytes());
    }
}
