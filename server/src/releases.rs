//! Releases: named from the signed repository, or files of others' formats.

use std::path::Path;

use serde::{Deserialize, Serialize};
use switchback_manifest::{TrustedRelease, release_path};
use switchback_tuf::{Answer, Exchange, Limits, Refresh, TrustedState, VerifiedTarget, Want};
use switchback_types::{ProductName, TargetPath, Timestamp, Version};

use crate::app::Settings;

/// Largest file of the repository that is read here: documents, never images.
const MAX_DOCUMENT_BYTES: u64 = 1 << 20;

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

/// Why a release cannot be taken from the repository.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The server was given none.
    #[error("this server was given no repository (--repository, --repository-root)")]
    None,
    /// A file cannot be read.
    #[error("the repository's {name} cannot be read")]
    Read {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is too long.
    #[error("the repository's {name} has more than {limit} bytes")]
    TooLong {
        /// Which.
        name: String,
        /// Most allowed.
        limit: u64,
    },
    /// The repository is not to be trusted.
    #[error("the repository is not trusted: {0}")]
    Untrusted(switchback_tuf::TufError),
    /// Nobody signed such a release.
    #[error("nobody signed {0}")]
    Unknown(TargetPath),
    /// The document is wrong.
    #[error("the release document is wrong: {0}")]
    Document(switchback_manifest::ManifestError),
}

/// Finds a signed release in the repository, by the rules of a device: signatures, freshness,
/// delegations.
///
/// # Errors
/// It is not there, or not to be trusted.
pub fn signed(
    settings: &Settings,
    product: &ProductName,
    version: &Version,
    now: Timestamp,
) -> Result<Release, RepositoryError> {
    let (Some(repository), Some(root)) = (&settings.repository, &settings.repository_root) else {
        return Err(RepositoryError::None);
    };
    let untrusted = RepositoryError::Untrusted;
    let root = read(root, "root", MAX_DOCUMENT_BYTES)?.ok_or(RepositoryError::None)?;
    let state = TrustedState::from_root(&root, Timestamp::EPOCH).map_err(untrusted)?;
    let metadata = repository.join("metadata");
    let mut refresh = Refresh::start(state, Limits::default(), Some(now));
    drive(&mut refresh, &metadata)?;
    let mut refreshed = refresh.finish().map_err(untrusted)?;
    let path = release_path(product, version);
    let mut lookup = refreshed.lookup(path.clone()).map_err(untrusted)?;
    drive(&mut lookup, &metadata)?;
    let info = lookup.finish().map_err(untrusted)?;
    let info = info.ok_or_else(|| RepositoryError::Unknown(path.clone()))?;
    let url_path = info.url_path().map_err(untrusted)?;
    let file = repository.join("targets").join(&url_path);
    let bytes = read(&file, path.as_str(), MAX_DOCUMENT_BYTES)?
        .ok_or_else(|| RepositoryError::Unknown(path.clone()))?;
    let target: VerifiedTarget = info.verify(bytes).map_err(untrusted)?;
    let size = target.bytes().len() as u64;
    let (sha1, md5) = legacy_digests(target.bytes());
    let release = TrustedRelease::from_verified(&target).map_err(RepositoryError::Document)?;
    let sha256 = info
        .sha256()
        .map(|digest| digest.to_string())
        .unwrap_or_default();
    let base = settings.content_url.as_deref().unwrap_or_default();
    Ok(Release {
        name: format!("{product}/{version}"),
        identity: release.image.sha256.to_string(),
        product: product.to_string(),
        version: version.to_string(),
        sequence: Some(release.sequence),
        signed: true,
        files: vec![File {
            filename: "release.json".into(),
            size,
            sha256,
            sha1,
            md5,
            url: Some(format!("{}/targets/{url_path}", base.trim_end_matches('/'))),
        }],
        notes: release.notes.clone(),
    })
}

/// SHA-1 and MD5 of some bytes: what old clients ask for.
#[must_use]
pub fn legacy_digests(bytes: &[u8]) -> (String, String) {
    use sha1::Digest as _;
    let sha1 = hex::encode(sha1::Sha1::digest(bytes));
    (sha1, hex::encode(md5::Md5::digest(bytes)))
}

fn drive(exchange: &mut dyn Exchange, metadata: &Path) -> Result<(), RepositoryError> {
    while let Want::File(request) = exchange.poll() {
        let name = request.name.as_str();
        let answer = match read(&metadata.join(name), name, request.max_length)? {
            Some(bytes) => Answer::File(bytes),
            None => Answer::Missing,
        };
        exchange.feed(answer).map_err(RepositoryError::Untrusted)?;
    }
    Ok(())
}

/// A file of at most so many bytes; nothing, when it is not there.
fn read(path: &Path, name: &str, limit: u64) -> Result<Option<Vec<u8>>, RepositoryError> {
    use std::io::Read as _;
    let cannot = |source| RepositoryError::Read {
        name: name.to_owned(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(cannot(why)),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > limit {
        return Err(RepositoryError::TooLong {
            name: name.to_owned(),
            limit,
        });
    }
    Ok(Some(bytes))
}
