use super::*;
use proptest::prelude::*;

const SECRET: &[u8] = b"a secret of exactly 32 bytes....";
const NOW: Validity = Validity { now_seconds: 1_000_000, tolerance_seconds: 300 };
const BODY: &[u8] = br#"{"amount":7}"#;

fn key(id: &str) -> Key {
    Key::new(id, &[SECRET, id.as_bytes()].concat()).unwrap()
}

/// What is sent, and may be changed on the way.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    path: String,
    query: Option<String>,
    body: Vec<u8>,
    idempotency_key: String,
    action_key: Option<String>,
    content_digest: String,
    headers: SignatureHeaders,
}

impl Sent {
    fn by(keys: &[Key]) -> Sent {
        Sent::that_undoes(None, keys)
    }

    fn that_undoes(action_key: Option<&str>, keys: &[Key]) -> Sent {
        let content_digest = content_digest(BODY);
        let call = Signed {
            method: "POST",
            path: "/charges",
            query: Some("dry=1"),
            content_digest: &content_digest,
            idempotency_key: "k-1",
            action_key,
        };
        let headers = sign(&call, keys, NOW.now_seconds);
        Sent {
            method: "POST".into(),
            path: "/charges".into(),
            query: Some("dry=1".into()),
            body: BODY.into(),
            idempotency_key: "k-1".into(),
            action_key: action_key.map(Into::into),
            content_digest,
            headers,
        }
    }

    fn received(&self) -> Received<'_> {
        Received {
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref(),
            idempotency_key: Some(&self.idempotency_key),
            action_key: self.action_key.as_deref(),
            content_digest: Some(&self.content_digest),
            signature_input: Some(&self.headers.signature_input),
            signature: Some(&self.headers.signature),
        }
    }

    fn verify(&self, keys: &[Key]) -> Result<(), Refusal> {
        verify(&self.received(), keys, NOW)?.with_body(&self.body)
    }
}

fn different(id: &str) -> Result<(), Refusal> {
    Err(Refusal::SignatureDiffers { id: id.into() })
}

/// RFC 9421, section B.2.5.
#[test]
fn the_rfcs_own_signature() {
    let secret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
    let key = Key::new("test-shared-secret", &STANDARD.decode(secret).unwrap()).unwrap();
    let base = "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
                \"@authority\": example.com\n\
                \"content-type\": application/json\n\
                \"@signature-params\": (\"date\" \"@authority\" \"content-type\")\
                ;created=1618884473;keyid=\"test-shared-secret\"";
    let signature = key.mac(base).finalize().into_bytes();
    assert_eq!(STANDARD.encode(signature), "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=");
}

