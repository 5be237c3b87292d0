//! Defects that can be put into the protocol on purpose, to see that the simulation finds them.
//!
//! Two more were tried. A worker that goes on with everything it held, whatever the welcome says, harms nobody: its reports
//! are refused. A fence that counts from the answer to a heartbeat, instead of its sending, was not found in 1,000 histories:
//! that takes an answer that is late by seconds just before a cut, in both directions, and is left to review.

/// What a program could do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The driver answers and acts before the journal has taken the round.
    AnsweredBeforeWritten,
    /// A worker that hears nothing for a lease goes on believing in it.
    NoFence,
    /// A worker does not say again what was not recorded when its session broke.
    ReportsForgotten,
    /// A coordinator that starts does not take up averages and reports that were under way.
    ChoresForgotten,
    /// An engine that resumes takes the step of its checkpoint twice.
    StepTwice,
}
