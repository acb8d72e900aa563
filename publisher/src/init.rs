//! `init`: makes the keys and an empty repository.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use switchback_types::ProductName;
use tough::schema::decoded::{Decoded, Hex};
use tough::schema::key::Key;
use tough::schema::{
    self, DelegatedRole, Delegations, PathPattern, PathSet, RoleKeys, Root, Snapshot, Targets,
};

use crate::edit::Workplace;
use crate::error::{RepoError, io};
use crate::keys::Keys;
use crate::metadata::{Metadata, SPEC_VERSION, Signing, expiry};
use crate::repository::{Repository, channel_pattern, flag_pattern, release_pattern};
use crate::role::{Lifetimes, Role};
use crate::signing;
use crate::store::Store;

const FIRST_ROOT: &str = "metadata/1.root.json";
const ONE: NonZeroU64 = NonZeroU64::MIN;

/// Makes keys (where there are none yet), pins the root, and writes an empty repository for the
/// products. An interrupted `init` is finished by running it again.
///
/// # Errors
/// [`RepoError::RepositoryExists`], [`RepoError::KeysInsideRepository`],
/// [`RepoError::KeysTaken`], [`RepoError::Io`].
pub fn init(
    place: &Workplace<'_>,
    products: &[ProductName],
    lifetimes: &Lifetimes,
) -> Result<Repository, RepoError> {
    let store = Store::lock(place.repo)?;
    init_locked(&store, place, products, lifetimes)
}

pub(crate) fn init_locked(
    store: &Store,
    place: &Workplace<'_>,
    products: &[ProductName],
    lifetimes: &Lifetimes,
) -> Result<Repository, RepoError> {
    if place.repo.join("metadata/timestamp.json").exists() {
        return Err(RepoError::RepositoryExists {
            path: place.repo.into(),
        });
    }
    check_outside(place)?;
    let keys = Keys::new(place.keys);
    let pinned = pinned_here(&keys, place.repo)?;
    keys.create()?;
    keys.set_lifetimes(lifetimes)?;
    let signing = Signing {
        store,
        keys: &keys,
        lifetimes: *lifetimes,
        now: place.now,
        passed_over: None,
    };
    let mut metadata = first_metadata(&signing, products)?;
    let root = match pinned {
        // An init that was interrupted: devices may already be built with this root.
        Some(root) => root,
        None => {
            let key = keys.load(Role::Root)?;
            let signed = signing::sign(Role::Root, metadata.root.clone(), [&key].into_iter())?;
            let root = signing::text(&signed);
            store.put(FIRST_ROOT, &root)?;
            keys.pin_root(&root)?;
            root
        }
    };
    metadata.write_first(&signing)?;
    Repository::open(place.repo, &root)
}

/// Private keys must not be served to the world.
fn check_outside(place: &Workplace<'_>) -> Result<(), RepoError> {
    let repo = fs::canonicalize(place.repo).map_err(io("find", place.repo))?;
    let keys = resolve(place.keys)?;
    if keys.starts_with(&repo) {
        return Err(RepoError::KeysInsideRepository {
            path: place.keys.into(),
        });
    }
    Ok(())
}

/// The absolute path of a directory that may not exist yet.
fn resolve(path: &Path) -> Result<PathBuf, RepoError> {
    let absolute = std::path::absolute(path).map_err(io("find", path))?;
    let mut missing = Vec::new();
    let mut existing = absolute.as_path();
    while !existing.exists() {
        match (existing.parent(), existing.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name);
                existing = parent;
            }
            _ => break,
        }
    }
    let mut resolved = fs::canonicalize(existing).map_err(io("find", existing))?;
    resolved.extend(missing.into_iter().rev());
    Ok(resolved)
}

/// The pinned root, if there is one; it must be this repository's.
fn pinned_here(keys: &Keys, repo: &Path) -> Result<Option<Vec<u8>>, RepoError> {
    let pinned = match keys.pinned_root() {
        Ok(root) => root,
        Err(RepoError::NoPinnedRoot { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    match fs::read(repo.join(FIRST_ROOT)) {
        Ok(root) if root == pinned => Ok(Some(pinned)),
        _ => Err(RepoError::KeysTaken {
            path: keys.pinned_root_path(),
        }),
    }
}

/// Version 1 of everything, unsigned.
fn first_metadata(signing: &Signing<'_>, products: &[ProductName]) -> Result<Metadata, RepoError> {
    let mut root = Root {
        spec_version: SPEC_VERSION.into(),
        consistent_snapshot: true,
        version: ONE,
        expires: expiry(signing, Role::Root),
        keys: HashMap::new(),
        roles: HashMap::new(),
        _extra: HashMap::new(),
    };
    let top_level = Role::ALL
        .into_iter()
        .filter_map(|role| Some((role, role.in_root()?)));
    for (role, kind) in top_level {
        let (id, key) = public_key(signing.keys, role)?;
        root.keys.insert(id.clone(), key);
        root.roles.insert(
            kind,
            RoleKeys {
                keyids: vec![id],
                threshold: ONE,
                _extra: HashMap::new(),
            },
        );
    }
    let spec = || SPEC_VERSION.to_owned();
    let empty = |role| Targets {
        delegations: None,
        ..Targets::new(spec(), ONE, expiry(signing, role))
    };
    let targets = Targets {
        delegations: Some(delegations(signing.keys, products)?),
        ..empty(Role::Targets)
    };
    Ok(Metadata {
        published_root: root.clone(),
        root,
        targets,
        releases: empty(Role::Releases),
        channels: empty(Role::Channels),
        flags: empty(Role::Flags),
        snapshot: Snapshot::new(spec(), ONE, expiry(signing, Role::Snapshot)),
        timestamp: schema::Timestamp::new(spec(), ONE, expiry(signing, Role::Timestamp)),
    })
}

/// Who may sign what: the key that paces releases can make none.
fn delegations(keys: &Keys, products: &[ProductName]) -> Result<Delegations, RepoError> {
    let mut delegations = Delegations::new();
    let mut seen = HashSet::new();
    let products: Vec<_> = products
        .iter()
        .filter(|product| seen.insert(*product))
        .collect();
    for role in [Role::Releases, Role::Channels, Role::Flags] {
        let pattern = match role {
            Role::Channels => channel_pattern,
            Role::Flags => flag_pattern,
            _ => release_pattern,
        };
        let (id, key) = public_key(keys, role)?;
        delegations.keys.insert(id.clone(), key);
        let patterns = products
            .iter()
            .map(|product| PathPattern::new(pattern(product)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| RepoError::Signing {
                role: Role::Targets,
                source: Box::new(source),
            })?;
        delegations.roles.push(DelegatedRole {
            name: role.as_str().into(),
            keyids: vec![id],
            threshold: ONE,
            paths: PathSet::Paths(patterns),
            terminating: true,
            targets: None,
        });
    }
    Ok(delegations)
}

fn public_key(keys: &Keys, role: Role) -> Result<(Decoded<Hex>, Key), RepoError> {
    let key = keys.load(role)?;
    Ok((key.id().clone(), key.public().clone()))
}
