//! How a task can fail, typed until it is classified at the edge.

use std::io;
use std::path::{Path, PathBuf};

use ensemble::cluster::FailureClass;
use ensemble::dataset::DatasetError;
use tch::TchError;

use crate::artifact::ArtifactError;
use crate::nn::NetworkError;

/// Why a task did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The worker asked for it.
    #[error("stopped on request")]
    Stopped,
    /// The job cannot work as it is.
    #[error("{0}")]
    Job(String),
    /// The data set is missing, damaged or not what the job says.
    #[error("data in {}: {source}", .folder.display())]
    Data {
        /// The job's `data.path`.
        folder: PathBuf,
        /// What is wrong.
        source: DatasetError,
    },
    /// Training ran off to infinity.
    #[error(
        "the loss of `{run}` is {loss} at step {step}, learning rate {rate}: lower `train.learning_rate`, or let it grow with `train.warmup_epochs`"
    )]
    Diverged {
        /// The run's name.
        run: String,
        /// NaN or infinite.
        loss: f64,
        /// The step at which it was seen; it happened at most a fraction of a second before.
        step: u64,
        /// The learning rate of that step.
        rate: f64,
    },
    /// The runs of a pack cannot go side by side.
    #[error("runs `{first}` and `{other}` cannot train in one pack: their {what} differ; set `train.pack: 1`")]
    Pack {
        /// The pack's first run.
        first: String,
        /// The one that differs.
        other: String,
        /// In what.
        what: &'static str,
    },
    /// A model or checkpoint file is not what it should be.
    #[error("{}: {source}", .path.display())]
    Artifact {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ArtifactError,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A network cannot be made or loaded.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// libtorch refused.
    #[error(transparent)]
    Libtorch(#[from] TchError),
    /// A defect of the engine.
    #[error("the engine panicked: {0}")]
    Panic(String),
}

impl TaskError {
    /// For `map_err` on file operations.
    pub fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    /// What people are told: libtorch's messages without the addresses that follow them.
    pub fn message(&self) -> String {
        let text = self.to_string().replace("Internal torch error:", "libtorch:");
        text.split("\nException raised from").next().unwrap_or_default().to_owned()
    }

    /// What kind of failure it is, which decides whether the task is tried again.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Job(_) | Self::Diverged { .. } | Self::Pack { .. } => FailureClass::User,
            Self::Data { source: DatasetError::Unreadable { .. }, .. } => FailureClass::Infrastructure,
            Self::Data { .. } => FailureClass::Data,
            Self::Stopped | Self::File { .. } | Self::Artifact { .. } => FailureClass::Infrastructure,
            Self::Network(NetworkError::Libtorch(error)) | Self::Libtorch(error) => class_of(&error.to_string()),
            Self::Network(_) => FailureClass::User,
            Self::Panic(message) => class_of(message),
        }
    }
}

/// libtorch tells its failures apart by words alone.
fn class_of(message: &str) -> FailureClass {
    const OUT_OF_MEMORY: [&str; 4] = ["out of memory", "can't allocate memory", "std::bad_alloc", "ALLOC_FAILED"];
    if OUT_OF_MEMORY.iter().any(|words| message.contains(words)) {
        return FailureClass::OutOfMemory;
    }
    const OF_A_DEVICE: [&str; 5] = ["CUDA", "cuDNN", "CUDNN", "cuBLAS", "CUBLAS"];
    if OF_A_DEVICE.iter().any(|words| message.contains(words)) {
        return FailureClass::Device;
    }
    // Anything else is tried again a few times: memory may have flipped, and a defect of ours will show every time.
    FailureClass::EngineLost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorch_failures_are_told_apart_by_their_words() {
        let class = |message: &str| TaskError::Libtorch(TchError::Torch(message.to_owned())).class();
        assert_eq!(class("CUDA out of memory. Tried to allocate 2.00 GiB"), FailureClass::OutOfMemory);
        let cpu = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12";
        assert_eq!(class(cpu), FailureClass::OutOfMemory);
        assert_eq!(class("CUDA error: an illegal memory access was encountered"), FailureClass::Device);
        assert_eq!(class("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), FailureClass::Device);
        assert_eq!(class("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"), FailureClass::EngineLost);
    }

    #[test]
    fn messages_do_not_show_addresses() {
        let raw =
            "CUDA out of memory.\nException raised from malloc at c.cpp:1 (most recent call first):\nframe #0: 0x7f";
        assert_eq!(TaskError::Libtorch(TchError::Torch(raw.to_owned())).message(), "libtorch: CUDA out of memory.");
    }

    #[test]
    fn a_missing_folder_is_the_data_s_fault_and_a_broken_disk_the_machine_s() {
        let data = |source| TaskError::Data { folder: "d".into(), source }.class();
        assert_eq!(data(DatasetError::Missing { names: &["x"] }), FailureClass::Data);
        let broken = DatasetError::Unreadable { file: "x".into(), reason: "Input/output error".into() };
        assert_eq!(data(broken), FailureClass::Infrastructure);
    }
}
