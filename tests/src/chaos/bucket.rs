//! A store that is no folder of the coordinator's: an S3 server, reached through a proxy.

use crate::proxy::Proxy;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tokio::runtime::Handle;

#[path = "../../../artifacts/tests/store/server.rs"]
mod server;

/// A bucket on a server of this process, and the way there.
#[derive(Debug)]
pub struct Bucket {
    pub proxy: Proxy,
    folder: PathBuf,
}

impl Bucket {
    /// Starts the server, with its objects as files in a new folder.
    pub fn start(runtime: &Handle, folder: PathBuf) -> Self {
        std::fs::create_dir(&folder).unwrap();
        let address = runtime.block_on(server::serve(&folder));
        Self { proxy: Proxy::start(runtime, address), folder }
    }

    /// What `--artifacts` says.
    pub fn url() -> String {
        format!("s3://{}/chaos", server::BUCKET)
    }

    /// What those who reach for it must find in their environment.
    pub fn environment(&self) -> impl Iterator<Item = (OsString, OsString)> + use<> {
        let variables = server::environment(self.proxy.address(), server::SECRET_KEY).into_iter();
        variables.map(|(name, value)| (name.into(), value.into()))
    }

    /// Where its objects lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
