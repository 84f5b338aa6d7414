use super::{Config, ConfigError, FlagValue, LogFormat, Oidc, QueueConfig, Sources, StoreLocation, section, tree};
use amends_client::Role;
use amends_engine::{Identity, ParticipantTls, Secret};
use std::path::{Path, PathBuf};

const EXAMPLE: &str = include_str!("../../amends.example.toml");
const GUIDE: &str = include_str!("../../../../docs/configuration.md");

/// The example with every setting in force: the lines whose `#` has no blank behind it.
fn example() -> String {
    let in_force = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting.to_owned(),
        Some(_) | None => line.to_owned(),
    };
    EXAMPLE.lines().map(in_force).collect::<Vec<_>>().join("\n")
}

/// Reads a configuration whose file is `amends.toml` of some directory.
fn read(source: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let sources = Sources {
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Sources::default()
    };
    let document = super::Document { name: "amends.toml", source, base: PathBuf::from("/etc/amends") };
    document.read(&sources).map_err(|problems| ConfigError::new("amends.toml", source, problems).to_string())
}

fn refused(source: &str) -> String {
    read(source, &[]).expect_err("this configuration has mistakes")
}

#[test]
fn the_example_and_the_guide_know_every_key() {
    let mut findings = section::Findings::default();
    super::read::config(tree::parse(&example()).unwrap(), Path::new(""), &mut findings);
    assert!(findings.known.contains(&"participants.NAME.breaker.open".to_owned()), "{:?}", findings.known);
    for key in &findings.known {
        let is_table = findings.known.iter().any(|other| other.starts_with(&format!("{key}.")));
        let last = key.rsplit('.').next().unwrap();
        let written = [format!("\n#{last} = "), format!(".{last}]\n")];
        assert!(is_table || written.iter().any(|text| EXAMPLE.contains(text)), "the example does not have `{key}`");
        assert!(is_table || GUIDE.contains(&format!("| `{key}` |")), "docs/configuration.md does not have `{key}`");
    }
}

#[test]
fn headers() {
    let source = "[participants.payment]\nurl = \"http://127.0.0.1:7101\"\n\
        headers = { Authorization = \"env:TOKEN\", x-key = \"file:key\", x-tenant = \"shop:1\" }\n";
    let headers = &read(source, &[]).unwrap().participants["payment"].headers;
    let expected = [
        ("authorization".to_owned(), Secret::Env("TOKEN".into())),
        ("x-key".to_owned(), Secret::File("/etc/amends/key".into())),
        ("x-tenant".to_owned(), Secret::Plain("shop:1".into())),
    ];
    assert_eq!(*headers, expected);
}

#[test]
fn the_environment_lies_over_the_file_and_flags_over_both() {
    let file =
        "store = \"sqlite:file.db\"\nlisten = \"127.0.0.1:1\"\n[participants.order-service]\nurl = \"http://a\"\n";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("amends.toml");
    std::fs::write(&path, file).unwrap();
    let variables = [
        ("AMENDS_STORE", "sqlite:variable.db"),
        ("AMENDS_LISTEN", "127.0.0.1:2"),
        ("AMENDS_PARTICIPANTS__ORDER_SERVICE__IN_FLIGHT", "7"),
        ("AMENDS_PARTICIPANTS__PAYMENT__URL", "https://payment.example/api"),
        ("AMENDS_HTTP__HOSTS", "one.internal, Two.internal"),
        ("AMENDS_LOG__FORMAT", "json"),
        ("OTHER_LISTEN", "nonsense"),
    ];
    let sources = Sources {
        file: Some(path),
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        flags: vec![FlagValue { flag: "--listen", key: "listen", value: "127.0.0.1:3".into() }],
    };
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.store, StoreLocation::Sqlite("variable.db".into()), "a variable's path begins where we are");
    assert_eq!(config.participants["order-service"].in_flight, 7);
    assert_eq!(config.participants["payment"].url.as_str(), "https://payment.example/api");
    assert_eq!(config.http.hosts, ["one.internal", "two.internal"]);
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(config.unknown_variables.is_empty());
}

#[test]
fn an_unknown_variable_is_only_warned_of() {
    let variables = [
        ("AMENDS_SERVICE_HOST", "10.0.0.1"),
        ("AMENDS_PORT", "tcp://10.0.0.1:7700"),
        ("AMENDS_SERVER", "http://127.0.0.1:7700"),
        ("AMENDS_ACTOR", "somebody"),
        ("AMENDS_CA", "ca.crt"),
        ("AMENDS_TOKEN", "amends_1"),
    ];
    let config = read("", &variables).unwrap();
    assert_eq!(config.unknown_variables, ["AMENDS_PORT", "AMENDS_SERVICE_HOST"]);
}

