//! For each rule a piece of code that it flags and one that it does not.

use super::{check, manifests, promises, source};
use crate::workspace::{Kind, Workspace};
use serde_json::{Value, json};

/// The findings for one file, as `line: what is wrong`.
fn found(path: &str, text: &str) -> Vec<String> {
    let findings = check(&[(path.to_owned(), text.to_owned())]);
    findings.iter().map(|finding| format!("{}: {}", finding.line, finding.wrong)).collect()
}

fn assert_flagged(path: &str, text: &str, line: usize, wrong: &str) {
    assert_eq!(found(path, text), [format!("{line}: {wrong}")], "{path}: {text}");
}

fn assert_clean(path: &str, text: &str) {
    assert_eq!(found(path, text), [""; 0], "{path}: {text}");
}

/// A function of `lines` lines.
fn function(lines: usize) -> String {
    format!("fn long() {{\n{}}}\n", "    step();\n".repeat(lines - 2))
}

#[test]
fn functions_are_short() {
    let wrong = "`long` has 71 lines, 70 are allowed";
    let wide =
        function(71).replacen("fn long()", "fn long<T: Fn(&str) -> Foo<{ 1 }>>(a: [u8; { 2 }]) -> Foo<{ 3 }>", 1);
    let braces_in_text = function(71).replacen("step();", "step(\"}\", '}', b'}', r#\"}\"}\"#); // }", 1);
    let lifetimes = function(71).replacen("step();", "let a: &'a str = '{'.get::<'a>('\\'', \"\\\"{\");", 1);
    let flagged = [
        (1, function(71)),
        (2, format!("/* a\n/* b */ */ pub {}", function(71))),
        (2, format!("trait A {{ fn long();\n{}}}", function(71))),
        (1, wide),
        (1, braces_in_text),
        (1, lifetimes),
        (2, format!("#[cfg(not(test))]\n{}", function(71))),
    ];
    for (line, text) in flagged {
        assert_flagged("crates/amends/src/a.rs", &text, line, wrong);
    }
    let clean = [
        function(70),
        function(70).repeat(2),
        format!("#[cfg(test)]\nmod tests {{\n{}}}", function(71)),
        format!("#[tokio::test(flavor = \"x\")]\nasync {}", function(71)),
        format!("const A: &str = r\"\n{}\";", function(71)),
        format!("type A = fn() -> u8;\nstruct B {{\n{}}}", "a: u8,\n".repeat(80)),
    ];
    for text in clean {
        assert_clean("crates/amends/src/a.rs", &text);
    }
    assert_clean("crates/amends/src/a/tests.rs", &function(71));
    assert_clean("crates/amends/tests/a.rs", &function(71));
}

#[test]
fn files_are_short() {
    let long = "// a\n".repeat(801);
    assert_flagged("crates/amends/src/a.rs", &long, 801, "the file has 801 lines, 800 are allowed");
    assert_clean("crates/amends/src/a.rs", &"// a\n".repeat(800));
    assert_clean("crates/amends/src/a/tests.rs", &long);
    assert_clean("crates/amends/tests/a.rs", &long);
}

#[test]
fn a_module_that_only_tests_compile_is_a_test_wherever_its_text_is() {
    let flagged = |declaration: &str, path: &str| {
        let files = [("a/src/machine.rs", declaration), (path, "fn a() { b.unwrap() }")];
        !check(&files.map(|(path, text)| (path.to_owned(), text.to_owned()))).is_empty()
    };
    assert!(!flagged("#[cfg(test)]\nmod model;", "a/src/machine/model.rs"));
    assert!(!flagged("#[cfg(test)]\npub(crate) mod model;", "a/src/machine/model/part.rs"));
    assert!(flagged("mod model;", "a/src/machine/model.rs"));
    assert!(flagged("#[cfg(test)]\nmod model;", "a/src/model.rs"));
}

#[test]
fn a_panic_has_a_reason() {
    let path = "crates/amends/src/a.rs";
    let flagged = [
        (1, "fn a() { b().unwrap(); }", "`.unwrap()` outside a test"),
        (2, "fn a() { b()\n.unwrap (); }", "`.unwrap()` outside a test"),
        (1, "fn a() { b().expect(\"\"); }", "`.expect` without a reason"),
        (3, "#[cfg(test)]\nuse a;\nfn a() { b.unwrap() }", "`.unwrap()` outside a test"),
    ];
    for (line, text, wrong) in flagged {
        assert_flagged(path, text, line, wrong);
    }
    let clean = [
        "fn a() { b().unwrap_or(1).unwrap_or_default(); }",
        "fn a() { b().expect(\"it was checked above\"); }",
        "/// `a.unwrap()`\nfn a() { b(\".unwrap()\") }",
        "fn unwrap() {}",
        "#[test]\nfn a() { b.unwrap() }",
        "#[cfg(all(test, unix))]\nmod a { fn a() { b.unwrap() } }",
        "#![cfg(test)]\nfn a() { b.unwrap() }",
    ];
    for text in clean {
        assert_clean(path, text);
    }
    assert_clean("crates/amends/tests/a.rs", "fn a() { b.unwrap() }");
}

