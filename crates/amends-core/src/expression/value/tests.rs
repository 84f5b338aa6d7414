//! What no expression that is short enough comes to today.

use super::{Budget, DEPTH, to_json};
use minijinja::value::Value as Jinja;

/// Nested deeper, a value would take the stack with it.
#[test]
fn what_is_nested_too_deep_is_no_json() {
    let nested = |wrap: fn(Jinja) -> Jinja, depth: usize| (0..depth).fold(Jinja::from(1), |inner, _| wrap(inner));
    let list: fn(Jinja) -> Jinja = |inner| Jinja::from(vec![inner]);
    let map: fn(Jinja) -> Jinja = |inner| Jinja::from_pairs([("a", inner)]);
    for wrap in [list, map] {
        let read = |depth| to_json(&nested(wrap, depth), &mut Budget::new(10_000));
        assert!(read(DEPTH).is_ok());
        assert_eq!(read(DEPTH + 1), Err("the result is nested more than 128 deep".to_owned()));
    }
}