/// RFC 9530, section 5.1 and appendix D, and the digest of nothing.
#[test]
fn digests() {
    for (body, digest) in [
        ("{\"hello\": \"world\"}\n", "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"),
        ("{\"hello\": \"world\"}", "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"),
        ("", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"),
    ] {
        assert_eq!(content_digest(body.as_bytes()), digest, "{body}");
    }
}

#[test]
fn what_is_signed_and_sent() {
    let sent = Sent::by(&[key("2026-a"), key("2026-b")]);
    let covered = r#"("@method" "@path" "@query" "content-digest" "idempotency-key");created=1000000"#;
    let inputs = format!(
        "sig1={covered};keyid=\"2026-a\";alg=\"hmac-sha256\", sig2={covered};keyid=\"2026-b\";alg=\"hmac-sha256\""
    );
    assert_eq!(sent.headers.signature_input, inputs);
    let digest = content_digest(b"");
    let call = Signed {
        method: "GET",
        path: "/",
        query: None,
        content_digest: &digest,
        idempotency_key: "k",
        action_key: None,
    };
    let base_of = |call: &Signed<'_>| base(call, &parameters(components(call.action_key), 1, "a"));
    assert_eq!(
        base_of(&call),
        "\"@method\": GET\n\"@path\": /\n\"@query\": ?\n\
         \"content-digest\": sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:\n\"idempotency-key\": k\n\
         \"@signature-params\": (\"@method\" \"@path\" \"@query\" \"content-digest\" \"idempotency-key\")\
         ;created=1;keyid=\"a\";alg=\"hmac-sha256\""
    );
    assert_eq!(
        base_of(&Signed { action_key: Some("k-0"), ..call }),
        "\"@method\": GET\n\"@path\": /\n\"@query\": ?\n\
         \"content-digest\": sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:\n\"idempotency-key\": k\n\
         \"amends-action-key\": k-0\n\"@signature-params\": \
         (\"@method\" \"@path\" \"@query\" \"content-digest\" \"idempotency-key\" \"amends-action-key\")\
         ;created=1;keyid=\"a\";alg=\"hmac-sha256\""
    );
}

/// Without its `Amends-Action-Key` a compensation would be done as an action, and with another it would undo another's.
#[test]
fn a_compensation_stays_the_compensation_of_its_action() {
    let keys = [key("a")];
    let undoing = |action_key: Option<&str>, sent_as: Option<&str>| {
        let sent = Sent::that_undoes(action_key, &keys);
        Sent { action_key: sent_as.map(Into::into), ..sent }.verify(&keys)
    };
    let others = |needed| Err(Refusal::OtherComponents { needed });
    for (signed, received, expected) in [
        (Some("k-0"), Some("k-0"), Ok(())),
        (Some("k-0"), Some("k-1"), different("a")),
        (Some("k-0"), None, others(COMPONENTS)),
        (None, Some("k-0"), others(COMPONENTS_OF_UNDO)),
    ] {
        assert_eq!(undoing(signed, received), expected, "{signed:?} received as {received:?}");
    }
}

#[test]
fn either_key_of_two_is_enough() {
    let both = Sent::by(&[key("old"), key("new")]);
    for keys in [vec![key("old")], vec![key("new")], vec![key("new"), key("old")], vec![key("other"), key("new")]] {
        assert_eq!(both.verify(&keys), Ok(()), "{keys:?}");
    }
    assert_eq!(Sent::by(&[key("new")]).verify(&[key("old"), key("new")]), Ok(()));
    assert_eq!(both.verify(&[key("other")]), Err(Refusal::UnknownKey { ids: "old, new".into() }));
    assert_eq!(both.verify(&[]), Err(Refusal::UnknownKey { ids: "old, new".into() }));
    let impostor = Key::new("old", b"another secret of exactly 32 byt").unwrap();
    assert_eq!(both.verify(std::slice::from_ref(&impostor)), different("old"));
    assert_eq!(both.verify(&[impostor, key("new")]), Ok(()), "a secret that was changed under its id is no obstacle");
}

#[test]
fn whatever_is_changed_is_noticed() {
    type Change = fn(&mut Sent);
    let keys = [key("a")];
    let rows: [(&str, Change, Result<(), Refusal>); 10] = [
        ("nothing", |_| {}, Ok(())),
        ("method", |sent| sent.method = "PUT".into(), different("a")),
        ("path", |sent| sent.path = "/chargeS".into(), different("a")),
        ("query", |sent| sent.query = Some("dry=0".into()), different("a")),
        ("no query", |sent| sent.query = None, different("a")),
        ("body", |sent| sent.body[11] = b' ', Err(Refusal::DigestDiffers)),
        ("digest", |sent| sent.content_digest = content_digest(b""), different("a")),
        ("idempotency key", |sent| sent.idempotency_key = "k-2".into(), different("a")),
        ("time", |sent| replace(sent, "1000000", "1000001"), different("a")),
        ("key", |sent| replace(sent, "\"a\"", "\"b\""), Err(Refusal::UnknownKey { ids: "b".into() })),
    ];
    for (what, change, expected) in rows {
        let mut sent = Sent::by(&keys);
        change(&mut sent);
        assert_eq!(sent.verify(&keys), expected, "{what}");
    }
    let mut both = Sent::by(&[key("a"), key("b")]);
    both.headers.signature = both.headers.signature.replace("sig1", "sig3").replace("sig2", "sig1");
    both.headers.signature = both.headers.signature.replace("sig3", "sig2");
    assert!(both.verify(&keys).is_err(), "one key's signature does not count as the other's");
}

fn replace(sent: &mut Sent, from: &str, to: &str) {
    sent.headers.signature_input = sent.headers.signature_input.replace(from, to);
}

#[test]
fn a_signature_counts_for_a_while() {
    let sent = Sent::by(&[key("a")]);
    let at = |now_seconds| verify(&sent.received(), &[key("a")], Validity { now_seconds, ..NOW }).map(|_| ());
    let refused = |later| Err(Refusal::OutOfTime { seconds: 301, later, tolerance_seconds: 300 });
    for (now_seconds, expected) in
        [(999_699, refused(true)), (999_700, Ok(())), (1_000_300, Ok(())), (1_000_301, refused(false))]
    {
        assert_eq!(at(now_seconds), expected, "{now_seconds}");
    }
}

#[test]
fn a_header_that_is_missing_is_named() {
    let sent = Sent::by(&[key("a")]);
    let whole = sent.received();
    for (received, header) in [
        (Received { signature_input: None, ..whole }, "Signature-Input"),
        (Received { signature: None, ..whole }, "Signature"),
        (Received { content_digest: None, ..whole }, "Content-Digest"),
        (Received { idempotency_key: None, ..whole }, "Idempotency-Key"),
    ] {
        assert_eq!(verify(&received, &[key("a")], NOW), Err(Refusal::NotSigned { header }));
    }
}

#[test]
fn another_form_is_refused() {
    let others = Refusal::OtherComponents { needed: COMPONENTS };
    let malformed = |header: &'static str| {
        move |refusal: Refusal| {
            assert!(matches!(&refusal, Refusal::Malformed { header: named, .. } if *named == header), "{refusal:?}");
        }
    };
    let input = Sent::by(&[key("a")]).headers.signature_input;
    let signature = Sent::by(&[key("a")]).headers.signature;
    let with = |signature_input: &str, signature: &str| {
        let received_by = Sent::by(&[key("a")]);
        let received =
            Received { signature_input: Some(signature_input), signature: Some(signature), ..received_by.received() };
        verify(&received, &[key("a")], NOW).expect_err("this is not our form")
    };
    for components in
        ["(\"@method\")", "()", "(\"@path\" \"@method\" \"@query\" \"content-digest\" \"idempotency-key\")"]
    {
        let input = input.replace(COMPONENTS, components);
        assert_eq!(with(&input, &signature), others, "{components}");
    }
    for (from, to) in [
        ("sig1", "sig2"),
        ("sig1", "sig"),
        (";alg=\"hmac-sha256\"", ""),
        ("hmac-sha256", "hmac-sha512"),
        (";created=1000000", ""),
        ("=1000000", "=+1000000"),
        ("=1000000", "=01000000"),
        ("=1000000", "=-1"),
        ("=1000000", "=99999999999999999999"),
        ("\"a\"", "\"\""),
        ("\"a\"", "\"a b\""),
        (";keyid", "; keyid"),
    ] {
        malformed("Signature-Input")(with(&input.replace(from, to), &signature));
    }
    malformed("Signature-Input")(with(&format!("{input}, {input}, {input}"), &signature));
    malformed("Signature-Input")(with("", &signature));
    for other in ["", "sig1", "sig1=", "sig1=:", "sig1=:!!!:", "sig2=:AAAA:", "sig1=AAAA", "sig1=:AAAA:,sig2=:AAAA:"] {
        malformed("Signature")(with(&input, other));
    }
    malformed("Signature")(with(&input, &format!("{signature}, sig2=:AAAA:")));
    assert_eq!(with(&input, "sig1=::"), Refusal::SignatureDiffers { id: "a".into() });
}