#[test]
fn modules_have_telling_names() {
    for name in ["util", "utils", "common", "helpers", "manager"] {
        let wrong = format!("a module named `{name}`");
        assert_flagged("a/src/lib.rs", &format!("pub mod {name} {{ fn a() {{}} }}"), 1, &wrong);
        assert_flagged(&format!("a/src/{name}.rs"), "", 1, &wrong);
        assert_flagged(&format!("a/src/{name}/mod.rs"), "", 1, &wrong);
    }
    for text in ["mod utility { }", "use tower::util::BoxService;", "// mod util {", "fn common() {}"] {
        assert_clean("a/src/lib.rs", text);
    }
    assert_clean("a/src/task_manager.rs", "");
}

#[test]
fn nothing_is_left_to_do_in_comments() {
    let flagged = [
        (1, "// TODO: b", "`TODO` in a comment"),
        (2, "/*\n FIXME b */", "`FIXME` in a comment"),
        (2, "fn a() {}\n/// Reads XXX", "`XXX` in a comment"),
    ];
    for (line, text, wrong) in flagged {
        assert_flagged("a/src/b.rs", text, line, wrong);
    }
    assert_flagged("a/Cargo.toml", "[a]\n# TODO", 2, "`TODO` in a comment");
    for text in ["const A: &str = \"TODO\";", "// TODOS and 2XXX and todo!()", "fn a() { todo() }"] {
        assert_clean("a/src/b.rs", text);
    }
}

#[test]
fn tests_do_not_sleep() {
    let flagged = [
        (1, "fn a() { tokio::time::sleep(b).await }", "a test sleeps"),
        (2, "fn a() {\n    sleep (b); // it is slow\n}", "a test sleeps"),
        (1, "fn a() { sleep(b) } // tidy: allow-sleep", "an allowed `sleep` without a reason"),
    ];
    for (line, text, wrong) in flagged {
        assert_flagged("a/tests/b.rs", text, line, wrong);
        assert_flagged(
            "a/src/b.rs",
            &format!("#[cfg(test)] mod c {{ {text} }}").replace("allow-sleep }", "allow-sleep\n}"),
            line,
            wrong,
        );
        assert_clean("a/src/b.rs", text);
    }
    let clean = [
        "fn a() { sleep(b) } // tidy: allow-sleep the kernel gives no signal",
        "fn sleep(b: u8) {}",
        "fn a() { sleep_is_over(b); asleep(b); b.sleep = 1; }",
        "// sleep(1)",
    ];
    for text in clean {
        assert_clean("a/tests/b.rs", text);
    }
}

#[test]
fn the_core_is_pure() {
    let flagged = [
        ("async fn a() {}", "`async` brings a runtime into amends-core"),
        ("use tokio::sync::Mutex;", "`tokio` brings a runtime into amends-core"),
        ("use std::time::{Duration, SystemTime};", "`SystemTime` brings a clock into amends-core"),
        ("fn a(at: std::time::Instant) {}", "`Instant` brings a clock into amends-core"),
        ("use std::env;", "`std::env` brings the environment into amends-core"),
        ("use std::{fmt, fs::{self, File}};", "`std::fs` brings IO into amends-core"),
        ("fn a(b: std :: net::IpAddr) {}", "`std::net` brings IO into amends-core"),
        ("fn a() -> u8 { rand::random() }", "`rand` brings randomness into amends-core"),
        ("use rand;", "`rand` brings randomness into amends-core"),
        ("fn a() { fastrand::u8(..) }", "`fastrand` brings randomness into amends-core"),
        ("fn a() -> Uuid { Uuid::now_v7() }", "`now_v7` brings a clock and randomness into amends-core"),
        ("fn a() { jiff::Timestamp::now() }", "`::now()` brings a clock into amends-core"),
        ("fn a() { println!(\"b\") }", "`println!` brings IO into amends-core"),
    ];
    for (text, wrong) in flagged {
        assert_flagged("crates/amends-core/src/a.rs", text, 1, wrong);
        assert_clean("crates/amends-engine/src/a.rs", text);
        assert_clean("crates/amends-core/tests/a.rs", text);
        assert_clean("crates/amends-core/src/a.rs", &format!("#[cfg(test)]\nmod b {{ {text} }}"));
    }
    let clean = [
        "use std::{collections::{BTreeMap, env}, fmt};",
        "fn a(now: Timestamp, rand: u64, env: &Env) { now(1); }",
        "/// Not `async`, no tokio, no std::fs.\nfn a() {}",
        "const A: &str = \"std::fs async\"; const B: Duration = std::time::Duration::ZERO;",
        "fn a() { writeln!(out, \"b\") }",
    ];
    for text in clean {
        assert_clean("crates/amends-core/src/a.rs", text);
    }
}

