//! The way to the emulator, which a test cuts and mends. The emulator itself keeps its queues in memory: ending it would lose what it
//! has taken, which SQS does not.

#![cfg(test)]

use crate::support::emulator;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is passed on.
    Open,
    /// It is closed at once.
    Cut,
    /// What is asked arrives; the answer does not.
    Deaf,
    /// It is taken, and nothing is ever answered.
    Silent,
}

pub struct Way {
    pub address: String,
    state: watch::Sender<State>,
    /// How many connections came to a way that was not open.
    stopped: watch::Receiver<usize>,
}

impl Way {
    pub async fn new(state: State) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (state, seen) = watch::channel(state);
        let (count, stopped) = watch::channel(0);
        tokio::spawn(accept(listener, seen, Arc::new(count)));
        Way { address, state, stopped }
    }

    /// Changes it; connections that are open are cut.
    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Waits until so many connections have come that were not passed on.
    pub async fn stopped(&self, connections: usize) {
        self.stopped.clone().wait_for(|count| *count >= connections).await.unwrap();
    }
}

async fn accept(listener: TcpListener, state: watch::Receiver<State>, count: Arc<watch::Sender<usize>>) {
    loop {
        let (connection, _) = listener.accept().await.unwrap();
        let (mut changed, count) = (state.clone(), count.clone());
        let now = *changed.borrow_and_update();
        tokio::spawn(async move {
            tokio::select! {
                () = pass(connection, now, &count) => {}
                _ = changed.changed() => {}
            }
        });
    }
}

async fn pass(mut connection: TcpStream, state: State, count: &watch::Sender<usize>) {
    let there = emulator().strip_prefix("http://").expect("the emulator speaks plain HTTP").to_owned();
    if state != State::Open {
        count.send_modify(|count| *count += 1);
    }
    match state {
        State::Cut => {}
        State::Silent => std::future::pending().await,
        State::Open => {
            let mut emulator = TcpStream::connect(there).await.unwrap();
            // Either side may end it.
            let _ = copy_bidirectional(&mut connection, &mut emulator).await;
        }
        State::Deaf => {
            let mut emulator = TcpStream::connect(there).await.unwrap();
            let mut bytes = vec![0; 1 << 16];
            let (mut from, _kept) = connection.split();
            let (mut back, mut to) = emulator.split();
            let asking = async {
                while let Ok(size @ 1..) = from.read(&mut bytes).await {
                    to.write_all(&bytes[..size]).await.unwrap();
                }
            };
            let mut first = [0; 1];
            tokio::select! {
                () = asking => {}
                // The emulator has done it when it begins to answer.
                _ = back.read(&mut first) => {}
            }
        }
    }
}
