use super::cursor::{self, List};
use super::json;
use super::prefer::wait_seconds;
use super::problem::{self, Kind};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

fn waits(values: &[&str]) -> Result<Option<u64>, &'static Kind> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append("prefer", HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    wait_seconds(&headers).map_err(|problem| problem.kind())
}

#[test]
fn preferences() {
    for (values, seconds) in [
        (&[][..], None),
        (&["respond-async"], None),
        (&["wait=30"], Some(30)),
        (&["Wait = 30"], Some(30)),
        (&["wait=\"5\""], Some(5)),
        (&["wait=0"], Some(0)),
        (&["wait=61"], Some(60)),
        (&["wait=99999999999999999999999"], Some(60)),
        (&["respond-async, wait=10; strict"], Some(10)),
        (&["return=minimal", "wait=7", "wait=8"], Some(7)),
        (&["foo=\"b\u{e4}r\", wait=3"], Some(3)),
        (&["waiting=3"], None),
    ] {
        assert_eq!(waits(values), Ok(seconds), "{values:?}");
    }
    for bad in ["wait", "wait=", "wait=soon", "wait=-1", "wait=1.5", "wait=1s"] {
        assert_eq!(waits(&[bad]), Err(problem::BAD_HEADER), "{bad}");
    }
}

#[test]
fn cursors_are_those_of_their_own_list() {
    let id = Uuid::from_u128(0x0197_a3c2_7d3e_7c41_9a55_3f0e_8c1d_2b6a);
    let cursor = List::Sagas.cursor(id.as_u128());
    assert_eq!(List::Sagas.id(Some(&cursor)).unwrap(), Some(id));
    assert_eq!(List::Sagas.id(None).unwrap(), None);
    assert_eq!(List::Audit.place(Some(&List::Audit.cursor(u128::MAX))).unwrap(), Some(u128::MAX));
    assert_eq!(List::Audit.place(Some(&cursor)).unwrap_err().kind(), problem::BAD_CURSOR);
    for list in [List::DeadLetters, List::Events] {
        assert_eq!(list.number(Some(&cursor)).unwrap_err().kind(), problem::BAD_CURSOR);
        assert_eq!(list.number(Some(&list.cursor(17))).unwrap(), Some(17));
    }
    let huge = List::DeadLetters.cursor(u128::MAX);
    assert_eq!(List::DeadLetters.number(Some(&huge)).unwrap(), Some(u64::MAX), "it means the newest page");
}

#[test]
fn a_page_is_cut_where_its_cursor_begins() {
    let page = |count: u128| cursor::page(List::Audit, 3, (0..count).rev().collect(), |entry| *entry, |entry| entry);
    assert_eq!((page(3).items, page(3).next), (vec![2, 1, 0], None));
    assert_eq!((page(4).items, page(4).next), (vec![3, 2, 1], Some("a1".into())));
    assert_eq!((page(0).items, page(0).next), (vec![], None));
}

#[test]
fn json_is_read_as_it_was_meant() {
    for text in [
        "null",
        " {\"a\": [1, -1, 18446744073709551615, -9223372036854775808, 0.5, 1e3], \"b\": {}} ",
        r#""\u00e4\ud83d\ude00""#,
    ] {
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(json::read(text.as_bytes()).unwrap(), value, "{text}");
    }
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(json::read(nested(64).as_bytes()).is_ok());
    assert_eq!(json::read(nested(65).as_bytes()).unwrap_err().kind(), problem::TOO_DEEP);
    assert_eq!(json::read(br#"{"a": {"b": 1, "b": 1}}"#).unwrap_err().kind(), problem::DUPLICATE_KEY);
    for number in ["18446744073709551616", "-9223372036854775809", "1e30", "-1e19"] {
        assert_eq!(json::read(number.as_bytes()).unwrap_err().kind(), problem::INEXACT_NUMBER, "{number}");
    }
    assert_eq!(json::read(b"1e400").unwrap_err().kind(), problem::MALFORMED_JSON);
    assert_eq!(json::read(b"\"\xff\"").unwrap_err().kind(), problem::NOT_UTF8);
    assert_eq!(json::read_as::<Vec<u8>>(b"[\"x\"]").unwrap_err().kind(), problem::BAD_BODY);
    assert_eq!(json::read(b"{}").unwrap(), json!({}));
}

#[test]
fn problems_have_names_of_their_own_and_are_in_the_documentation() {
    let documentation = include_str!("../../../../docs/api.md");
    let names: BTreeSet<&str> = problem::ALL.iter().map(|kind| kind.name).collect();
    assert_eq!(names.len(), problem::ALL.len());
    for kind in problem::ALL {
        let row = documentation.lines().find(|line| line.starts_with(&format!("| `{}` |", kind.name)));
        assert!(row.is_some_and(|row| row.contains(&kind.status.to_string())), "{}: {row:?}", kind.name);
    }
}
