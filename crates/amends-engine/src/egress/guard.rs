//! Connects to where a participant may be, and nowhere else.
//!
//! A definition names participants, and a participant's name can resolve to anything: the check is made on the
//! addresses that are then dialled, so no answer of a name server can come between.

use http::Uri;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;

#[cfg(test)]
mod tests;

/// How long connecting may take: a participant that does not even answer that is *not done*, not *unknown*.
const CONNECT: Duration = Duration::from_secs(5);

/// Addresses outside the link-local ranges at which cloud providers serve credentials to whoever asks.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Where IPv6 networks put the addresses of IPv4 (RFC 6052): the last four bytes after this.
const NAT64: [u8; 12] = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];

/// A name and a port become addresses.
type Resolve = dyn Fn(String, u16) -> Resolving + Send + Sync;
type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// A connector that refuses addresses no participant can have.
#[derive(Clone)]
pub(super) struct GuardedConnector {
    own_addresses: Arc<[SocketAddr]>,
    resolve: Arc<Resolve>,
}

impl GuardedConnector {
    pub(super) fn new(own_addresses: &[SocketAddr]) -> GuardedConnector {
        let system = |host: String, port| -> Resolving {
            Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
        };
        GuardedConnector { own_addresses: own_addresses.into(), resolve: Arc::new(system) }
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<TcpStream>> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("`{host}` has no address"));
        // Asked once: a name server that answers otherwise the next time changes nothing.
        for address in (self.resolve)(host, port).await? {
            if let Some(why) = refusal(address, &self.own_addresses) {
                last = io::Error::new(io::ErrorKind::PermissionDenied, format!("{address} is refused: {why}"));
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(TokioIo::new(stream));
                }
                Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
            }
        }
        Err(last)
    }
}

impl tower::Service<Uri> for GuardedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection within 5 s");
            tokio::time::timeout(CONNECT, connector.connect(uri)).await.map_err(timed_out)?
        })
    }
}

/// Why an address is refused, if it is.
fn refusal(address: SocketAddr, own_addresses: &[SocketAddr]) -> Option<&'static str> {
    let ip = canonical(address.ip());
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let is_own = |own: &SocketAddr| {
        let own_ip = canonical(own.ip());
        own.port() == address.port() && (own_ip == ip || (own_ip.is_unspecified() && is_of_this_machine(ip)))
    };
    if is_link_local || METADATA.contains(&ip) {
        Some("link-local and metadata addresses are never participants")
    } else if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("it is not the address of one machine")
    } else if own_addresses.iter().any(is_own) {
        Some("it is this server itself")
    } else {
        None
    }
}

/// The address that packets go to: one of IPv4 may be wrapped in one of IPv6.
fn canonical(ip: IpAddr) -> IpAddr {
    let ip = ip.to_canonical();
    let IpAddr::V6(wrapped) = ip else { return ip };
    match wrapped.octets().split_at(NAT64.len()) {
        (prefix, &[a, b, c, d]) if *prefix == NAT64 => Ipv4Addr::new(a, b, c, d).into(),
        _ => ip,
    }
}

/// Whether one of this machine's interfaces has the address: only then can a socket be bound to it.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}
