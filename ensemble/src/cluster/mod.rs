//! The control plane as a state machine: commands in, effects out.

mod command;

pub use command::{
    AverageOutcome, Command, Effect, EvaluationScores, Failure, FailureClass, LeaseKey, LeaveReason, Millis, Rejection,
    ReportOutcome, Slot, TrainRun, Work,
};
