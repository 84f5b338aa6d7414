//! The expressions of definitions: the first line is the template, the rest is the input it is rendered with.

use amends_core::expression::{Expression, OUTPUT_BYTES, PATH_BYTES, Scope, Template, Tree};
use serde_json::Value;
use std::sync::Arc;

pub(crate) const WORDS: &[&str] = &[
    "{{ ",
    " }}",
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "input",
    "input.a",
    "input['a']",
    "saga.id",
    "saga.key",
    "steps['a'].output",
    "steps.a.output",
    "output",
    "response.status",
    "response.body",
    " | length",
    " | default(0)",
    " | upper",
    " | lower",
    " | tojson",
    " | join(',')",
    " | sort",
    " | map(attribute='a')",
    " | select",
    " | sum",
    " | replace('a', 'aaaaaaaa')",
    " | list",
    " | string",
    " | int",
    " | float",
    " | round",
    " | reverse",
    " | unique",
    " | first",
    " | last",
    " | trim",
    " | abs",
    " | batch(2)",
    " | slice(2)",
    " | items",
    " | dictsort",
    " | indent(999)",
    " | urlencode",
    " | format(1)",
    " is defined",
    " is none",
    " is string",
    " in ",
    " not in ",
    " and ",
    " or ",
    "not ",
    " if ",
    " else ",
    " ~ ",
    " ** ",
    " // ",
    " % ",
    " * 999999999",
    " == ",
    " < ",
    "[0]",
    "[-1]",
    "[1:]",
    "[::-1]",
    "range(",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    ".",
    "'",
    "\"",
    "\\",
    "true",
    "none",
    "1e308",
    "9223372036854775807",
    "\n{\"a\": ",
    "[1, 2, 3]",
    "null",
    "-0.0",
    "\"..\"",
    "%2f",
    "?",
    "&a=",
    "/../",
    "#",
    "🦀",
];

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (source, input) = text.split_once('\n').unwrap_or((text, ""));
    let input = Arc::new(serde_json::from_str::<Value>(input).unwrap_or_default());
    let full = Scope {
        saga_id: "0197a3c2-7d3e-7c41-9a55-3f0e8c1d2b6a".to_owned(),
        saga_key: "o-1".to_owned(),
        input: input.clone(),
        outputs: vec![("a".to_owned(), input.clone())],
        own_output: Some(input.clone()),
        response: Some((200, input)),
    };
    for scope in [full, Scope::default()] {
        template(source, &scope);
        expression(source, &scope);
        tree(source, &scope);
    }
}

fn template(source: &str, scope: &Scope) {
    let Ok(template) = Template::parse(source) else { return };
    assert_eq!(template.source(), source);
    assert!(template.references().count() <= source.len());
    let text = template.render_text(scope);
    assert_eq!(text, template.render_text(scope), "rendering again gives the same");
    assert!(text.fits(OUTPUT_BYTES));
    // Lint takes a path only if it begins so, and so does a participant's address end before it.
    let Ok(template) = Template::parse(&format!("/{source}")) else { return };
    let Ok(path) = template.render_path(scope) else { return };
    assert!(path.len() <= PATH_BYTES);
    if !fixed_text(source).bytes().all(|byte| byte.is_ascii_graphic()) {
        // Lint refuses this, for it would make a path that is none whatever the values are.
        return;
    }
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "a value makes a path that is none: {path:?}");
    let Ok(uri) = format!("http://shop.example:7101{path}").parse::<http::Uri>() else {
        assert!(format!("http://shop.example:7101/{}", fixed_text(source)).parse::<http::Uri>().is_err(), "{path:?}");
        return;
    };
    assert_eq!(uri.authority().map(http::uri::Authority::as_str), Some("shop.example:7101"), "{path:?}");
}

/// What stands outside of the braces.
fn fixed_text(source: &str) -> String {
    let mut pieces = source.split("{{");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once("}}").map_or("", |(_, after)| after))
}

fn expression(source: &str, scope: &Scope) {
    let Ok(expression) = Expression::parse(source) else { return };
    let value = expression.evaluate(scope);
    assert_eq!(value, expression.evaluate(scope), "evaluating again gives the same");
    let is_true = expression.is_true(scope);
    assert_eq!(is_true.ok(), value.as_ref().ok().and_then(Value::as_bool));
    assert!(value.map(|value| value.to_string()).fits(6 * OUTPUT_BYTES + 2));
}

fn tree(source: &str, scope: &Scope) {
    let value = serde_json::json!({ "text": source, "list": [source, 1], "map": { "a": null } });
    let Ok(tree) = Tree::parse(&value) else { return };
    let rendered = tree.render(scope);
    assert_eq!(rendered, tree.render(scope), "rendering again gives the same");
    assert!(rendered.map(|value| value.to_string()).fits(6 * OUTPUT_BYTES + 64 * 1024));
}

/// What was rendered keeps to its bound; where nothing was, none is broken.
trait Bounded {
    fn fits(self, bound: usize) -> bool;
}

impl<E> Bounded for Result<String, E> {
    fn fits(self, bound: usize) -> bool {
        self.map_or(true, |text| text.len() <= bound)
    }
}
