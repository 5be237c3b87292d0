//! From a URL and an environment to an object store.

use super::{Objects, Remote};
use crate::{Location, Scratch, StoreError};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may stand still, sending a part included. There is no bound on a whole request: how long an
/// artifact takes depends on its size.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A request is repeated so often and so long before its failure is told: whoever asked can then say so, and wait.
const RETRIES_MAX: usize = 5;
/// See [`RETRIES_MAX`].
const RETRY_WITHIN: Duration = Duration::from_secs(20);

impl Remote {
    /// The object store of a URL, with what the environment says of it. Sends nothing.
    pub(crate) fn connect(
        url: &Url,
        scratch: Scratch,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        let location = Location::Remote(url.clone());
        let refused = |error: &dyn std::fmt::Display| StoreError::Refused {
            location: location.to_string(),
            detail: error.to_string(),
        };
        // Fine if another part of the program has chosen before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let prefix = Path::from_url_path(url.path()).map_err(|error| refused(&error))?;
        let objects = objects(url, environment).map_err(|error| refused(&error))?;
        Ok(Self::new(&location, &prefix, objects, scratch))
    }
}

fn objects(
    url: &Url,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Arc<dyn Objects>, object_store::Error> {
    match url.scheme() {
        "gs" => google(url, environment),
        "az" => azure(url, environment),
        _ => amazon(url, environment),
    }
}

type Connected = Result<Arc<dyn Objects>, object_store::Error>;

fn amazon(url: &Url, environment: impl IntoIterator<Item = (String, String)>) -> Connected {
    let mut builder = AmazonS3Builder::new().with_client_options(client()).with_retry(retry()).with_url(url.as_str());
    for (key, value) in environment {
        let Ok(key) = key.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() else { continue };
        // Whoever names an endpoint without TLS means it.
        let plain = matches!(key, AmazonS3ConfigKey::Endpoint | AmazonS3ConfigKey::S3Endpoint)
            && value.to_ascii_lowercase().starts_with("http://");
        builder = builder.with_config(key, value);
        builder = if plain { builder.with_allow_http(true) } else { builder };
    }
    Ok(Arc::new(builder.build()?))
}

fn google(url: &Url, environment: impl IntoIterator<Item = (String, String)>) -> Connected {
    let mut builder =
        GoogleCloudStorageBuilder::new().with_client_options(client()).with_retry(retry()).with_url(url.as_str());
    for (key, value) in environment {
        if let (true, Ok(key)) = (key.starts_with("GOOGLE_"), key.to_ascii_lowercase().parse()) {
            builder = builder.with_config(key, value);
        }
    }
    Ok(Arc::new(builder.build()?))
}

fn azure(url: &Url, environment: impl IntoIterator<Item = (String, String)>) -> Connected {
    let mut builder =
        MicrosoftAzureBuilder::new().with_client_options(client()).with_retry(retry()).with_url(url.as_str());
    for (key, value) in environment {
        if let (true, Ok(key)) = (key.starts_with("AZURE_"), key.to_ascii_lowercase().parse()) {
            builder = builder.with_config(key, value);
        }
    }
    Ok(Arc::new(builder.build()?))
}

fn client() -> ClientOptions {
    ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_read_timeout(STALL_TIMEOUT).with_timeout_disabled()
}

fn retry() -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(5), base: 2.0 };
    RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: RETRY_WITHIN }
}
