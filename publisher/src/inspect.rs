//! `inspect`: shows what a repository or one of its files says, and what is wrong with it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use switchback_delta::{DeltaError, Header};
use switchback_manifest::{BlobRef, Channel, FrameTable, MAX_DOCUMENT_BYTES, Release, SegmentList};
use switchback_types::{ProductName, Timestamp};

use crate::content::digest_file;
use crate::error::{RepoError, io as io_error};
use crate::explain::DeltaHeader;
use crate::repository::Repository;
use crate::role::Role;

/// Largest metadata file that is shown, in bytes.
const MAX_METADATA_BYTES: u64 = 16 * 1024 * 1024;

/// What a repository says.
#[derive(Debug, Clone, Serialize)]
pub struct RepositoryReport {
    /// Every role.
    pub roles: Vec<RoleReport>,
    /// Every product with its releases and channels.
    pub products: Vec<ProductReport>,
    /// What is wrong, for people; empty when nothing is.
    pub problems: Vec<String>,
}

/// One role.
#[derive(Debug, Clone, Serialize)]
pub struct RoleReport {
    /// Which.
    pub role: Role,
    /// The version of its metadata.
    pub version: u64,
    /// When its signature ends.
    pub expires: Timestamp,
    /// Whether that time is past.
    pub expired: bool,
    /// How many keys it has.
    pub keys: usize,
    /// How many of them must sign.
    pub threshold: u64,
}

/// One product.
#[derive(Debug, Clone, Serialize)]
pub struct ProductReport {
    /// Its name.
    pub product: ProductName,
    /// Its releases, lowest sequence number first.
    pub releases: Vec<Release>,
    /// Its channels, by name.
    pub channels: Vec<Channel>,
}

/// One file, recognised by what it says.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", content = "document", rename_all = "lowercase")]
pub enum FileReport {
    /// A release document.
    Release(Box<Release>),
    /// A channel document.
    Channel(Channel),
    /// A delta: what its first bytes say.
    Delta(DeltaHeader),
    /// Metadata of a role; nothing was verified.
    Metadata(Value),
}

/// How closely the repository's content is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every blob must be there with its length.
    Lengths,
    /// Every blob is read and compared with its digest.
    Digests,
}

/// Looks at a whole repository, starting from a trusted root. Problems that leave the rest
/// readable are listed, all of them.
///
/// # Errors
/// When the metadata cannot be read or does not verify.
pub fn inspect(
    path: &Path,
    trusted_root: &[u8],
    now: Timestamp,
    depth: Depth,
) -> Result<RepositoryReport, RepoError> {
    let repository = Repository::open(path, trusted_root)?;
    let mut problems = Vec::new();
    let roles = roles(&repository, now);
    for role in roles.iter().filter(|role| role.expired) {
        problems.push(format!(
            "the signature of the {} role ended at {}",
            role.role, role.expires
        ));
    }
    let mut products = Vec::new();
    for product in repository.products() {
        let releases = or_problem(repository.releases(&product), &mut problems);
        let channels = or_problem(repository.channels(&product), &mut problems);
        for release in &releases {
            check_content(path, release, depth, &mut problems);
        }
        for channel in &channels {
            check_channel(channel, &releases, now, &mut problems);
        }
        products.push(ProductReport {
            product,
            releases,
            channels,
        });
    }
    Ok(RepositoryReport {
        roles,
        products,
        problems,
    })
}

fn roles(repository: &Repository, now: Timestamp) -> Vec<RoleReport> {
    let metadata = repository.metadata();
    Role::ALL
        .into_iter()
        .map(|role| {
            let (keys, threshold) = metadata.threshold(role);
            let expires = metadata.expires(role);
            RoleReport {
                role,
                version: metadata.version(role),
                expires,
                expired: expires <= now,
                keys,
                threshold,
            }
        })
        .collect()
}

fn or_problem<T>(result: Result<Vec<T>, RepoError>, problems: &mut Vec<String>) -> Vec<T> {
    result.unwrap_or_else(|error| {
        problems.push(error.to_string());
        Vec::new()
    })
}

