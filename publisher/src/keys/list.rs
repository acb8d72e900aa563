//! Which keys a repository lists, and which of them are here.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tough::schema::key::Key;

use super::{KeyId, Keys, RoleKey};
use crate::edit::Workplace;
use crate::error::RepoError;
use crate::repository::Repository;
use crate::role::Role;

/// The keys of a repository.
#[derive(Debug, Clone, Serialize)]
pub struct KeysReport {
    /// In the order of their keys' worth.
    pub roles: Vec<RoleReport>,
    /// What was set aside for others to sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<PathBuf>,
}

/// The keys of one role.
#[derive(Debug, Clone, Serialize)]
pub struct RoleReport {
    /// The role.
    pub role: Role,
    /// So many keys must sign.
    pub threshold: u64,
    /// Those that may.
    pub keys: Vec<KeyReport>,
    /// Files with keys for this role that the repository does not list.
    pub unlisted: Vec<PathBuf>,
}

/// A key that is listed.
#[derive(Debug, Clone, Serialize)]
pub struct KeyReport {
    /// Its name in metadata.
    pub id: String,
    /// What kind of key it is.
    pub kind: &'static str,
    /// The file with its private half, if it is here.
    pub file: Option<PathBuf>,
}

impl fmt::Display for KeysReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for role in &self.roles {
            let (threshold, count) = (role.threshold, role.keys.len());
            writeln!(f, "{:<10} {threshold} of {count} must sign", role.role)?;
            for key in &role.keys {
                let file = key
                    .file
                    .as_deref()
                    .map_or_else(|| "not here".into(), |file| file.display().to_string());
                writeln!(f, "  {}  {:<7}  {file}", key.id, key.kind)?;
            }
            for file in &role.unlisted {
                writeln!(f, "  warning: {} is not listed", file.display())?;
            }
        }
        match &self.set_aside {
            Some(file) => writeln!(
                f,
                "Nothing of this is published: have {} signed (`switchback-repo sign`), then take it in \
                 (`switchback-repo take-in`).",
                file.display()
            ),
            None => Ok(()),
        }
    }
}

/// Says which keys a repository lists, and which of them are in the keys directory.
///
/// # Errors
/// As reading the repository and the keys.
pub fn list(place: &Workplace<'_>) -> Result<KeysReport, RepoError> {
    let keys = Keys::new(place.keys);
    let repository = Repository::open(place.repo, &keys.pinned_root()?)?;
    report(&repository, &keys)
}

pub(super) fn report(repository: &Repository, keys: &Keys) -> Result<KeysReport, RepoError> {
    let mut roles = Vec::new();
    for role in Role::ALL {
        let listed = repository.metadata.listed(role);
        let here = keys.at_hand(role)?;
        let file = |id: &KeyId| here.iter().find(|key| key.id() == id).map(RoleKey::path);
        let known = match role {
            Role::Releases | Role::Channels | Role::Flags => {
                let delegations = repository.metadata.targets.delegations.as_ref();
                delegations.map(|delegations| &delegations.keys)
            }
            _ => Some(&repository.metadata.root.keys),
        };
        roles.push(RoleReport {
            role,
            threshold: listed.threshold,
            keys: listed
                .ids
                .iter()
                .map(|id| KeyReport {
                    id: hex::encode(id),
                    kind: known
                        .and_then(|known| known.get(id))
                        .map_or("unknown", kind),
                    file: file(id).map(Path::to_path_buf),
                })
                .collect(),
            unlisted: here
                .iter()
                .filter(|key| !listed.ids.contains(key.id()))
                .map(|key| key.path().to_path_buf())
                .collect(),
        });
    }
    Ok(KeysReport {
        roles,
        set_aside: None,
    })
}

const fn kind(key: &Key) -> &'static str {
    match key {
        Key::Ed25519 { .. } => "ed25519",
        Key::Ecdsa { .. } | Key::EcdsaOld { .. } => "ecdsa",
        Key::Rsa { .. } => "rsa",
    }
}