#[test]
fn a_wrong_variable_is_named() {
    let error = read("listen = \"127.0.0.1:1\"\n", &[("AMENDS_LISTEN", "here"), ("AMENDS_LISTEN__PORT", "1")]);
    insta::assert_snapshot!(error.unwrap_err());
}

#[test]
fn a_missing_file_is_named() {
    let sources = Sources { file: Some("nowhere/amends.toml".into()), ..Sources::default() };
    let error = Config::load(&sources).unwrap_err().to_string();
    assert!(error.starts_with("the configuration nowhere/amends.toml cannot be read: "), "{error}");
}

#[test]
fn unknown_keys() {
    let source = r#"
listne = "127.0.0.1:7700"
colour = "blue"

[participants.inventory]
url = "http://127.0.0.1:7101"
inflight = 3

[participants.inventory.breaker]
failure = 3

[htpp]
connections = 5
"#;
    insta::assert_snapshot!(refused(source));
}

#[test]
fn what_is_redacted() {
    let config = read("redact = [\"/input/card\", \"/steps/*/output/iban\"]\n", &[]).unwrap();
    let pointers: Vec<String> = config.redact.iter().map(ToString::to_string).collect();
    assert_eq!(pointers, ["/input/card", "/steps/*/output/iban"]);
    assert_eq!(read("", &[]).unwrap().redact, []);
    let config = read("", &[("AMENDS_REDACT", "/input/a, /input/b")]).unwrap();
    assert_eq!(config.redact.len(), 2);
    let many = |count: usize| format!("redact = [{}]\n", "\"/input/a\", ".repeat(count));
    assert_eq!(read(&many(100), &[]).unwrap().redact.len(), 100);
    assert!(refused(&many(101)).contains("`redact` has 101 pointers"));
    insta::assert_snapshot!(refused("redact = [\"/input/card\", \"/key\"]\n"));
}

#[test]
fn wrong_types_and_values() {
    let source = r#"
listen = 7700
definitions = ""
shutdown_grace = 10
retention = "59m"
participants = { shipping = "http://127.0.0.1:7103" }

[compensations]
per_second = "many"
visibility = "1 minute"

[limits]
live_sagas = 0

[http]
header_read_timeout = "1ms"
hosts = "amends.internal"

[log]
format = "xml"
level = "inof"
"#;
    insta::assert_snapshot!(refused(source));
}

#[test]
fn wrong_participants() {
    let source = r#"
[participants.none]
in_flight = 3
[participants.Order]
url = "http://127.0.0.1:7101"
[participants.a]
url = "127.0.0.1:7101"
[participants.b]
url = "http://user:password@127.0.0.1:7101"
[participants.c]
url = "http://127.0.0.1:7101/?tenant=1"
[participants.d]
url = "ftp://127.0.0.1"
"#;
    insta::assert_snapshot!(refused(source));
}

#[test]
fn wrong_headers_are_told_without_their_line() {
    let source = r#"
[participants.a]
url = "http://127.0.0.1:7101"
headers = { idempotency-key = "sesame-1", "no header" = "sesame-2", authorization = "env:", x-key = "sesame\u0000" }
"#;
    let error = refused(source);
    assert!(!error.contains("sesame"), "{error}");
    insta::assert_snapshot!(error);
}

#[test]
fn signing_keys() {
    let source = "[participants.payment]\nurl = \"http://127.0.0.1:7101\"\n\
        signing = { 2026-11 = \"env:SIGNING\", 2026-10 = \"file:old.secret\" }\n";
    let expected = [
        ("2026-10".to_owned(), Secret::File("/etc/amends/old.secret".into())),
        ("2026-11".to_owned(), Secret::Env("SIGNING".into())),
    ];
    assert_eq!(read(source, &[]).unwrap().participants["payment"].signing, expected);
}

#[test]
fn wrong_signing_keys_are_told_without_their_line() {
    let source = r#"
[participants.a]
url = "http://127.0.0.1:7101"
signing = { one = "sesame-sesame-sesame-sesame-sesame", "no id" = "env:A", two = "env:", three = "env:C", four = "file:d" }
headers = { signature = "sesame" }
[participants.b]
url = "http://127.0.0.1:7101"
signing = { one = "env:A", two = "env:B", three = "env:C" }
"#;
    let error = refused(source);
    assert!(!error.contains("sesame"), "{error}");
    insta::assert_snapshot!(error);
}

#[test]
fn a_certificate_and_its_key() {
    let source = "[http.tls]\ncertificate = \"amends.crt\"\nkey = \"/keys/amends.key\"\n";
    let tls = read(source, &[]).unwrap().http.tls.unwrap();
    assert_eq!((tls.certificate, tls.key), ("/etc/amends/amends.crt".into(), "/keys/amends.key".into()));
    assert_eq!(read("", &[]).unwrap().http.tls, None);
    insta::assert_snapshot!(refused("[http.tls]\ncertificate = \"amends.crt\"\n"));
    insta::assert_snapshot!("a_key_alone", refused("[http.tls]\nkey = \"\"\ncertificates = \"a\"\n"));
}

