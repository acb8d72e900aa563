//! Which keys sign what, changed.
//!
//! A change is never one step that leaves a repository nobody can read if the power goes: what a key signed is
//! signed anew by the others while it is still listed, and only then it goes from the list.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use tough::schema::RoleKeys;
use tough::schema::key::Key;

use super::list::{KeysReport, report};
use super::{KeyError, KeyId, public_key};
use crate::edit::{Edit, Workplace};
use crate::error::RepoError;
use crate::role::Role;

/// A change of one role's keys.
#[derive(Debug, Clone)]
pub enum KeyChange {
    /// Lists a further key: the file with either half of it.
    Add(PathBuf),
    /// Lists a key no more.
    Revoke(String),
    /// Says how many keys must sign.
    Threshold(u64),
    /// Makes a key under this name, lists it, and no other from then on.
    Rotate(String),
}

/// Changes the keys of a role. With `set_aside` the root or targets that say so are not published but written
/// there, for the keys that are elsewhere to sign.
///
/// # Errors
/// [`KeyError::KeyChange`] and [`KeyError::TooFewSignatures`]; what keys, signing and files can fail with.
pub fn change(
    place: &Workplace<'_>,
    role: Role,
    change: &KeyChange,
    set_aside: Option<&Path>,
) -> Result<KeysReport, RepoError> {
    let mut edit = Edit::begin(place)?;
    let aside = match change {
        KeyChange::Add(file) => {
            add(&mut edit, role, &public_key(file)?)?;
            publish(&mut edit, role, set_aside)?
        }
        KeyChange::Revoke(id) => {
            let id = listed(&edit, role, id)?;
            revoke(&mut edit, role, &id, set_aside)?
        }
        KeyChange::Threshold(count) => {
            set_threshold(&mut edit, role, *count)?;
            publish(&mut edit, role, set_aside)?
        }
        KeyChange::Rotate(name) => {
            if set_aside.is_some() {
                let detail = "a rotation is several steps; set aside an `add`, then a `revoke`";
                return Err(refused(role, detail));
            }
            let before = edit.repository.metadata.listed(role);
            let file = edit.keys().create_further(role, name)?;
            add(&mut edit, role, &public_key(&file)?)?;
            publish(&mut edit, role, None)?;
            for id in before.ids {
                revoke(&mut edit, role, &id, None)?;
            }
            None
        }
    };
    let mut report = report(&edit.repository, edit.keys())?;
    report.set_aside = aside;
    Ok(report)
}

fn refused(role: Role, detail: impl Into<String>) -> RepoError {
    let detail = detail.into();
    KeyError::KeyChange { role, detail }.into()
}

/// The one listed key whose id begins so.
fn listed(edit: &Edit, role: Role, text: &str) -> Result<KeyId, RepoError> {
    let ids = edit.repository.metadata.listed(role).ids;
    let text = text.to_lowercase();
    let mut found = ids
        .iter()
        .filter(|id| text.len() >= 8 && hex::encode(id).starts_with(&text));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id.clone()),
        _ => {
            let known: Vec<_> = ids.iter().map(hex::encode).collect();
            let detail = format!(
                "{text:?} does not name one of its keys (8 digits at least): {}",
                known.join(", ")
            );
            Err(refused(role, detail))
        }
    }
}

/// The role that lists a role's keys.
const fn parent(role: Role) -> Role {
    match role.in_root() {
        Some(_) => Role::Root,
        None => Role::Targets,
    }
}

/// Publishes the root or the targets that list a role's keys, or sets them aside.
fn publish(
    edit: &mut Edit,
    role: Role,
    set_aside: Option<&Path>,
) -> Result<Option<PathBuf>, RepoError> {
    let parent = parent(role);
    if let Some(directory) = set_aside {
        return edit.set_aside(parent, directory).map(Some);
    }
    edit.renew(parent);
    if parent == Role::Root {
        renew_timestamp(edit)?;
    }
    edit.commit()?;
    Ok(None)
}

