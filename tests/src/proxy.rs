//! A TCP proxy that breaks connections the way networks do, and counts what it broke.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;

/// Bytes on their way at once, in each direction of each connection.
const BUFFER_BYTES: usize = 64 << 10;

/// What becomes of bytes on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    /// They pass.
    #[default]
    Clear,
    /// Each piece comes later by so much.
    Slow(Duration),
    /// Nothing comes, and nobody is told. What was sent comes when the weather clears, however late that is.
    Still,
}

/// The proxy. It ends with the runtime that it was started on.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    counts: Arc<Counts>,
}

/// What all connections look at.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    weather: Weather,
    cuts: u64,
    severances: u64,
}

#[derive(Debug, Default)]
struct Counts {
    live: AtomicUsize,
    broken: AtomicUsize,
    held_up: AtomicUsize,
}

impl Proxy {
    /// Starts to pass on to `upstream`, on a free port of this machine.
    pub fn start(runtime: &Handle, upstream: SocketAddr) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (state, seen) = watch::channel(State::default());
        let counts = Arc::<Counts>::default();
        runtime.spawn(accept(listener, upstream, seen, Arc::clone(&counts)));
        Self { address, state, counts }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that both sides have.
    pub fn live(&self) -> usize {
        self.counts.live.load(Ordering::SeqCst)
    }

    /// Connections that were cut or severed so far.
    pub fn broken(&self) -> usize {
        self.counts.broken.load(Ordering::SeqCst)
    }

    /// Pieces that were slowed down or held so far.
    pub fn held_up(&self) -> usize {
        self.counts.held_up.load(Ordering::SeqCst)
    }

    /// Changes the weather for what is on its way and for what will be.
    pub fn turn(&self, weather: Weather) {
        self.state.send_modify(|state| state.weather = weather);
    }

    /// Resets every connection, on both sides.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Leaves every connection half open: upstream is told that it has ended, and the client is not.
    pub fn sever(&self) {
        self.state.send_modify(|state| state.severances += 1);
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, state: watch::Receiver<State>, counts: Arc<Counts>) {
    while let Ok((client, _)) = listener.accept().await {
        let (state, counts) = (state.clone(), Arc::clone(&counts));
        // Looked at before upstream can know of the connection: whoever breaks it once upstream has it is obeyed.
        let began = *state.borrow();
        tokio::spawn(async move {
            // A client whose upstream does not listen is hung up on, as it would be by upstream's own machine.
            if let Ok(server) = TcpStream::connect(upstream).await {
                counts.live.fetch_add(1, Ordering::SeqCst);
                carry(client, server, state, began, &counts).await;
            }
        });
    }
}

/// How a connection comes to its end.
enum End {
    ByItself,
    Cut,
    Severed,
}

/// Carries a connection until it ends, or until it is broken by a cut or a severance that `began` does not count yet.
async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    state: watch::Receiver<State>,
    began: State,
    counts: &Counts,
) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let end = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let up = pump(&mut from_client, &mut to_server, state.clone(), counts);
        let down = pump(&mut from_server, &mut to_client, state.clone(), counts);
        let (mut cuts, mut severances) = (state.clone(), state.clone());
        tokio::select! {
            _ = async { tokio::try_join!(up, down) } => End::ByItself,
            _ = cuts.wait_for(|now| now.cuts > began.cuts) => End::Cut,
            _ = severances.wait_for(|now| now.severances > began.severances) => End::Severed,
        }
    };
    counts.live.fetch_sub(1, Ordering::SeqCst);
    match end {
        End::ByItself => {}
        End::Cut => {
            counts.broken.fetch_add(1, Ordering::SeqCst);
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        End::Severed => {
            counts.broken.fetch_add(1, Ordering::SeqCst);
            drop(server);
            swallow(client, state, began.cuts).await;
        }
    }
}

/// Moves bytes from one side to the other, and the end as well.
async fn pump(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut state: watch::Receiver<State>,
    counts: &Counts,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        pass(&mut state, counts).await;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}

/// Waits for as long as the weather demands.
async fn pass(state: &mut watch::Receiver<State>, counts: &Counts) {
    let weather = state.borrow_and_update().weather;
    if weather != Weather::Clear {
        counts.held_up.fetch_add(1, Ordering::SeqCst);
    }
    match weather {
        Weather::Clear => {}
        Weather::Slow(delay) => sleep(delay).await,
        // An error means that the proxy is gone; its connections end with the runtime.
        Weather::Still => drop(state.wait_for(|now| now.weather != Weather::Still).await),
    }
}

/// The client's side of a connection whose other side is gone: it says what it likes, and hears nothing.
async fn swallow(mut client: TcpStream, mut state: watch::Receiver<State>, cuts: u64) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let reading = async { while client.read(&mut buffer).await.is_ok_and(|count| count > 0) {} };
    tokio::select! {
        () = reading => {}
        _ = state.wait_for(|now| now.cuts > cuts) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener as Listener, TcpStream as Stream};

    /// A proxy, and both ends of one connection through it.
    fn connected(runtime: &Handle) -> (Proxy, Stream, Stream) {
        let upstream = Listener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(runtime, upstream.local_addr().unwrap());
        let client = Stream::connect(proxy.address()).unwrap();
        let (server, _) = upstream.accept().unwrap();
        (proxy, client, server)
    }

    fn heard(stream: &mut Stream) -> u8 {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        byte[0]
    }

    #[test]
    fn bytes_and_the_end_pass_and_stillness_only_delays_them() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (proxy, mut client, mut server) = connected(runtime.handle());
        client.write_all(b"a").unwrap();
        server.write_all(b"b").unwrap();
        assert_eq!((heard(&mut server), heard(&mut client)), (b'a', b'b'));
        proxy.turn(Weather::Still);
        client.write_all(b"c").unwrap();
        while proxy.held_up() == 0 {
            std::thread::yield_now();
        }
        server.set_nonblocking(true).unwrap();
        assert_eq!(server.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        server.set_nonblocking(false).unwrap();
        proxy.turn(Weather::Slow(Duration::from_millis(1)));
        assert_eq!(heard(&mut server), b'c');
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_cut_resets_both_sides_and_a_severance_one() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (proxy, mut client, mut server) = connected(runtime.handle());
        proxy.cut();
        assert!(client.read(&mut [0]).is_err() && server.read(&mut [0]).is_err());
        assert_eq!((proxy.live(), proxy.broken()), (0, 1));

        let (proxy, mut client, mut server) = connected(runtime.handle());
        proxy.sever();
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        client.write_all(b"into the void").unwrap();
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!((proxy.live(), proxy.broken()), (0, 1));
    }
}
