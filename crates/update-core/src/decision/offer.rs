//! What asking the repository gave, as far as the decision looks at it.

use alloc::string::String;

use switchback_types::{Timestamp, Version};

use crate::slot::ImageIdentity;

/// A release that the repository names for this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its image.
    pub image: ImageIdentity,
    /// Whether the channel allows going back to an older release.
    pub allow_downgrade: bool,
    /// Whether the channel is halted.
    pub halted: bool,
    /// The first of this device's kinds that the release lists, or what it lists instead.
    pub compatible: Result<String, String>,
    /// Whether the running slot, of unknown origin, turned out to hold this very image.
    pub runs_already: bool,
    /// The release that the channel names, if this one comes before it on the way there.
    pub toward: Option<Version>,
    /// What must run before it may be installed: that release or a later one.
    pub requires: Option<Requires>,
    /// A paper that this device requires of a release and that this one does not carry.
    pub lacks: Option<&'static str>,
}

/// A release that comes before another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requires {
    /// What people call it.
    pub version: Version,
    /// Its place in the line of releases.
    pub sequence: u64,
}

/// What asking the repository gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepositoryAnswer {
    /// Verified metadata names a release.
    Release(Candidate),
    /// Verified metadata names no release for this device.
    Nothing {
        /// What was looked for.
        detail: String,
    },
    /// It could not be asked.
    Unreachable {
        /// What happened, naming the URL.
        detail: String,
    },
    /// It answered with something that is not trusted.
    Untrusted {
        /// What is wrong, naming the file.
        detail: String,
    },
    /// Its metadata has expired: kept, but nothing is installed from it.
    Stale {
        /// Which role, and since when.
        detail: String,
    },
}

/// An install that failed, and when it is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Not before this time.
    pub until: Timestamp,
    /// What went wrong.
    pub detail: String,
}
