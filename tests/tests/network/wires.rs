//! The simulated network under real gRPC.

use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Error, Uri};
use turmoil::net::{TcpListener, TcpStream};

/// Where the coordinator listens.
pub const PORT: u16 = 7400;
/// How it is reached.
pub const COORDINATOR: &str = "http://coordinator:7400";
/// Connections that wait to be taken.
const CONNECTIONS_MAX: usize = 16;

/// A simulated connection, as a gRPC server takes it.
pub struct Wire(TcpStream);

/// The connections that come to this host.
pub async fn incoming() -> io::Result<ReceiverStream<io::Result<Wire>>> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let (sender, connections) = mpsc::channel(CONNECTIONS_MAX);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if sender.send(Ok(Wire(stream))).await.is_err() {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(connections))
}

/// Connects to another host.
pub async fn dial(endpoint: Endpoint) -> Result<Channel, Error> {
    let connect = |address: Uri| async move {
        let host = address.host().unwrap_or_default().to_owned();
        TcpStream::connect((host, PORT)).await.map(TokioIo::new)
    };
    endpoint.connect_with_connector(tower::service_fn(connect)).await
}

impl Connected for Wire {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}
