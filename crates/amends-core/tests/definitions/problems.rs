//! One small definition for each kind of problem, and how the problem is shown.

use amends_core::lint::{self, Known, codes};
use std::collections::BTreeSet;

/// The beginning of a definition that nothing is wrong with, for sources that begin with something else.
const HEAD: &str = "saga: order\nkey: \"{{ input.id }}\"\n";

fn known(participants: &[&str]) -> Known {
    let participants = participants.iter().copied().map(String::from).collect();
    Known { participants, queues: vec!["commands".into()] }
}

/// Checks that `source` has exactly this problem, and what people see of it. Returns what is not so.
fn check(name: &str, code: &str, source: &str) -> Result<(), String> {
    let known = known(&["stock", "bank", "post"]);
    let headless = ["steps:", "deadline:", "retry:"].iter().any(|key| source.starts_with(key));
    let whole = if headless { format!("{HEAD}{source}") } else { source.to_owned() };
    let checked = lint::check(&whole, Some(&known));
    let found: Vec<&str> = checked.diagnostics.iter().map(|problem| problem.code).collect();
    let shown = lint::render(&whole, "order.yaml", &checked.diagnostics, false);
    if found != [code] {
        return Err(format!("{name} finds {found:?}:\n{shown}\n"));
    }
    if code != "empty-definition" && checked.diagnostics[0].span.is_empty() {
        return Err(format!("{name} points at nothing"));
    }
    let is_error = checked.diagnostics[0].severity == lint::Severity::Error;
    if checked.definition.is_none() != is_error {
        return Err(format!("{name}: there is a definition exactly if there is no error"));
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, shown);
    });
    Ok(())
}

/// The codes that have a case below.
fn covered() -> BTreeSet<&'static str> {
    CASES.iter().map(|(code, _)| *code).chain(MORE.iter().map(|(_, code, _)| *code)).collect()
}

