//! `gc`: takes old releases out of a repository and deletes what nothing needs any more.
//!
//! First the new metadata is signed and durable, then files go: whenever the power goes, all that
//! is signed is there. What an interrupted run left behind is deleted by the next one. A device
//! that read the metadata a moment before finds the documents and the metadata that it still
//! asks for; when it finds a blob gone, it looks again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use switchback_manifest::Release;
use switchback_types::{Digest, ProductName, Version};

use crate::edit::{Edit, Workplace};
use crate::error::{RepoError, io as io_error};
use crate::repository::Repository;
use crate::role::Role;

/// What `gc` is asked for.
#[derive(Debug, Clone)]
pub struct GcRequest {
    /// So many of the newest releases of each product stay, whether a channel names them or not.
    pub keep: u32,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What `gc` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// The releases that left the repository, lowest sequence number first.
    pub removed: Vec<RemovedRelease>,
    /// How many releases stayed.
    pub kept: usize,
    /// Blobs of `content/` that were deleted.
    pub blobs: Freed,
    /// Documents of `targets/` that were deleted.
    pub documents: Freed,
    /// Files of `metadata/` that were deleted.
    pub metadata: Freed,
}

/// A release that left the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemovedRelease {
    /// Its product.
    pub product: ProductName,
    /// Its version.
    pub version: Version,
}

/// Files that were deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Freed {
    /// How many.
    pub files: u64,
    /// Their length together, in bytes.
    pub bytes: u64,
}

/// Removes releases that no channel names, that no other one requires and that are not among the newest, then every
/// blob, document and old metadata file that nothing needs.
///
/// # Errors
/// When a signed document cannot be read (then nothing is deleted), and what keys, signing and
/// files can fail with.
pub fn gc(place: &Workplace<'_>, request: &GcRequest) -> Result<Collected, RepoError> {
    let mut edit = Edit::begin(place)?;
    gc_in(&mut edit, request)
}

pub(crate) fn gc_in(edit: &mut Edit, request: &GcRequest) -> Result<Collected, RepoError> {
    let releases = edit.repository.all_releases()?;
    let (kept, removed) = divide(&edit.repository, releases, request.keep)?;
    if !removed.is_empty() && !request.dry_run {
        edit.check_ready(&[Role::Releases])?;
        for release in &removed {
            edit.remove_document(Role::Releases, &release.path());
        }
        edit.commit()?;
    }
    let gone: BTreeSet<_> = removed.iter().map(Release::path).collect();
    let documents: BTreeSet<String> = edit
        .repository
        .artifact_files()?
        .into_iter()
        .filter(|(path, _)| !gone.contains(path))
        .map(|(_, file)| file)
        .collect();
    let blobs: BTreeSet<String> = kept
        .iter()
        .flat_map(Release::blobs)
        .map(switchback_manifest::BlobRef::path)
        .collect();
    let sweep = Sweep {
        edit,
        dry_run: request.dry_run,
    };
    Ok(Collected {
        dry_run: request.dry_run,
        kept: kept.len(),
        blobs: sweep.run("content", is_blob, &blobs)?,
        documents: sweep.run("targets", is_document, &documents)?,
        metadata: sweep.run("metadata", is_metadata, &current(&edit.repository))?,
        removed: removed
            .into_iter()
            .map(|release| RemovedRelease {
                product: release.product,
                version: release.version,
            })
            .collect(),
    })
}

/// Those that stay and those that go, each by product and sequence number.
fn divide(
    repository: &Repository,
    releases: Vec<Release>,
    keep: u32,
) -> Result<(Vec<Release>, Vec<Release>), RepoError> {
    let mut products: BTreeMap<ProductName, Vec<Release>> = BTreeMap::new();
    for release in releases {
        let line = products.entry(release.product.clone()).or_default();
        line.push(release);
    }
    let mut kept = Vec::new();
    let mut removed = Vec::new();
    for (product, mut line) in products {
        line.sort_by_key(|release| release.sequence);
        let named: BTreeSet<_> = repository
            .channels(&product)?
            .into_iter()
            .map(|channel| channel.release.version)
            .collect();
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let oldest_kept = line.len().saturating_sub(keep);
        // From the newest to the oldest: what a release that stays requires is older, and stays.
        let mut required = BTreeSet::new();
        let mut divided = Vec::new();
        for (place, release) in line.into_iter().enumerate().rev() {
            let version = &release.version;
            let stays =
                place >= oldest_kept || named.contains(version) || required.contains(version);
            if stays {
                required.extend(release.requires.iter().map(|before| before.version.clone()));
            }
            divided.push((stays, release));
        }
        for (stays, release) in divided.into_iter().rev() {
            match stays {
                true => kept.push(release),
                false => removed.push(release),
            }
        }
    }
    Ok((kept, removed))
}

