//! Releases, signed ones and those of others' formats.

use serde::{Deserialize, Serialize};
use switchback_types::TraceId;

/// A file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct File {
    /// Its name.
    pub filename: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub sha256: String,
    /// SHA-1, for clients that ask for it; empty when it is not known.
    #[serde(default)]
    pub sha1: String,
    /// MD5, for clients that ask for it; empty when it is not known.
    #[serde(default)]
    pub md5: String,
    /// Where it lies; nothing, when this server has it.
    #[serde(default)]
    pub url: Option<String>,
}

/// A release that can be rolled out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Release {
    /// Its name here: product and version.
    pub name: String,
    /// What a device says that it runs, when it runs this.
    pub identity: String,
    /// The line of releases.
    pub product: String,
    /// The version.
    pub version: String,
    /// Its place in the line, for signed ones.
    #[serde(default)]
    pub sequence: Option<u64>,
    /// Whether the repository's signatures cover it. Only devices of Switchback check that for
    /// themselves; files of other formats have their own signatures.
    pub signed: bool,
    /// Its files: the release document, or the files of another format.
    pub files: Vec<File>,
    /// What changed, for people.
    #[serde(default)]
    pub notes: Option<String>,
}

impl Release {
    /// Names what happens to it, in everybody's logs: nothing where it is not a signed release.
    #[must_use]
    pub fn trace_id(&self) -> Option<String> {
        let document = self.files.first().filter(|_| self.signed)?;
        let trace = TraceId::of(&self.identity.parse().ok()?, &document.sha256.parse().ok()?);
        Some(trace.id().to_string())
    }
}

/// SHA-1 and MD5 of some bytes: what old clients ask for.
#[must_use]
pub fn legacy_digests(bytes: &[u8]) -> (String, String) {
    use sha1::Digest as _;
    let sha1 = hex::encode(sha1::Sha1::digest(bytes));
    (sha1, hex::encode(md5::Md5::digest(bytes)))
}
