//! Who gets a release, when, and when to stop: decided, never done.
//!
//! [`plan`] looks at a [`Rollout`], at what came of its [`Attempts`], at the fleet and at the
//! time, and says what to do next. It is total: no clock, no I/O, no chance, no panic; the same
//! arguments give the same answer. [`Rollout::apply`] does one of these [`Action`]s to the
//! values, [`report`] takes in what a device says, [`Rollout::command`] what a person wants. A
//! server stores the results by compare-and-set, so doing a plan twice is harmless.
//!
//! What holds for every rollout:
//!
//! - No more devices were ever offered the release than the current wave allows.
//! - Which devices come first is drawn by the rollout's own salt, so that it is not always the
//!   same ones; whoever was in a wave is in every later one.
//! - Gates count failed, rolled back and **silent** devices among those that were reached, not
//!   among all. A broken gate pauses the rollout, and offers that nobody took yet are withdrawn.
//! - Only a person ends a pause.
//!
//! ```
//! use switchback_rollout::{Definition, Filter, Target};
//!
//! let target = Target { release: "gateway/2.0".into(), identity: "ab12".into() };
//! let group: Filter = "site == lab and not hw ~ \"rev1*\"".parse().unwrap();
//! let definition = Definition::new("spring", target, group);
//! definition.check().unwrap();
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod action;
mod amount;
mod apply;
mod attempt;
mod calendar;
mod cohort;
mod command;
mod definition;
mod filter;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod gates;
#[cfg(feature = "model")]
pub mod model;
mod plan;
mod report;
mod rollout;
mod waiting;

pub use action::{Action, DeviceFacts, MAX_OFFERS_PER_TURN, Moment, Planned};
pub use amount::{Amount, ParseAmountError, Share};
pub use attempt::{Attempt, Attempts, Cancel, Outcome, Revert};
pub use calendar::{Day, Window};
pub use cohort::rank;
pub use command::{Command, Refused};
pub use definition::{
    Barrier, Definition, DefinitionError, MAX_NAME_CHARS, MAX_WAVES, MAX_WINDOWS, OnBrokenGate,
    Plan, Target, Wave,
};
pub use filter::{Filter, FilterError, Labels, MAX_FILTER_BYTES, MAX_FILTER_DEPTH};
pub use gates::{BrokenGate, Gates, Tally, Threshold};
pub use plan::plan;
pub use report::{Report, report};
pub use rollout::{Phase, Rollout};
pub use waiting::Waiting;
