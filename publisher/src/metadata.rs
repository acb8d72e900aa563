//! The signed metadata: read and verified, changed, signed again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::num::NonZeroU64;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use switchback_types::Timestamp;
use tough::schema::{self, Hashes, Metafile, RoleType, Root, Snapshot, Targets};
use tough::{ExpirationEnforcement, FilesystemTransport, RepositoryLoader};
use url::Url;

use crate::error::{RepoError, io};
use crate::keys::{KeyId, Keys, RoleKey};
use crate::role::{Lifetimes, Role};
use crate::signing::{self, Listed, block_on};
use crate::store::Store;

/// The version of the specification that the signing library writes and accepts.
pub(crate) const SPEC_VERSION: &str = "1.0.0";

/// Where metadata lies, relative to the repository.
const DIRECTORY: &str = "metadata";

/// The newest version of every role, verified.
#[derive(Debug, Clone)]
pub struct Metadata {
    pub(crate) root: Root,
    /// The root that is published: the next one is signed by its keys too.
    pub(crate) published_root: Root,
    pub(crate) targets: Targets,
    pub(crate) releases: Targets,
    pub(crate) channels: Targets,
    pub(crate) flags: Targets,
    pub(crate) snapshot: Snapshot,
    pub(crate) timestamp: schema::Timestamp,
}

/// What signing needs beside the metadata.
#[derive(Debug)]
pub(crate) struct Signing<'a> {
    pub(crate) store: &'a Store,
    pub(crate) keys: &'a Keys,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) now: Timestamp,
    /// A key that signs nothing any more, though it is listed still.
    pub(crate) passed_over: Option<KeyId>,
}

impl Metadata {
    /// Loads the metadata of the repository at `path`, starting from a trusted root, and checks
    /// every signature, version and digest. Expired signatures are accepted: whoever signs or
    /// inspects decides about them.
    ///
    /// # Errors
    /// [`RepoError::NoRepository`], [`RepoError::Metadata`], [`RepoError::Layout`].
    pub fn load(path: &Path, trusted_root: &[u8]) -> Result<Self, RepoError> {
        let directory = path.join(DIRECTORY);
        if !directory.join("timestamp.json").is_file() {
            return Err(RepoError::NoRepository { path: path.into() });
        }
        let url = |directory: &Path| {
            let absolute = fs::canonicalize(directory).map_err(io("find", directory))?;
            Url::from_directory_path(&absolute)
                .map_err(|()| RepoError::NoRepository { path: absolute })
        };
        let loader = RepositoryLoader::new(&trusted_root, url(&directory)?, url(path)?)
            .transport(FilesystemTransport)
            .expiration_enforcement(ExpirationEnforcement::Unsafe);
        let loaded = block_on(loader.load())?.map_err(|source| RepoError::Metadata {
            path: directory,
            source: Box::new(source),
        })?;
        let targets = loaded.targets().signed.clone();
        let delegated = |role: Role| {
            targets
                .delegated_targets(role.as_str())
                .map(|signed| signed.signed.clone())
                .map_err(|_| RepoError::Layout {
                    path: path.into(),
                    detail: format!("it delegates nothing to a role named {role}"),
                })
        };
        Ok(Self {
            releases: delegated(Role::Releases)?,
            channels: delegated(Role::Channels)?,
            flags: delegated(Role::Flags)?,
            root: loaded.root().signed.clone(),
            published_root: loaded.root().signed.clone(),
            snapshot: loaded.snapshot().signed.clone(),
            timestamp: loaded.timestamp().signed.clone(),
            targets,
        })
    }

    /// The version of a role's metadata.
    #[must_use]
    pub fn version(&self, role: Role) -> u64 {
        match role {
            Role::Root => self.root.version,
            Role::Targets => self.targets.version,
            Role::Releases => self.releases.version,
            Role::Channels => self.channels.version,
            Role::Flags => self.flags.version,
            Role::Snapshot => self.snapshot.version,
            Role::Timestamp => self.timestamp.version,
        }
        .get()
    }

