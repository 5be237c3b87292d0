//! `tutti drain`: lets a worker finish.

use crate::coordinator::{self, Address, Coordinator};
use crate::output::print_line;
use anyhow::{Result, bail};
use proto::v1::{DrainWorkerRequest, ListWorkersRequest, Worker};
use std::time::Duration;

/// How often the worker is looked at while it drains.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Give a worker no more tasks; what it is at is handed back after a checkpoint.
///
/// The worker goes on serving predictions. It stays drained, also when it is started again, until `tutti reinstate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The worker's name, as `tutti get workers` shows it.
    worker: String,
    /// Return once the worker has no task any more.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    address: Address,
}

/// Drains the worker.
pub async fn execute(args: Args) -> Result<()> {
    let coordinator = Coordinator::find(&args.address).await?;
    let request = DrainWorkerRequest { worker: args.worker.clone() };
    coordinator.admin().drain_worker(request).await.map_err(coordinator::refused)?;
    let mut worker = find(&coordinator, &args.worker).await?;
    while args.wait && !is_done(&worker) {
        tokio::time::sleep(LOOK_EVERY).await;
        worker = find(&coordinator, &args.worker).await?;
    }
    print_line(&match is_done(&worker) {
        true => format!("worker {} is drained", args.worker),
        false => format!("worker {} drains; `tutti get workers` shows what it is still at", args.worker),
    })
}

async fn find(coordinator: &Coordinator, name: &str) -> Result<Worker> {
    let reply = coordinator.jobs().list_workers(ListWorkersRequest {}).await.map_err(coordinator::refused)?;
    let found = reply.into_inner().workers.into_iter().find(|worker| worker.id == name);
    let Some(worker) = found else { bail!("there is no worker `{name}` any more") };
    // Somebody else may have thought otherwise meanwhile; to wait for what will not come helps nobody.
    if worker.standing == "active" {
        bail!("worker `{name}` was reinstated");
    }
    Ok(worker)
}

fn is_done(worker: &Worker) -> bool {
    worker.slots.iter().all(|slot| slot.task.is_empty())
}
