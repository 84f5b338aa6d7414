use super::{decode, encode};
use amends_core::machine::Event;
use amends_core::time::Timestamp;
use amends_store::StoredEvents;

fn stored(count: u64, body: &str) -> StoredEvents {
    StoredEvents { count, at: Timestamp(7), body: body.into() }
}

#[test]
fn what_is_encoded_is_decoded() {
    let commits = [
        (Timestamp(5), vec![Event::CompensationDone { step: 1 }, Event::Completed]),
        (Timestamp(9), vec![Event::Compensated]),
    ];
    let stored: Vec<_> = commits.iter().filter_map(|(at, events)| encode(*at, events)).collect();
    assert_eq!(
        stored.iter().map(|events| (events.count, events.at)).collect::<Vec<_>>(),
        [(2, Timestamp(5)), (1, Timestamp(9))]
    );
    assert_eq!(stored[1].body, br#"[{"type":"compensated"}]"#);
    let history: Vec<_> =
        commits.iter().flat_map(|(at, events)| events.iter().map(|event| (*at, event.clone()))).collect();
    assert_eq!(decode(&stored), Ok(history));
    assert_eq!(encode(Timestamp(5), &[]), None);
}

#[test]
fn what_cannot_be_read_is_named() {
    let completed = r#"{"type":"completed"}"#;
    let cases = [
        (1, "", "event 2: EOF while parsing a value"),
        (1, "7", "event 2: it has a value of another kind at line 1 column 1"),
        (1, completed, "event 2: it has a value of another kind at line 1 column 0"),
        (1, &format!("[{completed}"), "event 3: EOF while parsing a list"),
        (2, &format!(r#"[{completed},{{"type":"comp"#), "event 3: EOF while parsing a string"),
        (3, &format!(r#"[{completed},{{"type":"later"}},{completed}]"#), "event 3: unknown variant `later`"),
        (1, r#"[{"type":"sleep-ended","step":"4111"}]"#, "event 2: it has a value of another kind at line 1 column "),
        (1, &format!("[{completed}]]"), "event 3: trailing characters"),
        (2, &format!("[{completed}]"), "the commit with event 2 holds 1 events and says 2"),
        (1, &format!("[{completed},{completed}]"), "the commit with event 2 holds 2 events and says 1"),
        (u64::MAX, "[]", "the commit with event 2 holds 0 events"),
    ];
    for (count, body, expected) in cases {
        let first = stored(1, &format!("[{completed}]"));
        let error = decode(&[first.clone(), stored(count, body), first]).unwrap_err();
        assert!(error.starts_with(expected), "{body}: {error}");
    }
}
