//! A repository, opened: its releases, its channels, and the files that they are signed in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use switchback_manifest::{Channel, Release, channel_path};
use switchback_types::{ChannelName, Digest, ProductName, TargetPath, TraceId, Version};
use tough::TargetName;
use tough::schema::{PathSet, Target, Targets};

use crate::error::{RepoError, io as io_error};
use crate::metadata::Metadata;
use crate::role::Role;

/// A repository whose metadata verifies.
#[derive(Debug)]
pub struct Repository {
    path: PathBuf,
    pub(crate) metadata: Metadata,
}

impl Repository {
    /// Opens the repository at `path`, starting from a trusted root.
    ///
    /// # Errors
    /// As [`Metadata::load`].
    pub fn open(path: &Path, trusted_root: &[u8]) -> Result<Self, RepoError> {
        Ok(Self {
            path: path.into(),
            metadata: Metadata::load(path, trusted_root)?,
        })
    }

    /// The repository's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The verified metadata.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The products that the repository may sign releases for.
    #[must_use]
    pub fn products(&self) -> Vec<ProductName> {
        let Ok(role) = self
            .metadata
            .targets
            .delegated_role(Role::Releases.as_str())
        else {
            return Vec::new();
        };
        match &role.paths {
            PathSet::Paths(patterns) => patterns
                .iter()
                .filter_map(|pattern| product_of(pattern.value()))
                .collect(),
            PathSet::PathHashPrefixes(_) => Vec::new(),
        }
    }

    /// The product that is meant: the one asked for, or the only one.
    ///
    /// # Errors
    /// [`RepoError::NoSuchProduct`], [`RepoError::WhichProduct`].
    pub fn product(&self, wanted: Option<&ProductName>) -> Result<ProductName, RepoError> {
        let products = self.products();
        match (wanted, products.as_slice()) {
            (Some(wanted), known) if known.contains(wanted) => Ok(wanted.clone()),
            (Some(wanted), known) => Err(RepoError::NoSuchProduct {
                wanted: wanted.clone(),
                known: list(known),
            }),
            (None, [only]) => Ok(only.clone()),
            (None, known) => Err(RepoError::WhichProduct { known: list(known) }),
        }
    }

    /// All releases of a product, lowest sequence number first.
    ///
    /// # Errors
    /// [`RepoError::Damaged`], [`RepoError::Document`], [`RepoError::Io`].
    pub fn releases(&self, product: &ProductName) -> Result<Vec<Release>, RepoError> {
        let mut releases = Vec::new();
        for (path, bytes) in self.documents(Role::Releases, product)? {
            releases.push(
                Release::parse(&bytes).map_err(|source| RepoError::Document { path, source })?,
            );
        }
        releases.sort_by_key(|release| release.sequence);
        Ok(releases)
    }

    /// One release.
    ///
    /// # Errors
    /// [`RepoError::NoSuchRelease`], otherwise as [`releases`](Self::releases).
    pub fn release(&self, product: &ProductName, version: &Version) -> Result<Release, RepoError> {
        let releases = self.releases(product)?;
        let found = releases.iter().find(|release| release.version == *version);
        found
            .cloned()
            .ok_or_else(|| RepoError::no_such_release(product, version.clone(), &releases))
    }

    /// Names what happens to a release, in everybody's logs; nothing if it is not here.
    #[must_use]
    pub fn trace(&self, release: &Release) -> Option<TraceId> {
        let wanted = release.path();
        let mut signed = self.signed_by(Role::Releases).targets.iter();
        let (name, target) = signed.find(|(name, _)| name.resolved() == wanted.as_str())?;
        let (_, document) = self.signed_as(name, target).ok()?;
        Some(TraceId::of(&release.image.sha256, &document))
    }

    /// All channels of a product, by name.
    ///
    /// # Errors
    /// As [`releases`](Self::releases).
    pub fn channels(&self, product: &ProductName) -> Result<Vec<Channel>, RepoError> {
        let mut channels = Vec::new();
        for (path, bytes) in self.documents(Role::Channels, product)? {
            channels.push(
                Channel::parse(&bytes).map_err(|source| RepoError::Document { path, source })?,
            );
        }
        channels.sort_by(|a, b| a.channel.cmp(&b.channel));
        Ok(channels)
    }

    /// One channel, if it exists.
    ///
    /// # Errors
    /// As [`releases`](Self::releases).
    pub fn channel(
        &self,
        product: &ProductName,
        channel: &ChannelName,
    ) -> Result<Option<Channel>, RepoError> {
        let wanted = channel_path(product, channel);
        let signed = self.metadata.channels.targets.iter();
        let Some((name, target)) = signed
            .into_iter()
            .find(|(name, _)| name.resolved() == wanted.as_str())
        else {
            return Ok(None);
        };
        let bytes = self.artifact(name, target)?;
        let channel = Channel::parse(&bytes).map_err(|source| RepoError::Document {
            path: wanted.to_string(),
            source,
        })?;
        Ok(Some(channel))
    }

    /// The documents that a role has signed for a product.
    fn documents(
        &self,
        role: Role,
        product: &ProductName,
    ) -> Result<Vec<(String, Vec<u8>)>, RepoError> {
        let prefix = format!("{role}/{product}/");
        self.signed_by(role)
            .targets
            .iter()
            .filter(|(name, _)| name.resolved().starts_with(&prefix))
            .map(|(name, target)| Ok((name.resolved().to_owned(), self.artifact(name, target)?)))
            .collect()
    }

