//! A process of the cluster that is started again when it crashes.

use super::process::{Ended, Process};
use crate::display::progress::Notes;
use anyhow::{Context, Error, Result, anyhow};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A process that crashes so often in a row will crash again.
const RESTARTS_MAX: u32 = 5;
/// A process that has lived so long does not crash in a row with what was before.
const STEADY_AFTER: Duration = Duration::from_secs(60);
/// The pause before the first restart; each further one in a row is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(200);

/// How to start a process, and the process while it runs.
pub struct Child {
    pub name: String,
    program: PathBuf,
    arguments: Vec<String>,
    /// What it says once it is ready.
    ready: &'static str,
    log: PathBuf,
    process: Option<Process>,
}

impl Child {
    /// A process that does not run yet. Its log begins anew.
    pub fn new(
        name: &str,
        program: PathBuf,
        arguments: Vec<String>,
        ready: &'static str,
        log: PathBuf,
    ) -> Result<Self> {
        std::fs::write(&log, "").with_context(|| format!("cannot write {}", log.display()))?;
        Ok(Self { name: name.to_owned(), program, arguments, ready, log, process: None })
    }

    /// Starts the process.
    ///
    /// # Errors
    /// The program or its log cannot be opened.
    pub fn launch(&mut self) -> Result<()> {
        let process = Process::start(&self.name, &self.program, &self.arguments, self.log.clone())?;
        self.process = Some(process);
        Ok(())
    }

    /// Waits until the process is ready, and gives what it says of itself then.
    ///
    /// # Errors
    /// It ended before, or takes too long.
    pub async fn ready(&mut self) -> Result<String> {
        let process = self.process.as_mut().context("the process was not started")?;
        process.ready(self.ready).await
    }

    /// Has the next start say something else.
    pub fn set_argument(&mut self, option: &str, value: &str) {
        if let Some(at) = self.arguments.iter().position(|argument| argument == option) {
            self.arguments[at + 1] = value.to_owned();
        }
    }

    /// The process, if it has not ended.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Starts the process again whenever it crashes, until it will not stay or was asked to stop; then says why.
    pub async fn keep(&mut self, notes: &Notes) -> Error {
        let mut crashes = 0;
        loop {
            let begun = Instant::now();
            let end = match self.ended().await {
                Err(unknown) => return unknown,
                Ok(ended) if ended.was_stopped() => return ended.into_error(),
                Ok(ended) => ended.into_error(),
            };
            crashes = if begun.elapsed() > STEADY_AFTER { 1 } else { crashes + 1 };
            if let Err(hopeless) = self.start_again(end, &mut crashes, notes).await {
                return hopeless;
            }
            notes.say(&format!("{} is back", self.name));
        }
    }

    /// Tries until the process is ready; each try that fails is one more crash.
    async fn start_again(&mut self, mut end: Error, crashes: &mut u32, notes: &Notes) -> Result<()> {
        while *crashes <= RESTARTS_MAX {
            notes.say(&format!("warning: {end:#}\n{} is started again", self.name));
            sleep(PAUSE_FIRST * 2u32.pow(*crashes - 1)).await;
            self.launch()?;
            match self.ready().await {
                Ok(_) => return Ok(()),
                Err(error) => end = error,
            }
            *crashes += 1;
        }
        Err(anyhow!("{end:#}\n{} crashed {crashes} times in a row and is given up", self.name))
    }

    async fn ended(&mut self) -> Result<Ended> {
        let process = self.process.as_mut().context("the process was not started")?;
        let ended = process.ended().await?;
        self.process = None;
        Ok(ended)
    }
}
