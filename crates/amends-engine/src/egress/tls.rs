//! The clients of participants that have TLS settings of their own: a private authority, a certificate to show, or both.
//! Their files are read again when they have changed, so that they can be renewed without a restart.

use super::guard::GuardedConnector;
use super::{HttpClient, client};
use crate::settings::ParticipantTls;
use hyper_rustls::ConfigBuilderExt;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

#[cfg(test)]
mod tests;

/// How often the files are looked at, at the most: at the next call after this time.
const LOOK: Duration = Duration::from_secs(30);

/// The client of one participant.
pub(super) struct OwnClient {
    settings: ParticipantTls,
    connector: GuardedConnector,
    /// `None` until its files could be used once.
    state: Mutex<Option<State>>,
}

struct State {
    client: HttpClient,
    /// What was read last, be it in force or not: the same is not tried, and complained of, again.
    read: Pem,
    looked: Instant,
}

/// What is in the files.
#[derive(PartialEq, Eq)]
struct Pem {
    authority: Option<Vec<u8>>,
    /// The certificate to show, and its key.
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl OwnClient {
    pub(super) fn new(settings: ParticipantTls, connector: GuardedConnector) -> OwnClient {
        OwnClient { settings, connector, state: Mutex::new(None) }
    }

    /// What makes the next call. The error says why there is nothing that could.
    pub(super) async fn get(&self) -> Result<HttpClient, String> {
        let mut place = self.state.lock().await;
        let Some(state) = place.as_mut() else {
            let read = Pem::read(&self.settings).await?;
            let client = self.client(&read)?;
            *place = Some(State { client: client.clone(), read, looked: Instant::now() });
            return Ok(client);
        };
        if state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            self.look(state).await;
        }
        Ok(state.client.clone())
    }

    async fn look(&self, state: &mut State) {
        let read = match Pem::read(&self.settings).await {
            Ok(read) if read == state.read => return,
            Ok(read) => read,
            Err(why) => return tracing::error!("{why}; what was read before stays in force"),
        };
        match self.client(&read) {
            Ok(client) => state.client = client,
            Err(why) => tracing::error!("{why}; what was read before stays in force"),
        }
        state.read = read;
    }

    fn client(&self, read: &Pem) -> Result<HttpClient, String> {
        Ok(client(read.config(&self.settings)?, self.connector.clone()))
    }
}

/// Whether the files can be used as they are now.
pub(super) async fn check(settings: &ParticipantTls) -> Result<(), String> {
    Pem::read(settings).await?.config(settings).map(|_| ())
}

/// How a participant says that it does not take our certificate, or that it wants one: by an alert that belongs to the
/// handshake alone (RFC 8446, section 6.2). By TLS 1.3 that comes when our side
/// of the handshake has ended already, and a request may be under way; but a handshake that fails ends the connection
/// before anything of a request is read, so nothing has happened.
pub(super) fn refused_certificate(error: &(dyn Error + 'static)) -> Option<AlertDescription> {
    if let Some(rustls::Error::AlertReceived(alert)) = error.downcast_ref() {
        return Some(*alert).filter(is_about_certificates);
    }
    // What an IO error wraps is not among its sources.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref).map(|error| error as &dyn Error);
    refused_certificate(wrapped.or_else(|| error.source())?)
}

fn is_about_certificates(alert: &AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}

impl Pem {
    async fn read(settings: &ParticipantTls) -> Result<Pem, String> {
        let authority = match &settings.authority {
            Some(path) => Some(bytes(path).await?),
            None => None,
        };
        let identity = match &settings.identity {
            Some(identity) => Some((bytes(&identity.certificate).await?, bytes(&identity.key).await?)),
            None => None,
        };
        Ok(Pem { authority, identity })
    }

    fn config(&self, settings: &ParticipantTls) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for them");
        let builder = match self.authority.as_deref().zip(settings.authority.as_deref()) {
            Some((authority, path)) => builder.with_root_certificates(roots(authority, path)?),
            None => builder.try_with_platform_verifier().map_err(|error| format!("TLS cannot be set up: {error}"))?,
        };
        let Some(((certificate, key), files)) = self.identity.as_ref().zip(settings.identity.as_ref()) else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(certificate, &files.certificate)?;
        let (certificate, path) = (files.certificate.display(), files.key.display());
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| format!("{path} has no key in PEM in it"))?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("{certificate} and {path} cannot be used together: {error}"))
    }
}

fn roots(pem: &[u8], path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, path)? {
        roots.add(certificate).map_err(|error| format!("{} is no authority: {error}", path.display()))?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let path = path.display();
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| format!("{path} is no PEM: {error}"))?;
    if all.is_empty() { Err(format!("{path} has no certificate in it")) } else { Ok(all) }
}

async fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    tokio::fs::read(path).await.map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
