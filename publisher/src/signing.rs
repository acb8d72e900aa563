//! Signatures over metadata: who is listed, who signs, and whether they are enough.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::num::NonZeroU64;
use std::path::Path;

use serde::Serialize;
use tough::schema::{self, RoleKeys, RoleType, Root, Signature, Signed, Targets};

use crate::error::{RepoError, io};
use crate::keys::{KeyError, KeyId, RoleKey};
use crate::role::Role;

/// The keys of a role, and how many of them must sign.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listed {
    pub(crate) ids: Vec<KeyId>,
    pub(crate) threshold: u64,
}

impl Listed {
    /// As root lists one of the top-level roles.
    pub(crate) fn in_root(root: &Root, kind: RoleType) -> Self {
        let found = root.roles.get(&kind).map(|keys| Self {
            ids: keys.keyids.clone(),
            threshold: keys.threshold.get(),
        });
        found.unwrap_or_default()
    }

    /// As targets list a role that they delegate to.
    pub(crate) fn in_targets(targets: &Targets, role: Role) -> Self {
        let delegations = targets.delegations.as_ref();
        let mut roles = delegations
            .into_iter()
            .flat_map(|delegations| &delegations.roles);
        let found = roles.find(|found| found.name == role.as_str());
        let found = found.map(|role| Self {
            ids: role.keyids.clone(),
            threshold: role.threshold.get(),
        });
        found.unwrap_or_default()
    }

    /// How many of these keys are listed.
    pub(crate) fn count(&self, keys: &[RoleKey]) -> u64 {
        keys.iter()
            .filter(|key| self.ids.contains(key.id()))
            .count() as u64
    }

    fn signatures<T>(&self, signed: &Signed<T>) -> u64 {
        let signers: BTreeSet<&[u8]> = signed
            .signatures
            .iter()
            .filter(|signature| self.ids.contains(&signature.keyid))
            .map(|signature| signature.keyid.as_ref())
            .collect();
        signers.len() as u64
    }

    /// Whether enough of them have signed.
    ///
    /// # Errors
    /// [`KeyError::TooFewSignatures`].
    pub(crate) fn satisfied_by<T>(&self, role: Role, signed: &Signed<T>) -> Result<(), RepoError> {
        let have = self.signatures(signed);
        if have < self.threshold || have == 0 {
            return Err(KeyError::TooFewSignatures {
                role,
                have,
                need: self.threshold.max(1),
            }
            .into());
        }
        Ok(())
    }
}

/// Signs with all of these keys.
pub(crate) fn sign<'k, T: schema::Role>(
    role: Role,
    value: T,
    keys: impl Iterator<Item = &'k RoleKey>,
) -> Result<Signed<T>, RepoError> {
    let mut signed = Signed {
        signed: value,
        signatures: Vec::new(),
    };
    add_signatures(role, &mut signed, keys)?;
    Ok(signed)
}

/// Signs with those of these keys that have not signed yet. Gives how many did.
pub(crate) fn add_signatures<'k, T: schema::Role>(
    role: Role,
    signed: &mut Signed<T>,
    keys: impl Iterator<Item = &'k RoleKey>,
) -> Result<usize, RepoError> {
    let message = signed.signed.canonical_form();
    let message = message.map_err(|source| RepoError::Signing {
        role,
        source: Box::new(source),
    })?;
    let before = signed.signatures.len();
    for key in keys {
        if signed
            .signatures
            .iter()
            .any(|signature| signature.keyid == *key.id())
        {
            continue;
        }
        let signature = Signature {
            keyid: key.id().clone(),
            sig: key.sign(role, &message)?.into(),
        };
        // One of another key, or in another form, would be noticed by devices only.
        let others = std::mem::replace(&mut signed.signatures, vec![signature]);
        if !holds(key, signed) {
            return Err(key.not_by_it());
        }
        let signature = std::mem::replace(&mut signed.signatures, others);
        signed.signatures.extend(signature);
    }
    Ok(signed.signatures.len() - before)
}

/// Whether the one signature is by this key: as if there were a root that listed no other.
fn holds<T: schema::Role>(key: &RoleKey, signed: &Signed<T>) -> bool {
    let one = NonZeroU64::MIN;
    let listed = RoleKeys {
        keyids: vec![key.id().clone()],
        threshold: one,
        _extra: HashMap::new(),
    };
    let root = Root {
        spec_version: String::new(),
        consistent_snapshot: true,
        version: one,
        expires: signed.signed.expires(),
        keys: HashMap::from([(key.id().clone(), key.public().clone())]),
        roles: HashMap::from([(T::TYPE, listed)]),
        _extra: HashMap::new(),
    };
    root.verify_role(signed).is_ok()
}

/// Metadata as text with its keys in order: signing the same thing again gives the same bytes. Without blanks
/// between them: every device reads most of these files at every update.
pub(crate) fn text<T: Serialize>(signed: &Signed<T>) -> Vec<u8> {
    // The same value has been serialised a moment ago, to sign it.
    let value = serde_json::to_value(signed).expect("what was signed can be written");
    let mut bytes = serde_json::to_vec(&value).expect("a JSON value can be written");
    bytes.push(b'\n');
    bytes
}

/// Runs one call of the signing library, which is asynchronous, to its end.
pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output, RepoError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(io("start threads for", Path::new("reading metadata")))?;
    Ok(runtime.block_on(future))
}
