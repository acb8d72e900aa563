//! `bundle`: one file with all that it takes to install one release.
//!
//! A bundle is a tar file whose entries are files of the repository under their own names, in
//! the order in which a device reads them, so that it can be streamed and nothing is stored:
//!
//! ```text
//! bundle/content                                   the paths of all content, one on each line
//! metadata/1.root.json … metadata/N.root.json      every root, oldest first
//! metadata/timestamp.json
//! metadata/N.snapshot.json  N.targets.json  N.releases.json  N.channels.json
//! targets/channels/<product>/<sha256>.<channel>.json    every channel of the product, by name
//! targets/releases/<product>/<version>/<sha256>.release.json
//! content/<aa>/<sha256>      the segment list
//! content/<aa>/<sha256>      deltas, in the order of the release document
//! content/<aa>/<sha256>      frame table and pack, when the whole image is in it
//! ```
//! All before the first `content/` has at most [`MAX_HEAD_BYTES`]: a device holds it in memory.
//! There is nothing else: no directories, links, owners or times, and at the end two blocks of
//! zeros. A bundle proves nothing by itself; what is in it is checked as what a server sends is.

mod tar;

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use switchback_manifest::{BlobRef, Delta, Release};
use switchback_types::{ChannelName, Digest, ProductName, Timestamp, Version};

use crate::content::DigestingWriter;
use crate::error::{RepoError, io};
use crate::repository::Repository;
use crate::role::Role;
use crate::store::sync_directory;
use crate::unpack;

/// All entries before the first `content/` together, headers and padding counted, in bytes.
pub const MAX_HEAD_BYTES: u64 = 8 * 1024 * 1024;

const COPY: usize = 256 * 1024;

/// The first file of a bundle: the paths of its blobs, one on each line.
const CONTENTS: &str = "bundle/content";

/// What `bundle` is asked for.
#[derive(Debug, Clone)]
pub struct BundleRequest {
    /// The product; the repository's only one unless given.
    pub product: Option<ProductName>,
    /// The release.
    pub version: Version,
    /// The versions whose deltas it holds.
    pub from: Vec<Version>,
    /// Whether it holds the whole image; it does in any case when `from` is empty.
    pub full: bool,
    /// The file.
    pub output: PathBuf,
}

/// A bundle that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bundled {
    /// The file.
    pub output: PathBuf,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: Digest,
    /// The product of the release.
    pub product: ProductName,
    /// The release.
    pub version: Version,
    /// The versions whose deltas it holds.
    pub from: Vec<Version>,
    /// Whether it holds the whole image.
    pub full: bool,
    /// When the first signature in it ends: devices take it until then.
    pub expires: Timestamp,
    /// The channels that name the release.
    pub channels: Vec<ChannelName>,
    /// What one should know, for people.
    pub warnings: Vec<String>,
}

/// Writes a bundle. Only the repository is needed, no keys.
///
/// # Errors
/// [`RepoError::NoSuchRelease`], [`RepoError::NotInRelease`], [`RepoError::Missing`],
/// [`RepoError::Damaged`], [`RepoError::BundleLimit`], and what reading the repository and
/// writing the file can fail with. The file is there whole or not at all.
pub fn bundle(
    repository: &Repository,
    request: &BundleRequest,
    now: Timestamp,
) -> Result<Bundled, RepoError> {
    let product = repository.product(request.product.as_ref())?;
    let release = repository.release(&product, &request.version)?;
    let full = request.full || request.from.is_empty();
    let deltas = deltas(repository, &release, &request.from)?;
    let mut bundled = Bundled {
        output: request.output.clone(),
        length: 0,
        sha256: Digest::from_bytes([0; 32]),
        product,
        version: release.version.clone(),
        from: request.from.clone(),
        full,
        expires: expires(repository),
        channels: Vec::new(),
        warnings: Vec::new(),
    };
    let mut head = head(repository, &release, &mut bundled)?;
    let mut content = vec![release.image.segments];
    content.extend(deltas.iter().map(|delta| delta.blob));
    if full {
        content.extend([release.full.frames, release.full.blob]);
    }
    head.insert(0, contents(&content));
    check_lengths(&head, &content, request)?;
    if bundled.expires <= now {
        bundled.warnings.push(format!(
            "a signature in it ended at {}: devices refuse it; run `switchback-repo refresh` and \
             bundle again",
            bundled.expires
        ));
    }
    if bundled.channels.is_empty() {
        bundled.warnings.push(format!(
            "no channel names version {}: devices take it only when a person says so",
            release.version
        ));
    }
    let repo = repository.path();
    let whole = write(repo, &head, &content, &request.output)?;
    (bundled.length, bundled.sha256) = (whole.length, whole.sha256);
    Ok(bundled)
}

/// Which blobs are in the bundle: who reads it as it comes asks for no other.
fn contents(content: &[BlobRef]) -> Entry {
    let paths = content.iter().map(|blob| blob.path() + "\n");
    Entry {
        name: CONTENTS.into(),
        bytes: paths.collect::<String>().into_bytes(),
    }
}

/// The deltas of a release from these versions, in the order of the document.
fn deltas(
    repository: &Repository,
    release: &Release,
    from: &[Version],
) -> Result<Vec<Delta>, RepoError> {
    let mut images = Vec::new();
    for version in from {
        let base = repository.release(&release.product, version)?;
        if release.delta_from(&base.image.sha256).is_none() {
            let releases = repository.releases(&release.product)?;
            return Err(RepoError::not_in_release(release, version, &releases));
        }
        images.push(base.image.sha256);
    }
    let wanted = release
        .deltas
        .iter()
        .filter(|delta| delta.format.is_known() && images.contains(&delta.from));
    Ok(wanted.cloned().collect())
}

