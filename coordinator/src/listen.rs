//! Where the coordinator listens.

use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// Why the coordinator does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Others could reach it, and there is no TLS yet.
    #[error(
        "{0} can be reached from other machines, and connections are not encrypted yet; \
         listen on 127.0.0.1, or accept the risk inside a trusted network with --insecure-allow-remote"
    )]
    Remote(SocketAddr),
    /// Another program listens there.
    #[error(
        "{0} is in use; stop the program that listens there, or choose another port with --listen (port 0 takes a free one)"
    )]
    InUse(SocketAddr),
    /// The system refuses.
    #[error("cannot listen on {address}: {error}; choose another address with --listen")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
}

/// How many connections may wait to be taken.
const BACKLOG: u32 = 1024;

/// An address that is taken and where nobody is listened to yet: whoever connects is refused, and not kept waiting.
#[derive(Debug)]
pub struct Reserved {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Reserved {
    /// Begins to listen.
    pub fn listen(self) -> Result<TcpListener, ListenError> {
        self.socket.listen(BACKLOG).map_err(|error| refused(self.address, error))
    }
}

/// Takes the address, unless others could reach it and nobody said that they may.
pub fn reserve(address: SocketAddr, allow_remote: bool) -> Result<Reserved, ListenError> {
    if !address.ip().is_loopback() {
        if !allow_remote {
            return Err(ListenError::Remote(address));
        }
        tracing::warn!(%address, "listening beyond this machine without encryption: anybody who reaches it may use it");
    }
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    bind().map(|socket| Reserved { socket, address }).map_err(|error| refused(address, error))
}

/// Takes the address and listens, for those who have nothing to wait for.
pub async fn listen(address: SocketAddr, allow_remote: bool) -> Result<TcpListener, ListenError> {
    reserve(address, allow_remote)?.listen()
}

fn refused(address: SocketAddr, error: io::Error) -> ListenError {
    match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        _ => ListenError::Refused { address, error },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_remedy() {
        let first = listen("127.0.0.1:0".parse().unwrap(), false).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = listen(address, false).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--listen"), "{error}");
    }

    #[tokio::test]
    async fn other_machines_are_kept_out_unless_asked_in() {
        let everywhere = "0.0.0.0:0".parse().unwrap();
        let error = listen(everywhere, false).await.unwrap_err().to_string();
        assert!(error.contains("--insecure-allow-remote"), "{error}");
        listen(everywhere, true).await.unwrap();
    }
}
