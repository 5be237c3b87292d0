//! One hosted predictor: which models it consists of, and how far it is.

use crate::transfer::{Cached, Persistence, Transfer, TransferError};
use proto::v1::engine_request::Request;
use proto::v1::{EngineLoad, EngineModel, EngineUnload, HostedModel};

/// A hosted predictor.
#[derive(Debug)]
pub struct Predictor {
    /// Its number on this worker, and its name in the engine: what is said of an earlier predictor of the same name is not
    /// said of this one.
    pub generation: u64,
    /// What it consists of.
    pub models: Vec<HostedModel>,
    /// Kept in the cache as long as the predictor is hosted, for a new engine may have to load them.
    pub files: Option<Vec<Cached>>,
    /// Whether the engine answers for it.
    pub loaded: bool,
}

impl Predictor {
    /// A predictor whose models are still to be fetched.
    pub fn new(generation: u64, models: Vec<HostedModel>) -> Self {
        Self { generation, models, files: None, loaded: false }
    }

    /// What the engine knows it by.
    pub fn engine_name(&self) -> String {
        self.generation.to_string()
    }

    /// What has the engine load it, once its models are there.
    pub fn load(&self) -> Option<Request> {
        let model = |(model, file): (&HostedModel, &Cached)| EngineModel {
            member: model.member,
            path: file.path().to_string_lossy().into_owned(),
        };
        let models = self.models.iter().zip(self.files.as_ref()?).map(model).collect();
        Some(Request::Load(EngineLoad { predictor: self.engine_name(), models }))
    }

    /// What has the engine forget it.
    pub fn unload(&self) -> Request {
        Request::Unload(EngineUnload { predictor: self.engine_name() })
    }
}

/// Fetches the models of a predictor.
///
/// # Errors
/// When one of them cannot be had.
pub async fn fetch_all(transfer: &Transfer, models: Vec<HostedModel>) -> Result<Vec<Cached>, TransferError> {
    let mut files = Vec::with_capacity(models.len());
    for model in models {
        files.push(transfer.fetch(&model.artifact.unwrap_or_default(), &Persistence::for_a_while()).await?);
    }
    Ok(files)
}
