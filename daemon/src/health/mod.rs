//! The health checks: what must hold before a slot is committed.
//!
//! All checks are asked again and again until the required ones have held for the settling time without
//! a break, or the deadline is over. What each said last is a value ([`CheckState`]) that can be shown.
//! Scripts in directories, as greenboot has them, run in a unit of their own ([`scripts`]).

mod checks;
mod probe;
pub mod scripts;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use self::checks::Checks;
pub use self::checks::{CheckState, Standing};
use self::probe::Probes;
pub use self::watch::{Pace, watch};
use crate::host::clock;
use crate::settings::HealthSettings;
use crate::system_bus::SystemBus;

/// Proof that every required check held for the whole settling time. Only [`watch`] makes one.
#[derive(Debug)]
pub struct HealthPassed(());

/// Whether the repository has been reached since this boot.
#[derive(Debug, Clone, Default)]
pub struct Reached(Arc<AtomicBool>);

impl Reached {
    /// It was.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was.
    #[must_use]
    pub fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Looks until everything has held for the settling time, or the deadline is over. Whatever changes in
/// between is given to `said`.
///
/// # Errors
/// At the deadline: the first required check that did not hold.
pub fn run(
    settings: &HealthSettings,
    reached: &Reached,
    bus: &SystemBus,
    said: &mut dyn FnMut(Vec<CheckState>),
) -> Result<HealthPassed, String> {
    let mut pace = watch::Clock::start();
    let mut checks = Checks::new(settings);
    let mut probes = Probes::new(reached, bus, scripts::RESULTS.as_ref());
    let mut shown = Vec::new();
    watch(settings, &mut pace, &mut || {
        let verdict = checks.look(clock(), &mut probes);
        let states = checks.states();
        if states != shown {
            said(states.clone());
            shown = states;
        }
        verdict
    })
}
