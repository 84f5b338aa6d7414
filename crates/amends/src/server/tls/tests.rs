use super::*;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// An authority, and a folder for what it issues.
struct Setting {
    folder: TempDir,
    authority: Authority,
}

impl Setting {
    fn new() -> Setting {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Setting { folder: tempfile::tempdir().unwrap(), authority }
    }

    fn files(&self) -> Tls {
        Tls { certificate: self.path("server.crt"), key: self.path("server.key") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a fresh certificate into the files, and returns it.
    fn issue(&self) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.path("server.crt"), certificate.pem()).unwrap();
        std::fs::write(self.path("server.key"), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    /// The certificate that a caller is shown at its next connection.
    async fn shown(&self, certificates: &Certificates) -> CertificateDer<'static> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let acceptor = certificates.acceptor().await;
        let accepting = tokio::spawn(async move { acceptor.accept(theirs).await.map(drop) });
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, ours).await.unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
        accepting.await.unwrap().unwrap();
        shown
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_without_a_restart() {
    let setting = Setting::new();
    let first = setting.issue();
    let certificates = Certificates::load(&setting.files()).await.unwrap();
    assert_eq!(setting.shown(&certificates).await, first);
    let second = setting.issue();
    assert_eq!(setting.shown(&certificates).await, first, "the files are not read at every connection");
    tokio::time::advance(LOOK).await;
    assert_eq!(setting.shown(&certificates).await, second);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_used_leaves_what_was_before() {
    let setting = Setting::new();
    let first = setting.issue();
    let certificates = Certificates::load(&setting.files()).await.unwrap();
    let spoil: [fn(&Setting); 4] = [
        |setting| std::fs::write(setting.path("server.crt"), "half of a certifi").unwrap(),
        |setting| std::fs::write(setting.path("server.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap(),
        |setting| std::fs::remove_file(setting.path("server.crt")).unwrap(),
        |setting| std::fs::remove_file(setting.path("server.key")).unwrap(),
    ];
    for (number, spoil) in spoil.into_iter().enumerate() {
        setting.issue();
        spoil(&setting);
        tokio::time::advance(LOOK).await;
        assert_eq!(setting.shown(&certificates).await, first, "spoilt in way {number}");
    }
    let last = setting.issue();
    tokio::time::advance(LOOK).await;
    assert_eq!(setting.shown(&certificates).await, last);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let setting = Setting::new();
    let refused = async || {
        let why = Certificates::load(&setting.files()).await.map(drop).unwrap_err();
        why.replace(&format!("{}/", setting.folder.path().display()), "")
    };
    assert_eq!(refused().await, "server.crt cannot be read: No such file or directory (os error 2)");
    setting.issue();
    std::fs::write(setting.path("server.key"), "no key").unwrap();
    assert_eq!(refused().await, "server.key has no key in PEM in it");
    setting.issue();
    std::fs::write(setting.path("server.crt"), "no certificate").unwrap();
    assert_eq!(refused().await, "server.crt has no certificate in it");
    setting.issue();
    std::fs::write(setting.path("server.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let why = refused().await;
    assert!(why.starts_with("server.crt and server.key cannot be used together: "), "{why}");
}
