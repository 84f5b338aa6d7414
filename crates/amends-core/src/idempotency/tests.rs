use super::*;
use proptest::prelude::*;

const SAGA: &str = "0192f0c1-2b1e-7c34-9a53-6a1d8d4f7b10";
const NOW: Timestamp = Timestamp(1_000);
const LATER: Timestamp = Timestamp(1_001);

fn print_of(body: &str) -> Fingerprint {
    Fingerprint::new(&FingerprintParts {
        method: "POST",
        path: "/charges",
        body: body.as_bytes(),
        ..Default::default()
    })
}

fn finished(status: u16, expires_at: Timestamp) -> Option<Record> {
    Some(Record::Finished { fingerprint: print_of("a"), status, expires_at })
}

fn settled(expires_at: Timestamp) -> Option<Record> {
    Some(Record::Settled { fingerprint: print_of("a"), expires_at })
}

fn parse(value: &str) -> Result<Option<String>, KeyError> {
    parse_key([value.as_bytes()])
}

#[test]
fn a_request_is_decided_by_what_its_key_is_on_record_for() {
    let check = |record: Option<Record>, body: &str, expected: Decision| {
        assert_eq!(decide(record.as_ref(), &print_of(body), NOW), expected, "{record:?} asked with {body}");
    };
    check(None, "a", Decision::Execute);
    check(finished(201, LATER), "a", Decision::Replay);
    check(finished(402, LATER), "a", Decision::Replay);
    check(finished(201, LATER), "b", Decision::Mismatch);
    check(finished(201, NOW), "a", Decision::Execute);
    check(finished(201, NOW), "b", Decision::Execute);
    check(settled(LATER), "a", Decision::Replay);
    check(settled(LATER), "b", Decision::Mismatch);
    check(settled(NOW), "a", Decision::Execute);
    check(Some(Record::Remembered), "a", Decision::Execute);
    check(Some(Record::InFlight { fingerprint: print_of("a") }), "a", Decision::InFlight);
    check(Some(Record::InFlight { fingerprint: print_of("a") }), "b", Decision::Mismatch);
    check(Some(Record::Unknown { fingerprint: print_of("a") }), "a", Decision::Unknown);
    check(Some(Record::Unknown { fingerprint: print_of("a") }), "b", Decision::Mismatch);
    check(Some(Record::Tombstone { expires_at: LATER }), "a", Decision::Compensated);
    check(Some(Record::Tombstone { expires_at: NOW }), "a", Decision::Execute);
}

#[test]
fn a_compensation_is_decided_by_what_its_action_is_on_record_for() {
    let check = |action: Option<Record>, expected: CompensationDecision| {
        assert_eq!(decide_compensation(action.as_ref(), NOW), expected, "{action:?}");
    };
    check(None, CompensationDecision::LeaveTombstone);
    check(finished(201, LATER), CompensationDecision::Run);
    check(finished(303, LATER), CompensationDecision::Run);
    check(finished(201, NOW), CompensationDecision::Run);
    check(settled(LATER), CompensationDecision::Run);
    check(settled(NOW), CompensationDecision::LeaveTombstone);
    check(Some(Record::Remembered), CompensationDecision::Run);
    check(finished(402, LATER), CompensationDecision::NothingToUndo);
    check(finished(402, NOW), CompensationDecision::LeaveTombstone);
    check(Some(Record::InFlight { fingerprint: print_of("a") }), CompensationDecision::AskAgain);
    check(Some(Record::Unknown { fingerprint: print_of("a") }), CompensationDecision::Run);
    check(Some(Record::Tombstone { expires_at: LATER }), CompensationDecision::NothingToUndo);
    check(Some(Record::Tombstone { expires_at: NOW }), CompensationDecision::LeaveTombstone);
}

#[test]
fn an_answer_decides_what_becomes_of_the_writes() {
    let check = |direction: Direction, status: u16, retry_after: bool, expected: Ending| {
        let answered = Answered { direction, status, retry_after };
        assert_eq!(answered.ending(), expected, "{answered:?}");
    };
    for direction in [Direction::Action, Direction::Compensation] {
        check(direction, 200, false, Ending::Commit);
        check(direction, 202, true, Ending::Commit);
        check(direction, 303, false, Ending::Commit);
        for status in [401, 403, 408, 425, 429, 500, 502, 503, 504, 599, 600, 101] {
            check(direction, status, false, Ending::Release);
        }
    }
    for status in [400, 402, 404, 409, 410, 422] {
        check(Direction::Action, status, false, Ending::Refuse);
        check(Direction::Action, status, true, Ending::Release);
        check(Direction::Compensation, status, false, Ending::Release);
    }
}

