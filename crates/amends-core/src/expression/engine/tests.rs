//! What is read without the engine is what the engine reads.

use super::{Budget, Scope, compile, within};
use crate::expression::OUTPUT_BYTES;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

#[test]
fn a_place_that_is_none_is_the_whole() {
    let whole = || 0.."input.ö".len();
    #[rustfmt::skip]
    let cases = [
        (0..5, 0..5), (6..8, 6..8), (whole(), whole()),
        // Empty, beyond the end, and in the middle of a letter.
        (0..0, whole()), (3..3, whole()), (6..9, whole()), (6..7, whole()),
    ];
    for (range, expected) in cases {
        assert_eq!(within("input.ö", range.clone()), expected, "{range:?}");
    }
}

/// Most expressions do nothing but read, and looking a value up costs a fraction of what the engine takes for it. Fields
/// of one root have the names of others here, so a value of the wrong one is there to be found.
#[test]
fn what_is_only_read_needs_no_engine() {
    let scope = Scope {
        saga_id: "id".into(),
        saga_key: "key".into(),
        input: Arc::new(json!({ "a": { "b": 1 }, "null": null })),
        outputs: vec![("one".into(), Arc::new(json!({ "a": 2 }))), ("body".into(), Arc::new(json!({ "deep": 3 })))],
        own_output: Some(Arc::new(json!({ "a": 4, "id": 5, "body": { "a": 6 }, "one": { "output": { "a": 7 } } }))),
        response: Some((200, Arc::new(json!({ "a": { "deep": 8 } })))),
    };
    #[rustfmt::skip]
    let cases = [
        ("input", true, json!({ "a": { "b": 1 }, "null": null })),
        ("input.a.b", true, json!(1)), ("input['a'].b", true, json!(1)), ("input.null", true, Value::Null),
        ("output.a", true, json!(4)), ("output.one['output'].a", true, json!(7)),
        ("saga.id", true, json!("id")), ("saga['key']", true, json!("key")),
        ("steps.one.output", true, json!({ "a": 2 })), ("steps['body'].output.deep", true, json!(3)),
        ("response.status", false, json!(200)), ("response.body.a.deep", false, json!(8)),
        ("input.a.b + 1", false, json!(2)), ("input['n' ~ 'ull']", false, Value::Null),
    ];
    for (source, is_read, expected) in cases {
        let template = format!("{{{{{source}}}}}");
        let (program, _) = compile(&template, 2..template.len() - 2).expect("it is well formed");
        let read = program.plain.as_deref().and_then(|path| scope.find(path));
        assert_eq!(read.as_deref(), is_read.then_some(&expected), "{source}");
        assert_eq!(program.run(&scope, &mut Budget::new(OUTPUT_BYTES)), Ok(expected), "{source}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|float| json!(float)),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        let name = prop_oneof![Just("a"), Just("b"), Just("output"), Just("0")].prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn any_path() -> impl Strategy<Value = String> {
    let root = prop_oneof![
        Just("input"),
        Just("output"),
        Just("saga.id"),
        Just("saga['key']"),
        Just("steps.one.output"),
        Just("steps['two'].output"),
        Just("response.body"),
        Just("response.status"),
    ];
    let name = prop_oneof![Just(".a"), Just("['b']"), Just(".output"), Just("['0']"), Just("[0]"), Just("[-1]")];
    (root, prop::collection::vec(name, 0..4)).prop_map(|(root, names)| format!("{root}{}", names.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_is_what_the_engine_does(path in any_path(), values in prop::array::uniform4(any_value()), small in 0usize..40) {
        let [input, own, one, body] = values.map(Arc::new);
        let scope = Scope {
            saga_id: "id".into(),
            saga_key: "key".into(),
            input,
            outputs: vec![("one".into(), one)],
            own_output: Some(own),
            response: Some((200, body)),
        };
        let template = format!("{{{{{path}}}}}");
        // The engine does not read a part of `saga.id`, and neither does the other.
        let Ok((program, _)) = compile(&template, 2..template.len() - 2) else { return Ok(()) };
        let read = program.run(&scope, &mut Budget::new(OUTPUT_BYTES));
        prop_assert_eq!(&read, &program.compute(&scope, &mut Budget::new(OUTPUT_BYTES)), "{}", path);
        // The same is too large for both; the engine counts no value as less than two bytes.
        let fits = |result: Result<Value, _>| result.is_ok();
        let small = small.max(2);
        let read = fits(program.run(&scope, &mut Budget::new(small)));
        prop_assert_eq!(read, fits(program.compute(&scope, &mut Budget::new(small))), "{} within {}", path, small);
    }
}
