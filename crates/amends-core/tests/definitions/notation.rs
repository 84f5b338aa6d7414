//! The two notations: what they mean, and that they mean the same.

use amends_core::lint;
use amends_core::parse::canonical;
use std::fmt::Write;

/// The canonical form, or the codes of the problems with their places.
fn read(source: &str) -> String {
    match canonical(source) {
        Ok(json) => json,
        Err(problems) => {
            let mut text = String::new();
            for problem in problems {
                write!(text, "{}@{}:{} ", problem.code, problem.line, problem.column).expect("a string takes it");
            }
            text.trim_end().to_owned()
        }
    }
}

#[test]
fn what_is_written_is_what_is_meant() {
    #[rustfmt::skip]
    let cases: &[(&str, &str)] = &[
        // Plain scalars follow the core schema of YAML 1.2.
        ("[null, Null, NULL, ~, ]", "[null,null,null,null]"),
        ("a:", r#"{"a":null}"#),
        ("[true, True, TRUE, false, False, FALSE]", "[true,true,true,false,false,false]"),
        ("[yes, no, on, off, y, n]", r#"["yes","no","on","off","y","n"]"#),
        ("[0, -0, 7, +7, 007, -12, 0o17, 0xfF]", "[0,0,7,7,7,-12,15,255]"),
        ("[1.0, 1.50, .5, 5., -1e3, 1E+2, 6.02e23]", "[1.0,1.5,0.5,5.0,-1000.0,100.0,6.02e+23]"),
        ("[1_000, 0b1, 1e, e5, ., +, 0x, 0o8, 1.2.3]", r#"["1_000","0b1","1e","e5",".","+","0x","0o8","1.2.3"]"#),
        ("[18446744073709551615, -9223372036854775808]", "[18446744073709551615,-9223372036854775808]"),
        ("[18446744073709551616]", "bad-number@1:2"),
        ("[.inf, -.Inf, .nan, 1e999]", "bad-number@1:2 bad-number@1:8 bad-number@1:15 bad-number@1:21"),
        ("[2024-01-02, 12:30, \"12\", '12', !x y]", "tag@1:33"),
        ("[2024-01-02, 12:30, \"12\", '12']", r#"["2024-01-02","12:30","12","12"]"#),
        // Text.
        (r#"["\u00e9\t\x41\/\"", 'it''s', plain words]"#, r#"["é\tA/\"","it's","plain words"]"#),
        ("a: |\n  one\n  two\nb: >-\n  three\n  four\n", r#"{"a":"one\ntwo\n","b":"three four"}"#),
        ("# comment\na: 1 # and another\n", r#"{"a":1}"#),
        ("---\na: 1\n...\n", r#"{"a":1}"#),
        ("%YAML 1.2\n---\na: 1\n", r#"{"a":1}"#),
        ("\u{feff}a: 1\n", r#"{"a":1}"#),
        ("a: 1\r\nb: 2\r\n", r#"{"a":1,"b":2}"#),
        ("ü: [ö,\n  x", "syntax@2:4"),
        // Keys are text, whatever they look like, and keep their order.
        ("{ z: 1, true: 2, 3: 4, null: 5, '': 6 }", r#"{"z":1,"true":2,"3":4,"null":5,"":6}"#),
        ("{ ? { a: b } : c }", "bad-key@1:5"),
        ("? [a]\n: b\n", "bad-key@1:3"),
        ("<<: { a: 1 }", r#"{"<<":{"a":1}}"#),
        // What is YAML but no notation for JSON.
        ("a: &x 1\nb: *x\n", "anchor@1:4 anchor@2:4"),
        ("a: *x\n", "anchor@1:4"),
        ("!!map { a: !!int '1' }", "tag@1:1 tag@1:12"),
        ("&k a: &v b", "anchor@1:1 anchor@1:7"),
        ("key: {{ input.id }}\n", "unquoted-expression@1:6"),
        ("- 1\n---\n- 2\n", "several-documents@2:1"),
        ("", "empty-definition@1:1"),
        ("---\n", "empty-definition@2:1"),
        ("a: [1, 2\n", "syntax@1:9"),
        ("a: \"x\n", "syntax@1:4"),
        ("a: 'x", "syntax@1:4"),
        ("a: \"\\q\"", "syntax@1:4"),
        ("a: b: c", "syntax@1:5"),
        ("@x", "syntax@1:1"),
    ];
    for (source, expected) in cases {
        assert_eq!(read(source), *expected, "{source:?}");
    }
}

#[test]
fn all_of_json_is_read() {
    #[rustfmt::skip]
    let cases: &[&str] = &[
        r#"{"a":"\ud83d\ude00","b":"\u0000\b\f\n\r\t\\\/\""}"#,
        "{\t\"a\"\t:\t[\t1\t,\n\t\t2\r\n]\t}",
        r#"{"a":{"b":[[],{},null,true,false,0,-1,1.5,1e5,1E-5]}}"#,
        r#"{"":{"":""}}"#,
        "{\"a\":\"line\u{2028}separator\u{7f}\"}",
        r#"{"a":["\ud83d\ude00",1.5,null,{}]}"#,
        r#"{"a":"{{ input.x }}","b":"}}{{ '}}' }}"}"#,
        r#"[18446744073709551615,-9223372036854775808,0.1,123456.789]"#,
    ];
    for source in cases {
        let expected: serde_json::Value = serde_json::from_str(source).unwrap();
        let found: serde_json::Value = serde_json::from_str(&canonical(source).unwrap()).unwrap();
        assert_eq!(found, expected, "{source:?}");
    }
    let long_key = format!("{{\"{}\":1}}", "k".repeat(5_000));
    assert_eq!(canonical(&long_key).unwrap(), long_key);
}

#[test]
fn places_in_json_are_exact() {
    let source = "{\n\t\"saga\": \"order\",\n\t\"key\": \"\\ud83d\\ude00 {{ inptu.id }}\",\n\t\"steps\": {\"a\": {\"sleep\": \"1 s\"}}\n}";
    let checked = lint::check(source, None);
    let places: Vec<_> =
        checked.diagnostics.iter().map(|it| (it.code, it.line, it.column, &source[it.span.clone()])).collect();
    assert_eq!(places, [("bad-expression", 3, 26, "inptu"), ("bad-duration", 4, 27, "\"1 s\"")]);
}

#[test]
fn places_count_characters_and_bytes() {
    let source =
        "saga: order\ndescription: \"größer als 😀\" # é\nkey: \"ü{{ inptu.id }}\"\nsteps: { ä: { sleep: 1s } }\n";
    let checked = lint::check(source, None);
    let places: Vec<_> =
        checked.diagnostics.iter().map(|it| (it.code, it.line, it.column, &source[it.span.clone()])).collect();
    assert_eq!(places, [("bad-expression", 3, 11, "inptu"), ("bad-name", 4, 10, "ä")]);
}

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    let large = format!("saga: order\ndescription: {}\n", "x".repeat(256 * 1024));
    assert_eq!(read(&large), "too-large@1:1");
    let at_the_limit = format!("{}1{}", "[".repeat(64), "]".repeat(64));
    assert_eq!(read(&at_the_limit), at_the_limit);
    let json = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    assert_eq!(read(&json), "too-deep@1:66");
    let yaml = format!("{}x{}", "[".repeat(65), "]".repeat(65));
    assert_eq!(read(&yaml), "too-deep@1:66");
    let maps = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert_eq!((read(&maps(64)), read(&maps(65)).as_str()), (maps(64), "too-deep@1:326"));
    let yaml = |depth: usize| format!("{}1{}", "{a: ".repeat(depth), "}".repeat(depth));
    assert_eq!((read(&yaml(64)), read(&yaml(65)).as_str()), (maps(64), "too-deep@1:261"));
    for opening in ["[", "{a: ", "- ", "? ", "{\"a\":", "[{", "&a [", "!t [", "[[] ,"] {
        let endless = opening.repeat(256 * 1024 / opening.len());
        assert!(canonical(&endless).is_err(), "{opening}");
    }
}

/// JSON that is nested too deep is passed over, and what comes after it is read.
#[test]
fn what_is_too_deep_hides_nothing_else() {
    let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    let step = format!(r#"{{"action": {{"post": "stock:/a", "body": {deep}}}, "compensation": "none", "slep": 1}}"#);
    let source = format!(r#"{{"saga": "A", "key": "{{{{ input.id }}}}", "steps": {{"a": {step}}}}}"#);
    let found = lint::check(&source, None).diagnostics;
    let found: Vec<_> = found.iter().map(|it| (it.code, &source[it.span.clone()])).collect();
    assert_eq!(found, [("bad-name", "\"A\""), ("too-deep", "["), ("unknown-key", "\"slep\"")]);
}

#[test]
fn an_expression_is_found_however_its_text_is_written() {
    let long = "a".repeat(5_000);
    #[rustfmt::skip]
    let cases = [
        "stock:/a/{{ inptu.x }}", "'stock:/a/{{ inptu.x }}'", "\"stock:/a/{{ inptu.x }}\"",
        // With an escape, what is written is not what is read.
        "\"stock:\\/a/{{ inptu.x }}\"", "\"\\u0073tock:/{{ 'inptu' }}/{{ inptu.x }}\"",
        &format!("stock:/{long}/{{{{ inptu.x }}}}"), &format!("'stock:/{long}/{{{{ inptu.x }}}}'"),
    ];
    for written in cases {
        let source = format!("saga: a\nkey: '{{{{ input.id }}}}'\nsteps:\n  a:\n    action:\n      get: {written}\n");
        let found = lint::check(&source, None).diagnostics;
        let found: Vec<_> = found.iter().map(|it| (it.code, &source[it.span.clone()], it.span.start)).collect();
        let place = source.rfind("inptu").expect("it is there");
        assert_eq!(found, [("bad-expression", "inptu", place)], "{written:.80}");
    }
}

#[test]
fn a_version_is_what_is_said_and_not_how() {
    let yaml = "# A saga.\nsaga: order\nkey: '{{ input.id }}'\nsteps:\n  nap:\n    sleep: 1s   # short\n";
    let json = r#"{"saga": "order", "key": "{{ input.id }}", "steps": {"nap": {"sleep": "1s"}}}"#;
    let other = r#"{"saga": "order", "key": "{{ input.id }}", "steps": {"nap": {"sleep": "2s"}}}"#;
    let version = |source| lint::compile(source).unwrap().version;
    assert_eq!(version(yaml), version(json));
    assert_ne!(version(json), version(other));
    assert_eq!(
        version(json),
        "daa6dd3f069d46c5b7b1a58ed17675966d9cbe65a8031e372900bd17d94aa94c",
        "SHA-256 of the compact document"
    );
}
