//! TLS for the server's own callers. The certificate is read again when its files have changed, so that it can be renewed
//! without a restart. What cannot be used leaves the one before it in force, and the log says why.

use crate::config::Tls;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

#[cfg(test)]
mod tests;

/// How often the files are looked at, at the most: at the next connection after this time.
const LOOK: Duration = Duration::from_secs(30);

/// HTTP/2, as ALPN calls it.
pub(super) const HTTP_2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// The certificate and key in force.
pub(super) struct Certificates {
    files: Tls,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    /// What was read last, be it in force or not: the same is not tried, and complained of, again.
    read: Pem,
    looked: Instant,
}

/// What is in the two files.
#[derive(PartialEq, Eq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// Where they cannot be read, or do not hold a chain of certificates and the key of the first one.
    pub(super) async fn load(files: &Tls) -> Result<Certificates, String> {
        let read = Pem::read(files).await?;
        let config = read.config(files)?;
        let state = Mutex::new(State { config, read, looked: Instant::now() });
        Ok(Certificates { files: files.clone(), state })
    }

    /// What takes the next connection.
    pub(super) async fn acceptor(&self) -> TlsAcceptor {
        let mut state = self.state.lock().await;
        if state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            self.look(&mut state).await;
        }
        TlsAcceptor::from(state.config.clone())
    }

    async fn look(&self, state: &mut State) {
        let read = match Pem::read(&self.files).await {
            Ok(read) if read == state.read => return,
            Ok(read) => read,
            Err(why) => return tracing::error!("{why}; the certificate that was read before stays in force"),
        };
        match read.config(&self.files) {
            Ok(config) => {
                state.config = config;
                tracing::info!("the certificate was renewed from {}", self.files.certificate.display());
            }
            Err(why) => tracing::error!("{why}; the certificate that was read before stays in force"),
        }
        state.read = read;
    }
}

impl Pem {
    async fn read(files: &Tls) -> Result<Pem, String> {
        Ok(Pem { certificate: bytes(&files.certificate).await?, key: bytes(&files.key).await? })
    }

    /// TLS 1.2 and 1.3; HTTP/2 where the caller speaks it, else HTTP/1.1.
    fn config(&self, files: &Tls) -> Result<Arc<ServerConfig>, String> {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        let chain = CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| format!("{certificate} is no PEM: {error}"))?;
        if chain.is_empty() {
            return Err(format!("{certificate} has no certificate in it"));
        }
        let private = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| format!("{key} has no key in PEM in it"))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("ring has ciphers for both")
            .with_no_client_auth()
            .with_single_cert(chain, private);
        let mut config = config.map_err(|error| format!("{certificate} and {key} cannot be used together: {error}"))?;
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()];
        Ok(Arc::new(config))
    }
}

async fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    tokio::fs::read(path).await.map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
