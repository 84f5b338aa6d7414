//! What two starts have in common, and what tells them apart.

use super::{Identity, fingerprint, identify};
use crate::lint;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a start is known by; `dedupe` is put into the definition as it stands.
fn of(dedupe: &str, input: Value) -> Result<Identity, String> {
    let source = format!(
        "saga: s\nkey: \"{{{{ input.id }}}}\"\n{dedupe}\nsteps:\n  a: {{ action: {{ post: \"p:/a\" }}, compensation: {{ post: \"p:/undo\" }} }}\n"
    );
    let definition = lint::compile(&source).unwrap_or_else(|problems| panic!("{source}\n{problems:#?}"));
    identify(&definition, &Arc::new(input))
}

#[test]
fn a_start_is_known_by_what_the_definition_says() {
    let dedupe = "dedupe: { by: \"{{ input.customer }}\", within: 2s }";
    let found = of(dedupe, json!({ "id": "order-1", "customer": "ada" })).unwrap();
    assert_eq!(found.key, "order-1");
    assert_eq!(found.fingerprint, fingerprint(&json!({ "customer": "ada", "id": "order-1" })));
    // What `printf ada | sha256sum` says, cut to sixteen bytes.
    assert_eq!(found.dedupe.as_deref(), Some("fdee430d40bd57deeac186cd9790033d"));
    let another = of(dedupe, json!({ "id": "order-2", "customer": "bob" })).unwrap();
    assert_ne!(found.dedupe, another.dedupe);
    assert_eq!(of("", json!({ "id": "order-1" })).unwrap().dedupe, None);
}

#[test]
fn a_key_has_its_bounds() {
    let key = |id: &str| of("", json!({ "id": id })).map(|found| found.key);
    let longest = "ü".repeat(128);
    assert_eq!(key("k").as_deref(), Ok("k"));
    assert_eq!(key(&longest).as_ref(), Ok(&longest), "characters are counted, and not bytes");
    let refused = |id: &str| key(id).expect_err("it is no key");
    assert_eq!(refused(""), "a key has 1 to 128 characters, and the input makes ``");
    assert!(refused(&"k".repeat(129)).starts_with("a key has 1 to 128 characters"));
    assert_eq!(refused("a\nb"), "the key made from the input contains a control character; a key is one line of text");
    assert!(of("", json!({})).unwrap_err().starts_with("the key cannot be made from the input: "));
}

#[test]
fn values_that_differ_have_fingerprints_that_differ() {
    let values = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(""),
        json!("null"),
        json!("1"),
        json!([]),
        json!({}),
        json!([null]),
        json!([[]]),
        json!([[], []]),
        json!(["a", "b"]),
        json!(["ab"]),
        json!(["b", "a"]),
        json!({ "a": "b" }),
        json!({ "b": "a" }),
        json!({ "a": 1, "b": 2 }),
        json!({ "a": 2, "b": 1 }),
        json!({ "a": { "b": 1 } }),
        json!({ "a": [["b", 1]] }),
        json!([{ "a": 1 }, { "b": 2 }]),
    ];
    let fingerprints: BTreeSet<String> = values.iter().map(fingerprint).collect();
    assert_eq!(fingerprints.len(), values.len());
    assert!(fingerprints.iter().all(|found| found.len() == 32), "sixteen bytes in hexadecimal");
}

/// A store keeps fingerprints for years: the same input must come to the same one in every version of the server.
#[test]
fn a_fingerprint_never_changes() {
    let value = json!({ "id": "order-1", "lines": [{ "sku": "a", "quantity": 2 }], "gift": false, "note": null });
    assert_eq!(fingerprint(&value), "4e958b9d4d79fff8226f677d86d33942");
}

proptest! {
    #[test]
    fn the_order_of_keys_does_not_matter(fields in prop::collection::btree_map("[a-c]{1,2}", any::<i64>(), 0..6)) {
        let text = |fields: &mut dyn Iterator<Item = (&String, &i64)>| {
            let fields: Vec<String> = fields.map(|(name, value)| format!("{name:?}:{value}")).collect();
            format!("{{{}}}", fields.join(","))
        };
        let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        let (there, back) = (read(text(&mut fields.iter())), read(text(&mut fields.iter().rev())));
        prop_assert_eq!(fingerprint(&there), fingerprint(&back));
    }
}
