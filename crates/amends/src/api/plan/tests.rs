use super::changes;
use serde_json::{Value, json};

/// Each as `pointer: old -> new`.
fn told(old: &Value, new: &Value) -> Vec<String> {
    let shown = |value: Option<Value>| value.map_or("nothing".to_owned(), |value| value.to_string());
    let changes = changes(old, new).into_iter();
    changes.map(|change| format!("{}: {} -> {}", change.pointer, shown(change.old), shown(change.new))).collect()
}

#[test]
fn every_difference_is_told_where_it_is() {
    let rows: [(Value, Value, &[&str]); 7] = [
        (json!({ "a": 1, "b": [1, 2] }), json!({ "b": [1, 2], "a": 1 }), &[]),
        (json!({ "a": 1 }), json!({ "a": 2 }), &["/a: 1 -> 2"]),
        (json!({ "a": 1 }), json!({ "b": 1 }), &["/a: 1 -> nothing", "/b: nothing -> 1"]),
        (json!({ "a": null }), json!({}), &["/a: null -> nothing"]),
        (json!({ "a": [{ "n": 1 }, 2] }), json!({ "a": [{ "n": 3 }] }), &["/a/0/n: 1 -> 3", "/a/1: 2 -> nothing"]),
        (json!({ "a/b": { "~": 1 } }), json!({ "a/b": { "~": [] } }), &["/a~1b/~0: 1 -> []"]),
        (json!("x"), json!(["x"]), &[": \"x\" -> [\"x\"]"]),
    ];
    for (old, new, expected) in rows {
        assert_eq!(told(&old, &new), expected, "{old} and {new}");
    }
}
