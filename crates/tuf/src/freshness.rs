//! Whether trusted metadata is still within its time.

use core::fmt;

use switchback_types::Timestamp;

use crate::document::Document;
use crate::name::{MetadataName, Role};

/// Whether anything may be installed on the word of the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// All four roles are within their time.
    Fresh,
    /// One has expired: keep polling, install nothing, say so.
    Stale(Staleness),
}

/// Which metadata has expired, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staleness {
    /// The role.
    pub role: Role,
    /// The version that has expired: the newest that the repository offers.
    pub version: u64,
    /// When it expired.
    pub expired: Timestamp,
    /// The time that it was held against: the clock's, or the floor where that is later.
    pub now: Timestamp,
}

impl fmt::Display for Staleness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            role,
            version,
            expired,
            now,
        } = self;
        write!(
            f,
            "{role} version {version} expired at {expired} (this device's time is {now})"
        )?;
        if *role == Role::Root {
            let next = MetadataName::versioned(role, version.saturating_add(1));
            write!(f, " and the repository offers no {next}")?;
        }
        f.write_str("; publish newer metadata, or check the clock")
    }
}

impl Staleness {
    /// The freeze attack check (5.3.10, 5.4.4, 5.5.6, 5.6.5).
    pub(crate) fn of<B>(role: &Role, document: &Document<B>, now: Timestamp) -> Option<Self> {
        (document.expires <= now).then(|| Self {
            role: role.clone(),
            version: document.version,
            expired: document.expires,
            now,
        })
    }
}
