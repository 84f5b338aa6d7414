//! Whether a connection leads straight to a server.
//!
//! A server tells each connection the number of the process that serves it, for cancelling a query, and a pooler tells a
//! number of its own making. The driver keeps the number to itself but writes it into a request to cancel; one is written
//! here to nobody, for what it says.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Error};

/// What stands in a request to cancel before the number of the process.
const CANCEL_REQUEST: u32 = 80_877_102;

/// Whether the process that answers on this connection is the one that it was told of at its beginning.
pub(super) async fn is_direct(client: &Client) -> Result<bool, Error> {
    let row = client.query_typed("SELECT pg_backend_pid()", &[]).await?;
    let answering: i32 = row[0].try_get(0)?;
    Ok(told(client).await.is_ok_and(|told| told == answering))
}

/// The number that the connection was told at its beginning.
async fn told(client: &Client) -> io::Result<i32> {
    let (near, mut far) = tokio::io::duplex(64);
    let token = client.cancel_token();
    // It waits for an answer that the end of the stream stands for, so its result says nothing.
    let write = token.cancel_query_raw(near, Plain);
    let read = async {
        loop {
            let (_length, code) = (far.read_u32().await?, far.read_u32().await?);
            if code == CANCEL_REQUEST {
                let told = far.read_i32().await?;
                far.read_i32().await?;
                drop(far);
                return Ok(told);
            }
            // It asks for TLS first.
            far.write_all(b"S").await?;
        }
    };
    let (_, told) = futures_util::join!(write, read);
    told
}

/// Stands where TLS would, on the way to nobody.
struct Plain;

struct PlainStream(DuplexStream);

impl TlsConnect<DuplexStream> for Plain {
    type Stream = PlainStream;
    type Error = io::Error;
    type Future = Ready<io::Result<PlainStream>>;

    fn connect(self, stream: DuplexStream) -> Self::Future {
        ready(Ok(PlainStream(stream)))
    }
}

impl TlsStream for PlainStream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for PlainStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for PlainStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::is_direct;
    use test_postgres::{Durability, Pooler, Server};
    use tokio_postgres::NoTls;

    /// Statements that were prepared behind a pooler would be another's, or nobody's.
    #[tokio::test]
    async fn a_pooler_is_told_from_a_server() {
        let server = Server::start(Durability::None).unwrap();
        let pooler = Pooler::start(&server, 1).unwrap();
        let url = server.url("postgres");
        for (url, expected) in [(pooler.url(&server, &url), false), (url, true)] {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            assert_eq!(is_direct(&client).await.unwrap(), expected, "{url}");
        }
    }
}
