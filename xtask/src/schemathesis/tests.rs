//! What the task takes, and that a run that met nothing does not pass.

use super::{Options, SMALL, judge};
use serde_json::json;

#[test]
fn options_are_numbers() {
    assert_eq!(Options::read(&[]).unwrap(), Options { examples: SMALL, seed: 1 });
    assert_eq!(Options::read(&["--examples", "7", "--seed", "3"]).unwrap(), Options { examples: 7, seed: 3 });
    for wrong in [&["--examples"][..], &["--examples", "many"], &["--speed", "1"]] {
        assert!(Options::read(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn an_operation_that_never_succeeded_was_not_tried() {
    assert!(judge(&json!({})).is_err());
    assert!(judge(&json!({ "GET /a": { "200": 1, "404": 7 } })).is_ok());
    let error = judge(&json!({ "GET /a": { "200": 1 }, "POST /b": { "400": 9 } })).unwrap_err();
    assert!(error.to_string().ends_with("asked of POST /b"), "{error}");
}
