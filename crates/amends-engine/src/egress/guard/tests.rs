use super::{GuardedConnector, Resolving, refusal};
use futures_util::FutureExt;
use http::Uri;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;

#[test]
fn addresses_that_no_participant_can_have_are_refused() {
    let own = ["127.0.0.1:7700".parse().expect("an address")];
    for (address, is_refused) in [
        ("127.0.0.1:7101", false),
        ("10.0.0.7:80", false),
        ("[2001:db8::1]:443", false),
        ("127.0.0.1:7700", true),
        ("[::ffff:127.0.0.1]:7700", true),
        ("169.254.169.254:80", true),
        ("169.254.0.1:80", true),
        ("[::ffff:169.254.169.254]:80", true),
        ("[fe80::1]:80", true),
        ("[64:ff9b::169.254.169.254]:80", true),
        ("[64:ff9b::127.0.0.1]:7700", true),
        ("[64:ff9b::10.0.0.7]:80", false),
        ("[64:ff9b:1::169.254.169.254]:80", false),
        ("[::ffff:100.100.100.200]:80", true),
        ("[fd00:ec2::254]:80", true),
        ("100.100.100.200:80", true),
        ("0.0.0.0:7700", true),
        ("[::]:80", true),
        ("224.0.0.1:80", true),
        ("255.255.255.255:80", true),
    ] {
        let parsed = address.parse().expect("an address");
        assert_eq!(refusal(parsed, &own).is_some(), is_refused, "{address}");
    }
}

/// Some address of this machine's other than the loopback's, if it has one. Nothing is sent.
fn address_in_the_network() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

#[test]
fn the_server_itself_is_refused_wherever_it_listens() {
    let mut ours: Vec<IpAddr> =
        vec!["127.0.0.1".parse().unwrap(), "127.8.8.8".parse().unwrap(), "::1".parse().unwrap()];
    ours.extend(address_in_the_network());
    for listening in ["0.0.0.0:7700", "[::]:7700"] {
        let own: [SocketAddr; 1] = [listening.parse().unwrap()];
        for ip in &ours {
            assert!(refusal((*ip, 7700).into(), &own).is_some(), "{ip} at {listening}");
            assert!(refusal((*ip, 7701).into(), &own).is_none(), "{ip} at {listening}, another port");
        }
        assert!(refusal("192.0.2.1:7700".parse().unwrap(), &own).is_none(), "another machine's port is its own");
    }
}

#[tokio::test]
async fn however_an_address_is_spelt_it_is_refused() {
    let connector = GuardedConnector::new(&[]);
    for host in [
        "169.254.169.254",
        "2852039166",
        "0251.0376.0251.0376",
        "0xa9fea9fe",
        "0xa9.254.0251.254",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[0:0:0:0:0:ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00:ec2::254]",
        "[fe80::a9fe:a9fe]",
    ] {
        let uri: Uri = format!("http://{host}/latest/meta-data").parse().unwrap();
        let error = connector.clone().connect(uri).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{host}: {error}");
    }
}

/// A connector for names that resolve to these addresses, one after another with each question, and how often it has asked.
fn answered(answers: Vec<Vec<SocketAddr>>) -> (GuardedConnector, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let resolve = move |_, _| -> Resolving {
        let number = count.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(answers[number].clone())))
    };
    (GuardedConnector { resolve: Arc::new(resolve), ..GuardedConnector::new(&[]) }, asked)
}

#[tokio::test]
async fn what_was_checked_is_what_is_dialled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good = listener.local_addr().unwrap();
    let bad: SocketAddr = "169.254.169.254:80".parse().unwrap();
    let uri = || Uri::from_static("http://rebound.example/");
    let (connector, asked) = answered(vec![vec![good], vec![bad]]);
    connector.clone().connect(uri()).await.unwrap();
    assert!(listener.accept().now_or_never().is_some(), "the first answer was checked and dialled");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "one connection is one question");
    assert!(connector.connect(uri()).await.is_err(), "the next connection is judged anew");
    let (connector, _) = answered(vec![vec![bad, good]]);
    connector.connect(uri()).await.unwrap();
    let (connector, _) = answered(vec![vec![bad, bad]]);
    assert!(connector.connect(uri()).await.is_err());
    let (connector, _) = answered(vec![vec![]]);
    assert_eq!(connector.connect(uri()).await.map(drop).unwrap_err().to_string(), "`rebound.example` has no address");
}
