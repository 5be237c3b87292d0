//! The way to the coordinator: where it is, the clients of its services, and its answers in words.

use anyhow::{Context, Result, anyhow, bail};
use proto::v1::admin_client::AdminClient;
use proto::v1::artifacts_client::ArtifactsClient;
use proto::v1::jobs_client::JobsClient;
use proto::v1::predictions_client::PredictionsClient;
use std::path::Path;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// A coordinator on the same network answers in milliseconds; one that does not in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one call may take until its answer begins. The slowest, a prediction of a large ensemble, takes seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Control messages and a batch of answers are at most this large.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Where `tutti up` leaves the address, when it is started in the same folder.
const DEFAULT_ENDPOINT_FILE: &str = ".tutti/endpoint";
const START_ONE: &str = "start one with `tutti up`, or name another with --coordinator";

/// How a command finds the coordinator.
#[derive(Debug, clap::Args)]
pub struct Address {
    /// Where the coordinator listens [default: what `tutti up` wrote to ./.tutti/endpoint].
    #[arg(long, global = true, env = "TUTTI_COORDINATOR", value_name = "HOST:PORT")]
    coordinator: Option<String>,
}

/// An open connection to a coordinator.
#[derive(Clone, Debug)]
pub struct Coordinator {
    channel: Channel,
}

impl Coordinator {
    /// Connects to the coordinator that the command line, the environment or this folder names.
    ///
    /// # Errors
    /// Nobody says where one is, or none answers there.
    pub async fn find(address: &Address) -> Result<Self> {
        let place = match &address.coordinator {
            Some(place) => place.clone(),
            None => endpoint_in(Path::new(DEFAULT_ENDPOINT_FILE))?,
        };
        Self::connect(&place).await
    }

    /// Connects to the coordinator at `place`: `HOST:PORT`, or a URL.
    ///
    /// # Errors
    /// None answers there.
    pub async fn connect(place: &str) -> Result<Self> {
        let url = if place.contains("://") { place.to_owned() } else { format!("http://{place}") };
        let endpoint = Endpoint::from_shared(url).map_err(|_| anyhow!("`{place}` is no HOST:PORT"))?;
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .connect()
            .await
            .map_err(|_| anyhow!("no coordinator answers at {place}; {START_ONE}"))?;
        Ok(Self { channel })
    }

    /// The client for submitting, watching and listing.
    pub fn jobs(&self) -> JobsClient<Channel> {
        JobsClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The client for what operators do.
    pub fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The client for artifacts' bytes.
    pub fn artifacts(&self) -> ArtifactsClient<Channel> {
        ArtifactsClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The client for asking a served ensemble.
    pub fn predictions(&self) -> PredictionsClient<Channel> {
        PredictionsClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

fn endpoint_in(file: &Path) -> Result<String> {
    match std::fs::read_to_string(file) {
        Ok(place) => Ok(place.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!("no coordinator runs here; {START_ONE}"),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// What the coordinator refused, in words for the user.
pub fn refused(status: Status) -> anyhow::Error {
    match status.code() {
        Code::Unavailable if is_transport(&status) => anyhow!("the coordinator does not answer any more; {START_ONE}"),
        Code::Cancelled | Code::DeadlineExceeded => {
            anyhow!(
                "the coordinator did not answer within {} s; it may be overloaded, try again",
                CALL_TIMEOUT.as_secs()
            )
        }
        Code::Internal | Code::Unknown => anyhow!("the coordinator failed: {}", status.message()),
        _ => anyhow!("{}", status.message()),
    }
}

/// Whether the connection is gone, rather than the service saying that it cannot answer now.
pub fn is_transport(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}
