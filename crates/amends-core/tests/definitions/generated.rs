//! Whatever comes in, nothing panics; and whatever is right in one notation is right, and the same, in the other.

use crate::design::ORDER_FULFILMENT;
use amends_core::definition::{Definition, Kind, Work};
use amends_core::expression::{Expression, Scope, Template};
use amends_core::lint::{self, Known};
use amends_core::parse::canonical;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Reads a text in every way there is. The only thing that counts is that it comes back.
fn read(text: &str) {
    let known = Known { participants: vec!["inventory".into()], queues: vec!["commands".into()] };
    let checked = lint::check(text, Some(&known));
    for problem in &checked.diagnostics {
        assert!(text.get(problem.span.clone()).is_some(), "{problem:?} is not in {text:?}");
        assert!(!problem.message.is_empty() && !problem.remedy.is_empty() && problem.line > 0 && problem.column > 0);
        assert!(lint::codes::find(problem.code).is_some());
    }
    assert!(checked.diagnostics.is_sorted_by_key(|problem| problem.span.start));
    let failed = checked.diagnostics.iter().any(|problem| problem.severity == lint::Severity::Error);
    assert_eq!(checked.definition.is_none(), failed, "{text:?}");
    let _ = lint::render(text, "some.yaml", &checked.diagnostics, true);
    let _ = canonical(text);
    if let Ok(template) = Template::parse(text) {
        let _ = template.render_text(&Scope::default());
        let _ = template.render_path(&Scope::default());
    }
    let _ = Expression::parse(text).map(|expression| expression.evaluate(&Scope::default()));
}

/// What definitions are made of.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "saga", "key", "steps", "action", "compensation", "probe", "kind", "pivot", "after", "wait", "sleep", "retry",
    ": ", ":", "\n", "\n  ", "\n    ", "- ", "{", "}", "[", "]", ",", "{{ ", " }}", "input", ".x", "steps", "['a']",
    ".output", "|", "default", "\"", "'", "\\", "\\ud83d", "#", "&a", "*a", "!!str", "|\n", ">-\n", "? ", "---\n",
    "...", "%YAML 1.2", "\t", "\r\n", "ü", "😀", "\u{feff}", "\u{0}", "\u{85}", "1", "5m", "null", "~", "<<",
    "post", "get", "a:/b", "@", "`", "(", ")", "-", "not ", "in ", "if ", "else ", "range(9)", "//", "**", "%}", "{%",
];

/// Texts made of those pieces.
fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..40).prop_map(|pieces| pieces.concat())
}

/// The design's example with a piece cut out and another put in.
fn broken() -> impl Strategy<Value = String> {
    (any::<prop::sample::Index>(), 0..30usize, soup()).prop_map(|(at, length, piece)| {
        let at = at.index(ORDER_FULFILMENT.len());
        let (before, rest) = ORDER_FULFILMENT.split_at(at);
        format!("{before}{}{}", &piece[..piece.floor_char_boundary(12)], &rest[length.min(rest.len())..])
    })
}

/// A JSON value without expressions.
fn plain_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        "[^{\\p{C}]{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["{{ input.id }}", "a {{ input['b'] }} c", "null", "1e3", "0x1f", "- x", "a: b", " "])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z #:'\"-]{0,6}", inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// What a step does before the point of no return.
fn work() -> impl Strategy<Value = Value> {
    let call = (plain_json(), any::<bool>(), any::<bool>(), 1..9u32).prop_map(|(body, undone, probed, attempts)| {
        let mut step = json!({
            "action": { "post": "stock:/things/{{ input.id }}?n=1", "body": body, "timeout": "10s" },
            "retry": { "attempts": attempts },
        });
        step["compensation"] =
            if undone { json!({ "delete": "stock:/things", "not_found": "done" }) } else { json!("none") };
        if probed {
            step["probe"] =
                json!({ "get": "stock:/things", "happened": "{{ response.status == 200 }}", "output": body });
            step["effects"] = json!("at-most-once");
        }
        step
    });
    prop_oneof![
        4 => call,
        1 => (1..90u32).prop_map(|s| json!({ "sleep": format!("{s}s") })),
        1 => (1..90u32).prop_map(|h| json!({ "wait": { "timeout": format!("{h}h") } })),
    ]
}

