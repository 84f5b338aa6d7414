//! Accepts connections and serves HTTP/1.1 on them. There is no HTTP/2 here: without TLS no browser speaks it, and
//! what it would add are ways to keep a server busy.

use super::patience::Patient;
use crate::api::Health;
use crate::config::Http;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// What a request's head may have in bytes before the connection is closed. The API's own bounds are lower and
/// answer with an explanation; this one keeps a stream of headers from filling the memory.
const HEAD_BYTES: usize = 64 * 1024;
/// How long to wait before accepting again when there are no file descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Serves until the server is not healthy any more; then ends when every open request is answered.
pub(super) async fn accept(listener: TcpListener, router: Router, http: Http, health: watch::Receiver<Health>) {
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(http.header_read_timeout_ms))
        .max_buf_size(HEAD_BYTES);
    let patience = Duration::from_millis(http.answer_write_timeout_ms);
    let places = Arc::new(Semaphore::new(http.connections));
    let open = GracefulShutdown::new();
    let mut stopping = std::pin::pin!(stopped(health));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            (accept_one(&listener).await, place)
        };
        let (stream, place) = tokio::select! {
            next = next => next,
            () = &mut stopping => break,
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = open.watch(protocol.serve_connection(TokioIo::new(Patient::new(stream, patience)), service));
        tokio::spawn(async move {
            // A connection that breaks is its caller's business; the requests on it are logged one by one.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    open.shutdown().await;
}

async fn stopped(mut health: watch::Receiver<Health>) {
    // A sender that is gone means the same.
    let _ = health.wait_for(|health| *health != Health::Running).await;
}

async fn accept_one(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // An answer is one small write: waiting to fill a packet would only delay it.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) if is_of_one_connection(error.kind()) => {}
            Err(error) => {
                tracing::error!(%error, "connections cannot be accepted for the moment");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

/// Whether an error concerns the connection that was to be accepted and not the listener.
fn is_of_one_connection(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionAborted | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset)
}
