//! `refresh`: has roles sign anew, so that their signatures do not run out.

use std::collections::BTreeSet;

use serde::Serialize;
use switchback_types::Timestamp;

use crate::edit::{Edit, Workplace};
use crate::error::RepoError;
use crate::role::Role;

/// What `refresh` did: the roles that were signed, with their new versions and ends.
#[derive(Debug, Clone, Serialize)]
pub struct Refreshed {
    /// In the order of their keys' worth.
    pub roles: Vec<RefreshedRole>,
}

/// One role that was signed anew.
#[derive(Debug, Clone, Serialize)]
pub struct RefreshedRole {
    /// The role.
    pub role: Role,
    /// Its version now.
    pub version: u64,
    /// When its signature ends.
    pub expires: Timestamp,
}

/// Signs the given roles anew, and those that must follow them; snapshot and timestamp when none
/// are given. Only the keys of these roles are needed.
///
/// # Errors
/// What keys, signing and files can fail with.
pub fn refresh(place: &Workplace<'_>, roles: &[Role]) -> Result<Refreshed, RepoError> {
    let mut edit = Edit::begin(place)?;
    let before: Vec<_> = Role::ALL
        .iter()
        .map(|role| edit.repository.metadata.version(*role))
        .collect();
    let roles: BTreeSet<Role> = match roles {
        [] => BTreeSet::from([Role::Snapshot]),
        some => some.iter().copied().collect(),
    };
    for role in roles {
        edit.renew(role);
    }
    edit.commit()?;
    let metadata = &edit.repository.metadata;
    let roles = Role::ALL
        .into_iter()
        .zip(before)
        .filter(|(role, before)| metadata.version(*role) != *before)
        .map(|(role, _)| RefreshedRole {
            role,
            version: metadata.version(role),
            expires: metadata.expires(role),
        })
        .collect();
    Ok(Refreshed { roles })
}
