//! What comes of a question.

use switchback_manifest::{TrustedChannel, TrustedRelease};
use switchback_tuf::{ErrorKind, TufError};
use switchback_types::Version;

use crate::fetch::FetchError;
use crate::journal::RecordError;
use crate::report::chain;

/// What the repository offers this device.
#[derive(Debug)]
pub enum Asked {
    /// The channel names this release, or a fleet server wants it.
    Offer {
        /// The channel, if it was asked.
        channel: Option<TrustedChannel>,
        /// The release: the one that is named, or the next one on the way there.
        release: Box<TrustedRelease>,
        /// The one that is named, if that is another.
        toward: Option<Version>,
    },
    /// A bundle brings this release.
    Bundled(Box<TrustedRelease>),
    /// Verified metadata names nothing for this device.
    Nothing(String),
    /// No answer.
    Unreachable(String),
    /// An answer that is not trusted.
    Untrusted(String),
    /// Metadata that has expired.
    Stale(String),
}

/// Why a question to the repository got no answer that can be used.
pub(super) enum Failure {
    Fetch(FetchError),
    Tuf(TufError),
    Content(String),
    Stale(String),
    Record(RecordError),
}

impl From<TufError> for Failure {
    fn from(error: TufError) -> Self {
        Self::Tuf(error)
    }
}

impl Failure {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Fetch(error) => chain(error),
            Self::Tuf(error) => chain(error),
            Self::Content(detail) | Self::Stale(detail) => detail.clone(),
            Self::Record(error) => chain(error),
        }
    }

    pub(super) fn asked(self) -> Asked {
        let text = self.text();
        match self {
            Self::Content(_) => Asked::Untrusted(text),
            Self::Stale(_) => Asked::Stale(text),
            // Trust that cannot be remembered protects nothing: act on nothing new.
            Self::Fetch(_) | Self::Record(_) => Asked::Unreachable(text),
            Self::Tuf(error) => match error.kind() {
                ErrorKind::Missing => Asked::Unreachable(text),
                ErrorKind::Stale => Asked::Stale(text),
                ErrorKind::Invalid
                | ErrorKind::Untrusted
                | ErrorKind::Rollback
                | ErrorKind::Limit
                | ErrorKind::State
                | ErrorKind::Usage => Asked::Untrusted(text),
            },
        }
    }
}
