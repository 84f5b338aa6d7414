//! People who look, as many machines would: lists, searches and statistics over the API, one after the other without a pause.

use crate::http::Connection;
use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tokio::task::JoinSet;

/// What they ask for, in turn.
const QUESTIONS: [&str; 5] = [
    "/v1/sagas?limit=50",
    "/v1/sagas?definition=bench&status=running&limit=50",
    "/v1/sagas?key=order-1",
    "/v1/statistics",
    "/v1/dead-letters?limit=50",
];

/// Readers on a thread of their own, so that they do not keep the load waiting.
pub struct Readers {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<u64>>,
}

impl Readers {
    /// Begins.
    pub fn start(address: SocketAddr, readers: usize) -> Readers {
        let is_over = Arc::new(AtomicBool::new(false));
        let until = is_over.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let each = (0..readers).map(|reader| read(address, reader, until.clone()));
                let answers: anyhow::Result<Vec<u64>> =
                    each.collect::<JoinSet<_>>().join_all().await.into_iter().collect();
                Ok(answers?.into_iter().sum())
            })
        });
        Readers { is_over, thread }
    }

    /// Ends, and says how many answers there were.
    pub fn stop(self) -> anyhow::Result<u64> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the readers have panicked")?
    }
}

/// Asks until it is over, and says how many answers there were.
async fn read(address: SocketAddr, reader: usize, is_over: Arc<AtomicBool>) -> anyhow::Result<u64> {
    let mut connection = Connection::open(address).await?;
    let mut answers = 0;
    for question in QUESTIONS.iter().cycle().skip(reader) {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let (status, body) = connection.send(Request::builder().uri(*question).body(Full::<Bytes>::default())?).await?;
        ensure!(status == StatusCode::OK, "{question} was answered {status}: {}", String::from_utf8_lossy(&body));
        answers += 1;
    }
    Ok(answers)
}
