//! The signed bodies of the four top-level roles (specification section 4).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::delegation::{Authority, Delegations};
use crate::error::TufError;
use crate::hashes::{Hashes, check_length};
use crate::key::PublicKey;
use crate::name::Role;

/// A kind of metadata.
pub(crate) trait Body: DeserializeOwned {
    /// The `_type` that the metadata carries.
    const TYPE: &'static str;

    /// What is wrong beyond the shape, if anything.
    fn problem(&self) -> Option<String>;
}

/// Root metadata (4.3).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Root {
    #[serde(default)]
    pub(crate) consistent_snapshot: bool,
    keys: BTreeMap<String, PublicKey>,
    roles: TopLevelRoles,
}

#[derive(Debug, Clone, Deserialize)]
struct TopLevelRoles {
    root: RoleKeys,
    timestamp: RoleKeys,
    snapshot: RoleKeys,
    targets: RoleKeys,
}

/// The keys of one role by id, and how many of them must sign.
///
/// A threshold above the number of keys is no error: the role just cannot be trusted.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RoleKeys {
    #[serde(rename = "keyids")]
    pub(crate) key_ids: Vec<String>,
    pub(crate) threshold: NonZeroU64,
}

impl Root {
    pub(crate) fn root(&self) -> Authority {
        Authority::new(Role::Root, &self.roles.root, &self.keys)
    }

    pub(crate) fn timestamp(&self) -> Authority {
        Authority::new(Role::Timestamp, &self.roles.timestamp, &self.keys)
    }

    pub(crate) fn snapshot(&self) -> Authority {
        Authority::new(Role::Snapshot, &self.roles.snapshot, &self.keys)
    }

    pub(crate) fn targets(&self) -> Authority {
        Authority::new(Role::Targets, &self.roles.targets, &self.keys)
    }
}

impl Body for Root {
    const TYPE: &'static str = "root";

    fn problem(&self) -> Option<String> {
        let roles = &self.roles;
        [
            ("root", &roles.root),
            ("timestamp", &roles.timestamp),
            ("snapshot", &roles.snapshot),
            ("targets", &roles.targets),
        ]
        .into_iter()
        .find_map(|(name, keys)| keys.problem(name))
    }
}

/// What one role says about another one's metadata file.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct FileMeta {
    version: NonZeroU64,
    /// Length in bytes, where it is signed.
    pub(crate) length: Option<u64>,
    hashes: Option<Hashes>,
}

impl FileMeta {
    /// The version that the file must have.
    pub(crate) fn version(&self) -> u64 {
        self.version.get()
    }

    /// Checks bytes against the signed length and hashes, where there are any.
    ///
    /// # Errors
    ///
    /// [`TufError::WrongLength`], [`TufError::WrongHash`], [`TufError::NoKnownHash`].
    pub(crate) fn check(&self, file: &str, bytes: &[u8]) -> Result<(), TufError> {
        if let Some(length) = self.length {
            check_length(file, length, bytes)?;
        }
        self.hashes
            .as_ref()
            .map_or(Ok(()), |hashes| hashes.check(file, bytes))
    }
}

/// Timestamp metadata (4.6): names one snapshot.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TimestampRole {
    meta: TimestampMeta,
}

#[derive(Debug, Clone, Deserialize)]
struct TimestampMeta {
    #[serde(rename = "snapshot.json")]
    snapshot: FileMeta,
}

impl TimestampRole {
    pub(crate) fn snapshot(&self) -> &FileMeta {
        &self.meta.snapshot
    }
}

impl Body for TimestampRole {
    const TYPE: &'static str = "timestamp";

    fn problem(&self) -> Option<String> {
        None
    }
}

/// Snapshot metadata (4.4): the versions of all targets roles.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Snapshot {
    /// By file name (`targets.json`).
    pub(crate) meta: BTreeMap<String, FileMeta>,
}

impl Snapshot {
    pub(crate) fn role(&self, role: &Role) -> Option<&FileMeta> {
        self.meta.get(&role.meta_key())
    }
}

impl Body for Snapshot {
    const TYPE: &'static str = "snapshot";

    fn problem(&self) -> Option<String> {
        (!self.meta.contains_key("targets.json"))
            .then(|| String::from("meta does not list targets.json"))
    }
}

/// Targets metadata (4.5), top level or delegated.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Targets {
    /// By path.
    pub(crate) targets: BTreeMap<String, TargetMeta>,
    pub(crate) delegations: Option<Delegations>,
}

/// What is signed about one artifact.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TargetMeta {
    pub(crate) length: u64,
    pub(crate) hashes: Hashes,
    pub(crate) custom: Option<Value>,
}

impl Body for Targets {
    const TYPE: &'static str = "targets";

    fn problem(&self) -> Option<String> {
        self.delegations.as_ref().and_then(Delegations::problem)
    }
}
