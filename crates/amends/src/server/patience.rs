//! A connection whose other end must take what is sent to it. Without a bound, a caller who asks for much and reads
//! nothing would hold a connection, and what is buffered for it, for as long as it likes.
//!
//! The clock runs from the moment at which the system takes no more of what is to be sent. It stops when all of that is
//! on its way, or a good part: whoever reads slowly is served, whoever reads by drops is not. A stream of events of
//! which nothing waits to be sent may be silent for ever.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

#[cfg(test)]
mod tests;

/// As much as this, in bytes, counts as progress.
const GOOD_PART: usize = 64 * 1024;

/// A stream that fails when its other end does not read.
pub(super) struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Since the system took no more: until when that is borne.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What was taken since then, in bytes.
    taken: usize,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Patient<S> {
        Patient { stream, patience, stalled: None, taken: 0 }
    }

    fn judge(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.taken = self.taken.saturating_add(bytes);
                if self.taken >= GOOD_PART {
                    self.stalled = None;
                }
                written
            }
            Poll::Ready(Err(_)) => written,
            Poll::Pending => {
                let patience = self.patience;
                let taken = &mut self.taken;
                let stalled = self.stalled.get_or_insert_with(|| {
                    *taken = 0;
                    Box::pin(sleep(patience))
                });
                stalled.as_mut().poll(context).map(|()| {
                    Err(io::Error::new(io::ErrorKind::TimedOut, "the caller does not take what is sent to it"))
                })
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.judge(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called once everything that waited has been written.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        if flushed.is_ready() {
            this.stalled = None;
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
