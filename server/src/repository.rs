//! The signed repository: releases are looked up by the rules of a device.
//!
//! What was seen of it is remembered in the data directory, so a mirror that offers again what was
//! true once is found out.

use std::fs::File as OsFile;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use switchback_manifest::{ManifestError, TrustedRelease, release_path};
use switchback_tuf::{
    Answer, Exchange, Limits, Refresh, TrustedState, TufError, VerifiedTarget, Want,
};
use switchback_types::{ProductName, TargetPath, Timestamp, Version};

use crate::app::Settings;
use crate::releases::{File, Release, legacy_digests};

/// Largest document of the repository that is read here; images never are.
const MAX_DOCUMENT_BYTES: u64 = 1 << 20;
/// Largest file of what was seen.
const MAX_MEMORY_BYTES: u64 = 64 << 20;

/// Why a release cannot be taken from the repository.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The server was given none.
    #[error("this server was given no repository (--repository, --repository-root)")]
    None,
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is too long.
    #[error("{} has more than {limit} bytes", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
        /// Most allowed.
        limit: u64,
    },
    /// The repository is not to be trusted.
    #[error("the repository is not trusted")]
    Untrusted(#[source] TufError),
    /// What was seen before cannot be read.
    #[error(
        "{}: what was seen of the repository cannot be read; \
         remove the file, and an older repository is not noticed once",
        path.display()
    )]
    Memory {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: TufError,
    },
    /// What was seen cannot be kept.
    #[error("{} cannot be written", path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nobody signed such a release.
    #[error("nobody signed {0}")]
    Unknown(TargetPath),
    /// A signed file is not there.
    #[error("{0} is signed, and not in the repository")]
    Gone(TargetPath),
    /// The document is wrong.
    #[error("the release document is wrong")]
    Document(#[source] ManifestError),
}

impl RepositoryError {
    /// Whether asking for something else would help: the repository itself is well.
    #[must_use]
    pub const fn is_of_the_question(&self) -> bool {
        matches!(self, Self::None | Self::Unknown(_))
    }
}

/// Finds a signed release in the repository, by the rules of a device: signatures, freshness,
/// delegations, and nothing older than what was seen before. One at a time.
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
    let root = demand(root, MAX_DOCUMENT_BYTES)?;
    let memory = Memory::of(&settings.data, &root);
    let metadata = repository.join("metadata");
    let mut refresh = Refresh::start(memory.load(&root)?, Limits::default(), Some(now));
    let driven = drive(&mut refresh, &metadata);
    if let Err(why) = driven {
        // A new root above all is not to be forgotten.
        memory.keep(&refresh.into_state())?;
        return Err(why);
    }
    let mut refreshed = refresh.finish().map_err(RepositoryError::Untrusted)?;
    memory.keep(refreshed.state())?;
    let path = release_path(product, version);
    let untrusted = RepositoryError::Untrusted;
    let mut lookup = refreshed.lookup(path.clone()).map_err(untrusted)?;
    drive(&mut lookup, &metadata)?;
    let info = lookup.finish().map_err(untrusted)?;
    let info = info.ok_or_else(|| RepositoryError::Unknown(path.clone()))?;
    let url_path = info.url_path().map_err(untrusted)?;
    let file = repository.join("targets").join(&url_path);
    let bytes = read(&file, MAX_DOCUMENT_BYTES)?;
    let bytes = bytes.ok_or_else(|| RepositoryError::Gone(path.clone()))?;
    let target: VerifiedTarget = info.verify(bytes).map_err(untrusted)?;
    let release = TrustedRelease::from_verified(&target).map_err(RepositoryError::Document)?;
    let (sha1, md5) = legacy_digests(target.bytes());
    let sha256 = info.sha256().map(|digest| digest.to_string());
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
            size: target.bytes().len() as u64,
            sha256: sha256.unwrap_or_default(),
            sha1,
            md5,
            url: Some(format!("{}/targets/{url_path}", base.trim_end_matches('/'))),
        }],
        notes: release.notes.clone(),
    })
}

/// What was seen of the repository that one root began.
struct Memory(PathBuf);

impl Memory {
    fn of(data: &Path, root: &[u8]) -> Self {
        let digest = hex::encode(Sha256::digest(root));
        let short = digest.get(..16).unwrap_or_default();
        Self(data.join(format!("seen-{short}")))
    }

    fn load(&self, root: &[u8]) -> Result<TrustedState, RepositoryError> {
        match read(&self.0, MAX_MEMORY_BYTES)? {
            Some(bytes) => {
                TrustedState::from_bytes(&bytes).map_err(|source| RepositoryError::Memory {
                    path: self.0.clone(),
                    source,
                })
            }
            None => {
                TrustedState::from_root(root, Timestamp::EPOCH).map_err(RepositoryError::Untrusted)
            }
        }
    }

    fn keep(&self, state: &TrustedState) -> Result<(), RepositoryError> {
        self.write(&state.to_bytes())
            .map_err(|source| RepositoryError::Keep {
                path: self.0.clone(),
                source,
            })
    }

    /// The file is the old one or the new one, whole, whenever the power goes.
    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        if std::fs::read(&self.0).is_ok_and(|known| known == bytes) {
            return Ok(());
        }
        let fresh = self.0.with_extension("new");
        let mut file = OsFile::create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &self.0)?;
        match self.0.parent() {
            Some(directory) => OsFile::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn drive(exchange: &mut dyn Exchange, metadata: &Path) -> Result<(), RepositoryError> {
    while let Want::File(request) = exchange.poll() {
        let path = metadata.join(request.name.as_str());
        let answer = match read(&path, request.max_length)? {
            Some(bytes) => Answer::File(bytes),
            None => Answer::Missing,
        };
        exchange.feed(answer).map_err(RepositoryError::Untrusted)?;
    }
    Ok(())
}

fn demand(path: &Path, limit: u64) -> Result<Vec<u8>, RepositoryError> {
    read(path, limit)?.ok_or_else(|| RepositoryError::Read {
        path: path.to_owned(),
        source: std::io::ErrorKind::NotFound.into(),
    })
}

/// A file of at most so many bytes; nothing, when it is not there.
fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, RepositoryError> {
    let cannot = |source| RepositoryError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match OsFile::open(path) {
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
            path: path.to_owned(),
            limit,
        });
    }
    Ok(Some(bytes))
}