fn check_channel(
    channel: &Channel,
    releases: &[Release],
    now: Timestamp,
    problems: &mut Vec<String>,
) {
    let name = &channel.channel;
    let pointer = &channel.release;
    match releases
        .iter()
        .find(|release| release.version == pointer.version)
    {
        None => problems.push(format!(
            "channel {name} names version {}, which is not published",
            pointer.version
        )),
        Some(release) => {
            if let Err(error) = pointer.confirm(release) {
                problems.push(format!("channel {name}: {error}"));
            }
        }
    }
    if let Some(expires) = channel.expires.filter(|expires| *expires <= now) {
        problems.push(format!("channel {name} expired at {expires}"));
    }
}

fn check_content(path: &Path, release: &Release, depth: Depth, problems: &mut Vec<String>) {
    let mut whole = true;
    for blob in release.blobs() {
        if let Err(problem) = check_blob(path, blob, depth) {
            whole = false;
            problems.push(format!("release {}: {problem}", release.version));
        }
    }
    // The two tables are only worth reading when they are the ones that were signed.
    if whole
        && depth == Depth::Digests
        && let Err(problem) = check_tables(path, release)
    {
        problems.push(format!("release {}: {problem}", release.version));
    }
}

fn check_blob(path: &Path, blob: &BlobRef, depth: Depth) -> Result<(), String> {
    let name = blob.path();
    let path = path.join(&name);
    let found = match depth {
        Depth::Digests => digest_file(&path),
        Depth::Lengths => path.metadata().map(|metadata| BlobRef {
            sha256: blob.sha256,
            length: metadata.len(),
        }),
    };
    match found {
        Ok(found) if found == *blob => Ok(()),
        Ok(found) if found.length == blob.length => {
            Err(format!("{name} has the SHA-256 {}", found.sha256))
        }
        Ok(found) => Err(format!(
            "{name} has {} bytes, {} were signed",
            found.length, blob.length
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("{name} is missing")),
        Err(error) => Err(format!("{name} cannot be read: {error}")),
    }
}

fn check_tables(path: &Path, release: &Release) -> Result<(), String> {
    let read = |blob: &BlobRef| {
        std::fs::read(path.join(blob.path())).map_err(|error| format!("{}: {error}", blob.path()))
    };
    SegmentList::parse(&read(&release.image.segments)?, &release.image)
        .map_err(|error| error.to_string())?;
    FrameTable::parse(&read(&release.full.frames)?, &release.image, &release.full)
        .map_err(|error| error.to_string())?;
    Ok(())
}

/// Recognises and reads one file. Its signatures are not checked: a file alone has none, or has
/// nobody to vouch for them.
///
/// # Errors
/// [`RepoError::UnknownFile`], [`RepoError::Document`], [`RepoError::Io`].
pub fn inspect_file(path: &Path) -> Result<FileReport, RepoError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_METADATA_BYTES).read_to_end(&mut bytes))
        .map_err(io_error("read", path))?;
    let unknown = || RepoError::UnknownFile { path: path.into() };
    match bytes.first_chunk().map(Header::parse) {
        None | Some(Err(DeltaError::NotADelta)) => {}
        Some(Ok(header)) => return Ok(FileReport::Delta(DeltaHeader::from(&header))),
        Some(Err(source)) => {
            let path = path.into();
            return Err(RepoError::DeltaUnreadable { path, source });
        }
    }
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| unknown())?;
    if value.pointer("/signed/_type").is_some() {
        return Ok(FileReport::Metadata(value));
    }
    if bytes.len() > MAX_DOCUMENT_BYTES || value.get("schema").is_none() {
        return Err(unknown());
    }
    let document = |source| RepoError::Document {
        path: path.display().to_string(),
        source,
    };
    if value.get("image").is_some() {
        let release = Release::parse(&bytes).map_err(document)?;
        return Ok(FileReport::Release(Box::new(release)));
    }
    if value.get("channel").is_some() {
        return Ok(FileReport::Channel(
            Channel::parse(&bytes).map_err(document)?,
        ));
    }
    Err(unknown())
}
