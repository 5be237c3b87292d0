//! How a coordinator is connected to.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint, Error, Uri};

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// A connection on which nothing is heard for so long is asked whether it is still there …
const PING_AFTER: Duration = Duration::from_secs(2);
/// … and is given up when it does not answer within this time.
const PONG_WITHIN: Duration = Duration::from_secs(8);

/// The way to a coordinator, none of whose connections hangs for ever.
pub fn endpoint(address: &Uri) -> Endpoint {
    Endpoint::from(address.clone())
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PONG_WITHIN)
        .keep_alive_while_idle(true)
}

/// How a connection comes about. Over TCP, but in a simulation.
pub type Dial = fn(Endpoint) -> Dialing;

/// A connection that is coming about.
pub type Dialing = Pin<Box<dyn Future<Output = Result<Channel, Error>> + Send>>;

/// Connects over TCP.
pub fn dial(endpoint: Endpoint) -> Dialing {
    Box::pin(async move { endpoint.connect().await })
}
