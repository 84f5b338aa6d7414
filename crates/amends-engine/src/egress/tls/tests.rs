//! A real participant that demands a certificate of its callers, and real calls to it.

use super::super::Egress;
use super::super::tests::{answer, called, egress};
use super::*;
use crate::settings::{Identity, Participant};
use amends_core::answer::Answer;
use rcgen::{CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use std::net::SocketAddr;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name` and its key, in PEM.
fn issue(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

/// A participant that takes callers with a certificate of its authority alone.
struct Setting {
    authority: Authority,
    folder: TempDir,
    address: SocketAddr,
    /// For each request that was read: the certificate of who sent it.
    requests: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Setting {
    async fn new(version: &'static rustls::SupportedProtocolVersion) -> Setting {
        let authority = authority("ours");
        let (certificate, key) = issue(&authority, "localhost");
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (served, requests) = mpsc::unbounded_channel();
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), served));
        let folder = tempfile::tempdir().unwrap();
        let setting = Setting { authority, folder, address, requests };
        setting.write("ca.crt", &setting.authority.pem());
        setting
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Puts a fresh certificate of an authority into the files that callers show.
    fn identify(&self, authority: &Authority) {
        let (certificate, key) = issue(authority, "amends");
        self.write("client.crt", &certificate);
        self.write("client.key", &key);
    }

    fn tls(&self) -> ParticipantTls {
        let identity = Identity { certificate: self.path("client.crt"), key: self.path("client.key") };
        ParticipantTls { authority: Some(self.path("ca.crt")), identity: Some(identity) }
    }

    /// Calls go to `host` with these settings.
    fn egress(&self, host: &str, tls: Option<ParticipantTls>) -> Egress {
        let url = format!("https://{host}:{}", self.address.port()).parse().unwrap();
        egress(Participant { tls, ..Participant::at(url) })
    }

    /// Why a call is not sent, and that it does not arrive.
    async fn not_sent(&mut self, host: &str, tls: Option<ParticipantTls>) -> String {
        let answer = called(&self.egress(host, tls)).await;
        assert!(self.requests.try_recv().is_err(), "a request was read");
        match answer {
            Answer::NotSent { error } => self.short(&error),
            other => panic!("{other:?}"),
        }
    }

    /// A message without the folder's own name.
    fn short(&self, message: &str) -> String {
        message.replace(&format!("{}/", self.folder.path().display()), "")
    }

    /// Makes a call that is answered, and returns the certificate that was shown.
    async fn shown(&mut self, egress: &Egress) -> Vec<u8> {
        let answer = called(egress).await;
        assert!(matches!(&answer, Answer::Response(response) if response.status == 200), "{answer:?}");
        self.requests.recv().await.unwrap()
    }

    fn certificate(&self) -> Vec<u8> {
        CertificateDer::from_pem_file(self.path("client.crt")).unwrap().to_vec()
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, served: mpsc::UnboundedSender<Vec<u8>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, served) = (acceptor.clone(), served.clone());
        tokio::spawn(async move {
            let mut stream = acceptor.accept(stream).await?;
            let shown = stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec());
            answer(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await?;
            let _the_test_is_over = served.send(shown.unwrap_or_default());
            std::io::Result::Ok(())
        });
    }
}

#[tokio::test]
async fn a_participant_is_shown_who_calls() {
    for version in [&TLS12, &TLS13] {
        let mut setting = Setting::new(version).await;
        setting.identify(&setting.authority);
        let egress = setting.egress("localhost", Some(setting.tls()));
        assert_eq!(setting.shown(&egress).await, setting.certificate());
    }
}

#[tokio::test]
async fn without_the_certificate_nothing_is_sent() {
    for version in [&TLS12, &TLS13] {
        let mut setting = Setting::new(version).await;
        let why = setting.not_sent("localhost", Some(setting.tls())).await;
        assert_eq!(why, "client.crt cannot be read: No such file or directory (os error 2)");
        let unidentified = ParticipantTls { identity: None, ..setting.tls() };
        let why = setting.not_sent("localhost", Some(unidentified)).await;
        let ended = "the participant ended TLS over the certificate that it was shown, or not shown: ";
        assert_eq!(why, format!("{ended}CertificateRequired"));
        for name in ["other", "ours"] {
            setting.identify(&authority(name));
            let why = setting.not_sent("localhost", Some(setting.tls())).await;
            assert!(why.starts_with(ended), "a certificate of another authority, called {name}: {why}");
        }
    }
}

#[tokio::test]
async fn somebody_else_in_the_participants_place_is_sent_nothing() {
    let mut setting = Setting::new(&TLS13).await;
    setting.identify(&setting.authority);
    let why = setting.not_sent("127.0.0.1", Some(setting.tls())).await;
    assert!(why.contains("not valid for name"), "its certificate has another name: {why}");
    let of_the_system = ParticipantTls { authority: None, ..setting.tls() };
    for tls in [None, Some(of_the_system)] {
        let why = setting.not_sent("localhost", tls).await;
        assert!(why.contains("UnknownIssuer"), "the system does not know its authority: {why}");
    }
    for (name, expected) in [("other", "UnknownIssuer"), ("ours", "BadSignature")] {
        setting.write("ca.crt", &authority(name).pem());
        let why = setting.not_sent("localhost", Some(setting.tls())).await;
        assert!(why.contains(expected), "it is of another authority, called {name}: {why}");
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let mut setting = Setting::new(&TLS13).await;
    setting.identify(&setting.authority);
    let (_, other_key) = issue(&setting.authority, "amends");
    for (name, text, why) in [
        ("client.key", other_key.as_str(), "client.crt and client.key cannot be used together: "),
        ("client.key", "no key", "client.key has no key in PEM in it"),
        ("client.crt", "no certificate", "client.crt has no certificate in it"),
        ("ca.crt", "no certificate", "ca.crt has no certificate in it"),
    ] {
        setting.write(name, text);
        let error = setting.not_sent("localhost", Some(setting.tls())).await;
        assert!(error.starts_with(why), "{error}");
        let participant = Participant { tls: Some(setting.tls()), ..Participant::at("https://a".parse().unwrap()) };
        let obstacles = setting.short(&participant.obstacles().await.concat());
        assert!(obstacles.starts_with(why), "it is said at the start as well: {obstacles}");
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_without_a_restart() {
    let mut setting = Setting::new(&TLS13).await;
    setting.identify(&setting.authority);
    let egress = setting.egress("localhost", Some(setting.tls()));
    let first = setting.certificate();
    assert_eq!(setting.shown(&egress).await, first);
    setting.identify(&setting.authority);
    assert_eq!(setting.shown(&egress).await, first, "the files are not read at every call");
    wait_out(&egress).await;
    let second = setting.certificate();
    assert_eq!(setting.shown(&egress).await, second);
    for name in ["client.key", "client.crt"] {
        setting.identify(&setting.authority);
        setting.write(name, "half of someth");
        wait_out(&egress).await;
        assert_eq!(setting.shown(&egress).await, second, "what was before stays in force");
    }
}

/// As if the files had been looked at long ago. The clock itself cannot be moved: the connections are real.
async fn wait_out(egress: &Egress) {
    let mut place = egress.own_clients["shop"].state.lock().await;
    let state = place.as_mut().unwrap();
    state.looked = state.looked.checked_sub(LOOK).unwrap();
}