#[rustfmt::skip]
const CASES: &[(&str, &str)] = &[
    ("empty-definition", "# Nothing yet.\n"),
    ("syntax", "saga: order\nkey: \"{{ input.id }}\nsteps: {}\n"),
    ("several-documents", "saga: order\nkey: \"{{ input.id }}\"\nsteps:\n  a: { sleep: 1s }\n---\nsaga: second\n"),
    ("anchor", "steps:\n  a: &nap { sleep: 1s }\n"),
    ("tag", "steps:\n  a: { sleep: !!str 1s }\n"),
    ("bad-key", "steps:\n  a: { action: { post: \"stock:/a\", body: { [x, y]: 1 } }, compensation: none }\n"),
    ("unquoted-expression", "steps:\n  a: { action: { post: \"stock:/a\", body: { n: {{ input.n }} } }, compensation: none }\n"),
    ("bad-number", "steps:\n  a: { action: { post: \"stock:/a\", body: { card: 99999999999999999999 } }, compensation: none }\n"),
    ("duplicate-key", "steps:\n  a: { sleep: 1s, sleep: 2s }\n"),
    ("unknown-key", "steps:\n  a:\n    acton: { get: \"stock:/a\" }\n    sleep: 1s\n"),
    ("missing-key", "saga: order\nsteps:\n  a: { sleep: 1s }\n"),
    ("wrong-type", "steps: [a, b]\n"),
    ("bad-name", "saga: Order Fulfilment\nkey: \"{{ input.id }}\"\nsteps:\n  a: { sleep: 1s }\n"),
    ("bad-value", "steps:\n  a: { kind: compensable, action: { get: \"stock:/a\" } }\n"),
    ("bad-duration", "steps:\n  a: { sleep: 5 minutes }\n"),
    ("zero-duration", "deadline: 0s\nsteps:\n  a: { action: { get: \"stock:/a\" } }\n"),
    ("bad-retry", "retry: { attempts: 0 }\nsteps:\n  a: { sleep: 1s }\n"),
    ("bad-call", "steps:\n  a: { action: { get: \"stock:/a\", post: \"stock:/b\" } }\n"),
    ("bad-target", "steps:\n  a: { action: { get: \"http://10.0.0.1/a\" } }\n"),
    ("bad-expression", "steps:\n  a: { action: { get: \"stock:/a/{{ input.id | lenght }}\" } }\n"),
    ("bad-pointer", "saga: order\nkey: \"{{ input.id }}\"\nredact: [input.card.number]\nsteps:\n  a: { sleep: 1s }\n"),
    ("bad-step", "steps:\n  a: { action: { get: \"stock:/a\" }, sleep: 1s }\n"),
    ("misplaced-key", "steps:\n  a: { sleep: 1s, probe: { get: \"stock:/a\" } }\n"),
    ("wait-without-timeout", "steps:\n  approval: { wait: }\n"),
    ("no-steps", "steps: {}\n"),
    ("duplicate-step", "steps:\n  reserve: { sleep: 1s }\n  charge: { sleep: 1s }\n  reserve: { sleep: 2s }\n"),
    ("body-on-get", "steps:\n  a: { action: { get: \"stock:/a\", body: { id: 1 } } }\n"),
    ("unknown-step", "steps:\n  reserve: { sleep: 1s }\n  charge: { after: [resrve], sleep: 1s }\n"),
    ("after-itself", "steps:\n  a: { after: a, sleep: 1s }\n"),
    (
        "cycle",
        "steps:\n  a: { after: [c], sleep: 1s }\n  b: { after: [a], sleep: 1s }\n  c: { after: [b], sleep: 1s }\n",
    ),
    (
        "several-pivots",
        "steps:\n  a: { kind: pivot, action: { post: \"bank:/a\" } }\n  b: { kind: pivot, action: { post: \"bank:/b\" } }\n",
    ),
    (
        "compensatable-after-pivot",
        "steps:
  charge:
    kind: pivot
    action: { post: \"bank:/charges\" }
  ship:
    action: { post: \"post:/shipments\" }
    compensation: { post: \"post:/cancellations\" }
",
    ),
    (
        "retriable-too-early",
        "steps:
  charge:
    action: { post: \"bank:/charges\" }
    compensation: { post: \"bank:/refunds\" }
  confirm:
    kind: retriable
    after: []
    action: { post: \"post:/mails\" }
",
    ),
    (
        "compensation-never-runs",
        "steps:
  confirm:
    kind: retriable
    action: { post: \"post:/mails\" }
    compensation: { post: \"post:/apologies\" }
",
    ),
    (
        "cannot-be-undone",
        "steps:
  mail:
    action: { post: \"post:/mails\" }
  charge:
    action: { post: \"bank:/charges\" }
    compensation: { post: \"bank:/refunds\" }
",
    ),
    (
        "wait-after-pivot",
        "steps:
  charge: { kind: pivot, action: { post: \"bank:/charges\" } }
  signature: { wait: 24h }
",
    ),
    (
        "at-most-once-without-probe",
        "steps:
  charge:
    effects: at-most-once
    action: { post: \"bank:/charges\" }
    compensation: { post: \"bank:/refunds\" }
",
    ),
    ("out-of-scope", "saga: order\nkey: \"{{ saga.id }}-{{ input.id }}\"\nsteps:\n  a: { sleep: 1s }\n"),
    (
        "step-not-before",
        "steps:
  reserve: { action: { post: \"stock:/a\" }, compensation: none }
  ship:
    after: []
    action: { post: \"post:/shipments\", body: { from: \"{{ steps.reserve.output.shelf }}\" } }
    compensation: none
",
    ),
    (
        "sleep-has-no-output",
        "steps:\n  nap: { sleep: 1s }\n  a: { action: { get: \"stock:/a?x={{ steps.nap.output }}\" } }\n",
    ),
    (
        "compensation-needs-output",
        "steps:
  charge:
    action: { post: \"bank:/charges\" }
    compensation: { post: \"bank:/charges/{{ output.charge_id }}/refund\" }
",
    ),
    (
        "probe-without-output",
        "steps:
  charge:
    action: { post: \"bank:/charges\" }
    probe: { get: \"bank:/charges?order={{ input.id }}\", happened: \"{{ response.status == 200 }}\" }
    compensation: { post: \"bank:/refunds\" }
  book: { action: { post: \"stock:/b\", body: \"{{ steps.charge.output.charge_id }}\" }, compensation: none }
",
    ),
    ("constant-key", "saga: order\nkey: nightly\nsteps:\n  a: { sleep: 1s }\n"),
    (
        "deadline-over-pivot",
        "deadline: 10m
steps:
  reserve: { action: { post: \"stock:/a\" }, compensation: { post: \"stock:/b\" } }
  charge: { kind: pivot, action: { post: \"bank:/charges\" } }
",
    ),
    (
        "timeout-over-deadline",
        "deadline: 1h\nsteps:\n  approval: { wait: 24h }\n",
    ),
    ("sleeps-over-deadline", "deadline: 1h\nsteps:\n  a: { sleep: 40m }\n  b: { sleep: 40m }\n  c: { sleep: 40m }\n"),
    ("unknown-queue", "steps:\n  a: { action: { send: \"queue:comands\" }, compensation: none }\n"),
    ("message-at-most-once", "steps:\n  a: { action: { send: \"queue:commands\" }, effects: at-most-once, probe: { get: \"bank:/a\", happened: \"{{ true }}\" }, compensation: none }\n"),
    ("unknown-participant", "steps:\n  a: { action: { get: \"stok:/a\" } }\n"),
];

/// Mistakes of a kind that is covered above, but that look different.
#[rustfmt::skip]
const MORE: &[(&str, &str, &str)] = &[
    ("alias", "anchor", "steps:\n  a: { sleep: 1s }\n  b: *a\n"),
    ("bad-target-static-dots", "bad-target", "steps:\n  a: { action: { get: \"stock:/a/../b/{{ input.id }}\" } }\n"),
    ("bad-target-space", "bad-target", "steps:\n  a: { action: { get: \"stock:/a?q=two words\" } }\n"),
    ("bad-target-no-participant", "bad-target", "steps:\n  a: { action: { get: \"/a/{{ input.x }}\" } }\n"),
    ("bad-target-no-slash", "bad-target", "steps:\n  a: { action: { get: \"stock:a\" } }\n"),
    ("bad-target-escape", "bad-target", "steps:\n  a: { action: { get: \"stock:/a%20b%2\" } }\n"),
    ("bad-target-fragment", "bad-target", "steps:\n  a: { action: { get: \"stock:/a#b\" } }\n"),
    ("bad-call-none", "bad-call", "steps:\n  a: { action: { body: 1 } }\n"),
    ("bad-pointer-elsewhere", "bad-pointer", "steps:\n  a: { wait: 1h }\nredact:\n  - /input/card\n  - /steps/a/error\n"),
    ("bad-pointer-behind-a-list", "bad-pointer", "steps:\n  a: { sleep: 1s }\nredact: [/input/cards/-]\n"),
    ("bad-pointer-tilde", "bad-pointer", "steps:\n  a: { sleep: 1s }\nredact: [/input/a~b]\n"),
    ("redact-is-no-list", "wrong-type", "steps:\n  a: { sleep: 1s }\nredact: /input/card\n"),
    ("redact-number", "wrong-type", "steps:\n  a: { sleep: 1s }\nredact: [7]\n"),
    ("redact-unknown-step", "unknown-step", "steps:\n  charge: { wait: 1h }\nredact: [/steps/*/output/iban, /steps/charg/output/iban]\n"),
    ("bad-retry-order", "bad-retry", "retry: { initial: 20s }\nsteps:\n  a: { sleep: 1s }\n"),
    ("bad-retry-factor", "bad-retry", "retry: { factor: 0.5 }\nsteps:\n  a: { sleep: 1s }\n"),
    ("bad-step-nothing", "bad-step", "steps:\n  a: { description: later }\n"),
    ("bad-value-not-found", "bad-value", "steps:\n  a: { action: { get: \"stock:/a\" }, compensation: { post: \"stock:/b\", not_found: ignore } }\n"),
    ("expression-dynamic-step", "bad-expression", "steps:\n  a: { sleep: 1s }\n  b: { action: { get: \"stock:/b/{{ steps[input.x].output }}\" } }\n"),
    ("expression-function", "bad-expression", "steps:\n  b: { action: { get: \"stock:/b/{{ range(10) }}\" } }\n"),
    ("expression-statement", "bad-expression", "steps:\n  b: { action: { get: \"stock:/{% if input.x %}b{% endif %}\" } }\n"),
    ("expression-unclosed", "bad-expression", "steps:\n  b: { action: { get: \"stock:/{{ input.x }\" } }\n"),
    ("expression-unknown-variable", "bad-expression", "steps:\n  b: { action: { get: \"stock:/{{ inptu.x }}\" } }\n"),
    ("expression-in-block-text", "bad-expression", "steps:\n  b:\n    action:\n      post: \"stock:/b\"\n      body: |\n        Dear {{ input.name }},\n        {{ inptu.text }}\n    compensation: none\n"),
    ("missing-happened", "missing-key", "steps:\n  a: { action: { get: \"stock:/a\" }, probe: { get: \"stock:/b\" } }\n"),
    ("response-outside-probe", "out-of-scope", "steps:\n  a: { action: { get: \"stock:/a/{{ response.status }}\" } }\n"),
    ("output-outside-compensation", "out-of-scope", "steps:\n  a: { action: { get: \"stock:/a/{{ output }}\" } }\n"),
    ("retriable-before-compensatable", "retriable-too-early", "steps:\n  a: { kind: retriable, action: { post: \"post:/a\" } }\n  b: { action: { post: \"bank:/b\" }, compensation: none }\n"),
    ("beside-the-pivot", "compensatable-after-pivot", "steps:\n  a: { kind: pivot, action: { post: \"bank:/a\" } }\n  b: { after: [], action: { post: \"bank:/b\" }, compensation: none }\n  c: { kind: retriable, after: [a, b], action: { post: \"post:/c\" } }\n"),
    ("own-answer-lost", "cannot-be-undone", "steps:\n  a: { action: { post: \"bank:/a\" } }\n"),
    ("left-behind-by-a-pivot", "cannot-be-undone", "steps:\n  a: { action: { post: \"bank:/a\" } }\n  b: { kind: pivot, action: { post: \"bank:/b\" } }\n"),
    ("left-behind-by-a-wait", "cannot-be-undone", "steps:\n  a: { action: { post: \"bank:/a\" } }\n  b: { wait: 1h }\n"),
    ("own-output-in-an-action", "step-not-before", "steps:\n  a: { action: { get: \"stock:/a/{{ steps.a.output }}\" } }\n"),
    ("own-output-by-name", "compensation-needs-output", "steps:\n  a: { action: { post: \"bank:/a\" }, compensation: { delete: \"bank:/a/{{ steps.a.output.id }}\" } }\n"),
    ("step-in-template-unknown", "unknown-step", "steps:\n  reserve: { sleep: 1s }\n  b: { action: { get: \"stock:/b/{{ steps.resreve.output.id }}\" } }\n"),
    ("two-steps-cycle-with-written-order", "cycle", "steps:\n  a: { after: [b], sleep: 1s }\n  b: { sleep: 1s }\n"),
    ("call-timeout-over-deadline", "timeout-over-deadline", "deadline: 10s\nsteps:\n  a: { action: { get: \"stock:/a\", timeout: 1m } }\n"),
    ("compensation-of-a-word", "wrong-type", "steps:\n  a: { action: { post: \"stock:/a\" }, compensation: nothing }\n"),
    ("value-left-out", "wrong-type", "saga:\nkey: \"{{ input.id }}\"\nsteps:\n  a: { sleep: 1s }\n"),
    ("json-comma", "syntax", "{\"saga\": \"order\" \"key\": 1}\n"),
    ("tabs", "syntax", "saga: order\nsteps:\n\ta: {}\n"),
];

#[test]
fn every_code_has_a_case() {
    let all: BTreeSet<&str> = codes::ALL.iter().map(|code| code.name).collect();
    // These need sources that are too large for a table; they have tests of their own.
    let own = ["too-large", "too-deep", "too-many-steps", "too-many-expressions", "too-many-pointers"];
    let covered: BTreeSet<&str> = covered().into_iter().chain(own).collect();
    assert_eq!(all, covered);
}

#[test]
fn each_problem_is_found_and_shown() {
    let cases = CASES.iter().map(|(code, source)| (code, code, source));
    let more = MORE.iter().map(|(name, code, source)| (name, code, source));
    let wrong: Vec<String> =
        cases.chain(more).filter_map(|(name, code, source)| check(name, code, source).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_is_an_end_to_steps_and_expressions() {
    let steps = |count: usize| (0..count).map(|n| format!("  s{n}: {{ sleep: 1s }}\n")).collect::<String>();
    let codes = |source: String| {
        lint::check(&source, None).diagnostics.iter().map(|problem| (problem.code, problem.line)).collect::<Vec<_>>()
    };
    assert_eq!(codes(format!("{HEAD}steps:\n{}", steps(100))), []);
    let redact = |count: usize| format!("{HEAD}redact:\n{}steps:\n{}", "  - /input/a\n".repeat(count), steps(1));
    assert_eq!(codes(redact(100)), []);
    assert_eq!(codes(redact(101)), [("too-many-pointers", 104)]);
    assert_eq!(codes(format!("{HEAD}steps:\n{}", steps(101))), [("too-many-steps", 104)]);
    let body = |count: usize| "{{ input.x }}".repeat(count);
    let call = |name: &str, count| {
        let action = format!("{{ post: \"s:/{name}\", body: \"{}\" }}", body(count));
        format!("  {name}:\n    compensation: none\n    action: {action}\n")
    };
    let calls = |first, second| format!("{HEAD}steps:\n{}{}", call("a", first), call("b", second));
    assert_eq!(codes(calls(1_998, 1)), []);
    // Only the first that is too many is reported.
    assert_eq!(codes(calls(2_000, 1)), [("too-many-expressions", 6)]);
    assert_eq!(codes(calls(1_998, 2)), [("too-many-expressions", 9)]);
}

/// What a definition may just be, and what it is one step further.
#[test]
fn every_bound_may_be_reached() {
    let codes = |source: &str| {
        let problems = lint::check(&format!("{HEAD}{source}"), None).diagnostics;
        problems.iter().map(|problem| problem.code).collect::<Vec<_>>()
    };
    let nap = "steps: { a: { sleep: 1s } }";
    let long =
        |bytes: usize| format!("description: {}", "x".repeat(bytes - format!("{HEAD}description: \n{nap}").len()));
    let name = |bytes: usize| format!("steps: {{ {}: {{ sleep: 1s }} }}", "a".repeat(bytes));
    let pivot = "steps: { a: { kind: pivot, action: { post: 'p:/a', timeout: 30s }, retry: { total: 5m } } }";
    #[rustfmt::skip]
    let cases: [(&str, String, String); 7] = [
        ("too-large", format!("{}\n{nap}", long(256 * 1024)), format!("{}\n{nap}", long(256 * 1024 + 1))),
        ("bad-name", name(64), name(65)),
        ("bad-retry", format!("retry: {{ initial: 5s, max: 5s }}\n{nap}"), format!("retry: {{ initial: 6s, max: 5s }}\n{nap}")),
        ("timeout-over-deadline", "deadline: 1h\nsteps: { a: { wait: 1h } }".into(), "deadline: 1h\nsteps: { a: { wait: 1h1ms } }".into()),
        ("sleeps-over-deadline", "deadline: 1h\nsteps: { a: { sleep: 59m59s999ms } }".into(), "deadline: 1h\nsteps: { a: { sleep: 1h } }".into()),
        // The one that reaches it, and none of those after it.
        ("sleeps-over-deadline", "deadline: 1h\nsteps: { a: { sleep: 30m }, b: { sleep: 29m } }".into(), "deadline: 1h\nsteps: { a: { sleep: 30m }, b: { sleep: 30m }, c: { sleep: 30m } }".into()),
        ("deadline-over-pivot", format!("deadline: 5m30s\n{pivot}"), format!("deadline: 5m29s\n{pivot}")),
    ];
    for (code, within, beyond) in cases {
        assert_eq!((codes(&within), codes(&beyond)), (vec![], vec![code]), "{beyond:.200}");
    }
}

/// What the whole of a name or a path may be made of; all else is an error.
#[test]
fn every_letter_of_a_name_and_a_path_is_looked_at() {
    let codes = |source: String| {
        let problems = lint::check(&source, None).diagnostics;
        problems.iter().map(|problem| problem.code).collect::<Vec<_>>()
    };
    for name in ["a", "9", "a-b", "a_b", "0_-"] {
        assert_eq!(codes(format!("{HEAD}steps: {{ {name}: {{ sleep: 1s }} }}")), [""; 0], "{name}");
    }
    for name in ["''", "_a", "-a", "aB", "a.b", "a b", "aä"] {
        assert_eq!(codes(format!("{HEAD}steps: {{ {name}: {{ sleep: 1s }} }}")), ["bad-name"], "{name}");
    }
    let get = |path: &str| format!("{HEAD}steps: {{ a: {{ action: {{ get: {:?} }} }} }}", format!("s:/{path}"));
    for path in ["", "a-b_c.d~e!$&()*+,;=:@?f", "%20/%2f/%Fa", "{{ '#' }}", "x{{ input.x }}%20"] {
        assert_eq!(codes(get(path)), [""; 0], "{path}");
    }
    for path in ["%", "%2", "%zz", "%2%20", "a#b", "a\"b", "ä", "<", "a^", "`", "{{ input.x }}%", "{{ input.x }} "] {
        assert_eq!(codes(get(path)), ["bad-target"], "{path}");
    }
    // What is wrong with the path says nothing about what the call does.
    let post = format!("{HEAD}steps: {{ a: {{ action: {{ post: 's:/a b' }} }} }}");
    assert_eq!(codes(post), ["cannot-be-undone", "bad-target"]);
}

/// A key that was written is never ignored, not even before its value is.
#[test]
fn a_key_without_a_value_is_reported() {
    #[rustfmt::skip]
    let cases = [
        ("description", "description:\nsteps: { a: { sleep: 1s } }"), ("deadline", "deadline:\nsteps: { a: { sleep: 1s } }"),
        ("kind", "steps: { a: { kind: , action: { get: 's:/a' } } }"), ("after", "steps: { a: { after: , sleep: 1s } }"),
        ("sleep", "steps: { a: { sleep: } }"), ("get", "steps: { a: { action: { get: } } }"),
        ("compensation", "steps: { a: { action: { post: 's:/a' }, compensation: } }"),
        ("happened", "steps: { a: { action: { get: 's:/a' }, probe: { get: 's:/a', happened: } } }"),
    ];
    for (key, source) in cases {
        let problems = lint::check(&format!("{HEAD}{source}"), None).diagnostics;
        let found: Vec<_> = problems.iter().map(|problem| (problem.code, problem.message.as_str())).collect();
        assert_eq!(found, [("wrong-type", format!("`{key}` has no value").as_str())], "{source}");
    }
}

#[test]
fn many_problems_are_reported_at_once_and_in_order() {
    let source = "saga: A\nkey: x\nsteps:\n  a: { after: [b, q], sleep: 5 }\n  b: { kind: pivot, action: { post: \"u:x\" } }\n  c: {}\n";
    let codes: Vec<&str> = lint::check(source, None).diagnostics.iter().map(|problem| problem.code).collect();
    let expected = ["bad-name", "constant-key", "unknown-step", "bad-duration", "bad-target", "bad-step"];
    assert_eq!(codes, expected);
    // Where the place is all of a long text, what is wrong there twice is said once.
    let body = format!("|\n        {{{{ output.a }}}} and {{{{ output.b }}}}\n        {}", "x".repeat(5_000));
    let source =
        format!("{HEAD}steps:\n  a:\n    action:\n      post: bank:/a\n      body: {body}\n    compensation: none\n");
    let codes: Vec<&str> = lint::check(&source, None).diagnostics.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["out-of-scope"]);
    // After a hundred it is better to mend some and look again; errors come before warnings then.
    let junk: String = (0..500).map(|n| format!("k{n}: 1\n")).collect();
    let problems = lint::check(&format!("saga: a\nkey: x\n{junk}steps: {{ a: {{ sleep: 1s }} }}\n"), None).diagnostics;
    assert_eq!((problems.len(), problems[0].code), (lint::MAX_DIAGNOSTICS, "unknown-key"));
}

#[test]
fn a_diagnostic_is_written_as_the_api_shows_it() {
    let checked = lint::check(&format!("{HEAD}steps:\n  a: {{ sleep: 0s }}\n"), None);
    let shown = serde_json::to_value(&checked.diagnostics).unwrap();
    let expected = serde_json::json!([{
        "severity": "error", "code": "zero-duration", "message": "`sleep` is zero",
        "remedy": "give it some time, such as `30s`, or leave the key out", "line": 4, "column": 15,
    }]);
    assert_eq!(shown, expected);
}

#[test]
fn one_letter_in_three_may_be_mistyped() {
    let long = |bytes: usize| "x".repeat(bytes);
    #[rustfmt::skip]
    let cases = [
        ("a".into(), "b".into(), true), ("abc".into(), "abx".into(), true), ("abc".into(), "axy".into(), false),
        ("abcde".into(), "abcdx".into(), true), ("abcde".into(), "abcxy".into(), false),
        ("abcdef".into(), "abcdxy".into(), true), ("abcdef".into(), "abcxyz".into(), false),
        // What is much longer than any name was not meant to be one.
        (long(128), long(127), true), (long(129), long(128), false),
    ];
    for (name, candidate, is_near) in cases {
        let expected = is_near.then_some(candidate.as_str());
        assert_eq!(lint::nearest(&name, [candidate.as_str()]), expected, "{name} and {candidate}");
    }
    assert_eq!(lint::nearest("abcdef", ["abcdxy", "abcdex", "uvwxyz"]), Some("abcdex"), "the nearest of all");
}

#[test]
fn compiling_reports_errors_only() {
    let warned = format!("{HEAD}steps:\n  a: {{ action: {{ post: \"bank:/a\" }} }}\n");
    assert!(lint::compile(&warned).is_ok());
    let wrong = format!("{HEAD}steps:\n  a: {{ action: {{ post: \"bank:/a\" }} }}\n  b: {{ after: q, sleep: 1s }}\n");
    let codes: Vec<&str> = lint::compile(&wrong).unwrap_err().iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["unknown-step"]);
}

#[test]
fn what_is_right_is_left_alone() {
    #[rustfmt::skip]
    let cases = [
        ("a GET has nothing to undo", "steps:\n  a: { action: { get: 'bank:/a' } }\n  b: { action: { get: 'bank:/b' } }\n"),
        ("the author says that there is nothing to undo", "steps:\n  a: { action: { post: 'bank:/a' }, compensation: none }\n  b: { sleep: 1s }\n"),
        ("a pivot alone", "steps:\n  a: { kind: pivot, action: { post: 'bank:/a' } }\n"),
        ("a person may be the pivot", "steps:\n  a: { kind: pivot, wait: 1d }\n  b: { kind: retriable, action: { post: 'post:/a' } }\n"),
        ("a wait that says that a person looks", "steps:\n  a: { kind: pivot, action: { post: 'bank:/a' } }\n  b: { kind: retriable, wait: 1d }\n"),
        ("a sleep beside the pivot", "steps:\n  a: { kind: pivot, action: { post: 'bank:/a' } }\n  b: { after: [], sleep: 1s }\n  c: { kind: retriable, after: [a, b], action: { post: 'post:/c' } }\n"),
        ("retriable steps side by side", "steps:\n  a: { kind: retriable, action: { post: 'post:/a' } }\n  b: { kind: retriable, after: [], action: { post: 'post:/b' } }\n"),
        ("at most once, with a person for what is lost", "steps:\n  a: { action: { post: 'bank:/a' }, compensation: { post: 'bank:/b' }, effects: at-most-once, probe: { get: 'bank:/a', happened: '{{ true }}' } }\n"),
        ("a deadline that the pivot keeps", "deadline: 1h\nsteps:\n  a: { action: { post: 'bank:/a' }, compensation: { post: 'bank:/b' } }\n  b: { kind: pivot, action: { post: 'bank:/c' } }\n"),
        ("a long sleep past the pivot", "deadline: 1h\nsteps:\n  a: { kind: pivot, action: { post: 'bank:/a' } }\n  b: { sleep: 7d }\n  c: { kind: retriable, action: { post: 'post:/c', timeout: 2h } }\n"),
        ("sleeps side by side", "deadline: 1h\nsteps:\n  a: { sleep: 40m }\n  b: { after: [], sleep: 40m }\n"),
        ("the output of its own action, told by the probe", "steps:\n  a: { action: { post: 'bank:/a' }, compensation: { delete: 'bank:/a/{{ output.id }}' }, probe: { get: 'bank:/a', happened: '{{ true }}', output: '{{ response.body }}' } }\n"),
        ("the output of a wait", "steps:\n  a: { wait: 1h }\n  b: { action: { get: 'bank:/a/{{ steps.a.output.id }}' } }\n"),
        ("an order that is not the written one", "steps:\n  a: { after: b, action: { get: 'bank:/{{ steps.b.output }}' } }\n  b: { after: [], action: { get: 'bank:/b' } }\n"),
        ("an order that follows from another", "steps:\n  a: { action: { get: 'bank:/a' } }\n  b: { action: { get: 'bank:/b' } }\n  c: { after: [b, a], action: { get: 'bank:/{{ steps.a.output }}' } }\n"),
        ("what another step answered, in a compensation", "steps:\n  a: { action: { get: 'bank:/a' } }\n  b: { action: { post: 'bank:/b' }, compensation: { delete: 'bank:/b/{{ steps.a.output }}' } }\n"),
        ("nothing can fail after what is sent once", "steps:\n  a: { action: { post: 'bank:/a' }, effects: at-most-once, probe: { get: 'bank:/a', happened: '{{ true }}' } }\n  b: { sleep: 1s }\n  c: { kind: retriable, action: { post: 'post:/c' } }\n"),
        ("a deadline means nothing to a retriable step", "deadline: 1h\nsteps:\n  a: { action: { get: 'bank:/a' } }\n  b: { kind: retriable, action: { post: 'post:/b', timeout: 2h } }\n"),
        ("a message with its compensation", "steps:\n  a: { action: { send: 'queue:commands', body: { x: '{{ input.x }}' }, timeout: 1h }, compensation: { send: 'queue:commands' } }\n"),
        ("half a segment of dots", "steps:\n  a: { action: { get: 'bank:/a/.{{ input.x }}' } }\n"),
    ];
    for (why, source) in cases {
        let checked = lint::check(&format!("{HEAD}{source}"), Some(&known(&["bank", "post"])));
        assert_eq!(lint::render(source, why, &checked.diagnostics, false), "", "{why}");
        assert!(checked.definition.is_some(), "{why}");
    }
}
