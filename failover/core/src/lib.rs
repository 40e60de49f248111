//! Who may write: the authority of each protection group, decided and applied purely.
//!
//! The picture (STYLE §4): nodes carry facts to [`decide`], which returns commands; Raft orders
//! them; [`apply`] folds them into [`State`] on every node alike; a [`Guard`] on each database host
//! acts on the authority it is told, and a [`Desk`] on the leader answers its renewals. All of them
//! are plain functions and values, so the simulator runs exactly what production runs.
//!
//! Invariants I1–I9 (DESIGN §4) are kept here; `docs/architecture.md` names the place of each.
//!
//! Deliberately absent: clocks, sockets, files, threads, randomness. `now` is always an argument.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod apply;
mod authority;
mod command;
mod configuration;
mod decide;
mod defect;
mod desk;
mod event;
mod guard;
mod incarnation;
mod people;
mod perform;
mod policy;
mod report;
mod state;
mod timing;

pub use apply::{Refusal, apply, apply_without};
pub use authority::{Acker, Authority, Durability, Leases, Phase, Primary, Stamp};
pub use command::{
    Change, Command, DecodeError, FencedByHand, GroupSpec, Reason, ServerSpec, decode, encode,
};
pub use configuration::{CONFIG_TEXT_MAX, ConfigText, Configurations, Configured, NewConfiguration};
pub use decide::{
    Act, Candidacy, Decision, Diagnosis, Explanation, Exposure, GivenUp, Held, LossStatement, Precondition,
    ServerDiagnosis, ServerFinding, SwitchoverPlan, decide, discard_of, exposure, fenced_by_hand, loss_of,
    plan_switchover, release_of,
};
pub use defect::{Defect, Defects};
pub use desk::{Answer, Desk, Facts, Flow, Grant, LastLook, Pace, PeerFact, Renewal, ServerFacts, Vantage};
pub use event::Event;
pub use guard::{
    ActEnd, ActId, CallId, DatabaseAct, DiskWrite, ENDLESS, Effect, Fencing, GateAct, GateRead, Guard,
    GuardConfig, Input, Lane, Latch, Nonce, Opened, Order, Passing, Reply, Told, WatchdogAct,
};
pub use incarnation::{
    Asked, Continued, LogEnd, OtherLife, Said, against_following, against_force, hear_life, next_life,
};
pub use people::{Alarm, People, PeopleChange, TOKEN_LIFE_MAX_MS, TOKENS_MAX, Terms, Token};
pub use perform::{Await, Perform, Verified, awaited, in_place, perform, verify};
pub use policy::{AsyncFailover, FailoverMode, GroupPolicy, Policy, Promotion};
pub use report::{
    CopyPhase, CopyReport, DiskRefusal, DiskReport, Drained, GateReport, GuardReport, HowItEnded,
    LatchReport, Marked, Process,
};
pub use state::{EpochRecord, ExecutionSummary, Group, Maintenance, ReturnState, Revocation, Route, State};
pub use timing::{Timing, TimingError};