fn expires(repository: &Repository) -> Timestamp {
    let ends = Role::ALL
        .into_iter()
        .map(|role| repository.metadata().expires(role));
    ends.min().unwrap_or(Timestamp::EPOCH)
}

/// A small file of the repository, in memory.
struct Entry {
    name: String,
    bytes: Vec<u8>,
}

/// Metadata and documents, in the order in which a device reads them.
fn head(
    repository: &Repository,
    release: &Release,
    bundled: &mut Bundled,
) -> Result<Vec<Entry>, RepoError> {
    let repo = repository.path();
    let mut entries = Vec::new();
    let metadata = repository.metadata();
    let file = |role: Role, version| format!("metadata/{}", role.file_name(version));
    for version in 1..=metadata.version(Role::Root) {
        entries.push(entry(repo, file(Role::Root, version))?);
    }
    for role in [
        Role::Timestamp,
        Role::Snapshot,
        Role::Targets,
        Role::Releases,
        Role::Channels,
    ] {
        entries.push(entry(repo, file(role, metadata.version(role)))?);
    }
    check_steady(repository, &entries)?;
    let files = repository.artifact_files()?;
    let file_of = |path| {
        let mut files = files.iter();
        files
            .find(|(known, _)| *known == path)
            .map(|(_, file)| file.clone())
    };
    for channel in repository.channels(&release.product)? {
        let Some(file) = file_of(channel.path()) else {
            continue;
        };
        if channel.release.version == release.version {
            bundled.channels.push(channel.channel.clone());
        }
        if tar::fits(&file) {
            entries.push(entry(repo, file)?);
        } else {
            bundled.warnings.push(format!(
                "channel {} is left out: its name is too long for a tar file",
                channel.channel
            ));
        }
    }
    if let Some(file) = file_of(release.path()) {
        entries.push(entry(repo, file)?);
    }
    Ok(entries)
}

fn entry(repo: &Path, name: String) -> Result<Entry, RepoError> {
    let path = repo.join(&name);
    match fs::read(&path) {
        Ok(bytes) => Ok(Entry { name, bytes }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(RepoError::Missing { path })
        }
        Err(error) => Err(io("read", &path)(error)),
    }
}

/// Fails when somebody published between the reading of the metadata and now: timestamp.json is
/// the one file that is replaced.
fn check_steady(repository: &Repository, entries: &[Entry]) -> Result<(), RepoError> {
    let version = entries
        .iter()
        .find(|entry| entry.name.ends_with("/timestamp.json"))
        .and_then(|entry| serde_json::from_slice::<Value>(&entry.bytes).ok())
        .and_then(|value| value.pointer("/signed/version")?.as_u64());
    if version == Some(repository.metadata().version(Role::Timestamp)) {
        return Ok(());
    }
    Err(RepoError::Busy {
        path: repository.path().into(),
    })
}

fn check_lengths(
    head: &[Entry],
    content: &[BlobRef],
    request: &BundleRequest,
) -> Result<(), RepoError> {
    let length = head
        .iter()
        .map(|entry| tar::space(entry.bytes.len() as u64))
        .sum();
    if length > MAX_HEAD_BYTES {
        return Err(RepoError::BundleLimit {
            what: "the metadata".into(),
            length,
            limit: MAX_HEAD_BYTES,
            way_out: "take old releases out with `switchback-repo gc`",
        });
    }
    match content.iter().find(|blob| blob.length > tar::MAX_LENGTH) {
        Some(blob) => Err(RepoError::BundleLimit {
            what: format!("version {}", request.version),
            length: blob.length,
            limit: tar::MAX_LENGTH,
            way_out: "bundle deltas instead (--from without --full), or serve the repository",
        }),
        None => Ok(()),
    }
}

/// Writes beside the output, syncs, and renames. Gives length and digest.
fn write(
    repo: &Path,
    head: &[Entry],
    content: &[BlobRef],
    output: &Path,
) -> Result<BlobRef, RepoError> {
    let directory = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(io("create a file in", directory))?;
    let writing = || io("write", output);
    let mut tar = tar::Writer::new(DigestingWriter::new(BufWriter::new(file)));
    for entry in head {
        tar.entry(&entry.name, &entry.bytes).map_err(writing())?;
    }
    for blob in content {
        copy(repo, blob, &mut tar, output)?;
    }
    let (buffered, whole) = tar.finish().map_err(writing())?.finish();
    let file = buffered
        .into_inner()
        .map_err(|error| writing()(error.into_error()))?;
    file.as_file().sync_all().map_err(io("sync", output))?;
    file.persist(output)
        .map_err(|error| io("rename into place", output)(error.error))?;
    sync_directory(directory)?;
    Ok(whole)
}

/// Copies a blob and compares its digest: a bundle with damage in it would be found by a device
/// far away.
fn copy<W: std::io::Write>(
    repo: &Path,
    blob: &BlobRef,
    tar: &mut tar::Writer<W>,
    output: &Path,
) -> Result<(), RepoError> {
    let name = blob.path();
    let path = repo.join(&name);
    let mut file: File = unpack::open(&path, blob)?;
    tar.begin(&name, blob.length).map_err(io("write", output))?;
    let mut digest = DigestingWriter::new(std::io::sink());
    let mut buffer = vec![0; COPY];
    loop {
        let count = file.read(&mut buffer).map_err(io("read", &path))?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        digest.write_all(bytes).map_err(io("read", &path))?;
        tar.write(bytes).map_err(io("write", output))?;
    }
    tar.pad().map_err(io("write", output))?;
    if digest.finish().1 != *blob {
        return Err(RepoError::Damaged {
            path,
            expected: blob.sha256,
        });
    }
    Ok(())
}
