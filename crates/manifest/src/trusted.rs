//! Documents that the repository's signatures cover.

use core::ops::Deref;

use switchback_tuf::VerifiedTarget;
use switchback_types::{Digest, TargetPath, TraceId};

use crate::channel::Channel;
use crate::error::{DocumentKind, ManifestError};
use crate::release::Release;

/// A release document whose bytes were signed under the name that they claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRelease {
    release: Release,
    document: Option<Digest>,
}

impl TrustedRelease {
    /// Reads the document out of a verified artifact.
    ///
    /// # Errors
    /// As [`Release::parse`]; also when the artifact was signed as anything else than
    /// `releases/<product>/<version>/release.json` with the document's own product and version.
    pub fn from_verified(artifact: &VerifiedTarget) -> Result<Self, ManifestError> {
        let release = Release::parse(artifact.bytes())?;
        check_path(DocumentKind::Release, artifact.path(), release.path())?;
        Ok(Self {
            release,
            document: artifact.sha256(),
        })
    }

    /// A proof of nothing, for the tests of crates that need one.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_tests(release: Release) -> Self {
        Self {
            release,
            document: Some(Digest::from_bytes([0x5a; 32])),
        }
    }

    /// Names what happens to it; nothing if its document was signed without a SHA-256.
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        let document = self.document.as_ref()?;
        Some(TraceId::of(&self.release.image.sha256, document))
    }

    /// The document.
    #[must_use]
    pub const fn document(&self) -> &Release {
        &self.release
    }
}

impl Deref for TrustedRelease {
    type Target = Release;

    fn deref(&self) -> &Release {
        &self.release
    }
}

/// A channel document whose bytes were signed under the name that they claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedChannel(Channel);

impl TrustedChannel {
    /// Reads the document out of a verified artifact.
    ///
    /// # Errors
    /// As [`Channel::parse`]; also when the artifact was signed as anything else than
    /// `channels/<product>/<channel>.json` with the document's own product and channel.
    pub fn from_verified(artifact: &VerifiedTarget) -> Result<Self, ManifestError> {
        let channel = Channel::parse(artifact.bytes())?;
        check_path(DocumentKind::Channel, artifact.path(), channel.path())?;
        Ok(Self(channel))
    }

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

fn check_path(
    kind: DocumentKind,
    signed_as: &TargetPath,
    belongs_at: TargetPath,
) -> Result<(), ManifestError> {
    if *signed_as == belongs_at {
        return Ok(());
    }
    Err(ManifestError::WrongPath {
        kind,
        signed_as: signed_as.clone(),
        belongs_at,
    })
}
