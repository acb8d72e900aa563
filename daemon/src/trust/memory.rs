//! What is trusted, on the disk.
//!
//! Two records, each in two copies: the whole state, and beside it only how far it had come. When every copy of the
//! first is damaged, trust begins again from the built-in root, but not below what the second remembers.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use switchback_tuf::{TrustedState, TufError, Versions};
use switchback_types::Timestamp;

use super::TrustError;
use crate::journal::{RecordError, RecordFiles, TwoCopies};
use crate::report::chain;

/// Why nothing can be trusted.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The built-in root is not one.
    Root(TufError),
    /// The disk.
    Record(RecordError),
}

impl OpenError {
    /// Names the file of the built-in root.
    pub(super) fn at(self, root_file: &Path) -> TrustError {
        match self {
            Self::Root(source) => TrustError::Root {
                path: root_file.into(),
                source,
            },
            Self::Record(error) => error.into(),
        }
    }
}

impl From<TufError> for OpenError {
    fn from(error: TufError) -> Self {
        Self::Root(error)
    }
}

impl From<RecordError> for OpenError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

/// How far trust had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Reached {
    versions: Versions,
    floor: Timestamp,
}

impl Reached {
    fn of(state: &TrustedState) -> Self {
        Self {
            versions: state.versions(),
            floor: state.floor(),
        }
    }

    /// Whether a state is from before this.
    fn is_past(&self, state: &TrustedState) -> bool {
        let (reached, there) = (self.versions, state.versions());
        reached.root > there.root
            || reached.timestamp > there.timestamp
            || reached.snapshot > there.snapshot
            || reached.targets > there.targets
    }
}

/// Both records.
#[derive(Debug)]
pub(super) struct Memory {
    state: TwoCopies,
    stored: Vec<u8>,
    reached: TwoCopies,
    stored_reached: Option<Reached>,
}

impl Memory {
    /// Opens both records in `directory`. Gives what is trusted: what was stored, or else the built-in `root`; and
    /// what was damaged.
    pub(super) fn open(
        files: &Arc<dyn RecordFiles>,
        directory: &Path,
        root: &[u8],
        earliest: Timestamp,
    ) -> Result<(Self, TrustedState, Vec<String>), OpenError> {
        // Looked at in any case: an image without a good one is not found out on the day it is needed.
        let built_in = TrustedState::from_root(root, earliest)?;
        let mut warnings = Vec::new();
        let (state, loaded) = TwoCopies::open(files, directory, "trust")?;
        let (bytes, warning) = loaded.split();
        warnings.extend(warning);
        let (reached, loaded) = TwoCopies::open(files, directory, "trust-reached")?;
        let (remembered, warning) = loaded.split();
        warnings.extend(warning);
        let stored_reached: Option<Reached> =
            remembered.and_then(|bytes| match serde_json::from_slice(&bytes) {
                Ok(reached) => Some(reached),
                Err(error) => {
                    let path = reached.path(0);
                    warnings.push(format!("{}: {}", path.display(), chain(&error)));
                    None
                }
            });
        let mut trusted = None;
        if let Some(bytes) = &bytes {
            match TrustedState::from_bytes(bytes) {
                Ok(read) => trusted = Some(read),
                Err(error) => {
                    let path = state.path(0);
                    warnings.push(format!("{}: {}", path.display(), chain(&error)));
                }
            }
        }
        let trusted = match (trusted, stored_reached) {
            (Some(trusted), reached)
                if !reached.is_some_and(|reached| reached.is_past(&trusted)) =>
            {
                trusted
            }
            (_, None) => built_in,
            (_, Some(reached)) => {
                let path = state.path(0);
                warnings.push(format!(
                    "{}: missing, damaged or older than what was trusted: trust begins again from the built-in root, \
                     and nothing older than that is taken",
                    path.display()
                ));
                let floor = earliest.max(reached.floor);
                TrustedState::rebuild(root, reached.versions, floor)?
            }
        };
        let memory = Self {
            state,
            stored: bytes.unwrap_or_default(),
            reached,
            stored_reached,
        };
        Ok((memory, trusted, warnings))
    }

    /// Stores what changed. The whole state comes first: what was reached never says more than was trusted.
    pub(super) fn store(&mut self, state: &TrustedState) -> Result<(), RecordError> {
        let bytes = state.to_bytes();
        if bytes != self.stored {
            self.state.commit(&bytes)?;
            self.stored = bytes;
        }
        let reached = Some(Reached::of(state));
        if reached != self.stored_reached {
            let text = serde_json::to_vec(&reached).unwrap_or_default();
            self.reached.commit(&text)?;
            self.stored_reached = reached;
        }
        Ok(())
    }
}