#[test]
fn tls_of_a_participant() {
    let source = |tls: &str| format!("[participants.a]\nurl = \"https://a.internal\"\ntls = {{ {tls} }}\n");
    let of = |tls: &str| read(&source(tls), &[]).unwrap().participants["a"].tls.clone();
    let authority = Some(PathBuf::from("/etc/amends/ca.crt"));
    let identity = Some(Identity { certificate: "/etc/amends/a.crt".into(), key: "/a.key".into() });
    let (ca, both) = ("ca = \"ca.crt\"", "certificate = \"a.crt\", key = \"/a.key\"");
    assert_eq!(of(""), None);
    assert_eq!(of(ca), Some(ParticipantTls { authority: authority.clone(), identity: None }));
    assert_eq!(of(both), Some(ParticipantTls { authority: None, identity: identity.clone() }));
    assert_eq!(of(&format!("{ca}, {both}")), Some(ParticipantTls { authority, identity }));
    let wrong = format!(
        "{}[participants.b]\nurl = \"http://b.internal\"\ntls.ca = \"ca.crt\"\ntls.cert = \"b.crt\"\n",
        source("key = \"/a.key\"")
    );
    insta::assert_snapshot!(refused(&wrong));
}

#[test]
fn queues_of_the_store() {
    let source = "[queues.replies]\n[queues.commands]\nreceives = 3\nvisibility = \"2m\"\n";
    let config = read(source, &[]).unwrap();
    let expected = [
        ("commands".to_owned(), QueueConfig { receives: 3, visibility_ms: 120_000, ..QueueConfig::default() }),
        ("replies".to_owned(), QueueConfig::default()),
    ];
    assert_eq!(config.queues, expected.into());
    assert_eq!((config.sqs.endpoint, config.sqs.region), (None, None));
    assert!(read("", &[]).unwrap().queues.is_empty());
}

#[test]
fn wrong_queues() {
    let source = r#"
queues.text = "yes"
[queues.Replies]
[queues.replies]
receives = 0
visibility = "13h"
sqss = "replies"
[sqs]
endpoint = "127.0.0.1:4566"
region = ""
"#;
    insta::assert_snapshot!(refused(source));
}

#[cfg(feature = "sqs")]
#[test]
fn queues_of_sqs() {
    let queue = |sqs: &str| format!("[queues.replies]\nsqs = \"{sqs}\"\n");
    for good in ["replies", "Replies_2-a", "https://sqs.eu-central-1.amazonaws.com/123456789012/replies"] {
        let config = read(&queue(good), &[("AMENDS_SQS__REGION", "eu-central-1")]).unwrap();
        assert_eq!(config.queues["replies"].sqs.as_deref(), Some(good));
        assert_eq!(config.sqs.region.as_deref(), Some("eu-central-1"));
    }
    let wrong = ["", "a b", "replies.fifo", "https://sqs/1/replies.fifo", "https://", "ftp://sqs/1/a", &"x".repeat(81)];
    let told = wrong.map(|wrong| refused(&queue(wrong)));
    insta::assert_snapshot!(told.join("\n\n"));
}

#[cfg(not(feature = "sqs"))]
#[test]
fn a_queue_of_sqs_is_refused_by_a_program_without_it() {
    insta::assert_snapshot!(refused("[queues.replies]\nsqs = \"replies\"\n"));
}

#[test]
fn stores() {
    for store in
        ["postgres:amends", "postgres://host:port/amends", "sqlite:", "sqlite::memory:", "amends.db", "mysql:amends"]
    {
        let name = store.replace([':', '/', '.'], "-");
        insta::assert_snapshot!(format!("store-{name}"), refused(&format!("store = \"{store}\"\n")));
    }
    let absolute = StoreLocation::parse("sqlite:/var/lib/amends.db", Path::new("/etc")).unwrap();
    assert_eq!(absolute, StoreLocation::Sqlite("/var/lib/amends.db".into()));
    let shared = StoreLocation::parse("postgres://amends:secret@db/amends", Path::new("/etc")).unwrap();
    assert_eq!(shared, StoreLocation::Postgres("postgres://amends:secret@db/amends".into()));
    for (given, shown) in [
        ("postgres://amends:secret@db/amends", "postgres://amends:***@db/amends"),
        ("postgres://amends:sec:ret@a:1,b:2/amends?x=y", "postgres://amends:***@a:1,b:2/amends?x=y"),
        ("postgres://amends:12/3?4@a/amends", "postgres://amends:***@a/amends"),
        ("postgres://amends@a,b/amends", "postgres://amends@a,b/amends"),
        ("postgres://a:5432/amends?user=me&password=secret", "postgres://a:5432/amends?user=me&password=***"),
    ] {
        let location = StoreLocation::parse(given, Path::new("/etc")).unwrap();
        assert_eq!(location.to_string(), shown, "a password is shown to nobody");
    }
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    insta::assert_snapshot!(refused("listen = \"0.0.0.0:7700\"\n"));
    for good in ["127.0.0.1:0", "127.3.2.1:80", "[::1]:7700", "localhost:7700"] {
        assert!(read(&format!("listen = \"{good}\"\n"), &[]).is_ok(), "{good}");
    }
    for bad in ["[::]:7700", "192.168.0.1:7700", "[::ffff:10.0.0.1]:1", "7700", "localhost"] {
        assert!(read(&format!("listen = \"{bad}\"\n"), &[]).is_err(), "{bad}");
    }
}

