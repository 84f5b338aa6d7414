//! The connections that read, each on a thread of its own.
//!
//! Each piece of work gets a transaction, which is to say one moment of the store, however many statements it takes.

use super::errors::{refusal, stopped};
use crate::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use tokio::sync::oneshot;

type Read = Box<dyn FnOnce(&mut Connection) + Send>;

/// The threads, which share one queue.
#[derive(Debug)]
pub(super) struct Readers {
    /// `None` only while it is dropped: without a sender the threads end.
    queue: Option<Sender<Read>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts a thread for each connection.
    pub(super) fn start(connections: Vec<Connection>) -> io::Result<Readers> {
        let (sender, receiver) = channel();
        let mut readers = Readers { queue: Some(sender), threads: Vec::new() };
        let receiver = Arc::new(Mutex::new(receiver));
        for connection in connections {
            let receiver = Arc::clone(&receiver);
            let thread = Builder::new().name("amends-reader".into()).spawn(move || serve(connection, &receiver))?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Does a piece of work on the next connection that is free. Nothing is done for a caller that has gone.
    pub(super) async fn perform<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            if !reply.is_closed() {
                let _ = reply.send(in_snapshot(connection, work));
            }
        });
        let queue = self.queue.as_ref().expect("the queue is there until the readers are dropped");
        queue.send(read).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?.map_err(|error| refusal(&error))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already, and the others still have to end.
            let _ = thread.join();
        }
    }
}

fn serve(mut connection: Connection, queue: &Mutex<Receiver<Read>>) {
    loop {
        // The lock is held while this waits: whichever thread has it takes the next piece, and the others line up.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(read) = next else { return };
        // A panic is one caller's failure, who hears that there is no answer; the connection serves the next.
        let _ = catch_unwind(AssertUnwindSafe(|| read(&mut connection)));
    }
}

fn in_snapshot<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let found = work(&transaction)?;
    transaction.commit()?;
    Ok(found)
}