#[test]
fn sql_does_not_decide_on_state() {
    let rust = |sql: &str| format!("const A: &str = \"{sql}\";");
    let wrong = "`CASE` on a state in SQL";
    let flagged = [
        (1, "UPDATE saga SET x = CASE WHEN state = 'a' THEN 1 END"),
        (2, "SELECT a,\n case s.status when 1 then 2 else 3 end"),
        (1, "CASE WHEN a THEN 'b' ELSE step_state END"),
    ];
    for (line, sql) in flagged {
        assert_flagged("crates/amends-store/src/a.rs", &rust(sql), line, wrong);
        assert_flagged("crates/amends-store/src/a.sql", sql, line, wrong);
        assert_clean("crates/amends/src/a.rs", &rust(sql));
    }
    let clean = [
        "SELECT CASE WHEN due IS NULL THEN 0 ELSE due END, state FROM saga",
        "in that case the state is read when the transaction ends",
        "SELECT state FROM showcase",
    ];
    for text in clean {
        assert_clean("crates/amends-store/src/a.rs", &rust(text));
    }
    assert_clean("crates/amends-store/src/a.rs", "// CASE WHEN state THEN b END");
}

/// The findings for a workspace of `amends-core`, `amends` and one crate `name`, which depends on `dependencies`.
fn found_in_manifest(name: &str, dependencies: &[(&str, Option<&str>)], manifest: &str) -> Vec<String> {
    let package = |name: &str, dependencies: Vec<Value>| json!({ "name": name, "manifest_path": format!("/w/{name}/Cargo.toml"), "dependencies": dependencies });
    let depends = dependencies.iter().map(|(name, kind)| json!({ "name": name, "kind": kind })).collect();
    let metadata = json!({
        "workspace_root": "/w",
        "target_directory": "/w/target",
        "packages": [package("amends-core", vec![]), package("amends", vec![]), package(name, depends)],
    });
    let read = |path: &std::path::Path| {
        Ok(if path.starts_with(format!("/w/{name}")) {
            manifest.to_owned()
        } else {
            "[lints]\nworkspace = true\n".to_owned()
        })
    };
    let workspace = Workspace::from_metadata(&metadata, read).expect("the metadata has every key");
    manifests::check(&workspace).iter().map(ToString::to_string).collect()
}

#[test]
fn the_walls_between_crates_hold() {
    let manifest = |table: &str, name: &str| format!("[lints]\nworkspace = true\n[{table}]\n{name}.workspace = true\n");
    let flagged = [
        ("amends-client", "amends-core", None, "`amends-client` imports `amends-core`, which it may not"),
        ("shop", "amends-core", Some("build"), "`shop` imports `amends-core`, which it may not"),
        ("xtask", "amends-core", None, "`xtask` imports `amends-core`, which it may not"),
        ("amends-engine", "amends", None, "`amends-engine` imports `amends`, which nothing may"),
        ("amends-engine", "amends", Some("dev"), "`amends-engine` imports `amends`, which nothing may"),
        ("amends-store", "anyhow", None, "`anyhow` in the library `amends-store`"),
        ("amends-store", "anyhow", Some("dev"), "`anyhow` in the library `amends-store`"),
        ("amends-core", "tokio", None, "`tokio` in `amends-core`, which is pure"),
        ("elsewhere", "serde", None, "no wall is set for the crate `elsewhere`"),
    ];
    for (name, dependency, kind, wrong) in flagged {
        let table = kind.map_or("dependencies".to_owned(), |kind| format!("{kind}-dependencies"));
        let found = found_in_manifest(name, &[(dependency, kind)], &manifest(&table, dependency));
        let line = if name == "elsewhere" { 1 } else { 4 };
        assert!(!found.is_empty(), "{wrong}");
        assert!(
            found.iter().all(|found| found.starts_with(&format!("{name}/Cargo.toml:{line}: {wrong}; "))),
            "{found:?}"
        );
    }
    let clean = [
        ("amends-engine", "amends-core", None),
        ("amends-client", "amends-core", Some("dev")),
        ("amends-core", "tokio", Some("dev")),
        ("shop", "anyhow", None),
        ("amends-store", "serde", None),
    ];
    for (name, dependency, kind) in clean {
        let table = kind.map_or("dependencies".to_owned(), |kind| format!("{kind}-dependencies"));
        assert_eq!(found_in_manifest(name, &[(dependency, kind)], &manifest(&table, dependency)), [""; 0]);
    }
}