#[test]
fn an_address_that_others_can_reach_is_taken_once_callers_are_known() {
    for auth in
        ["[auth]\nadmin_token = \"env:ADMIN\"\n", "[auth.oidc]\nissuer = \"https://a\"\naudience = \"amends\"\n"]
    {
        let config = read(&format!("listen = \"0.0.0.0:7700\"\n{auth}"), &[]).unwrap();
        assert!(config.listen.ip().is_unspecified() && config.auth.is_some(), "{auth}");
    }
    assert!(read("listen = \"0.0.0.0:7700\"\n[auth]\n", &[]).is_err(), "an empty table configures nothing");
    assert_eq!(read("[auth]\n", &[]).unwrap().auth, None);
}

#[test]
fn who_may_call() {
    let source = "[auth]\nadmin_token = \"file:admin\"\n[auth.oidc]\nissuer = \"https://login.example\"\n\
        audience = \"amends\"\nroles_claim = \"realm_access.roles\"\nroles = { admin = [\"boss\", \"root\"] }\n";
    let auth = read(source, &[]).unwrap().auth.unwrap();
    assert_eq!(auth.admin_token, Some(Secret::File("/etc/amends/admin".into())));
    let expected = Oidc {
        // `Url` would have put a slash behind it.
        issuer: "https://login.example".into(),
        audience: "amends".into(),
        roles_claim: "realm_access.roles".into(),
        roles: [
            (Role::Viewer, vec!["viewer".into()]),
            (Role::Operator, vec!["operator".into()]),
            (Role::Admin, vec!["boss".into(), "root".into()]),
        ],
    };
    assert_eq!(auth.oidc, Some(expected));
    let variables = [("AMENDS_AUTH__ADMIN_TOKEN", "env:ADMIN"), ("AMENDS_AUTH__OIDC__AUDIENCE", "other")];
    let auth = read(source, &variables).unwrap().auth.unwrap();
    assert_eq!(auth.admin_token, Some(Secret::Env("ADMIN".into())));
    assert_eq!(auth.oidc.unwrap().audience, "other");
}

#[test]
fn issuers_are_reached_where_nobody_can_interfere() {
    for (address, is_private) in [
        ("https://login.example/keys", true),
        ("http://127.0.0.1:1/keys", true),
        ("http://[::1]:1/keys", true),
        ("http://localhost:1/keys", true),
        ("http://login.example/keys", false),
        ("http://127.0.0.1.login.example/keys", false),
        ("http://10.0.0.1/keys", false),
        ("file:///etc/keys", false),
    ] {
        assert_eq!(super::is_private(&address.parse().unwrap()), is_private, "{address}");
    }
}

#[test]
fn wrong_ways_to_know_callers_are_told_without_a_credential() {
    let source = r#"
[auth]
admin_token = "sesame-1"
[auth.oidc]
issuer = "http://login.example"
roles = { owner = ["x"] }
"#;
    let error = read(source, &[("AMENDS_AUTH__ADMIN_TOKEN", "sesame-2")]).unwrap_err() + "\n\n" + &refused(source);
    assert!(!error.contains("sesame"), "{error}");
    insta::assert_snapshot!(error);
}

#[test]
fn mistakes_in_the_toml_itself() {
    insta::assert_snapshot!(refused("listen = \"127.0.0.1:7700\nstore = \"sqlite:a.db\"\n"));
    insta::assert_snapshot!("twice", refused("store = \"sqlite:a.db\"\nstore = \"sqlite:b.db\"\n"));
}

#[test]
fn numbers_may_be_written_as_toml_allows() {
    let config = read("[limits]\nlive_sagas = 1_000\n[compensations]\nper_second = 0x10\n", &[]).unwrap();
    assert_eq!((config.live_sagas, config.compensations_per_second), (1_000, 16));
}