    /// When a role's signature ends.
    #[must_use]
    pub fn expires(&self, role: Role) -> Timestamp {
        let time = match role {
            Role::Root => self.root.expires,
            Role::Targets => self.targets.expires,
            Role::Releases => self.releases.expires,
            Role::Channels => self.channels.expires,
            Role::Flags => self.flags.expires,
            Role::Snapshot => self.snapshot.expires,
            Role::Timestamp => self.timestamp.expires,
        };
        Timestamp::from_unix(time.as_second())
    }

    /// How many keys a role has, and how many of them must sign.
    #[must_use]
    pub fn threshold(&self, role: Role) -> (usize, u64) {
        let listed = self.listed(role);
        (listed.ids.len(), listed.threshold)
    }

    /// The keys of a role, and how many of them must sign.
    pub(crate) fn listed(&self, role: Role) -> Listed {
        match role.in_root() {
            Some(kind) => Listed::in_root(&self.root, kind),
            None => Listed::in_targets(&self.targets, role),
        }
    }

    /// Refuses when a role that will not be signed anew has expired: devices would not accept
    /// what is published. Of flags no device asks when it looks for a release.
    ///
    /// # Errors
    /// [`RepoError::Expired`].
    pub(crate) fn check_fresh(
        &self,
        now: Timestamp,
        renewed: &BTreeSet<Role>,
    ) -> Result<(), RepoError> {
        let matters = |role: &Role| !renewed.contains(role) && *role != Role::Flags;
        for role in Role::ALL.into_iter().filter(matters) {
            let at = self.expires(role);
            if at <= now {
                return Err(RepoError::Expired { role, at });
            }
        }
        Ok(())
    }

    /// Signs the next version of the given roles, and of every role that must follow them, and
    /// writes them so that no file is ever named before it exists: timestamp.json, which every
    /// device reads first, comes last.
    ///
    /// # Errors
    /// Whatever keys, signing and writing can fail with. Before timestamp.json is replaced,
    /// devices see the repository as it was.
    pub(crate) fn commit(
        &mut self,
        changed: &BTreeSet<Role>,
        signing: &Signing<'_>,
    ) -> Result<(), RepoError> {
        let roles = with_followers(changed);
        // All keys are read before the first file is written.
        let keys = roles
            .iter()
            .map(|role| Ok((*role, signing.keys.load_all(*role)?)))
            .collect::<Result<BTreeMap<_, _>, RepoError>>()?;
        for (role, keys) in keys {
            self.advance(role, signing)?;
            let bytes = self.sign(role, &keys, signing)?;
            self.put(role, &bytes, signing)?;
        }
        Ok(())
    }

    /// Writes the signed bytes of a role's newest version.
    pub(crate) fn put(
        &mut self,
        role: Role,
        bytes: &[u8],
        signing: &Signing<'_>,
    ) -> Result<(), RepoError> {
        let file = format!("{DIRECTORY}/{}", role.file_name(self.version(role)));
        signing.store.put(&file, bytes)?;
        self.note_in_parent(role, bytes);
        if role == Role::Root {
            self.published_root = self.root.clone();
        }
        Ok(())
    }

