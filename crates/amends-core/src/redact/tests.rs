use super::{Pointer, REDACTED, Redaction, own_words};
use crate::answer::{Answer, Failure, Response};
use crate::definition::Definition;
use crate::lint;
use crate::machine::{Claim, Command, Direction, Edit, Event, Operator, Settlement, Trouble, fold};
use crate::time::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use uuid::Uuid;

fn definition(redact: &Value) -> Definition {
    let steps = "steps:\n  charge: { wait: 1h }\n  ship: { wait: 1h }\n";
    lint::compile(&format!("saga: s\nkey: \"{{{{ input.id }}}}\"\nredact: {redact}\n{steps}")).expect("it is valid")
}

fn input(pointer: &str, input: &Value) -> Value {
    Redaction::of(&definition(&json!([pointer])), &[]).input(input)
}

#[test]
fn pointers_hide_what_they_lead_to() {
    let card =
        json!({ "card": { "number": "4111", "a/b": 1, "m~n": 2, "": 3 }, "lines": [{ "iban": 1 }, { "iban": 2 }] });
    let hidden = |changes: &[&str]| {
        let mut hidden = card.clone();
        for place in changes {
            *hidden.pointer_mut(place).expect("it is there") = json!(REDACTED);
        }
        hidden
    };
    for (pointer, places) in [
        ("/input/card/number", &["/card/number"][..]),
        ("/input/card", &["/card"]),
        ("/input", &[""]),
        ("/input/card/a~1b", &["/card/a~1b"]),
        ("/input/card/m~0n", &["/card/m~0n"]),
        ("/input/card/", &["/card/"]),
        ("/input/lines/1/iban", &["/lines/1/iban"]),
        ("/input/lines/*/iban", &["/lines/0/iban", "/lines/1/iban"]),
        ("/input/*", &["/card", "/lines"]),
        ("/input/lines/7/iban", &[]),
        ("/input/lines/01/iban", &[]),
        ("/input/nothing", &[]),
        ("/steps/charge/output", &[]),
        ("/steps/*/output", &[]),
        // What does not fit hides more and not less.
        ("/input/lines/iban", &["/lines/0/iban", "/lines/1/iban"]),
        ("/input/card/number/last", &["/card/number"]),
        ("/input/card/number/*", &["/card/number"]),
    ] {
        assert_eq!(input(pointer, &card), hidden(places), "{pointer}");
    }
    assert_eq!(input("/input/card", &json!({ "card": null })), json!({ "card": null }));
    assert_eq!(input("/input", &Value::Null), Value::Null, "nothing is shown as nothing");
}

#[test]
fn an_output_is_its_steps() {
    let found = json!({ "iban": "DE02" });
    for (pointer, charge, ship) in [
        ("/steps/charge/output/iban", json!({ "iban": REDACTED }), found.clone()),
        ("/steps/ship/output", found.clone(), json!(REDACTED)),
        ("/steps/*/output/iban", json!({ "iban": REDACTED }), json!({ "iban": REDACTED })),
        ("/input/iban", found.clone(), found.clone()),
    ] {
        let definition = definition(&json!([pointer]));
        let redaction = Redaction::of(&definition, &[]);
        assert_eq!((redaction.output(0, &found), redaction.output(1, &found)), (charge, ship), "{pointer}");
    }
}

#[test]
fn what_is_no_pointer_is_refused() {
    for (source, message) in [
        ("", "a JSON pointer begins with a slash"),
        ("input/card", "a JSON pointer begins with a slash"),
        ("#/input/card", "a JSON pointer begins with a slash"),
        ("/", "this points to nothing that is redacted"),
        ("/key", "this points to nothing that is redacted"),
        ("/*/card", "this points to nothing that is redacted"),
        ("/Input", "this points to nothing that is redacted"),
        ("/steps", "this points to nothing that is redacted"),
        ("/steps/charge", "this points to nothing that is redacted"),
        ("/steps/charge/error", "this points to nothing that is redacted"),
        ("/steps/charge/*", "this points to nothing that is redacted"),
        ("/input/lines/-", "`-` is what comes after a list, where nothing is"),
        ("/input/a~b", "`~` stands alone in this JSON pointer"),
        ("/input/a~", "`~` stands alone in this JSON pointer"),
        ("/input/~2", "`~` stands alone in this JSON pointer"),
    ] {
        assert_eq!(Pointer::parse(source).expect_err(source).message, message, "{source}");
    }
    assert_eq!(Pointer::parse("/steps/charge/output/a~1b").unwrap().to_string(), "/steps/charge/output/a~1b");
}

