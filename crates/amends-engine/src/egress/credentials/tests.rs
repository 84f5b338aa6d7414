use super::*;
use amends_core::signature::{Received, Validity, verify};
use std::path::Path;

const OLD: &str = "the old secret, which has more than 32 bytes";
const NEW: &str = "the new secret, which has more than 32 bytes";
const BODY: &[u8] = b"{}";
const SECONDS: u64 = 1_000;

fn signed_by(keys: &[(&str, Secret)]) -> Participant {
    let mut participant = Participant::at("http://127.0.0.1:7101".parse().unwrap());
    participant.signing = keys.iter().map(|(id, secret)| ((*id).to_owned(), secret.clone())).collect();
    participant
}

async fn request(participant: &Participant) -> Result<Request<Full<Bytes>>, String> {
    let request = Request::put("http://127.0.0.1:7101/charges?dry=1").header("idempotency-key", "k-1");
    let mut request = request.body(Full::from(BODY)).unwrap();
    sign(&mut request, BODY, participant, SystemTime::UNIX_EPOCH + Duration::from_secs(SECONDS)).await?;
    Ok(request)
}

/// Whether a service that has this key takes the request.
fn is_taken(request: &Request<Full<Bytes>>, id: &str, secret: &str) -> bool {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap());
    let received = Received {
        method: "PUT",
        path: "/charges",
        query: Some("dry=1"),
        idempotency_key: Some("k-1"),
        action_key: header("amends-action-key"),
        content_digest: header("content-digest"),
        signature_input: header("signature-input"),
        signature: header("signature"),
    };
    let keys = [Key::new(id, secret.as_bytes()).unwrap()];
    let validity = Validity { now_seconds: SECONDS, tolerance_seconds: 0 };
    verify(&received, &keys, validity).and_then(|verified| verified.with_body(BODY)).is_ok()
}

fn write(folder: &Path, name: &str, text: &str) -> Secret {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    Secret::File(path)
}

#[tokio::test]
async fn a_call_is_signed_by_every_key() {
    let folder = tempfile::tempdir().unwrap();
    let old = write(folder.path(), "old", &format!("{OLD}\n"));
    let new = write(folder.path(), "new", NEW);
    let both = request(&signed_by(&[("1", old.clone()), ("2", new)])).await.unwrap();
    assert!(is_taken(&both, "1", OLD) && is_taken(&both, "2", NEW));
    assert!(!is_taken(&both, "1", NEW) && !is_taken(&both, "3", OLD));
    let one = request(&signed_by(&[("1", old)])).await.unwrap();
    assert!(is_taken(&one, "1", OLD) && !is_taken(&one, "2", NEW));
    let none = request(&signed_by(&[])).await.unwrap();
    assert_eq!(none.headers().len(), 1, "nothing is added where nothing is to be signed");
}

#[tokio::test]
async fn a_secret_is_read_at_every_send() {
    let folder = tempfile::tempdir().unwrap();
    let participant = signed_by(&[("1", write(folder.path(), "secret", OLD))]);
    assert!(is_taken(&request(&participant).await.unwrap(), "1", OLD));
    write(folder.path(), "secret", NEW);
    assert!(is_taken(&request(&participant).await.unwrap(), "1", NEW));
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_stops_the_call() {
    let folder = tempfile::tempdir().unwrap();
    let good = write(folder.path(), "good", OLD);
    let nowhere = Secret::Env("AMENDS_TEST_THAT_NOBODY_SETS".into());
    let short = write(folder.path(), "short", &OLD[..31]);
    let place = folder.path().display();
    for (secret, why) in [
        (
            nowhere,
            "the signing key 2 (env:AMENDS_TEST_THAT_NOBODY_SETS) cannot be used: \
             the environment variable AMENDS_TEST_THAT_NOBODY_SETS is not set"
                .to_owned(),
        ),
        (
            short,
            format!(
                "the signing key 2 (file:{place}/short) cannot be used: \
                 the signing secret has 31 bytes; it must have at least 32"
            ),
        ),
    ] {
        let participant = signed_by(&[("1", good.clone()), ("2", secret)]);
        assert_eq!(request(&participant).await.unwrap_err(), why);
        assert_eq!(participant.obstacles().await, [why]);
    }
    assert_eq!(signed_by(&[("1", good)]).obstacles().await, [""; 0]);
}

#[tokio::test]
async fn a_header_that_is_not_there_is_an_obstacle() {
    let mut participant = signed_by(&[]);
    participant.headers.push(("authorization".into(), Secret::Env("AMENDS_TEST_THAT_NOBODY_SETS".into())));
    let why = "the header authorization: the environment variable AMENDS_TEST_THAT_NOBODY_SETS is not set";
    assert_eq!(participant.obstacles().await, [why]);
    assert!(add_headers(&mut HeaderMap::new(), &participant).await.is_err());
}