    /// Signs version 1 of every role but root, which `init` writes itself, in the same order.
    pub(crate) fn write_first(&mut self, signing: &Signing<'_>) -> Result<(), RepoError> {
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Root) {
            let bytes = self.sign(role, &signing.keys.load_all(role)?, signing)?;
            self.put(role, &bytes, signing)?;
        }
        Ok(())
    }

    /// Gives a role its next version and a new expiry.
    pub(crate) fn advance(&mut self, role: Role, signing: &Signing<'_>) -> Result<(), RepoError> {
        let (version, expires) = match role {
            Role::Root => (&mut self.root.version, &mut self.root.expires),
            Role::Targets => (&mut self.targets.version, &mut self.targets.expires),
            Role::Releases => (&mut self.releases.version, &mut self.releases.expires),
            Role::Channels => (&mut self.channels.version, &mut self.channels.expires),
            Role::Flags => (&mut self.flags.version, &mut self.flags.expires),
            Role::Snapshot => (&mut self.snapshot.version, &mut self.snapshot.expires),
            Role::Timestamp => (&mut self.timestamp.version, &mut self.timestamp.expires),
        };
        *version = version
            .checked_add(1)
            .ok_or(RepoError::LastVersion { role })?;
        *expires = expiry(signing, role);
        Ok(())
    }

    fn sign(
        &self,
        role: Role,
        keys: &[RoleKey],
        signing: &Signing<'_>,
    ) -> Result<Vec<u8>, RepoError> {
        let before = match role {
            Role::Root => Listed::in_root(&self.published_root, RoleType::Root).ids,
            _ => Vec::new(),
        };
        let listed = self.listed(role);
        let keys: Vec<&RoleKey> = keys
            .iter()
            .filter(|key| signing.passed_over.as_ref() != Some(key.id()))
            .filter(|key| listed.ids.contains(key.id()) || before.contains(key.id()))
            .collect();
        match role {
            Role::Root => self.sign_as(role, self.root.clone(), &keys),
            Role::Targets => self.sign_as(role, self.targets.clone(), &keys),
            Role::Releases => self.sign_as(role, self.releases.clone(), &keys),
            Role::Channels => self.sign_as(role, self.channels.clone(), &keys),
            Role::Flags => self.sign_as(role, self.flags.clone(), &keys),
            Role::Snapshot => self.sign_as(role, self.snapshot.clone(), &keys),
            Role::Timestamp => self.sign_as(role, self.timestamp.clone(), &keys),
        }
    }

    fn sign_as<T: schema::Role>(
        &self,
        role: Role,
        value: T,
        keys: &[&RoleKey],
    ) -> Result<Vec<u8>, RepoError> {
        let signed = signing::sign(role, value, keys.iter().copied())?;
        // Of a root, enough of those of the root before, too (specification 5.3.4).
        if role == Role::Root {
            Listed::in_root(&self.published_root, RoleType::Root).satisfied_by(role, &signed)?;
        }
        self.listed(role).satisfied_by(role, &signed)?;
        Ok(signing::text(&signed))
    }

    /// Enters a role's new file into the role that vouches for it.
    fn note_in_parent(&mut self, role: Role, bytes: &[u8]) {
        let parent = match role {
            Role::Root | Role::Timestamp => return,
            Role::Snapshot => &mut self.timestamp.meta,
            Role::Targets | Role::Releases | Role::Channels | Role::Flags => {
                &mut self.snapshot.meta
            }
        };
        let version = match role {
            Role::Snapshot => self.snapshot.version,
            Role::Releases => self.releases.version,
            Role::Channels => self.channels.version,
            Role::Flags => self.flags.version,
            _ => self.targets.version,
        };
        parent.insert(format!("{role}.json"), metafile(version, bytes));
    }
}

/// A new signature's end.
pub(crate) fn expiry(signing: &Signing<'_>, role: Role) -> jiff_tough::Timestamp {
    let end = signing
        .now
        .plus_seconds(signing.lifetimes.of(role).seconds());
    jiff_tough::Timestamp::from_second(end.unix()).unwrap_or(jiff_tough::Timestamp::MAX)
}

/// The roles and those that must be signed after them, in the order of [`Role::ALL`], which is
/// the order in which they may be written.
fn with_followers(changed: &BTreeSet<Role>) -> BTreeSet<Role> {
    let mut roles = changed.clone();
    if roles.iter().any(|role| {
        matches!(
            role,
            Role::Targets | Role::Releases | Role::Channels | Role::Flags
        )
    }) {
        roles.insert(Role::Snapshot);
    }
    if roles.contains(&Role::Snapshot) {
        roles.insert(Role::Timestamp);
    }
    roles
}

fn metafile(version: NonZeroU64, bytes: &[u8]) -> Metafile {
    Metafile {
        length: Some(bytes.len() as u64),
        hashes: Some(hashes(bytes)),
        version,
        _extra: HashMap::new(),
    }
}

/// The digest of a file, as metadata lists it.
pub(crate) fn hashes(bytes: &[u8]) -> Hashes {
    Hashes {
        sha256: Sha256::digest(bytes).to_vec().into(),
        _extra: HashMap::new(),
    }
}