/// Sentences as the machine and the engine make them; what is behind the bar is not shown.
#[test]
fn sentences_keep_what_amends_says() {
    for sentence in [
        "answered 422",
        "answered 422: |the card 4111 is blocked",
        "answered 422: |no answer within 30 ms",
        "answered 200 (the answer is longer than 262144 bytes and is not kept)",
        "answered 500: |4111 (the answer is longer than 262144 bytes and is not kept)",
        "answered 200, then the connection broke: connection closed before message completed",
        "step charge had no effect: answered 422: |4111",
        "step charge had no effect: answered 422",
        "the compensation of charge was given up: answered 403: |4111",
        "step charge was given up: no connection within 30000 ms",
        "step charge was given up: 127.0.0.1:7101: Connection refused (os error 111)",
        "step charge did not come about: failed from outside: |4111",
        "step charge did not come about: nobody completed it in time",
        "nobody can say whether step charge happened: no answer within 100 ms",
        "step charge had no effect: refused: |4111",
        "the compensation of charge was given up: not done: |4111",
        "nobody can say whether step charge happened: no answer came within 1m30s",
        "turned around by ada at step charge: the customer asked for it",
        "the action cannot be sent: `{{ input.card }}` cannot be rendered: |it is the text \"4111\"",
        "step charge had no effect: the action cannot be sent: `/a/{{ input.card }}` cannot be rendered: |4111",
        "the probe cannot be judged: `{{ response.body }}` cannot be rendered: |it is the text \"4111\"",
        "the key cannot be made from the input: `{{ input.id }}` cannot be rendered: |4111",
        "a key has 1 to 128 characters, and the input makes |`4111`",
        "the deadline of 1m30s passed",
        "the deadline of 30s passed before step charge was done",
        "participant `bank` is not configured; add [participants.bank] with its url",
        "cancelled by ada: the customer asked for it",
        "the saga cannot be read: event 3 is missing",
        "|a sentence that nobody has listed",
        "|step 4111 1111 had no effect: answered 422",
        "|the request to http://bank/4111 cannot be made: invalid uri character",
        "|",
    ] {
        let (own, hidden) = sentence.split_once('|').map_or((sentence, ""), |(own, _)| (own, REDACTED));
        assert_eq!(own_words(&sentence.replace('|', "")), format!("{own}{hidden}"));
    }
}

#[test]
fn nothing_is_changed_where_nothing_is_redacted() {
    let definition = definition(&json!([]));
    let redaction = Redaction::of(&definition, &[]);
    let event = Event::ActionStarted { step: 0, attempt: 1, digest: "d".into(), until: None };
    assert!(matches!(redaction.event(&event), std::borrow::Cow::Borrowed(_)));
    assert_eq!(redaction.text("answered 422: 4111"), "answered 422: 4111");
    let everywhere = [Pointer::parse("/input/card").unwrap()];
    let redaction = Redaction::of(&definition, &everywhere);
    assert_eq!(redaction.input(&json!({ "card": 1, "id": 2 })), json!({ "card": REDACTED, "id": 2 }));
    assert_eq!(redaction.text("answered 422: 4111"), "answered 422: [redacted]");
}

/// What is put where nothing of it may be seen.
const SECRET: &str = "4111-1111";

/// Every event that holds a value, a sentence or a digest, with the secret in it.
fn events(document: &Value, output: &Value) -> Vec<Event> {
    let failure =
        || Failure { status: Some(422), message: format!("answered 422: {SECRET}"), kind: Some(SECRET.into()) };
    let (output, at) = (Arc::new(output.clone()), Timestamp(1));
    let operator = Operator { actor: "ada".into(), reason: "because".into() };
    let quotes = || Some(Operator { actor: "ada".into(), reason: SECRET.into() });
    let settlement = Settlement::Done { output: output.clone() };
    let edit = Settlement::Edit { body: Arc::new(SECRET.into()) };
    let (trouble, claim) = (Trouble::Unknown, Claim::Unknown);
    vec![
        Event::Started { key: "k".into(), input: Arc::new(document.clone()), deadline_at: None, traceparent: None },
        Event::ActionStarted { step: 0, attempt: 1, digest: SECRET.into(), until: None },
        Event::ActionDone { step: 0, output: output.clone(), by_probe: true },
        Event::ActionFailed { step: 0, trouble, failure: failure(), retry_at: at },
        Event::ActionRefused { step: 0, failure: failure() },
        Event::ActionUnknown { step: 0, failure: failure(), ask_at: None },
        Event::ProbeFailed { step: 0, trouble, failure: failure(), retry_at: at },
        Event::WaitCompleted { step: 0, output, operator: None },
        Event::WaitFailed { step: 0, failure: failure(), operator: quotes() },
        Event::CompensationEntered {
            reason: format!("step charge had no effect: answered 422: {SECRET}"),
            operator: None,
        },
        Event::CompensationQueued { step: 0, digest: SECRET.into(), claim, by_message: false },
        Event::CompensationFailed { step: 0, attempt: 1, trouble, failure: failure(), retry_at: at },
        Event::DeadLettered { step: 0, direction: Direction::Action, claim, failure: failure(), operator: quotes() },
        Event::DeadLetterSettled { step: 0, letter: 1, settlement, operator: operator.clone() },
        Event::DeadLetterSettled { step: 0, letter: 1, settlement: edit, operator },
    ]
}

