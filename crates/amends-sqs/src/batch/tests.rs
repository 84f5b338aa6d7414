use super::{Change, by_call, entry, judge, refusal, split};
use amends_core::time::Timestamp;
use amends_store::queues::{Handled, Handling, MESSAGE_BYTES, NewMessage};
use aws_sdk_sqs::types::BatchResultErrorEntry;

fn message(id: &str, body: &str, at: u64) -> NewMessage {
    NewMessage { id: id.into(), body: body.into(), at: Timestamp(at) }
}

#[test]
fn what_sqs_would_not_take() {
    let check = |message: NewMessage, expected: Option<&str>| {
        let why = refusal(&message, Timestamp(10_000));
        assert_eq!(why.is_some(), expected.is_some(), "{message:?}");
        let (why, expected) = (why.unwrap_or_default(), expected.unwrap_or_default());
        assert!(why.contains(expected), "{why}");
    };
    check(message("a", "\t\r\n ~\u{D7FF}\u{E000}\u{FFFD}\u{10FFFF}", 0), None);
    check(message("a", "", 0), Some("without a body"));
    check(message("", "x", 0), Some("without a body or an id"));
    check(message("a", "\0", 0), Some("U+0000"));
    check(message("a", "\u{1F}", 0), Some("U+001F"));
    check(message("a", "\u{FFFE}", 0), Some("U+FFFE"));
    check(message("a\u{8}", "x", 0), Some("U+0008"));
    check(message("a", "x", 910_000), None);
    check(message("a", "x", 910_001), Some("15 minutes"));
    check(message("a", &"x".repeat(MESSAGE_BYTES - 16), 0), None);
    check(message("a", &"x".repeat(MESSAGE_BYTES - 15), 0), Some("1048577 bytes"));
    check(message("ab", &"x".repeat(MESSAGE_BYTES - 16), 0), Some("1048577 bytes"));
}

#[test]
fn batches_are_of_ten_and_of_a_mebibyte() {
    let sizes = |sizes: &[usize]| -> Vec<usize> {
        let messages = sizes.iter().map(|size| message("a", &"x".repeat(*size), 0)).enumerate().collect();
        let batches = split(messages);
        let order: Vec<usize> = batches.iter().flatten().map(|(at, _)| *at).collect();
        assert_eq!(order, (0..sizes.len()).collect::<Vec<_>>());
        batches.iter().map(Vec::len).collect()
    };
    assert_eq!(sizes(&[]), [0; 0]);
    assert_eq!(sizes(&[1; 25]), [10, 10, 5]);
    let half = MESSAGE_BYTES / 2 - 16;
    assert_eq!(sizes(&[half, half, 1]), [2, 1]);
    assert_eq!(sizes(&[half, half + 1, half, half]), [1, 1, 2]);
}

#[test]
fn times_are_whole_seconds_and_never_too_short() {
    let delay = |at| entry(0, &message("a", "x", at), Timestamp(10_000)).delay_seconds;
    assert_eq!([0, 10_000, 10_001, 11_000, 11_001].map(delay), [0, 0, 1, 1, 2].map(Some));
    let held = |at| {
        let handlings = vec![
            ("one".to_owned(), Handling::Reject { at: Timestamp(at) }),
            ("two".to_owned(), Handling::Acknowledge),
            ("three".to_owned(), Handling::Extend { until: Timestamp(at) }),
        ];
        let (deleted, changed) = by_call(handlings, Timestamp(10_000));
        assert_eq!((deleted[0].id(), deleted[0].receipt_handle()), ("1", "two"));
        assert_eq!((changed[0].id(), changed[1].id()), ("0", "2"));
        assert_eq!(changed[0].visibility_timeout, changed[1].visibility_timeout);
        changed[0].visibility_timeout
    };
    assert_eq!([0, 10_001, 11_001, u64::MAX].map(held), [0, 1, 2, 39_600].map(Some));
}

#[test]
fn what_is_said_of_a_receipt() {
    let check = |code: &str, message: &str, change: Change, stale: bool| {
        let entry = BatchResultErrorEntry::builder().id("0").sender_fault(true).code(code).message(message);
        let handled = judge(&entry.build().unwrap(), change);
        let refused = Handled::Refused(format!("{code}: {message}").into());
        assert_eq!(handled, if stale { Handled::Stale } else { refused });
    };
    const GONE: &str = "Value AQ for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not \
                        available for visibility timeout change.";
    const FAR: &str = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]";
    check("ReceiptHandleIsInvalid", "", Change::Delete, true);
    check("ReceiptHandleIsInvalid", "", Change::Visibility, true);
    check("AWS.SimpleQueueService.MessageNotInflight", "", Change::Visibility, true);
    check("InvalidParameterValue", GONE, Change::Visibility, true);
    check("InvalidParameterValue", GONE, Change::Delete, false);
    check("InvalidParameterValue", FAR, Change::Visibility, false);
    check("InternalError", "", Change::Delete, false);
}
