//! A way through which connections go, that can be cut: a load balancer in front of several servers, or the network between
//! a server and its database.

#![cfg(test)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// It listens as long as it lives.
pub struct Relay {
    pub address: SocketAddr,
    flows: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// Listens at an address, and leads each connection to the next of the targets that takes it.
    pub async fn start(address: SocketAddr, targets: Vec<SocketAddr>) -> Relay {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (flows, flowing) = watch::channel(true);
        let (targets, next) = (Arc::new(targets), Arc::new(AtomicUsize::new(0)));
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else { continue };
                tokio::spawn(lead(near, targets.clone(), next.clone(), flowing.clone()));
            }
        });
        Relay { address, flows, accepting }
    }

    /// From here on nothing comes through, and nobody is told.
    pub fn cut(&self) {
        self.flows.send_replace(false);
    }

    /// What was held up comes through again.
    pub fn heal(&self) {
        self.flows.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn lead(near: TcpStream, targets: Arc<Vec<SocketAddr>>, next: Arc<AtomicUsize>, flows: watch::Receiver<bool>) {
    let first = next.fetch_add(1, Ordering::Relaxed);
    for target in (0..targets.len()).map(|number| targets[(first + number) % targets.len()]) {
        if let Ok(far) = TcpStream::connect(target).await {
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::join!(pass(near_in, far_out, flows.clone()), pass(far_in, near_out, flows));
            return;
        }
    }
}

/// Passes on what comes, while anything flows; until either end has gone.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut flows: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if flows.wait_for(|flows| *flows).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _ = flows.wait_for(|flows| *flows).await;
    // The other end may have gone before.
    let _ = to.shutdown().await;
}
