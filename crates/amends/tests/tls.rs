//! A server with a certificate, over real connections.
#![cfg(test)]

use amends::config::{Config, Sources};
use amends::server::Server;
use amends_client::Client;
use axum::body::Body;
use http::{Request, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What the head of a request and a handshake may take.
const BOUND: Duration = Duration::from_millis(500);
/// How long anything may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    server: Server,
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// How a caller speaks TLS.
struct Speaks {
    versions: &'static [&'static SupportedProtocolVersion],
    protocols: &'static [&'static str],
}

const ANYHOW: Speaks = Speaks { versions: &[&TLS13, &TLS12], protocols: &["h2", "http/1.1"] };

const OLD: &[&SupportedProtocolVersion] = &[&TLS12];

impl World {
    async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let bound = BOUND.as_millis();
        let text = format!(
            "listen = \"127.0.0.1:0\"\nstore = \"sqlite:amends.db\"\n[http]\nheader_read_timeout = \"{bound}ms\"\nanswer_write_timeout = \"{bound}ms\"\n\
             tls = {{ certificate = \"server.crt\", key = \"server.key\" }}\n"
        );
        for (name, text) in [
            ("ca.crt", authority.pem()),
            ("server.crt", certificate.pem()),
            ("server.key", key.serialize_pem()),
            ("amends.toml", text),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let sources = Sources { file: Some(folder.path().join("amends.toml")), ..Sources::default() };
        let server = Server::start(&Config::load(&sources).unwrap()).await.unwrap();
        World { server, authority, folder }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.server.address().port())
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.server.address()).await.unwrap()
    }

    async fn tls(&self, speaks: Speaks) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(speaks.versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = speaks.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, self.tcp().await).await.unwrap()
    }

    /// The program, with these arguments, as it speaks to the server.
    async fn program(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_amends"));
        command.args(arguments).current_dir(self.folder.path()).env("AMENDS_SERVER", self.url());
        command.envs(variables.iter().copied());
        timeout(PATIENCE, command.output()).await.unwrap().unwrap()
    }
}

fn request() -> Request<Body> {
    Request::get("https://localhost/readyz").header("host", "localhost").body(Body::empty()).unwrap()
}

#[tokio::test]
async fn callers_choose_the_version_of_http_and_of_tls() {
    let world = World::new().await;
    for (speaks, http, tls) in [
        (ANYHOW, Version::HTTP_2, ProtocolVersion::TLSv1_3),
        (Speaks { protocols: &["http/1.1"], ..ANYHOW }, Version::HTTP_11, ProtocolVersion::TLSv1_3),
        (Speaks { protocols: &[], ..ANYHOW }, Version::HTTP_11, ProtocolVersion::TLSv1_3),
        (Speaks { versions: OLD, ..ANYHOW }, Version::HTTP_2, ProtocolVersion::TLSv1_2),
    ] {
        let stream = world.tls(speaks).await;
        assert_eq!(stream.get_ref().1.protocol_version(), Some(tls));
        let is_http_2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let answer = if is_http_2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request()).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request()).await.unwrap()
        };
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, http));
    }
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_strange_name_is_refused_over_http_2_as_well() {
    let world = World::new().await;
    let stream = TokioIo::new(world.tls(ANYHOW).await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let strange = Request::get("https://elsewhere.example/readyz").body(Body::empty()).unwrap();
    let answer = sender.send_request(strange).await.unwrap();
    assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);
}

/// What a server answers to these bytes, until it closes the connection.
async fn said(mut stream: TcpStream, bytes: &[u8]) -> (Vec<u8>, Duration) {
    let began = Instant::now();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is closed with bytes unread is reset, which may take the answer with it.
    let _reset = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server ends the connection");
    (answer, began.elapsed())
}

