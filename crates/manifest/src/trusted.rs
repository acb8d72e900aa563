//! Documents that the repository's signatures cover.

use core::ops::Deref;

use crate::channel::Channel;
use crate::error::ManifestError;
use crate::release::Release;

/// A release document whose bytes were signed under the name that they claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRelease(Release);

impl TrustedRelease {
    /// A proof of nothing, for the tests of crates that need one.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_tests(release: Release) -> Self {
        Self(release)
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> &Release {
        &self.0
    }
}

impl Deref for TrustedRelease {
    type Target = Release;

    fn deref(&self) -> &Release {
        &self.0
    }
}

/// A channel document whose bytes were signed under the name that they claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedChannel(Channel);

impl TrustedChannel {
    /// A proof of nothing, for the tests of crates that need one.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_tests(channel: Channel) -> Self {
        Self(channel)
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> &Channel {
        &self.0
    }

    /// Whether `release` is the one that this channel names. The online key that signs channels
    /// is not the key that signs releases: both must mean the same image.
    ///
    /// # Errors
    /// [`ManifestError::PointerMismatch`] names the first field that differs.
    pub fn confirm(&self, release: &TrustedRelease) -> Result<(), ManifestError> {
        self.0.release.confirm(release)
    }
}

impl Deref for TrustedChannel {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.0
    }
}
