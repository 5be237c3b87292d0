//! A job as it goes on.

use proto::v1::jobs_client::JobsClient;
use proto::v1::{JobStatus, WatchRequest};
use std::time::Duration;

/// The tests' jobs end within this time on cores that are busy with other things, or never.
const WITHIN: Duration = Duration::from_secs(900);

/// Follows a job until one of its states gives a value.
pub fn watch_until<T>(endpoint: &str, job: &str, value: impl Fn(&JobStatus) -> Option<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(async { tokio::time::timeout(WITHIN, follow(endpoint, job, value)).await });
    found.unwrap_or_else(|_| panic!("{job} does not come so far within {} s", WITHIN.as_secs()))
}

async fn follow<T>(endpoint: &str, job: &str, value: impl Fn(&JobStatus) -> Option<T>) -> T {
    let mut client = JobsClient::connect(format!("http://{endpoint}")).await.unwrap();
    let mut states = client.watch(WatchRequest { job: job.to_owned() }).await.unwrap().into_inner();
    let mut last = None;
    while let Some(state) = states.message().await.unwrap() {
        if let Some(value) = value(&state) {
            return value;
        }
        last = Some(state);
    }
    panic!("{job} ended before it came so far: {last:?}")
}
