//! The place of one engine at a time: it is started when needed, stays warm between tasks, and is replaced when it dies.

use super::{Engine, EngineError, Output, Program};
use proto::v1::{EngineStop, engine_event::Event, engine_request::Request};
use std::time::Duration;
use tokio::time::timeout;

/// How long an engine may take to give up its task: a step of a large network on a slow processor.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long an engine that has nothing to do may take to exit.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// A place for an engine.
#[derive(Debug)]
pub struct Seat {
    program: Program,
    engine: Option<Engine>,
    at_work: bool,
}

impl Seat {
    /// An empty place.
    pub fn new(program: Program) -> Self {
        Self { program, engine: None, at_work: false }
    }

    /// Makes sure that an engine is there and running.
    ///
    /// # Errors
    /// When none can be started.
    pub async fn warm_up(&mut self) -> Result<(), EngineError> {
        if !self.engine.as_mut().is_some_and(Engine::quiet) {
            self.at_work = false;
            self.engine = None;
            self.engine = Some(Engine::start(&self.program).await?);
        }
        Ok(())
    }

    /// Gives the engine a task, whose end is [`Event::Finished`], [`Event::Failed`] or the engine's own.
    pub async fn begin(&mut self, task: Request) {
        self.at_work = true;
        if let Some(engine) = &self.engine {
            engine.tail().clear();
        }
        self.send(task).await;
    }

    /// Sends the engine a request that is no task.
    pub async fn send(&mut self, request: Request) {
        if let Some(engine) = &self.engine {
            engine.send(request).await;
        }
    }

    /// What the engine says next. Never comes while there is none.
    pub async fn output(&mut self) -> Output {
        let Some(engine) = &mut self.engine else { return std::future::pending().await };
        let output = engine.output().await;
        match output {
            Output::Event(Event::Finished(_) | Event::Failed(_)) => self.at_work = false,
            Output::Ended(_) => self.vacate(),
            _ => {}
        }
        output
    }

    /// Keeps a line that the engine said otherwise than on its standard error.
    pub fn keep_line(&self, line: String) {
        if let Some(engine) = &self.engine {
            engine.tail().push(line);
        }
    }

    /// What the engine wrote last, for the message of a failure.
    pub fn last_lines(&self) -> String {
        self.engine.as_ref().map(|engine| engine.tail().text()).unwrap_or_default()
    }

    /// The processor time that the engine has used, in ticks; none while there is none.
    pub fn processor_time(&self) -> Option<u64> {
        self.engine.as_ref()?.processor_time()
    }

    /// Ends the engine at once, and returns what it wrote last.
    pub fn kill(&mut self) -> String {
        let last_lines = self.last_lines();
        self.vacate();
        last_lines
    }

    /// Asks the engine to give up its task. What it has got so far comes before the task's end.
    pub async fn ask_to_stop(&mut self) {
        self.send(Request::Stop(EngineStop {})).await;
    }

    /// Has the engine give up its task if it has one, and kills it if it does not.
    pub async fn settle(&mut self) {
        if !self.at_work {
            return;
        }
        self.ask_to_stop().await;
        if timeout(STOP_WITHIN, self.task_end()).await.is_err() {
            tracing::warn!(grace_s = STOP_WITHIN.as_secs(), "the engine did not give up its task and is killed");
            self.vacate();
        }
    }

    /// Ends an engine that is still at work, at once.
    pub fn kill_at_work(&mut self) {
        if self.at_work {
            self.vacate();
        }
    }

    async fn task_end(&mut self) {
        while self.at_work {
            self.output().await;
        }
    }

    /// Ends the engine, kindly at first.
    pub async fn close(&mut self) {
        self.settle().await;
        if let Some(engine) = self.engine.take() {
            engine.close(CLOSE_WITHIN).await;
        }
    }

    /// Dropping an engine kills it, if it still lives.
    fn vacate(&mut self) {
        self.engine = None;
        self.at_work = false;
    }
}
