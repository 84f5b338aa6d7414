//! The expression language: what renders to what, what is refused, and what it may cost.

use amends_core::expression::{
    EXPRESSION_BYTES, EXPRESSION_TOKENS, Expression, OUTPUT_BYTES, PATH_BYTES, Reference, Scope, Template, Tree,
};
use serde_json::{Value, json};
use std::sync::Arc;

fn scope() -> Scope {
    let input = json!({
        "order_id": "o-1", "total": 12.5, "count": 3, "big": u64::MAX, "small": i64::MIN, "vip": true, "note": null,
        "empty": "", "dots": "..", "evil": "../admin?x=1&y=#%2e é", "items": "an attribute, not a method",
        "lines": [{ "sku": "b", "n": 2 }, { "sku": "a", "n": 1 }], "map": { "z": 1, "a": [] }, "braces": "}} {{",
    });
    Scope {
        saga_id: "0190".into(),
        saga_key: "k/1".into(),
        input: Arc::new(input),
        outputs: vec![("reserve-stock".into(), Arc::new(json!({ "id": 7 }))), ("lost".into(), Arc::new(Value::Null))],
        own_output: Some(Arc::new(json!({ "charge": "c-9" }))),
        response: Some((404, Arc::new(json!({ "charges": [] })))),
    }
}

/// What an expression comes to: its value, or the message.
fn value(source: &str) -> Result<Value, String> {
    let expression = Expression::parse(&format!("{{{{ {source} }}}}")).map_err(|error| error.message)?;
    expression.evaluate(&scope()).map_err(|error| error.message)
}