    /// The releases of all products, in the order of their paths.
    ///
    /// # Errors
    /// As [`releases`](Self::releases).
    pub(crate) fn all_releases(&self) -> Result<Vec<Release>, RepoError> {
        let targets = &self.signed_by(Role::Releases).targets;
        let mut releases = Vec::new();
        for (name, target) in targets {
            let bytes = self.artifact(name, target)?;
            releases.push(
                Release::parse(&bytes).map_err(|source| RepoError::Document {
                    path: name.resolved().to_owned(),
                    source,
                })?,
            );
        }
        releases.sort_by_key(Release::path);
        Ok(releases)
    }

    /// All sets of flags of a product: each one's path and text.
    ///
    /// # Errors
    /// As [`releases`](Self::releases).
    pub fn flags(&self, product: &ProductName) -> Result<Vec<(String, Vec<u8>)>, RepoError> {
        let mut flags = self.documents(Role::Flags, product)?;
        flags.sort();
        Ok(flags)
    }

    /// Every signed document: its path, and its file relative to the repository.
    ///
    /// # Errors
    /// [`RepoError::Layout`].
    pub(crate) fn artifact_files(&self) -> Result<Vec<(TargetPath, String)>, RepoError> {
        let mut files = Vec::new();
        for role in [Role::Targets, Role::Releases, Role::Channels, Role::Flags] {
            for (name, target) in &self.signed_by(role).targets {
                let (path, sha256) = self.signed_as(name, target)?;
                let file = artifact_file(&path, &sha256);
                files.push((path, file));
            }
        }
        Ok(files)
    }

    /// The artifacts of the role that signs documents of this kind.
    pub(crate) fn targets_of_mut(&mut self, role: Role) -> &mut Targets {
        match role {
            Role::Channels => &mut self.metadata.channels,
            Role::Flags => &mut self.metadata.flags,
            _ => &mut self.metadata.releases,
        }
    }

    fn signed_by(&self, role: Role) -> &Targets {
        match role {
            Role::Releases => &self.metadata.releases,
            Role::Channels => &self.metadata.channels,
            Role::Flags => &self.metadata.flags,
            Role::Root | Role::Targets | Role::Snapshot | Role::Timestamp => &self.metadata.targets,
        }
    }

    /// Path and digest of a signed file.
    fn signed_as(
        &self,
        name: &TargetName,
        target: &Target,
    ) -> Result<(TargetPath, Digest), RepoError> {
        let layout = |detail: String| RepoError::Layout {
            path: self.path.clone(),
            detail,
        };
        let artifact: TargetPath = name
            .resolved()
            .parse()
            .map_err(|error| layout(format!("it signs a strange path: {error}")))?;
        let expected = <[u8; 32]>::try_from(&target.hashes.sha256[..])
            .map(Digest::from_bytes)
            .map_err(|_| {
                layout(format!(
                    "{artifact} is signed with a digest of other length"
                ))
            })?;
        Ok((artifact, expected))
    }

    /// Reads a signed file and compares it with what was signed.
    fn artifact(&self, name: &TargetName, target: &Target) -> Result<Vec<u8>, RepoError> {
        let (artifact, expected) = self.signed_as(name, target)?;
        let path = self.path.join(artifact_file(&artifact, &expected));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RepoError::Damaged { path, expected });
            }
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        if digest(&bytes) != expected {
            return Err(RepoError::Damaged { path, expected });
        }
        Ok(bytes)
    }
}

/// Where a signed file lies, relative to the repository: its digest goes before its name, so
/// that the file of an older version stays for those who still read older metadata.
#[must_use]
pub fn artifact_file(path: &TargetPath, sha256: &Digest) -> String {
    match path.as_str().rsplit_once('/') {
        Some((directory, name)) => format!("targets/{directory}/{sha256}.{name}"),
        None => format!("targets/{sha256}.{path}"),
    }
}

/// SHA-256 of bytes.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// The paths that the releases role may sign for a product. The pattern means the same to
/// readers whose `*` stops at a slash and to readers whose `*` does not, for every path that a
/// version can lead to: versions contain no slash.
pub(crate) fn release_pattern(product: &ProductName) -> String {
    format!("releases/{product}/*/release.json")
}

/// The paths that the channels role may sign for a product.
pub(crate) fn channel_pattern(product: &ProductName) -> String {
    format!("channels/{product}/*.json")
}

/// The paths that the flags role may sign for a product.
pub(crate) fn flag_pattern(product: &ProductName) -> String {
    format!("flags/{product}/*.flags.json")
}

fn product_of(pattern: &str) -> Option<ProductName> {
    let product = pattern
        .strip_prefix("releases/")?
        .strip_suffix("/*/release.json")?;
    product.parse().ok()
}

/// Names for people: `none`, or one after another.
pub(crate) fn list<T: ToString>(names: &[T]) -> String {
    if names.is_empty() {
        return "none".into();
    }
    names
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tough::schema::PathPattern;

    #[test]
    fn puts_the_digest_before_the_file_name() {
        let path = "channels/gw/stable.json".parse().unwrap();
        let digest = Digest::from_bytes([0xab; 32]);
        assert_eq!(
            artifact_file(&path, &digest),
            format!("targets/channels/gw/{digest}.stable.json")
        );
    }

    #[test]
    fn a_pattern_tells_its_product_and_contains_no_wildcard_but_the_version() {
        let product: ProductName = "gate-way_1.x".parse().unwrap();
        let pattern = release_pattern(&product);
        assert_eq!(product_of(&pattern), Some(product));
        assert_eq!(pattern.matches(['*', '?', '[', '{']).count(), 1);
        PathPattern::new(pattern).unwrap();
    }
}
