//! Runbooks as values: the document, an execution's journal, and what comes next.
//!
//! An automatic failover, a switchover, the return of an old primary and (later) drills and an
//! operator's own procedures are all executions of a [`Runbook`] through one executor. This crate
//! is the pure part: it says which step may run, which must be verified first, and when it is over.
//!
//! Invariants: a step's intent is journalled before it is acted on and its outcome after (I9); an
//! unknown outcome, or an intent whose performer is gone, is settled by the step's verify reading
//! and never by blind retry (S7); no step chooses (S6).
//!
//! Deliberately absent: how a step is performed (the executor's business), clocks, I/O.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod execution;
mod library;
mod next;
mod step;

pub use execution::{Execution, ExecutionId, ExecutionStatus, IllegalStep, Performer, StepRecord, StepState};
pub use library::{Handover, failover, quarantine, rebuild, rejoin, settle_step, switchover};
pub use next::{ATTEMPT_MIN, Next, next};
pub use step::{Action, Evidence, OnFailure, Outcome, Runbook, Step, StepId};