#[test]
fn an_expression_has_the_value_that_it_says() {
    #[rustfmt::skip]
    let cases: &[(&str, Value)] = &[
        ("input.order_id", json!("o-1")),
        ("input['order_id']", json!("o-1")),
        ("input.items", json!("an attribute, not a method")),
        ("input.total", json!(12.5)),
        ("input.big", json!(u64::MAX)),
        ("input.small", json!(i64::MIN)),
        ("input.big - 1", json!(u64::MAX - 1)),
        ("9007199254740993", json!(9_007_199_254_740_993_u64)),
        ("0.1 + 0.2", json!(0.1 + 0.2)),
        ("7 // 2", json!(3)),
        ("7 / 2", json!(3.5)),
        ("input.note", Value::Null),
        ("input.lines", json!([{ "sku": "b", "n": 2 }, { "sku": "a", "n": 1 }])),
        ("input.lines[1].sku", json!("a")),
        ("input.lines[-1].sku", json!("a")),
        ("input.lines[:1]", json!([{ "sku": "b", "n": 2 }])),
        ("input.lines | map(attribute='sku') | sort | join('-')", json!("a-b")),
        ("input.lines | length > 1 and not input.vip", json!(false)),
        ("input.lines | sum(attribute='n')", json!(3)),
        ("input.lines | selectattr('n', 'gt', 1) | list", json!([{ "sku": "b", "n": 2 }])),
        ("input.lines == input.lines", json!(true)),
        ("'a' in input.map", json!(true)),
        ("input.map | items", json!([["a", []], ["z", 1]])),
        ("{'b': input.count, 'a': [1, (2, 3)]}", json!({ "a": [1, [2, 3]], "b": 3 })),
        ("'vip' if input.vip else 'plain'", json!("vip")),
        ("input.missing | default('none')", json!("none")),
        ("input.note | default('none')", json!("none")),
        ("input.missing is defined", json!(false)),
        ("input.note is none", json!(true)),
        ("'}}' ~ '{{' ~ \"'\"", json!("}}{{'")),
        ("input.lines ~ ''", json!(r#"[{"n":2,"sku":"b"},{"n":1,"sku":"a"}]"#)),
        ("{'b': 1, 'a': input.map} | json", json!(r#"{"a":{"a":[],"z":1},"b":1}"#)),
        ("saga.id ~ saga.key", json!("0190k/1")),
        ("steps['reserve-stock'].output.id", json!(7)),
        ("steps['reserve-stock']['output']['id']", json!(7)),
        ("steps.lost.output", Value::Null),
        ("output.charge", json!("c-9")),
        ("response.status == 404 and response.body.charges | length == 0", json!(true)),
        ("input.order_id | upper | replace('O', '0')", json!("0-1")),
    ];
    for (source, expected) in cases {
        assert_eq!(value(source).as_ref(), Ok(expected), "{source}");
    }
}

#[test]
fn an_expression_without_a_value_says_why() {
    #[rustfmt::skip]
    let cases: &[(&str, &str)] = &[
        ("input.missing", "it is undefined"),
        ("input.missing.deeper", "`input.missing` is undefined"),
        ("input.order_id.x", "it is undefined"),
        ("[input.missing]", "it is undefined"),
        ("input.missing ~ 'x'", "`input.missing` is undefined"),
        ("'x' if input.missing", "`input.missing` is undefined"),
        ("'x' if false", "it is undefined"),
        ("steps.other.output.id", "`steps.other` is undefined"),
        ("1 / 0", "invalid operation: unable to calculate 1 / 0"),
        ("1 + 'a'", "invalid operation: tried to use + operator on unsupported types number and string"),
        ("2 ** 64", "the number 18446744073709551616 does not fit in 64 bits"),
        ("1e308 * 10", "the result is not a finite number"),
        ("{1: 2}", "the key `1` of a map is not text"),
        ("input.lines | map('attr', 'sku') | list", "unknown filter"),
        ("input.lines | select('sameas', 1) | list", "unknown test"),
    ];
    for (source, expected) in cases {
        assert_eq!(value(source), Err((*expected).to_owned()), "{source}");
    }
}

#[test]
fn what_is_no_part_of_the_language_is_refused_before_it_runs() {
    #[rustfmt::skip]
    let cases: &[(&str, &str)] = &[
        ("", "this expression is empty"),
        ("inptu.x", "there is no variable `inptu`"),
        ("env", "there is no variable `env`"),
        ("loop", "there is no variable `loop`"),
        ("now()", "expressions cannot call functions or methods"),
        ("range(9)", "expressions cannot call functions or methods"),
        ("dict(a=1)", "expressions cannot call functions or methods"),
        ("debug()", "expressions cannot call functions or methods"),
        ("namespace()", "expressions cannot call functions or methods"),
        ("lipsum()", "expressions cannot call functions or methods"),
        ("input.order_id.upper()", "expressions cannot call functions or methods"),
        ("input | random", "there is no filter `random`"),
        ("input | attr('order_id')", "there is no filter `attr`"),
        ("'%99d' | format(1)", "there is no filter `format`"),
        ("input | safe", "there is no filter `safe`"),
        ("input | pprint", "there is no filter `pprint`"),
        ("input is sameas(input)", "there is no test `sameas`"),
        ("input is filter", "there is no test `filter`"),
        ("saga", "`saga` has the fields `id` and `key` and nothing else"),
        ("saga.input", "`saga` has the fields `id` and `key` and nothing else"),
        ("response", "`response` has the fields `status` and `body` and nothing else"),
        ("response['head' ~ 'ers']", "`response` has the fields `status` and `body` and nothing else"),
        ("steps", "the step must be named in the expression, so that what it reads is known before a saga runs"),
        ("steps | items", "the step must be named in the expression, so that what it reads is known before a saga runs"),
        ("steps[input.x].output", "the step must be named in the expression, so that what it reads is known before a saga runs"),
        ("steps['a' ~ 'b'].output", "the step must be named in the expression, so that what it reads is known before a saga runs"),
        ("steps.a", "of the step `a` an expression can read `output` and nothing else"),
        ("steps.a.status", "of the step `a` an expression can read `output` and nothing else"),
        ("steps.a['out' ~ 'put']", "of the step `a` an expression can read `output` and nothing else"),
        ("steps.a[input.x]", "of the step `a` an expression can read `output` and nothing else"),
        ("input.x y", "this expression cannot be read: unexpected input after expression"),
        ("input.", "this expression cannot be read: unexpected end of input, expected identifier or integer"),
        ("(input.x", "this expression cannot be read: unexpected end of input, expected `)`"),
        ("'x", "this `{{` is never closed"),
    ];
    for (source, expected) in cases {
        assert_eq!(value(source), Err((*expected).to_owned()), "{source}");
    }
}

#[test]
fn a_template_is_split_where_its_expressions_end() {
    #[rustfmt::skip]
    let cases: &[(&str, Result<&str, &str>)] = &[
        ("", Ok("")),
        ("plain }} text {", Ok("plain }} text {")),
        ("{{ input.order_id }}", Ok("o-1")),
        ("{{input.order_id}}{{input.count}}", Ok("o-13")),
        ("a {{ '}}' }} b", Ok("a }} b")),
        ("{{ \"\\\"}}\" }}", Ok("\"}}")),
        ("{{ {'a': {'b': 1}} }}", Ok(r#"{"a":{"b":1}}"#)),
        ("{{{'a': {'b': 1}}}}", Ok(r#"{"a":{"b":1}}"#)),
        ("{{ input.braces }}{{ '{{' }}", Ok("}} {{{{")),
        ("{{ input.lines }}", Ok(r#"[{"n":2,"sku":"b"},{"n":1,"sku":"a"}]"#)),
        ("{{ input.vip }} {{ input.total }} {{ input.big }}", Ok("true 12.5 18446744073709551615")),
        ("{{ -input.count }}", Ok("-3")),
        ("ä{{ input.order_id }}ö", Ok("äo-1ö")),
        ("{{ input.note }}", Err("it is null, which has no text; give it one with `| default('…')`")),
        ("{{- input.x }}", Err("there is no whitespace control in expressions")),
        ("{{ input.x", Err("this `{{` is never closed")),
        ("{{ 'x }}", Err("this `{{` is never closed")),
        ("{% if x %}", Err("`{%` is not understood: templates have expressions, but no statements")),
        ("{# x #}", Err("`{#` is not understood: templates have expressions, but no comments")),
    ];
    for (source, expected) in cases {
        let template = Template::parse(source).map_err(|error| error.message);
        let found = template.and_then(|template| template.render_text(&scope()).map_err(|error| error.message));
        assert_eq!(found.as_deref().map_err(String::as_str), *expected, "{source}");
    }
}

#[test]
fn no_value_can_change_which_endpoint_is_called() {
    #[rustfmt::skip]
    let cases: &[(&str, Result<&str, &str>)] = &[
        ("/orders/{{ input.order_id }}", Ok("/orders/o-1")),
        ("/orders/{{ input.evil }}/x", Ok("/orders/..%2Fadmin%3Fx%3D1%26y%3D%23%252e%20%C3%A9/x")),
        ("/o?id={{ input.evil }}&n={{ input.count }}", Ok("/o?id=..%2Fadmin%3Fx%3D1%26y%3D%23%252e%20%C3%A9&n=3")),
        ("/o?id={{ input.empty }}&d={{ input.dots }}", Ok("/o?id=&d=..")),
        ("/o/{{ input.vip }}/{{ input.total }}", Ok("/o/true/12.5")),
        ("/o/v{{ input.dots }}", Ok("/o/v..")),
        ("/o/{{ '%2e%2e' }}/x", Ok("/o/%252e%252e/x")),
        ("/o/{{ input.dots }}/x", Err("the segment `..` would lead to another endpoint; a value must not come out as `.` or `..`")),
        ("/o/.{{ '.' }}", Err("the segment `..` would lead to another endpoint; a value must not come out as `.` or `..`")),
        ("/o/%2E{{ '.' }}?x", Err("the segment `%2E.` would lead to another endpoint; a value must not come out as `.` or `..`")),
        ("/o/{{ input.empty }}", Err("it is empty, and a path with an empty segment would lead to another endpoint")),
        ("/o/{{ input.note }}", Err("it is null, which has no text; give it one with `| default('…')`")),
        ("/o?x={{ input.note }}", Err("it is null, which has no text; give it one with `| default('…')`")),
        ("/o/{{ input.missing }}", Err("it is undefined")),
        ("/o?x={{ input.lines }}", Err("it is a list, and a path takes only text, numbers and booleans")),
        ("/o/{{ input.map }}", Err("it is a map, and a path takes only text, numbers and booleans")),
        ("/o/{{ 'x' * 9000 }}", Err("the path is longer than 8192 bytes")),
    ];
    for (source, expected) in cases {
        let found = Template::parse(source).unwrap().render_path(&scope()).map_err(|error| error.message);
        assert_eq!(found.as_deref().map_err(String::as_str), *expected, "{source}");
    }
}

#[test]
fn a_tree_keeps_types_where_a_string_is_one_expression() {
    let tree = Tree::parse(&json!({
        "id": "{{ input.order_id }}", "count": "{{ input.count }}", "text": "{{ input.count }} pieces",
        "lines": "{{ input.lines }}", "list": ["{{ input.note }}", 1, null, "plain"], "{{ input.x }}": true,
        "spaced": " {{ input.count }}",
    }));
    let expected = json!({
        "id": "o-1", "count": 3, "text": "3 pieces", "lines": [{ "sku": "b", "n": 2 }, { "sku": "a", "n": 1 }],
        "list": [null, 1, null, "plain"], "{{ input.x }}": true, "spaced": " 3",
    });
    assert_eq!(tree.unwrap().render(&scope()), Ok(expected));
    let error = Tree::parse(&json!([{ "a": "{{ input.x }" }])).unwrap_err();
    assert_eq!((error.message.as_str(), error.range), ("this `{{` is never closed", 0..2));
    let error = Tree::parse(&json!(["{{ input.missing }}"])).unwrap().render(&scope()).unwrap_err();
    assert_eq!(error.to_string(), "`{{ input.missing }}` cannot be rendered: it is undefined");
}

#[test]
fn only_a_boolean_is_true_or_false() {
    #[rustfmt::skip]
    let cases: &[(&str, Result<bool, &str>)] = &[
        ("{{ response.status == 404 }}", Ok(true)),
        ("{{ input.vip and input.count > 5 }}", Ok(false)),
        ("{{ input.lines | length }}", Err("it must be true or false, and is the number 2")),
        ("{{ input.order_id }}", Err("it must be true or false, and is the text \"o-1\"")),
        ("{{ input.note }}", Err("it must be true or false, and is null")),
        ("{{ 'x' * 40 }}", Err("it must be true or false, and is the text \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"")),
        ("{{ 'x' * 41 }}", Err("it must be true or false, and is the text \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" …")),
        ("{{ input.lines }}", Err("it must be true or false, and is a list")),
        ("{{ input.missing }}", Err("it is undefined")),
        ("true", Err("this must be one expression")),
        ("{{ true }} ", Err("this must be one expression")),
        ("{{ true }}{{ true }}", Err("this must be one expression")),
    ];
    for (source, expected) in cases {
        let expression = Expression::parse(source).map_err(|error| error.message);
        let found = expression.and_then(|expression| expression.is_true(&scope()).map_err(|error| error.message));
        assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|it| *it), "{source}");
    }
}

#[test]
fn what_a_template_reads_is_known_without_running_it() {
    let step = |name: &str| Reference::StepOutput(name.to_owned());
    #[rustfmt::skip]
    let cases: &[(&str, Vec<Reference>)] = &[
        ("plain", vec![]),
        ("{{ input.a.b }}/{{ saga.id }}", vec![Reference::Input, Reference::SagaField]),
        ("{{ steps.a.output.x }}{{ steps['b-c'].output }}", vec![step("a"), step("b-c")]),
        ("{{ steps['a']['output'][input.i] }}", vec![step("a"), Reference::Input]),
        ("{{ steps.a.output[1:input.n] }}", vec![step("a"), Reference::Input]),
        ("{{ input | default(output) }}", vec![Reference::Input, Reference::OwnOutput]),
        ("{{ [1] | map('default', steps.a.output) | list }}", vec![step("a")]),
        ("{{ 1 if response.status else response.body.x }}", vec![Reference::Response, Reference::Response]),
        ("{{ {'a': output.x, 'b': [-input.n]} }}", vec![Reference::OwnOutput, Reference::Input]),
        ("{{ 1 < input.a < steps.b.output }}", vec![Reference::Input, step("b")]),
        ("{{ 'x' is eq(input.a) }}", vec![Reference::Input]),
        ("{{ input.a is defined and not output }}", vec![Reference::Input, Reference::OwnOutput]),
    ];
    for (source, expected) in cases {
        let found: Vec<Reference> = Template::parse(source).unwrap().references().cloned().collect();
        assert_eq!(found, *expected, "{source}");
    }
}

#[test]
fn an_error_points_at_what_is_wrong() {
    #[rustfmt::skip]
    let cases: &[(&str, &str)] = &[
        ("/a/{{ inptu.id }}/b", "inptu"),
        ("ü {{  input.x | lenght }}", "lenght"),
        ("{{ steps[input.a].output }}", "steps[input.a]"),
        ("{{ 1 + steps.a.status }}", "steps.a"),
        ("{{ 1 }}{{ range(3) }}", "range(3)"),
        ("{{ input.x }}{{ }}", "{{ }}"),
        ("a{% if %}", "{%"),
        ("a {{ b", "{{"),
        ("{{ input.x ? 1 }}", "?"),
        ("{{ input.x yz }}", "yz"),
        ("a {{- input.x }}", "{{-"),
        // What is missing at the end is missing after the last word.
        ("a {{ (input.x }}", "x"),
        ("a {{ 1 + }}", "+"),
    ];
    for (source, expected) in cases {
        let error = Template::parse(source).unwrap_err();
        assert_eq!(&source[error.range.clone()], *expected, "{source}: {error:?}");
        assert!(!error.remedy.is_empty());
    }
}

#[test]
fn what_was_read_can_be_shown_as_it_was_written() {
    for source in ["{{ input.x }}", "{{input['x']|  upper}}"] {
        let (template, expression) = (Template::parse(source).unwrap(), Expression::parse(source).unwrap());
        assert_eq!((template.source(), expression.source()), (source, source));
        assert_eq!(format!("{template:?} {expression:?}"), format!("Template({source:?}) Expression({source:?})"));
    }
}

#[test]
fn rendering_again_gives_the_same() {
    // Maps are written in the order of their keys, whatever order they were read in: a store may not keep it.
    let one: Value = serde_json::from_str(r#"{"b":1,"a":{"d":1,"c":2}}"#).unwrap();
    let other: Value = serde_json::from_str(r#"{"a":{"c":2,"d":1},"b":1}"#).unwrap();
    let template = Template::parse("{{ input }} {{ input | json }} {{ input | items | list }}").unwrap();
    let render = |input| template.render_text(&Scope { input: Arc::new(input), ..Scope::default() }).unwrap();
    assert_eq!(render(one.clone()), render(other));
    assert_eq!(render(one), r#"{"a":{"c":2,"d":1},"b":1} {"a":{"c":2,"d":1},"b":1} [["a",{"c":2,"d":1}],["b",1]]"#);
}

/// As much as is promised, and not a byte more.
#[test]
fn every_bound_can_be_reached() {
    let evaluated = |source: String| {
        let expression = Expression::parse(&format!("{{{{ {source} }}}}")).map_err(|error| error.message)?;
        expression.evaluate(&scope()).map_err(|error| error.message)
    };
    let text = |bytes: usize| format!("'{}'", "x".repeat(bytes - 2));
    assert!(evaluated(text(EXPRESSION_BYTES)).is_ok() && evaluated(text(EXPRESSION_BYTES + 1)).is_err());
    let tokens = |count: usize| "-".repeat(count - 1) + "1";
    assert!(evaluated(tokens(EXPRESSION_TOKENS)).is_ok() && evaluated(tokens(EXPRESSION_TOKENS + 1)).is_err());

    let path = |bytes: usize| Template::parse(&format!("/{{{{ 'x' * {} }}}}", bytes - 1)).unwrap();
    assert!(path(PATH_BYTES).render_path(&scope()).is_ok() && path(PATH_BYTES + 1).render_path(&scope()).is_err());

    // A text has two quotes in JSON, and none in a text.
    let of = |bytes: usize| Scope { input: Arc::new(json!("x".repeat(bytes))), ..Scope::default() };
    let (whole, wrapped) = (Expression::parse("{{ input }}").unwrap(), Expression::parse("{{ [input] }}").unwrap());
    assert!(whole.evaluate(&of(OUTPUT_BYTES - 2)).is_ok() && whole.evaluate(&of(OUTPUT_BYTES - 1)).is_err());
    assert!(wrapped.evaluate(&of(OUTPUT_BYTES - 4)).is_ok() && wrapped.evaluate(&of(OUTPUT_BYTES - 3)).is_err());
    let after = |fixed: &str| Template::parse(&format!("{fixed}{{{{ input }}}}")).unwrap();
    let longest = of(OUTPUT_BYTES - 2);
    assert!(after("ab").render_text(&longest).is_ok() && after("abc").render_text(&longest).is_err());
}

/// An input of about a megabyte.
fn large_scope() -> Scope {
    let lines: Vec<Value> = (0..10_000).map(|n| json!({ "sku": format!("sku-{n}"), "n": n })).collect();
    let input = json!({ "id": 1, "lines": lines, "text": "x".repeat(500_000), "numbers": vec![7; 100_000] });
    Scope { input: Arc::new(input), ..Scope::default() }
}

#[test]
fn every_attack_is_bounded() {
    const WORK: &str = "it takes too much work";
    const LARGE: &str = "the result is larger than 1048576 bytes";
    const LONG: &str = "this expression is longer than 1024 bytes or 128 words and signs";
    let repeated = |what: &str, times: usize| what.repeat(times);
    #[rustfmt::skip]
    let cases: Vec<(String, &str)> = vec![
        ("'x' * 100000000".into(), WORK),
        ("[1] * 100000000".into(), LARGE),
        ("('x' * 1000000) ~ ('x' * 1000000)".into(), LARGE),
        ("('x' * 1000000) * 1000000".into(), WORK),
        ("'a' | replace('', 'b' * 100000) | replace('', 'b' * 100000)".into(), WORK),
        ("9 ** 9 ** 9 ** 9".into(), "invalid operation: unable to calculate 387420489 ** 9"),
        ("input.text ~ input.text ~ input.text".into(), LARGE),
        ("(input.text | upper | lower) * 9".into(), WORK),
        ("input.text | split('') | length".into(), WORK),
        ("input.text | list | sort | length".into(), WORK),
        ("[input.lines, input.lines, input.lines, input.lines, input.lines]".into(), LARGE),
        ("input.numbers | sort | join | length".into(), WORK),
        ("input.numbers | zip(input.numbers, input.numbers, input.numbers) | list".into(), WORK),
        ("input.numbers | batch(1) | map('batch', 1) | list".into(), WORK),
        ("input.numbers | slice(100000000) | list".into(), WORK),
        ("input.numbers | batch(100000000, 'x') | list".into(), WORK),
        ("input.lines | groupby('n') | map('list') | list".into(), WORK),
        ("input | string | length".into(), WORK),
        (repeated("-", 1_000) + "1", LONG),
        (repeated("not ", 200) + "1", LONG),
        ("1".to_owned() + &repeated("+1", 500), LONG),
        ("input".to_owned() + &repeated(".a", 500), LONG),
        (repeated("(", 500) + "1" + &repeated(")", 500), LONG),
        (repeated("[", 63) + &repeated("]", 63) + "|d|d", LONG),
        ("'".to_owned() + &repeated("x", 2_000) + "'", LONG),
    ];
    let scope = large_scope();
    for (source, expected) in cases {
        let expression = Expression::parse(&format!("{{{{ {source} }}}}")).map_err(|error| error.message);
        let found = expression.and_then(|expression| expression.evaluate(&scope).map_err(|error| error.message));
        let found = found.map(|value| value.to_string().len());
        assert_eq!(found, Err(expected.to_owned()), "{source:.80}");
    }
}

#[test]
fn a_whole_rendering_is_bounded() {
    let many = Tree::parse(&json!(vec!["{{ input.text }}"; 3])).unwrap();
    assert_eq!(many.render(&large_scope()).unwrap_err().message, "the result is larger than 1048576 bytes");
    let text = Template::parse(&"{{ input.text }}".repeat(3)).unwrap();
    assert_eq!(text.render_text(&large_scope()).unwrap_err().message, "the result is larger than 1048576 bytes");
    // What is escaped in JSON is longer than what was read.
    let scope = Scope { input: Arc::new(json!(["\u{1}".repeat(300_000)])), ..Scope::default() };
    let text = Template::parse("{{ input }}").unwrap();
    assert_eq!(text.render_text(&scope).unwrap_err().message, "the result is larger than 1048576 bytes");
    // An input of the greatest size can still be sent as it is.
    let whole = json!({ "text": "x".repeat(OUTPUT_BYTES - 100) });
    let scope = Scope { input: Arc::new(whole.clone()), ..Scope::default() };
    assert_eq!(Expression::parse("{{ input }}").unwrap().evaluate(&scope), Ok(whole));
}

#[test]
fn the_deepest_expressions_need_little_stack() {
    let deep = [
        "-".repeat(127) + "1",
        "not ".repeat(127) + "1",
        "1".to_owned() + &"+1".repeat(63),
        "input".to_owned() + &".a".repeat(63),
        "1".to_owned() + &"|d".repeat(63),
        "1 if 1 else ".repeat(31) + "1",
        "(".repeat(40) + "1" + &")".repeat(40),
        "[".repeat(40) + &"]".repeat(40),
        "{'a':".repeat(30) + "1" + &"}".repeat(30),
    ];
    let work = move || {
        for source in deep {
            let expression = Expression::parse(&format!("{{{{ {source} }}}}"));
            let _ = expression.map(|expression| expression.evaluate(&Scope::default()));
        }
    };
    // A quarter of what a thread of the server has, without optimisation.
    std::thread::Builder::new().stack_size(512 * 1024).spawn(work).unwrap().join().unwrap();
}