/// Which of the earlier steps each step waits for, as bits.
type Edges = Vec<(Value, u128)>;

/// A definition that nothing is wrong with: a graph of steps that may fail, then perhaps a pivot, then retriables.
fn definition() -> impl Strategy<Value = Value> {
    let early = prop::collection::vec((work(), any::<u128>()), 1..12);
    (early, any::<bool>(), 0..4usize, plain_json()).prop_map(|(early, pivot, late, description)| {
        let mut steps = Map::new();
        let name = |index: usize| format!("step-{index:02}");
        let edges: Edges = early;
        let count = edges.len();
        for (index, (mut step, before)) in edges.into_iter().enumerate() {
            let after: Vec<String> = (0..index).filter(|other| before >> other & 1 == 1).map(name).collect();
            // Some of the steps say nothing and come after the one before.
            if before >> 100 & 3 != 0 {
                step["after"] = json!(after);
            }
            steps.insert(name(index), step);
        }
        let all: Vec<String> = (0..count).map(name).collect();
        if pivot {
            let action = json!({ "put": "bank:/charges/{{ saga.id }}" });
            steps.insert(name(count), json!({ "kind": "pivot", "action": action, "after": all }));
        }
        for index in 0..late {
            let after = if pivot { vec![name(count)] } else { all.clone() };
            let step = json!({ "kind": "retriable", "action": { "post": "post:/mails" }, "after": after });
            steps.insert(name(count + 1 + index), step);
        }
        json!({ "saga": "generated", "key": "{{ input.id }}", "steps": steps, "description": description.to_string() })
    })
}

/// Block style, with the quotes that JSON would use.
fn as_yaml(value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, item) in entries {
                out.push_str(&format!("\n{pad}{}:  # of {indent}", Value::from(key.as_str())));
                as_yaml(item, indent + 2, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&format!("\n{pad}-"));
                as_yaml(item, indent + 2, out);
            }
        }
        leaf => out.push_str(&format!("\n{pad}{leaf}")),
    }
}

/// What a definition comes to, as far as it can be compared.
fn shape(definition: &Definition) -> String {
    format!("{definition:?}")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_reading_panic(text in ".*") {
        read(&text);
    }

    #[test]
    fn no_soup_makes_reading_panic(text in soup()) {
        read(&text);
        read(&format!("saga: a\nkey: '{{{{ input.x }}}}'\nsteps: {text}"));
        read(&format!("{{{{ {text} }}}}"));
    }

    #[test]
    fn no_broken_definition_makes_reading_panic(text in broken()) {
        read(&text);
    }

    #[test]
    fn both_notations_say_the_same(definition in definition()) {
        let json = definition.to_string();
        let mut yaml = String::new();
        as_yaml(&definition, 0, &mut yaml);
        let from_json = lint::check(&json, None);
        let from_yaml = lint::check(&yaml, None);
        prop_assert!(from_json.definition.is_some(), "{}", lint::render(&json, "a.json", &from_json.diagnostics, false));
        prop_assert!(from_yaml.definition.is_some(), "{}", lint::render(&yaml, "a.yaml", &from_yaml.diagnostics, false));
        prop_assert_eq!(canonical(&yaml).unwrap(), json);
        let codes = |checked: &lint::Checked| checked.diagnostics.iter().map(|problem| problem.code).collect::<Vec<_>>();
        prop_assert_eq!(codes(&from_json), codes(&from_yaml));
        let (one, other) = (from_json.definition.unwrap(), from_yaml.definition.unwrap());
        prop_assert_eq!(&one.version, &other.version);
        prop_assert_eq!(shape(&one), shape(&other));
    }

    #[test]
    fn a_definition_keeps_its_promises(definition in definition()) {
        let definition = lint::compile(&definition.to_string()).unwrap();
        for (index, step) in definition.steps.iter().enumerate() {
            prop_assert!(step.after.is_sorted() && step.before.is_sorted());
            for other in &step.after {
                prop_assert!(*other < index && definition.steps[*other].before.contains(&index));
            }
            // What can be undone, or may fail in a way that turns the saga around, never waits for a retriable step.
            if step.kind != Kind::Retriable && !matches!(step.work, Work::Sleep { .. }) {
                prop_assert!(step.after.iter().all(|other| definition.steps[*other].kind == Kind::Compensatable));
            }
        }
    }
}
