//! Users and operators: they ask, and ask again until they are answered.

use super::agenda::{Event, Time};
use super::env::Env;
use super::faults::Fault;
use ensemble::cluster::{Command, Effect, Rejection};
use ensemble::id::JobId;

/// How long a request or an answer takes on its way, in milliseconds.
const DELAY: (Time, Time) = (1, 40);
/// A user who has no answer after this long asks again.
const PATIENCE: (Time, Time) = (1_500, 4_000);

/// A request, and how it was answered.
#[derive(Clone, Debug)]
pub struct Call {
    pub command: Command,
    pub answer: Option<Answer>,
    tries: u32,
}

/// What a user hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is done, and survives whatever comes.
    Done(Option<JobId>),
    Refused(Rejection),
    /// Too much is going on: come back later.
    Busy,
}

/// All requests that were ever made.
#[derive(Clone, Debug, Default)]
pub struct Users {
    pub calls: Vec<Call>,
}

impl Answer {
    pub fn of(applied: Result<Vec<Effect>, Rejection>) -> Self {
        match applied {
            Ok(effects) => Self::Done(effects.into_iter().find_map(|effect| match effect {
                Effect::Accepted { job } => Some(job),
                _ => None,
            })),
            Err(Rejection::Full(_)) => Self::Busy,
            Err(rejection) => Self::Refused(rejection),
        }
    }
}

impl Users {
    pub fn ask(&mut self, env: &mut Env, command: Command) {
        self.calls.push(Call { command, answer: None, tries: 0 });
        self.send(env, self.calls.len() - 1);
    }

    fn send(&mut self, env: &mut Env, call: usize) {
        self.calls[call].tries += 1;
        let tries = self.calls[call].tries;
        let again = env.random.within(PATIENCE.0, PATIENCE.1);
        env.set_in(again, Event::AskAgain { call, tries });
        if !is_lost(env) {
            let delay = env.random.within(DELAY.0, DELAY.1);
            env.set_in(delay, Event::Request { call });
        }
    }

    pub fn ask_again(&mut self, env: &mut Env, call: usize, tries: u32) {
        if self.calls[call].answer.is_none() && self.calls[call].tries == tries {
            self.send(env, call);
        }
    }

    pub fn hear(&mut self, env: &mut Env, call: usize, answer: Answer) {
        if answer == Answer::Busy {
            return;
        }
        env.ledger.promised(&self.calls[call].command, &answer);
        self.calls[call].answer.get_or_insert(answer);
    }

    /// The jobs that users know of, in the order in which they asked.
    pub fn jobs(&self) -> Vec<JobId> {
        let job = |call: &Call| match &call.answer {
            Some(Answer::Done(job)) => job.clone(),
            _ => None,
        };
        self.calls.iter().filter_map(job).collect()
    }

    pub fn all_answered(&self) -> bool {
        self.calls.iter().all(|call| call.answer.is_some())
    }
}

/// Sends an answer on its way.
pub fn answer(env: &mut Env, call: usize, answer: Answer) {
    if !is_lost(env) {
        let delay = env.random.within(DELAY.0, DELAY.1);
        env.set_in(delay, Event::Answer { call, answer });
    }
}

/// Requests and answers are lost now and then, as long as anything goes wrong.
fn is_lost(env: &mut Env) -> bool {
    let lost = env.ledger.faults_go_on && env.random.one_in(12);
    if lost {
        env.faults.strike(Fault::RequestLost);
    }
    lost
}
