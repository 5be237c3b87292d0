//! What stands between a client and a server, and can fail.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How it treats connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "not every test that includes this file needs every fault")]
pub enum Mode {
    /// They pass.
    Pass,
    /// They are cut, those that are open too.
    Cut,
    /// Every request is answered with 503.
    Refuse,
    /// They are cut once they have carried so many bytes to the server.
    CutAfter(u64),
}

/// The failing side's switch.
pub struct Proxy {
    mode: watch::Sender<Mode>,
    /// How many connections were cut or refused.
    faults: watch::Receiver<u64>,
}

impl Proxy {
    /// Stands before `server`.
    pub async fn before(server: SocketAddr) -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, modes) = watch::channel(Mode::Pass);
        let (count, faults) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (modes, count) = (modes.clone(), count.clone());
                tokio::spawn(async move {
                    if carry(client, server, modes).await.is_none() {
                        count.send_modify(|count| *count += 1);
                    }
                });
            }
        });
        (Self { mode, faults }, address)
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Waits until so many connections have met a fault.
    pub async fn faults(&mut self, at_least: u64) {
        self.faults.wait_for(|count| *count >= at_least).await.unwrap();
    }
}

/// Nothing, if the connection met a fault.
async fn carry(mut client: TcpStream, server: SocketAddr, mut modes: watch::Receiver<Mode>) -> Option<()> {
    let mode = *modes.borrow_and_update();
    match mode {
        Mode::Pass => between(client, server, u64::MAX, modes).await,
        Mode::CutAfter(bytes) => between(client, server, bytes, modes).await,
        Mode::Cut => None,
        Mode::Refuse => {
            let _ = client.read(&mut [0; 1024]).await;
            let answer = b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = client.write_all(answer).await;
            None
        }
    }
}

/// Carries both ways until one side ends, or, which is a fault, `bytes` have gone to the server or the mode changes.
async fn between(
    mut client: TcpStream,
    server: SocketAddr,
    bytes: u64,
    mut modes: watch::Receiver<Mode>,
) -> Option<()> {
    let mut server = TcpStream::connect(server).await.ok()?;
    let ((requests, mut to_client), (mut answers, mut to_server)) = (client.split(), server.split());
    let mut requests = requests.take(bytes);
    tokio::select! {
        sent = copy(&mut requests, &mut to_server) => sent.ok().filter(|sent| *sent < bytes).map(drop),
        _ = copy(&mut answers, &mut to_client) => Some(()),
        _ = modes.changed() => None,
    }
}