#[test]
fn a_key_is_read_quoted_or_bare() {
    let long = "k".repeat(255);
    let check = |value: &str, expected: Result<&str, KeyError>| {
        assert_eq!(parse(value), expected.map(|key| Some(key.to_owned())), "{value}");
    };
    check("k", Ok("k"));
    check("\"k\"", Ok("k"));
    check("  \"k\"\t", Ok("k"));
    check("a%20b/c:d~e", Ok("a%20b/c:d~e"));
    check("\"a, b; \\\"c\\\" \\\\\"", Ok("a, b; \"c\" \\"));
    check(&long, Ok(&long));
    check(&format!("\"{long}\""), Ok(&long));
    check(&format!("{long}k"), Err(KeyError::TooLong));
    check(&format!("\"{long}k\""), Err(KeyError::TooLong));
    check("", Err(KeyError::Empty));
    check("  ", Err(KeyError::Empty));
    check("\"\"", Err(KeyError::Empty));
    check("\"", Err(KeyError::Malformed));
    check("\"k", Err(KeyError::Malformed));
    check("k\"", Err(KeyError::Malformed));
    check("\"k\\", Err(KeyError::Malformed));
    check("\"k\\n\"", Err(KeyError::Malformed));
    check("\"k\";v=1", Err(KeyError::Malformed));
    check("\"k\", \"l\"", Err(KeyError::Malformed));
    check("k,l", Err(KeyError::Malformed));
    check("k l", Err(KeyError::Malformed));
    check("k;v=1", Err(KeyError::Malformed));
    check("\"é\"", Err(KeyError::Malformed));
    check("é", Err(KeyError::Malformed));
}

#[test]
fn an_absent_header_is_no_key_and_a_repeated_one_is_an_error() {
    assert_eq!(parse_key([]), Ok(None));
    assert_eq!(parse_key([&b"k"[..], &b"k"[..]]), Err(KeyError::Repeated));
}

#[test]
fn keys_are_readable() {
    assert_eq!(action_key("order-7", SAGA, "charge-payment"), format!("order-7-{SAGA}-charge-payment"));
    assert_eq!(
        compensation_key("order 7, é", SAGA, "charge-payment"),
        format!("order%207%2C%20%C3%A9-{SAGA}-charge-payment-compensation")
    );
}

#[test]
fn every_ascii_business_key_within_the_limit_is_kept_whole() {
    let key = "k".repeat(crate::limits::KEY_CHARS);
    let step = "s".repeat(crate::limits::NAME_BYTES);
    assert_eq!(action_key(&key, SAGA, &step), format!("{key}-{SAGA}-{step}"));
}

/// A character more than there is room for, and the longest key is as long as a header may hold, and no longer.
#[test]
fn a_business_key_is_cut_only_where_it_must_be_and_fills_its_room() {
    let key = |length: usize| "k".repeat(length);
    let room = 255 - format!("-{SAGA}-charge-compensation").len();
    assert_eq!(compensation_key(&key(room), SAGA, "charge"), format!("{}-{SAGA}-charge-compensation", key(room)));
    let cut = compensation_key(&key(room + 1), SAGA, "charge");
    assert_eq!(cut.len(), 255, "{cut}");
    let (prefix, _) = cut.split_once('~').expect("the digest is set off");
    // The digest has 32 digits.
    assert_eq!(prefix, key(room - 33));
}

#[test]
fn a_business_key_too_long_for_a_header_is_cut_and_told_apart_by_its_digest() {
    let one = "é".repeat(128);
    let other = format!("{}e", "é".repeat(127));
    let key = action_key(&one, SAGA, "charge");
    assert!(key.starts_with("%C3%A9%C3%A9"), "{key}");
    assert!(key.ends_with(&format!("-{SAGA}-charge")), "{key}");
    let (prefix, _) = key.split_once('~').expect("the digest is set off");
    assert!(prefix.len().is_multiple_of("%C3%A9".len()), "cut inside a character: {prefix}");
    assert_ne!(key, action_key(&other, SAGA, "charge"));
    assert!(compensation_key(&one, SAGA, &"s".repeat(64)).len() <= 255);
}

