//! `switchbackd`, the update daemon: the adapters around the pure state machine.
//!
//! - [`driver`]: one queue, one loop: decide, make durable, act
//! - [`settings`]: the configuration
//! - [`journal`]: the durable record of intent
//! - [`boot`]: the boot environment, the truth about booting
//! - [`slot`]: the partitions, and the proofs about what they hold
//! - [`trust`] and [`fetch`]: what is believed, and where bytes come from
//! - [`fetcher`]: the process without rights that does the fetching and decoding
//! - [`fleet`]: a server that says when an update is this device's turn
//! - [`identity`]: who this device is to a server that asks
//! - [`install`]: network → decode → slot, in one pass
//! - [`host`]: the machine around all of it: time, chance, restarts
//! - [`health`]: what must hold before a slot is committed
//! - [`system_bus`]: questions to other services
//! - [`time_zones`]: the machine's time zone database
//! - [`worker`]: the one thread that blocks
//! - [`bus`]: the D-Bus service
//! - [`metrics`]: the same for Prometheus
//! - [`traces`]: the same for OpenTelemetry, one trace for each update
//! - [`notice`]: what is said to the journal
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        reason = "tests make small numbers and byte patterns"
    )
)]

pub mod boot;
pub mod bus;
pub mod cancel;
mod command;
pub mod driver;
pub mod fetch;
pub mod fetcher;
pub mod fleet;
#[cfg(feature = "fuzzing")]
#[allow(clippy::expect_used, reason = "a broken promise must stop the fuzzer")]
pub mod fuzz;
pub mod gates;
mod hash;
pub mod health;
pub mod host;
pub mod identity;
pub mod install;
pub mod journal;
pub mod metrics;
pub mod notice;
pub mod report;
mod run;
pub mod settings;
pub mod slot;
pub mod system_bus;
pub mod time_zones;
pub mod traces;
mod trial_deadline;
pub mod trust;
pub mod worker;

pub use self::run::{RunError, boot_checks, run};
pub use self::trial_deadline::trial_deadline;