/// The metadata that somebody may still ask for: every root, and of the other roles the newest
/// version and the one before, for those who read timestamp.json a moment ago.
fn current(repository: &Repository) -> BTreeSet<String> {
    let mut files = BTreeSet::from(["metadata/timestamp.json".to_owned()]);
    let metadata = repository.metadata();
    for role in Role::ALL {
        let newest = metadata.version(role);
        let oldest = match role {
            Role::Root => 1,
            _ => newest.saturating_sub(1),
        };
        let versions = oldest..=newest;
        files.extend(versions.map(|version| format!("metadata/{}", role.file_name(version))));
    }
    files
}

/// Whether the path is that of a blob. What this program did not write, it does not delete.
fn is_blob(relative: &str) -> bool {
    let name = relative.rsplit('/').next().unwrap_or_default();
    let shard: String = name.chars().take(2).collect();
    name.parse::<Digest>().is_ok() && relative == format!("content/{shard}/{name}")
}

fn is_document(relative: &str) -> bool {
    let name = relative.rsplit('/').next().unwrap_or_default();
    let digest = name.split('.').next().unwrap_or_default();
    digest.parse::<Digest>().is_ok()
}

fn is_metadata(relative: &str) -> bool {
    let name = relative.strip_prefix("metadata/").unwrap_or_default();
    let mut parts = name.splitn(2, '.');
    let version = parts.next().and_then(|text| text.parse::<u64>().ok());
    let role = parts.next().and_then(|rest| rest.strip_suffix(".json"));
    let known = |role| Role::ALL.iter().any(|known| known.as_str() == role);
    version.is_some() && role.is_some_and(known)
}

struct Sweep<'a> {
    edit: &'a Edit,
    dry_run: bool,
}

impl Sweep<'_> {
    /// Deletes the files below `directory` that are `ours` and not among those to keep.
    fn run(
        &self,
        directory: &str,
        ours: fn(&str) -> bool,
        keep: &BTreeSet<String>,
    ) -> Result<Freed, RepoError> {
        let root = self.edit.store().root();
        let mut files = Vec::new();
        list(root, &root.join(directory), &mut files)?;
        let mut freed = Freed::default();
        for (file, bytes) in files {
            if keep.contains(&file) || !ours(&file) {
                continue;
            }
            freed.files += 1;
            freed.bytes += bytes;
            if !self.dry_run {
                self.edit.store().remove(&file)?;
            }
        }
        Ok(freed)
    }
}

/// All files below a directory with their lengths, relative to the repository, in order.
fn list(root: &Path, directory: &Path, files: &mut Vec<(String, u64)>) -> Result<(), RepoError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("list", directory)(error)),
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(io_error("list", directory))?;
    paths.sort();
    for path in paths {
        let metadata = fs::symlink_metadata(&path).map_err(io_error("read", &path))?;
        if metadata.is_dir() {
            list(root, &path, files)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            files.push((name.to_owned(), metadata.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_program_writes_is_ever_deleted() {
        let digest = "ab".repeat(32);
        assert!(is_blob(&format!("content/ab/{digest}")));
        for other in [
            format!("content/{digest}"),
            format!("content/cd/{digest}"),
            format!("content/ab/{digest}.tmp"),
            "content/index.html".into(),
        ] {
            assert!(!is_blob(&other), "{other}");
        }
        assert!(is_document(&format!(
            "targets/channels/gw/{digest}.stable.json"
        )));
        assert!(!is_document("targets/channels/gw/README.md"));
        assert!(is_metadata("metadata/12.snapshot.json"));
        for other in [
            "metadata/timestamp.json",
            "metadata/12.other.json",
            "metadata/x.root.json",
            "metadata/12.root.json.bak",
        ] {
            assert!(!is_metadata(other), "{other}");
        }
    }
}