#[test]
fn a_fingerprint_tells_every_part_apart() {
    let parts = FingerprintParts { method: "POST", path: "/a", query: "b", content_type: b"c", body: b"d" };
    let others = [
        FingerprintParts { method: "PUT", ..parts },
        FingerprintParts { path: "/b", ..parts },
        FingerprintParts { query: "", ..parts },
        FingerprintParts { content_type: b"", ..parts },
        FingerprintParts { body: b"", ..parts },
        FingerprintParts { path: "/ab", query: "", ..parts },
        FingerprintParts { content_type: b"cd", body: b"", ..parts },
    ];
    let whole = Fingerprint::new(&parts);
    assert_eq!(whole, Fingerprint::from_stored(whole.as_str().to_owned()));
    for other in others {
        assert_ne!(whole, Fingerprint::new(&other), "{other:?}");
    }
}

/// Stored fingerprints outlive a release: this one may only change together with its version.
#[test]
fn a_fingerprint_stays_what_it_was() {
    assert_eq!(print_of("a").as_str(), "1:03800fba71eef6baf6ec9c226d7e3940592fc68600a524e38bead680d31b4673");
}

fn any_record() -> impl Strategy<Value = Option<Record>> {
    let time = (0u64..2_000).prop_map(Timestamp);
    let print = prop_oneof![Just(print_of("a")), Just(print_of("b"))];
    prop_oneof![
        Just(None),
        Just(Some(Record::Remembered)),
        (print.clone(), time.clone())
            .prop_map(|(fingerprint, expires_at)| { Some(Record::Settled { fingerprint, expires_at }) }),
        print.clone().prop_map(|fingerprint| Some(Record::InFlight { fingerprint })),
        print.clone().prop_map(|fingerprint| Some(Record::Unknown { fingerprint })),
        time.clone().prop_map(|expires_at| Some(Record::Tombstone { expires_at })),
        (print, 200u16..500, time).prop_map(|(fingerprint, status, expires_at)| Some(Record::Finished {
            fingerprint,
            status,
            expires_at
        })),
    ]
}

proptest! {
    #[test]
    fn every_key_is_safe_in_a_header_and_reads_back_bare(business in ".{0,128}", step in "[a-z][a-z0-9-]{0,63}") {
        let action = action_key(&business, SAGA, &step);
        let compensation = compensation_key(&business, SAGA, &step);
        prop_assert_eq!(&action, &action_key(&business, SAGA, &step));
        prop_assert_eq!(&compensation, &format!("{action}-compensation"));
        for key in [action, compensation] {
            prop_assert_eq!(parse(&key), Ok(Some(key)));
        }
    }

    #[test]
    fn different_business_keys_have_different_keys(one in ".{0,128}", other in ".{0,128}") {
        prop_assert_eq!(one == other, action_key(&one, SAGA, "s") == action_key(&other, SAGA, "s"));
    }

    #[test]
    fn whatever_is_quoted_reads_back(key in "[ -~]{1,255}") {
        let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
        prop_assert_eq!(parse(&quoted), Ok(Some(key)));
    }

    #[test]
    fn no_header_value_breaks_the_parser(value in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(key) = parse_key([value.as_slice()]) {
            let key = key.expect("there was a header");
            prop_assert!((1..=255).contains(&key.len()) && key.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
        }
    }

    /// An action runs only where nothing that is known about its key still holds; and never both it and its compensation
    /// may run, one after the other, on what is known before.
    #[test]
    fn nothing_runs_twice(record in any_record(), now in 0u64..2_000) {
        let now = Timestamp(now);
        let live = match &record {
            None | Some(Record::Remembered) => false,
            Some(Record::InFlight { .. } | Record::Unknown { .. }) => true,
            Some(
                Record::Finished { expires_at, .. }
                | Record::Settled { expires_at, .. }
                | Record::Tombstone { expires_at },
            ) => *expires_at > now,
        };
        prop_assert_eq!(decide(record.as_ref(), &print_of("a"), now) == Decision::Execute, !live);
        if decide_compensation(record.as_ref(), now) == CompensationDecision::NothingToUndo {
            prop_assert_ne!(decide(record.as_ref(), &print_of("a"), now), Decision::Execute);
        }
    }

    /// What a store may do with a record that has expired: forget it, or remember no more than that it took effect.
    #[test]
    fn forgetting_what_has_expired_changes_no_decision(record in any_record()) {
        let never_expires = matches!(record, Some(Record::InFlight { .. } | Record::Unknown { .. }));
        prop_assume!(!never_expires);
        let long_after = Timestamp(1_000_000);
        let kept = record.as_ref().filter(|record| record.remains()).map(|_| Record::Remembered);
        let print = print_of("a");
        prop_assert_eq!(decide(record.as_ref(), &print, long_after), decide(kept.as_ref(), &print, long_after));
        prop_assert_eq!(
            decide_compensation(record.as_ref(), long_after),
            decide_compensation(kept.as_ref(), long_after)
        );
    }
}
