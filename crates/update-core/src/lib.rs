//! The update state machine and the decision, as pure values.
//!
//! [`step`] is one total function: a [`State`], an [`Event`] and the [`Facts`] of the moment give
//! the next state and the [`Effect`]s to run. It reads no clock, does no I/O, draws no random
//! numbers and cannot panic; the crate is `no_std`, so that it could not do so by accident.
//!
//! The driver around it commits the next state to the journal, *then* runs the effects, and feeds
//! their results back as events. There is no recovery path: what a starting daemon finds is
//! [`Event::Started`], an ordinary input.
//!
//! ```
//! use switchback_types::{SlotName, Timestamp};
//! use switchback_update_core::{BootId, BootObservation, Event, Facts, SlotBoot, State, step};
//!
//! let facts = Facts {
//!     now: Timestamp::EPOCH,
//!     booted: SlotName::A,
//!     boot_id: BootId::new("first"),
//!     tries: 3,
//!     restart_automatically: true,
//! };
//! let observation = BootObservation {
//!     primary: Some(SlotName::A),
//!     a: SlotBoot::Ready { left: 2 },
//!     b: SlotBoot::Bad,
//! };
//! let step = step(&State::default(), &Event::Started(observation), &facts);
//! assert_eq!(step.next.primary, Some(SlotName::A));
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod decision;
mod effect;
mod event;
mod gate;
mod outcome;
mod slot;
mod state;
mod step;
#[cfg(test)]
mod tests;

pub use decision::{
    Answer, Candidate, Decision, DecisionInputs, Override, Pause, Question, RepositoryAnswer,
    Requires, Verdict, decide,
};
pub use effect::{Effect, HealthPurpose, Notice, RestartCause, Step};
pub use event::{BootObservation, Event, EventKind, Facts, SlotBoot};
pub use gate::{Before, GATE_INTERVAL, Gate, GateState, RestartWait, may_restart};
pub use outcome::{InstallFailure, Outcome, RollbackReason};
pub use slot::{ImageIdentity, SlotContent, SlotRecord};
pub use state::{
    Attempt, AttemptKind, BootId, FailedImage, HistoryEntry, Hold, Phase, PhaseKind, Pin, State,
};
pub use step::{RepairRefusal, RollBackRefusal, repair_target, roll_back_target, step};