/// A document with members that have to be escaped in pointers.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i32>().prop_map(Value::from)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = prop_oneof!["[a-c]", Just("a/b".to_owned()), Just("~1".to_owned()), Just("*".to_owned()), "[0-2]"];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            btree_map(name, inner, 0..4).prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
}

/// Every place in a document, as a pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), found));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            places(field, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Puts the secret at a place of the document, and says with which pointer it is hidden: with that of the place or of one above
/// it, and with `*` for some of its parts.
fn marked(mut document: Value, place: usize, above: usize, wild: u8) -> (Value, String) {
    let mut found = Vec::new();
    places(&document, "", &mut found);
    let place = found[place % found.len()].clone();
    *document.pointer_mut(&place).expect("it is a place") = json!({ "deep": [SECRET, { "er": SECRET }] });
    let parts: Vec<&str> = place.split('/').skip(1).collect();
    let kept = parts.len() - above % (parts.len() + 1);
    let part = |(index, part): (usize, &&str)| if wild >> index & 1 == 1 { "*".to_owned() } else { (*part).to_owned() };
    let pointer = parts[..kept].iter().enumerate().map(part).fold(String::new(), |path, part| format!("{path}/{part}"));
    (document, pointer)
}

proptest! {
    /// Whatever the document and wherever the secret in it: what points to it hides it in everything that is shown, and
    /// no event that may hold it is forgotten.
    #[test]
    fn what_is_marked_is_not_shown(
        document in document(), place in any::<usize>(), above in any::<usize>(), wild in any::<u8>(), everywhere in any::<bool>(),
    ) {
        let (document, pointer) = marked(document, place, above, wild);
        let pointers = [format!("/input{pointer}"), format!("/steps/charge/output{pointer}")];
        let parsed: Vec<Pointer> = pointers.iter().map(|pointer| Pointer::parse(pointer).unwrap()).collect();
        let definition = definition(&if everywhere { json!([]) } else { json!(pointers) });
        let redaction = Redaction::of(&definition, if everywhere { &parsed } else { &[] });
        let shown = redaction.input(&document).to_string() + &redaction.output(0, &document).to_string();
        prop_assert!(!shown.contains(SECRET), "{pointers:?}: {document}: {shown}");
        for event in events(&document, &document) {
            let before = serde_json::to_string(&event).unwrap();
            let after = serde_json::to_string(&redaction.event(&event)).unwrap();
            prop_assert!(before.contains(SECRET) && !after.contains(SECRET), "{pointers:?}: {after}");
        }
    }
}

/// Calls that are only shown are rendered from what is shown: whatever an expression makes of a value, it has no other.
#[test]
fn a_saga_that_calls_are_shown_of_has_nothing_hidden() {
    let definition = definition(&json!(["/input/card", "/steps/charge/output"]));
    let started = Event::Started {
        key: "k".into(),
        input: Arc::new(json!({ "card": SECRET, "id": 2 })),
        deadline_at: None,
        traceparent: None,
    };
    let mut saga = fold(&definition, Uuid::nil(), [(Timestamp(1), &started)]).unwrap();
    saga.steps[0].output = Arc::new(json!({ "iban": SECRET }));
    saga.steps[0].edit = Some(Edit { body: Arc::new(json!({ "note": SECRET })), generation: 2, after_attempt: 1 });
    let shown = Redaction::of(&definition, &[]).saga(&saga).into_owned();
    assert_eq!(*shown.input, json!({ "card": REDACTED, "id": 2 }));
    assert_eq!([&*shown.steps[0].output, &*shown.steps[0].edit.as_ref().unwrap().body], [REDACTED, REDACTED]);
    assert_eq!(shown.action_key(&definition, 0), saga.action_key(&definition, 0), "the keys are no secret");
}

/// What the log has of a command is the same whatever a participant or a callback says.
#[test]
fn a_command_is_told_without_what_it_brings() {
    let body = Arc::new(json!({ "detail": SECRET }));
    let response = Response { status: 422, retry_after_ms: None, body: body.clone(), body_dropped: None };
    let answered =
        |answer: Answer| Command::Answered { step: 1, direction: Direction::Probe, attempt: 2, answer }.to_string();
    assert_eq!(answered(Answer::Response(response)), "step 1, probe, attempt 2: answered 422");
    assert_eq!(answered(Answer::Lost { error: SECRET.into() }), "step 1, probe, attempt 2: no answer");
    assert_eq!(answered(Answer::NotSent { error: SECRET.into() }), "step 1, probe, attempt 2: not sent");
    let operator = Operator { actor: "ada".into(), reason: SECRET.into() };
    let settlement = Settlement::Done { output: body.clone() };
    for (command, told) in [
        (Command::Complete { step: 1, output: body, operator: operator.clone() }, "step 1: complete"),
        (Command::Fail { step: 1, operator: operator.clone() }, "step 1: fail"),
        (Command::Cancel(operator.clone()), "cancel"),
        (Command::Settle { letter: 7, settlement, operator, seen: Some(3) }, "settle dead letter 7"),
    ] {
        assert_eq!(command.to_string(), told);
    }
}