#[tokio::test]
async fn what_is_no_tls_or_an_old_one_is_refused() {
    let world = World::new().await;
    let (answer, _) = said(world.tcp().await, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(!answer.starts_with(b"HTTP"), "plain HTTP is not answered: {answer:?}");
    // A greeting of TLS 1.1: version, 32 bytes of chance, no session, one cipher, no compression, and that it takes ECDSA.
    let extension = [0, 8, 0, 13, 0, 4, 0, 2, 4, 3];
    let body = [&[3, 2][..], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0], &extension].concat();
    let length = u8::try_from(body.len()).unwrap();
    let hello = [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat();
    let (answer, _) = said(world.tcp().await, &hello).await;
    const PROTOCOL_VERSION: u8 = 70;
    assert_eq!(answer.first().zip(answer.last()), Some((&0x15, &PROTOCOL_VERSION)), "{answer:?}");
}

#[tokio::test]
async fn who_does_not_shake_hands_is_cut_off() {
    let world = World::new().await;
    for beginning in [&b""[..], &[0x16, 3, 1, 1, 0]] {
        let (answer, took) = said(world.tcp().await, beginning).await;
        assert!(answer.is_empty() && took >= BOUND, "{took:?}");
    }
}

#[tokio::test]
async fn who_reads_nothing_is_cut_off() {
    let world = World::new().await;
    let mut stream = world.tls(Speaks { protocols: &["http/1.1"], ..ANYHOW }).await;
    let began = Instant::now();
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(&request.repeat(500)).await.unwrap();
    let mut ticks = interval(Duration::from_millis(20));
    let cut_off = async {
        while stream.write_all(b"\r\n").await.and(stream.flush().await).is_ok() {
            ticks.tick().await;
        }
    };
    timeout(PATIENCE, cut_off).await.expect("the server ends the connection");
    assert!(began.elapsed() >= BOUND);
}

#[tokio::test]
async fn a_connection_of_http_2_that_nobody_uses_is_closed() {
    let world = World::new().await;
    let stream = TokioIo::new(world.tls(ANYHOW).await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Body>(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    assert_eq!(sender.send_request(request()).await.unwrap().status(), StatusCode::OK);
    let began = Instant::now();
    let _ended = timeout(PATIENCE, connection).await.expect("the server closes it").unwrap();
    assert!(began.elapsed() >= BOUND / 2, "a connection that was just used is kept");
}

#[tokio::test]
async fn a_request_over_http_2_may_take_longer_than_its_head() {
    let world = World::new().await;
    let client = Client::trusting(&world.url(), world.authority.pem().as_bytes()).unwrap();
    let definition = "saga: waits\nkey: \"{{ input.id }}\"\nsteps:\n  signal: { wait: 1h }\n";
    client.put_definition("waits", definition).await.unwrap();
    let stream = TokioIo::new(world.tls(ANYHOW).await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let start = Request::post("https://localhost/v1/sagas/waits")
        .header("content-type", "application/json")
        .header("prefer", "wait=2")
        .body(Body::from("{\"id\":\"a\"}"))
        .unwrap();
    let answer = sender.send_request(start).await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn the_program_believes_the_authority_that_it_is_given() {
    let world = World::new().await;
    for (arguments, variables) in [(&["list", "--ca", "ca.crt"][..], &[][..]), (&["list"], &[("AMENDS_CA", "ca.crt")])]
    {
        let output = world.program(arguments, variables).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for (arguments, said) in [
        (&["list"][..], "name that with --ca or AMENDS_CA"),
        (&["list", "--ca", "server.key"], "the authority's certificate cannot be used: there is no certificate in it"),
        (&["list", "--ca", "nowhere"], "nowhere cannot be read: "),
    ] {
        let output = world.program(arguments, &[]).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(said), "{stderr}");
    }
    let another = World::new().await;
    let output = another.program(&["list", "--ca", world.folder.path().join("ca.crt").to_str().unwrap()], &[]).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("cannot be believed: "), "another authority is not believed: {stderr}");
}

#[tokio::test]
async fn the_program_says_that_it_speaks_tls() {
    let world = World::new().await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_amends"));
    command.args(["serve", "--store", "sqlite:another.db"]).current_dir(world.folder.path());
    let mut child = command.kill_on_drop(true).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(line.starts_with("listening on https://127.0.0.1:"), "{line}");
}