#[test]
fn lints_are_inherited() {
    for manifest in
        ["", "[lints.rust]\nunsafe_code = \"forbid\"\n", "[lints]\n# workspace = true\n[a]\nworkspace = true\n"]
    {
        let found = found_in_manifest("shop", &[], manifest);
        assert_eq!(
            found,
            ["shop/Cargo.toml:1: the crate does not inherit the lints; add `[lints]` with `workspace = true`"]
        );
    }
    for manifest in ["lints.workspace = true\n", "[package]\nname = \"a\"\n\n[lints]\nworkspace=true # all\n"] {
        assert_eq!(found_in_manifest("shop", &[], manifest), [""; 0]);
    }
}

#[test]
fn dependencies_are_inherited() {
    let cases = [
        ("[dependencies]\na.workspace = true\n", vec![(2, Kind::Normal, "a", true)]),
        ("[dependencies]\na = \"1\" # workspace = true\n", vec![(2, Kind::Normal, "a", false)]),
        ("[dependencies]\na = { path = \"../workspace\" }\n", vec![(2, Kind::Normal, "a", false)]),
        ("[dev-dependencies]\na = { workspace = true, features = [\"b\"] }\n", vec![(2, Kind::Dev, "a", true)]),
        ("[build-dependencies]\na = { features = [\n\"b\",\n], workspace = true }\nc = \"1\"\n", {
            vec![(2, Kind::Build, "a", true), (5, Kind::Build, "c", false)]
        }),
        ("[target.'cfg(unix)'.dependencies]\na = \"1\"\n[features]\nb = []\n", vec![(2, Kind::Normal, "a", false)]),
        ("[dependencies.a]\nversion = \"1\"\n[dev-dependencies.b]\nworkspace = true\n", {
            vec![(1, Kind::Normal, "a", false), (3, Kind::Dev, "b", true)]
        }),
        ("[package]\nname = \"a\"\nversion.workspace = true\n", vec![]),
    ];
    for (manifest, expected) in cases {
        let entries = manifests::entries(manifest);
        let entries: Vec<_> =
            entries.iter().map(|entry| (entry.line, entry.kind, entry.name.as_str(), entry.inherited)).collect();
        assert_eq!(entries, expected, "{manifest}");
    }
    let found = found_in_manifest("shop", &[], "[lints]\nworkspace = true\n[dependencies]\na = \"1\"\n");
    assert!(found[0].starts_with("shop/Cargo.toml:4: `a` is not inherited; "), "{found:?}");
}

#[test]
fn literals_and_comments_are_told_from_code() {
    let cases = [
        ("a(\"b // c\"); // d", "a(\"      \");     ", vec!["b // c"], vec!["// d"]),
        ("r#\"a\"b\"# + br\"\\\" r#fn", "r#\"   \"# + br\" \" r#fn", vec!["a\"b", "\\"], vec![]),
        ("'\"' '\\'' '\\u{7d}' 'a: <'b> '\u{e9}'", "' ' '  ' '      ' 'a: <'b> ' '", vec![], vec![]),
        ("/* /* a */ \" */ \"\\\\\" \u{e9}", "                \"  \" _", vec!["\\\\"], vec!["/* /* a */ \" */"]),
        ("\"a\\\"b\" \"", "\"    \" \"", vec!["a\\\"b", ""], vec![]),
    ];
    for (text, code, literals, comments) in cases {
        let source = source::Source::scan(text);
        assert_eq!(source.code, code, "{text}");
        assert_eq!(source.literals.iter().map(|literal| literal.text.as_str()).collect::<Vec<_>>(), literals, "{text}");
        assert_eq!(source.comments.iter().map(|comment| comment.text.as_str()).collect::<Vec<_>>(), comments, "{text}");
    }
}

#[test]
fn tests_that_the_documentation_names_are_there() {
    let texts = [("a.rs".to_owned(), "#[test]\nfn one() {}\nasync fn another_2(a: u8) {}".to_owned())];
    for (document, wrong) in [
        ("| what | how | `one`, `a::tests::another_2` (`src/a.rs`), `tests`, `a::tests` and `cargo xtask sim` |", None),
        ("| what | `none` | `one` |\n`none`", None),
        ("| what | how |", None),
        (
            "\n| what | how | `one`, `a::gone` |",
            Some("docs/security.md:2: there is no test `gone`; name the test that shows it"),
        ),
        ("| what | how | `on` |", Some("docs/security.md:1: there is no test `on`; name the test that shows it")),
    ] {
        let findings: Vec<String> = promises::check(document, &texts).iter().map(ToString::to_string).collect();
        assert_eq!(findings, Vec::from_iter(wrong), "{document}");
    }
}
