//! A repository locked for changes: documents are signed into it and committed together.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;
use switchback_types::{TargetPath, Timestamp};
use tough::TargetName;
use tough::schema::Target;

use crate::error::{RepoError, io};
use crate::keys::{KeyId, Keys};
use crate::metadata::{Signing, hashes};
use crate::repository::{Repository, artifact_file, digest};
use crate::role::{Lifetimes, Role};
use crate::signing;
use crate::store::Store;

/// Where a verb works, with which keys, and when.
#[derive(Debug, Clone)]
pub struct Workplace<'a> {
    /// The repository's directory.
    pub repo: &'a Path,
    /// The keys directory.
    pub keys: &'a Path,
    /// The time, from the caller's clock.
    pub now: Timestamp,
}

/// A repository under change. What was signed into it counts for nothing until
/// [`commit`](Self::commit) has written the metadata.
#[derive(Debug)]
pub(crate) struct Edit {
    desk: Desk,
    pub(crate) repository: Repository,
    changed: BTreeSet<Role>,
}

/// What is signed with, and where it is written.
#[derive(Debug)]
struct Desk {
    store: Store,
    keys: Keys,
    lifetimes: Lifetimes,
    now: Timestamp,
    passed_over: Option<KeyId>,
}

impl Desk {
    fn signing(&self) -> Signing<'_> {
        Signing {
            store: &self.store,
            keys: &self.keys,
            lifetimes: self.lifetimes,
            now: self.now,
            passed_over: self.passed_over.clone(),
        }
    }
}

impl Edit {
    /// Locks the repository, and verifies it from the root that the keys directory pins: nobody
    /// who can only write to the repository can make us sign what is theirs.
    pub(crate) fn begin(place: &Workplace<'_>) -> Result<Self, RepoError> {
        let keys = Keys::new(place.keys);
        let root = keys.pinned_root()?;
        if !place.repo.join("metadata/timestamp.json").is_file() {
            return Err(RepoError::NoRepository {
                path: place.repo.into(),
            });
        }
        let store = Store::lock(place.repo)?;
        Ok(Self {
            desk: Desk {
                store,
                lifetimes: keys.lifetimes()?,
                keys,
                now: place.now,
                passed_over: None,
            },
            repository: Repository::open(place.repo, &root)?,
            changed: BTreeSet::new(),
        })
    }

    /// The locked directory.
    pub(crate) fn store(&self) -> &Store {
        &self.desk.store
    }

    /// Fails now if a role that this change would not renew has expired, or if the key of one
    /// that it would renew cannot be used: before minutes of compression, not after.
    pub(crate) fn check_ready(&self, roles: &[Role]) -> Result<(), RepoError> {
        let mut renewed: BTreeSet<_> = roles.iter().copied().collect();
        renewed.extend([Role::Snapshot, Role::Timestamp]);
        self.repository
            .metadata
            .check_fresh(self.desk.now, &renewed)?;
        for role in renewed {
            self.desk.keys.load_all(role)?;
        }
        Ok(())
    }

    /// Stores a document and enters it into its role.
    pub(crate) fn sign_document(
        &mut self,
        role: Role,
        path: &TargetPath,
        text: &str,
        custom: HashMap<String, Value>,
    ) -> Result<(), RepoError> {
        let bytes = text.as_bytes();
        self.desk
            .store
            .put(&artifact_file(path, &digest(bytes)), bytes)?;
        let name = TargetName::new(path.as_str()).map_err(|source| RepoError::Signing {
            role,
            source: Box::new(source),
        })?;
        let target = Target {
            length: bytes.len() as u64,
            hashes: hashes(bytes),
            custom,
            _extra: HashMap::new(),
        };
        let targets = self.repository.targets_of_mut(role);
        targets.targets.insert(name, target);
        self.changed.insert(role);
        Ok(())
    }

    /// Takes a document out of its role. Its file stays, for those who still read older metadata.
    pub(crate) fn remove_document(&mut self, role: Role, path: &TargetPath) {
        let targets = self.repository.targets_of_mut(role);
        let before = targets.targets.len();
        targets
            .targets
            .retain(|name, _| name.resolved() != path.as_str());
        if targets.targets.len() != before {
            self.changed.insert(role);
        }
    }

    /// Has a role signed anew although nothing in it changed.
    pub(crate) fn renew(&mut self, role: Role) {
        self.changed.insert(role);
    }

    /// Signs and writes everything that changed; without changes it does nothing.
    pub(crate) fn commit(&mut self) -> Result<(), RepoError> {
        let signing = self.desk.signing();
        self.repository.metadata.commit(&self.changed, &signing)?;
        self.changed.clear();
        Ok(())
    }

    /// The keys that are here.
    pub(crate) fn keys(&self) -> &Keys {
        &self.desk.keys
    }

    /// Has a key sign nothing from now on.
    pub(crate) fn pass_over(&mut self, key: Option<KeyId>) {
        self.desk.passed_over = key;
    }

    /// Puts the next version of root or targets beside the repository instead of into it: signed by the keys
    /// that are here, for others to sign.
    pub(crate) fn set_aside(&mut self, role: Role, directory: &Path) -> Result<PathBuf, RepoError> {
        let metadata = &mut self.repository.metadata;
        metadata.advance(role, &self.desk.signing())?;
        let keys = self.desk.keys.at_hand(role)?;
        let text = match role {
            Role::Root => signing::text(&signing::sign(role, metadata.root.clone(), keys.iter())?),
            _ => signing::text(&signing::sign(role, metadata.targets.clone(), keys.iter())?),
        };
        let path = directory.join(role.file_name(metadata.version(role)));
        std::fs::create_dir_all(directory).map_err(io("create", directory))?;
        std::fs::write(&path, text).map_err(io("write", &path))?;
        Ok(path)
    }

    /// Takes the next version of root or targets, which others signed, into the repository.
    pub(crate) fn take_in(&mut self, role: Role, bytes: &[u8]) -> Result<(), RepoError> {
        let signing = self.desk.signing();
        self.repository.metadata.put(role, bytes, &signing)?;
        if role != Role::Root {
            self.changed.insert(Role::Snapshot);
        }
        self.commit()
    }
}
