//! When it is taken to be ready.

use super::is_ready;

#[test]
fn it_says_when_it_is_ready() {
    assert!(is_ready("LocalStack version: 4.0.3\n\nReady.\n"));
    assert!(!is_ready("Running on https://127.0.0.1:4999\nNot yet Ready."));
    assert!(!is_ready(""));
}
