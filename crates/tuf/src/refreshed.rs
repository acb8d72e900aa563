//! What a refresh gives: the state, and the way to the artifacts.

use switchback_types::{TargetPath, Timestamp};

use crate::error::TufError;
use crate::freshness::Freshness;
use crate::limits::Limits;
use crate::lookup::Lookup;
use crate::state::TrustedState;

/// Metadata brought up to date, and whether it may be acted upon. Meant to live for one poll: it
/// judges expiry by the time at which its refresh started.
#[derive(Debug)]
pub struct Refreshed {
    pub(crate) state: TrustedState,
    pub(crate) limits: Limits,
    pub(crate) now: Timestamp,
    pub(crate) freshness: Freshness,
}

impl Refreshed {
    /// Whether anything may be looked up.
    #[must_use]
    pub const fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// The state to store.
    #[must_use]
    pub const fn state(&self) -> &TrustedState {
        &self.state
    }

    /// The state, for the next refresh.
    #[must_use]
    pub fn into_state(self) -> TrustedState {
        self.state
    }

    /// Starts the search for one artifact.
    ///
    /// # Errors
    ///
    /// [`TufError::Stale`] when metadata has expired: nothing may be installed from it.
    pub fn lookup(&mut self, path: TargetPath) -> Result<Lookup<'_>, TufError> {
        match &self.freshness {
            Freshness::Stale(staleness) => Err(TufError::Stale(staleness.clone())),
            Freshness::Fresh => Lookup::start(self, path),
        }
    }
}