#[test]
fn what_can_be_a_key() {
    for (id, secret, expected) in [
        ("a", SECRET, None),
        ("2026-11.B_c", SECRET, None),
        ("a", &SECRET[..31], Some(KeyError::Short { bytes: 31 })),
        ("a", b"", Some(KeyError::Short { bytes: 0 })),
        ("", SECRET, Some(KeyError::Id)),
        ("a\"b", SECRET, Some(KeyError::Id)),
        ("a, b", SECRET, Some(KeyError::Id)),
        ("ä", SECRET, Some(KeyError::Id)),
        (&"k".repeat(65), SECRET, Some(KeyError::Id)),
    ] {
        assert_eq!(Key::new(id, secret).err(), expected, "{id}");
    }
    let shown = format!("{:?}", Key::new("a", SECRET).unwrap());
    assert_eq!(shown, "Key(a)", "a secret is shown to nobody");
}

proptest! {
    #[test]
    fn garbage_is_refused(input in ".{0,200}", signature in ".{0,200}", digest in ".{0,80}") {
        let sent = Sent::by(&[key("a")]);
        let received = Received {
            signature_input: Some(&input),
            signature: Some(&signature),
            content_digest: Some(&digest),
            ..sent.received()
        };
        prop_assert!(verify(&received, &[key("a")], NOW).is_err());
    }

    /// Garbage that begins well: one byte of a good header is another one.
    #[test]
    fn one_byte_is_another(at in any::<prop::sample::Index>(), byte in 0x20_u8..0x7f, which in 0..3_usize) {
        let mut sent = Sent::by(&[key("a")]);
        let header = [
            &mut sent.headers.signature_input,
            &mut sent.headers.signature,
            &mut sent.content_digest,
        ].into_iter().nth(which).unwrap();
        let mut bytes = header.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        *header = String::from_utf8(bytes).unwrap();
        prop_assert!(sent.verify(&[key("a")]).is_err());
    }
}
