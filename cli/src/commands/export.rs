//! `tutti export`: models out of the cluster, as safetensors with a manifest.

use crate::coordinator::{self, Address, Coordinator};
use crate::output::print_json;
use anyhow::{Context, Result, ensure};
use proto::v1::{DescribeModelsReply, DescribeModelsRequest, DownloadRequest, ModelEntry};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The header of a model file is kilobytes; a larger one is damaged.
const HEADER_BYTES_MAX: u64 = 16 << 20;

/// Write a job's models into a folder: safetensors, and a manifest of what they are.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job's name, as `tutti get jobs` shows it.
    job: String,
    /// What to export: ensemble, average (all of them), average/NAME, or member/INDEX.
    #[arg(long, default_value = "ensemble")]
    what: String,
    /// The folder. It is made where it is missing; files of the same names are replaced.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    #[command(flatten)]
    address: Address,
}

/// `manifest.json`: what lies beside it.
#[derive(Debug, Serialize)]
pub struct Manifest {
    pub tutti: String,
    pub job: String,
    pub what: String,
    /// How the models' predictions become one, where there are several.
    pub combine: String,
    pub temperature: f64,
    pub class_names: Vec<String>,
    pub models: Vec<Exported>,
}

/// One model of a manifest.
#[derive(Debug, Serialize)]
pub struct Exported {
    pub name: String,
    pub file: String,
    pub sha256: String,
    pub bytes: u64,
    /// Its weight in the combined prediction.
    pub weight: Option<f64>,
    /// Where the model comes from: what its file says about itself.
    pub lineage: Map<String, Value>,
}

/// Downloads the models, checks them, and writes the manifest last.
pub async fn execute(args: Args) -> Result<()> {
    let coordinator = Coordinator::find(&args.address).await?;
    let request = DescribeModelsRequest { job: args.job.clone(), what: args.what.clone() };
    let reply = coordinator.jobs().describe_models(request).await.map_err(coordinator::refused)?.into_inner();
    fs::create_dir_all(&args.to).with_context(|| format!("cannot make {}", args.to.display()))?;
    let mut models = Vec::new();
    for (index, model) in reply.models.iter().enumerate() {
        models.push(export(&coordinator, model, reply.weights.get(index).copied(), &args.to).await?);
    }
    let manifest = manifest(args.job, args.what, reply, models);
    let text = serde_json::to_string_pretty(&manifest)? + "\n";
    replace(&args.to.join("manifest.json"), |file| Ok(file.write_all(text.as_bytes())?))?;
    print_json(&manifest)
}

fn manifest(job: String, what: String, reply: DescribeModelsReply, models: Vec<Exported>) -> Manifest {
    let DescribeModelsReply { combine, temperature, class_names, .. } = reply;
    Manifest { tutti: env!("CARGO_PKG_VERSION").into(), job, what, combine, temperature, class_names, models }
}

async fn export(coordinator: &Coordinator, model: &ModelEntry, weight: Option<f64>, folder: &Path) -> Result<Exported> {
    let file = file_name(&model.name)?;
    let path = folder.join(&file);
    download(coordinator, model, &path).await?;
    let lineage = lineage(&path).with_context(|| format!("{} says nothing about itself", path.display()))?;
    Ok(Exported { name: model.name.clone(), file, sha256: model.digest.clone(), bytes: model.bytes, weight, lineage })
}

/// A model's name comes from the network: it must not lead out of the folder.
fn file_name(name: &str) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    ensure!(
        !name.starts_with('.') && !name.is_empty() && name.bytes().all(plain),
        "the model `{name}` has no name for a file"
    );
    Ok(format!("{name}.safetensors"))
}

/// The file has its name only once its bytes are those that were asked for.
async fn download(coordinator: &Coordinator, model: &ModelEntry, path: &Path) -> Result<()> {
    let request = DownloadRequest { digest: model.digest.clone() };
    let mut chunks = coordinator.artifacts().download(request).await.map_err(coordinator::refused)?.into_inner();
    let partial = partial(path);
    let mut file = File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    let mut hash = Sha256::new();
    while let Some(chunk) = chunks.message().await.map_err(coordinator::refused)? {
        hash.update(&chunk.data);
        file.write_all(&chunk.data).with_context(|| format!("cannot write {}", partial.display()))?;
    }
    let found = hex(&hash.finalize());
    ensure!(found == model.digest, "`{}` arrived damaged: its SHA-256 is {found}, not {}", model.name, model.digest);
    fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
}

fn replace(path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let partial = partial(path);
    let cannot = || format!("cannot write {}", path.display());
    write(&mut File::create(&partial).with_context(cannot)?)?;
    fs::rename(&partial, path).with_context(cannot)
}

fn partial(path: &Path) -> PathBuf {
    path.with_added_extension("partial")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A model file's `__metadata__`. Entries that are JSON themselves, such as the run, come out as what they say.
fn lineage(path: &Path) -> Result<Map<String, Value>> {
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    ensure!(length <= HEADER_BYTES_MAX, "its header has {length} bytes");
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header)?;
    let header: Value = serde_json::from_slice(&header)?;
    let entries = header.get("__metadata__").and_then(Value::as_object).context("it has no __metadata__")?;
    Ok(entries.iter().map(|(key, value)| (key.clone(), unfolded(value))).collect())
}

fn unfolded(value: &Value) -> Value {
    let json = value.as_str().filter(|text| text.starts_with(['{', '"']));
    json.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_out_of_the_folder_is_refused() {
        for name in ["", "../evil", ".hidden", "a/b", "a\\b"] {
            assert!(file_name(name).is_err(), "{name}");
        }
        assert!(file_name("fold-2-config-1").is_ok_and(|file| file == "fold-2-config-1.safetensors"));
    }
}
