//! What this device trusts: the memory between two refreshes.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use switchback_types::Timestamp;

use crate::document::{Document, Draft};
use crate::error::TufError;
use crate::name::{MetadataName, Role};
use crate::schema::{Root, Snapshot, Targets, TimestampRole};
use crate::state_codec;

/// The metadata that this device trusts, byte for byte, and its floors.
///
/// It is the only memory of the client. Store [`to_bytes`](Self::to_bytes) atomically and
/// durably after every exchange, in two copies; what is lost with it is the protection against
/// going backwards.
#[derive(Debug, Clone)]
pub struct TrustedState {
    pub(crate) root: Document<Root>,
    pub(crate) timestamp: Option<Document<TimestampRole>>,
    pub(crate) snapshot: Option<Document<Snapshot>>,
    pub(crate) targets: Option<Document<Targets>>,
    /// Delegated roles as last fetched, by name. A cache: nothing here is used without being
    /// verified again for whoever delegates to the role.
    pub(crate) delegated: BTreeMap<String, Document<Targets>>,
    /// Lowest versions accepted, beyond what the documents say: see [`TrustedState::rebuild`].
    pub(crate) lowest: Versions,
    pub(crate) floor: Timestamp,
}

/// Versions of the top-level roles; 0 where there is none.
///
/// Small enough to be kept in another place than the trusted state, for the day when that is
/// damaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Of root.
    pub root: u64,
    /// Of timestamp.
    pub timestamp: u64,
    /// Of snapshot.
    pub snapshot: u64,
    /// Of the top-level targets.
    pub targets: u64,
}

impl TrustedState {
    /// Trust as it leaves the factory (5.2): the root metadata built into the image, and a time
    /// that has certainly passed, such as that of the build. An expired root will do.
    ///
    /// # Errors
    ///
    /// When the bytes are not root metadata signed by a threshold of its own keys.
    pub fn from_root(root: &[u8], floor: Timestamp) -> Result<Self, TufError> {
        let name = MetadataName::latest(&Role::Root);
        let draft = Draft::read(name.as_str(), root.to_vec())?;
        let itself = draft.claims::<Root>()?.root();
        Ok(Self {
            root: draft.vouched_by(&itself)?,
            timestamp: None,
            snapshot: None,
            targets: None,
            delegated: BTreeMap::new(),
            lowest: Versions::default(),
            floor,
        })
    }

    /// Starts over from the built-in root without forgetting how far this device had come: for
    /// when every copy of the stored state is damaged.
    ///
    /// `lowest` is what [`versions`](Self::versions) said last. A refresh fails with
    /// [`TufError::RollbackAttempt`] below it, unless a root *newer* than `lowest.root` has
    /// taken a key from timestamp or snapshot (5.3.11).
    ///
    /// # Errors
    ///
    /// As [`from_root`](Self::from_root).
    pub fn rebuild(root: &[u8], lowest: Versions, floor: Timestamp) -> Result<Self, TufError> {
        Ok(Self {
            lowest,
            ..Self::from_root(root, floor)?
        })
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`TufError::DamagedState`] when the bytes are not exactly that. Never take this for an
    /// empty state: use another copy, or [`rebuild`](Self::rebuild).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TufError> {
        state_codec::decode(bytes)
    }

    /// The whole state with a checksum, for storing.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        state_codec::encode(self)
    }

    /// The versions trusted now.
    #[must_use]
    pub fn versions(&self) -> Versions {
        fn newest<B>(document: Option<&Document<B>>, lowest: u64) -> u64 {
            document.map_or(lowest, |document| document.version.max(lowest))
        }
        Versions {
            root: self.root.version.max(self.lowest.root),
            timestamp: newest(self.timestamp.as_ref(), self.lowest.timestamp),
            snapshot: newest(self.snapshot.as_ref(), self.lowest.snapshot),
            // What the snapshot says binds, not the stored targets: after a revocation they may
            // stay behind for a while with a version that binds nobody (5.3.11).
            targets: self
                .snapshot
                .as_ref()
                .and_then(|snapshot| snapshot.body.role(&Role::Targets))
                .map_or(self.lowest.targets, |meta| {
                    meta.version().max(self.lowest.targets)
                }),
        }
    }

    /// The time that has certainly passed: no clock below it is believed.
    #[must_use]
    pub const fn floor(&self) -> Timestamp {
        self.floor
    }

    /// Raises the time floor. Only for times from verified sources, such as the creation time in
    /// a verified release: a wrong time in the future makes good metadata look expired for ever.
    pub fn raise_floor(&mut self, passed: Timestamp) {
        self.floor = self.floor.max(passed);
    }

    /// The trusted files, byte for byte as they were received, in the order root, timestamp,
    /// snapshot, targets, delegated roles.
    pub fn documents(&self) -> impl Iterator<Item = (Role, &[u8])> {
        fn entry<B>(role: Role, document: Option<&Document<B>>) -> Option<(Role, &[u8])> {
            document.map(|document| (role, document.bytes.as_slice()))
        }
        let top_level = [
            entry(Role::Root, Some(&self.root)),
            entry(Role::Timestamp, self.timestamp.as_ref()),
            entry(Role::Snapshot, self.snapshot.as_ref()),
            entry(Role::Targets, self.targets.as_ref()),
        ];
        let delegated = self
            .delegated
            .iter()
            .filter_map(|(name, document)| entry(Role::Delegated(name.clone()), Some(document)));
        top_level.into_iter().flatten().chain(delegated)
    }

    /// The file that holds `version` of `role`: the version is part of its name under consistent
    /// snapshots (6.1).
    pub(crate) fn file_name(&self, role: &Role, version: u64) -> MetadataName {
        if self.root.body.consistent_snapshot {
            MetadataName::versioned(role, version)
        } else {
            MetadataName::latest(role)
        }
    }

    /// Drops cached delegated roles that the trusted snapshot no longer lists.
    pub(crate) fn prune_delegated(&mut self) {
        if let Some(snapshot) = &self.snapshot {
            self.delegated
                .retain(|name, _| snapshot.body.role(&Role::Delegated(name.clone())).is_some());
        }
    }
}
