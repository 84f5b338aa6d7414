//! Accepts connections and serves HTTP on them: without TLS HTTP/1.1 alone, for no browser speaks HTTP/2 then, and over
//! TLS whichever of the two the caller has chosen.

use super::patience::Patient;
use super::tls::{Certificates, HTTP_2};
use crate::api::Health;
use crate::config::Http;
use axum::Router;
use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tower::ServiceExt;

/// What a request's head may have in bytes before the connection is closed. The API's own bounds are lower and
/// answer with an explanation; this one keeps a stream of headers from filling the memory.
const HEAD_BYTES: usize = 64 * 1024;
/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 100;
/// How long to wait before accepting again when there are no file descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// How connections are served.
pub(super) struct Serving {
    pub(super) router: Router,
    pub(super) http: Http,
    /// Without them callers speak plain HTTP.
    pub(super) certificates: Option<Certificates>,
    pub(super) health: watch::Receiver<Health>,
}

/// Serves until the server is not healthy any more; then ends when every open request is answered.
pub(super) async fn accept(listener: TcpListener, serving: Serving) {
    let serving = Arc::new(serving);
    let places = Arc::new(Semaphore::new(serving.http.connections));
    let open = GracefulShutdown::new();
    let mut stopping = std::pin::pin!(stopped(serving.health.clone()));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            (accept_one(&listener).await, place)
        };
        let (stream, place) = tokio::select! {
            next = next => next,
            () = &mut stopping => break,
        };
        let (serving, watcher) = (serving.clone(), open.watcher());
        tokio::spawn(async move {
            serving.serve(stream, watcher).await;
            drop(place);
        });
    }
    drop(listener);
    open.shutdown().await;
}

impl Serving {
    async fn serve(&self, stream: TcpStream, watcher: Watcher) {
        let stream = Patient::new(stream, Duration::from_millis(self.http.answer_write_timeout_ms));
        let Some(certificates) = &self.certificates else { return self.serve_http_1(stream, watcher).await };
        let handshake = async { certificates.acceptor().await.accept(stream).await };
        let shaken = tokio::select! {
            shaken = timeout(self.patience(), handshake) => shaken,
            () = stopped(self.health.clone()) => return,
        };
        match shaken {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) => {
                self.serve_http_2(stream, watcher).await;
            }
            Ok(Ok(stream)) => self.serve_http_1(stream, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, "no TLS came about"),
            Err(_late) => tracing::debug!("no TLS came about in time"),
        }
    }

    async fn serve_http_1(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, watcher: Watcher) {
        let mut protocol = http1::Builder::new();
        protocol.timer(TokioTimer::new()).header_read_timeout(self.patience()).max_buf_size(HEAD_BYTES);
        let service = TowerToHyperService::new(self.router.clone());
        ended(watcher.watch(protocol.serve_connection(TokioIo::new(stream), service)).await);
    }

    /// HTTP/1.1 has a timeout for the next request of a connection; here it is ours to close one that nobody uses.
    async fn serve_http_2(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, watcher: Watcher) {
        let mut protocol = http2::Builder::new(TokioExecutor::new());
        protocol
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD_BYTES as u32)
            .keep_alive_interval(self.patience())
            .keep_alive_timeout(self.patience());
        let requests = Arc::new(watch::Sender::new(0));
        let open = requests.subscribe();
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let request_open = Open::new(&requests);
            let router = self.router.clone();
            async move {
                let answer = router.oneshot(request.map(Body::new)).await?;
                // The request is open until its answer is sent, or nobody wants it any more.
                Ok::<_, Infallible>(answer.map(|body| {
                    body.map_frame(move |frame| {
                        let _kept_as_long_as_the_body = &request_open;
                        frame
                    })
                }))
            }
        });
        let connection = protocol.serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            result = watcher.watch(connection) => ended(result),
            () = unused(open, self.patience()) => {}
        }
    }

    /// How long a caller may take for TLS, and for the head of each request.
    fn patience(&self) -> Duration {
        Duration::from_millis(self.http.header_read_timeout_ms)
    }
}

/// One of the requests that are open on a connection.
struct Open(Arc<watch::Sender<usize>>);

impl Open {
    fn new(requests: &Arc<watch::Sender<usize>>) -> Open {
        requests.send_modify(|open| *open += 1);
        Open(requests.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// Ends when no request has been open for so long.
async fn unused(mut requests: watch::Receiver<usize>, patience: Duration) {
    loop {
        // Whoever counts them is as old as the connection, and so is this.
        let _ = requests.wait_for(|open| *open == 0).await;
        if timeout(patience, requests.changed()).await.is_err() {
            return;
        }
    }
}

/// A connection that breaks is its caller's business; the requests on it are logged one by one.
fn ended(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended");
    }
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