/// A new root comes with a new timestamp where its keys are here: devices look at roots when that changed.
pub(super) fn renew_timestamp(edit: &mut Edit) -> Result<(), RepoError> {
    let listed = edit.repository.metadata.listed(Role::Timestamp);
    let here = edit.keys().at_hand(Role::Timestamp)?;
    if listed.count(&here) >= listed.threshold.max(1) {
        edit.renew(Role::Timestamp);
    }
    Ok(())
}

/// Changes the list of a role's keys in root or targets.
fn edit_list(
    edit: &mut Edit,
    role: Role,
    change: impl FnOnce(&mut Vec<KeyId>, &mut NonZeroU64),
) -> Result<(), RepoError> {
    let missing = || refused(role, "the repository lists no such role");
    let metadata = &mut edit.repository.metadata;
    match role.in_root() {
        Some(kind) => {
            let keys: &mut RoleKeys = metadata.root.roles.get_mut(&kind).ok_or_else(missing)?;
            change(&mut keys.keyids, &mut keys.threshold);
        }
        None => {
            let delegations = metadata.targets.delegations.as_mut().ok_or_else(missing)?;
            let found = delegations
                .roles
                .iter_mut()
                .find(|found| found.name == role.as_str())
                .ok_or_else(missing)?;
            change(&mut found.keyids, &mut found.threshold);
        }
    }
    // Keys that no role has any more go from the table.
    let root = &mut metadata.root;
    let used: Vec<KeyId> = root
        .roles
        .values()
        .flat_map(|keys| keys.keyids.clone())
        .collect();
    root.keys.retain(|id, _| used.contains(id));
    if let Some(delegations) = metadata.targets.delegations.as_mut() {
        let roles = &delegations.roles;
        delegations
            .keys
            .retain(|id, _| roles.iter().any(|role| role.keyids.contains(id)));
    }
    Ok(())
}

fn add(edit: &mut Edit, role: Role, key: &Key) -> Result<(), RepoError> {
    let id = key.key_id().map_err(|source| RepoError::Signing {
        role,
        source: Box::new(source),
    })?;
    for other in Role::ALL {
        if edit.repository.metadata.listed(other).ids.contains(&id) {
            let detail = format!("{} is a key of {other} already", hex::encode(&id));
            return Err(refused(role, detail));
        }
    }
    edit_list(edit, role, |ids, _| ids.push(id.clone()))?;
    let metadata = &mut edit.repository.metadata;
    if parent(role) == Role::Root {
        metadata.root.keys.insert(id, key.clone());
    } else if let Some(delegations) = metadata.targets.delegations.as_mut() {
        delegations.keys.insert(id, key.clone());
    }
    Ok(())
}

fn revoke(
    edit: &mut Edit,
    role: Role,
    id: &KeyId,
    set_aside: Option<&Path>,
) -> Result<Option<PathBuf>, RepoError> {
    let listed = edit.repository.metadata.listed(role);
    let left = listed.ids.len() - 1;
    if (left as u64) < listed.threshold {
        let detail = format!(
            "{left} keys would be left, and {} must sign; add another key first, or lower the threshold",
            listed.threshold
        );
        return Err(refused(role, detail));
    }
    // What the key signed is signed by the others first.
    if role != Role::Root {
        edit.pass_over(Some(id.clone()));
        edit.renew(role);
        edit.commit()?;
        edit.pass_over(None);
    }
    edit_list(edit, role, |ids, _| ids.retain(|listed| listed != id))?;
    publish(edit, role, set_aside)
}

fn set_threshold(edit: &mut Edit, role: Role, count: u64) -> Result<(), RepoError> {
    let listed = edit.repository.metadata.listed(role);
    let count = match NonZeroU64::new(count) {
        Some(count) if count.get() <= listed.ids.len() as u64 => count,
        _ => {
            let detail = format!(
                "it has {} keys, and {count} of them cannot be asked for",
                listed.ids.len()
            );
            return Err(refused(role, detail));
        }
    };
    // It is signed by so many before they are asked for.
    if role != Role::Root && count.get() > listed.threshold {
        let (have, need) = (listed.count(&edit.keys().load_all(role)?), count.get());
        if have < need {
            return Err(KeyError::TooFewSignatures { role, have, need }.into());
        }
        edit.renew(role);
        edit.commit()?;
    }
    edit_list(edit, role, |_, threshold| *threshold = count)
}
