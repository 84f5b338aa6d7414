//! What is left of a text in a message.

use super::{hexadecimal, innermost, shortened, without_particulars};
use std::error::Error;
use std::fmt;

#[test]
fn bytes_are_two_digits_each() {
    assert_eq!(hexadecimal(&[]), "");
    assert_eq!(hexadecimal(&[0x00, 0x0f, 0xa5, 0xff]), "000fa5ff");
}

#[test]
fn what_is_cut_says_so_and_what_fits_is_left_alone() {
    let long = |length: usize| "é".repeat(length);
    for text in [String::new(), "order-7".into(), long(79), long(80)] {
        assert_eq!(shortened(&text), text, "characters are counted, and not bytes");
    }
    assert_eq!(shortened(&long(81)), format!("{}…", long(80)));
    assert_eq!(shortened(&"x".repeat(10_000)), format!("{}…", "x".repeat(80)));
}

#[test]
fn what_differs_from_case_to_case_is_left_out() {
    for (text, left) in [
        ("connection refused", "connection refused"),
        ("order A-1 is over 12.50 by 3", "order # is over # by #"),
        ("order 1 2 3 is gone", "order # is gone"),
        ("`a b c` is no address", "# is no address"),
        ("the step \"x\", and another", "the step # and another"),
        ("never `closed and on", "never #"),
        ("", ""),
    ] {
        assert_eq!(without_particulars(text), left, "{text}");
    }
}

/// Why, and why that.
#[derive(Debug)]
struct Because(&'static str, Option<Box<Because>>);

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Because {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|cause| cause as _)
    }
}

#[test]
fn the_innermost_cause_is_the_one_that_says_something() {
    let refused = Because("connection refused", None);
    assert_eq!(innermost(&refused), "connection refused");
    let sending = Because("the request failed", Some(Box::new(Because("cannot connect", Some(Box::new(refused))))));
    assert_eq!(innermost(&sending), "connection refused");
}
