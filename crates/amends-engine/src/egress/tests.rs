use super::*;
use amends_core::machine::{Direction, Request as CallRequest};
use futures_util::FutureExt;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// How long a call may take that is to come to its end.
const PATIENCE_MS: u64 = 30_000;

/// A call to the participant `shop`.
pub(super) fn call(timeout_ms: u64) -> OutgoingCall {
    OutgoingCall {
        id: Default::default(),
        saga: Default::default(),
        step: Default::default(),
        step_name: "step".into(),
        direction: Direction::Action,
        attempt: 1,
        key: "k-1".into(),
        action_key: None,
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        request: CallRequest {
            method: amends_core::definition::Method::Post,
            participant: "shop".into(),
            path: "/charges".into(),
            body: Some("{}".into()),
            timeout_ms,
        },
    }
}

/// What comes of calls to a participant.
pub(super) fn egress(participant: Participant) -> Egress {
    let mut settings = Settings::default();
    settings.participants.insert("shop".into(), participant);
    Egress::new(&settings).unwrap()
}

pub(super) async fn called(egress: &Egress) -> Answer {
    egress.call(call(PATIENCE_MS)).await
}

/// Reads a request, whose body has two bytes.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n{}") {
        request.push(stream.read_u8().await?);
    }
    Ok(())
}

/// Reads a request, and answers.
pub(super) async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &str) -> std::io::Result<()> {
    read(stream).await?;
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// A participant that answers one request in this way.
async fn answers_once(with: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        answer(&mut stream, &with).await
    });
    address
}

fn at(url: &str) -> Participant {
    Participant::at(url.parse().unwrap())
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_leads_nowhere() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = format!("http://{}/", elsewhere.local_addr().unwrap());
    for location in ["http://169.254.169.254/latest/meta-data", there.as_str(), "/elsewhere"] {
        for expected in [301, 302, 303, 307, 308] {
            let text = format!("HTTP/1.1 {expected} Go\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            let egress = egress(at(&format!("http://{}", answers_once(text).await)));
            match called(&egress).await {
                Answer::Response(Response { status, .. }) => assert_eq!(status, expected, "{location}"),
                other => panic!("{location}: {other:?}"),
            }
        }
    }
    assert!(elsewhere.accept().now_or_never().is_none(), "nobody has come there");
}

#[tokio::test]
async fn a_participant_at_a_forbidden_address_is_sent_nothing() {
    for url in [
        "http://169.254.169.254",
        "http://2852039166",
        "http://0251.0376.0251.0376",
        "http://0xa9fea9fe",
        "http://[::ffff:169.254.169.254]",
        "https://[fe80::1]",
        "https://[fd00:ec2::254]",
        "http://0.0.0.0",
    ] {
        match called(&egress(at(url))).await {
            Answer::NotSent { error } => assert!(error.contains(" is refused: "), "{url}: {error}"),
            other => panic!("{url}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_server_does_not_call_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for own in [address, SocketAddr::new([0, 0, 0, 0].into(), address.port())] {
        for url in [format!("http://{address}"), format!("http://localhost:{}", address.port())] {
            let mut settings = Settings { own_addresses: vec![own], ..Settings::default() };
            settings.participants.insert("shop".into(), at(&url));
            let answer = called(&Egress::new(&settings).unwrap()).await;
            assert!(matches!(answer, Answer::NotSent { .. }), "{url}: {answer:?}");
        }
    }
    assert!(listener.accept().now_or_never().is_none(), "nothing has arrived");
}

#[tokio::test]
async fn an_answer_over_the_bound_is_not_kept() {
    for (bytes, is_kept) in [(limits::OUTPUT_BYTES, true), (limits::OUTPUT_BYTES + 1, false)] {
        let body = "x".repeat(bytes);
        let text = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {bytes}\r\n\r\n{body}");
        match called(&egress(at(&format!("http://{}", answers_once(text).await)))).await {
            Answer::Response(response) => assert_eq!(response.body_dropped.is_none(), is_kept, "{bytes}"),
            other => panic!("{bytes}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_lost() {
    let text = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let egress = egress(at(&format!("http://{}", listener.local_addr().unwrap())));
    let half = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read(&mut stream).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    };
    let (answer, _kept_open) = tokio::join!(egress.call(call(200)), half);
    assert_eq!(answer, Answer::Lost { error: "no answer within 200 ms".into() });
}
