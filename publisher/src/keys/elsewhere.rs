//! Root and targets signed on a machine that has the offline keys and no repository: set aside, signed, taken in.

use std::fmt;
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use serde::Serialize;
use switchback_types::Timestamp;
use tough::schema::{Root, Signed, Snapshot, Targets};

use super::change::renew_timestamp;
use super::list::{KeysReport, report};
use super::{KeyError, Keys};
use crate::edit::{Edit, Workplace};
use crate::error::{RepoError, io};
use crate::metadata::Metadata;
use crate::role::Role;
use crate::signing;

/// What someone signed.
#[derive(Debug, Clone, Serialize)]
pub struct SignedElsewhere {
    /// The file.
    pub file: PathBuf,
    /// Whose metadata it is.
    pub role: Role,
    /// Which version of it.
    pub version: u64,
    /// When its signatures end.
    pub expires: Timestamp,
    /// The keys that have signed it by now.
    pub signed_by: Vec<String>,
    /// How many were added.
    pub added: usize,
}

impl fmt::Display for SignedElsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} version {}, until {}",
            self.role, self.version, self.expires
        )?;
        for id in &self.signed_by {
            writeln!(f, "  signed by {id}")?;
        }
        write!(
            f,
            "  {} signatures added to {}",
            self.added,
            self.file.display()
        )
    }
}

/// Sets aside the next version of root or targets as they are, so that their signatures last longer.
///
/// # Errors
/// As [`change`].
pub fn set_aside(
    place: &Workplace<'_>,
    role: Role,
    directory: &Path,
) -> Result<PathBuf, RepoError> {
    if !matches!(role, Role::Root | Role::Targets) {
        let detail = "only root and targets are signed elsewhere; run this where the key is".into();
        return Err(KeyError::KeyChange { role, detail }.into());
    }
    Edit::begin(place)?.set_aside(role, directory)
}

/// Adds the signatures of all keys in a directory to a file that was set aside. Needs no repository: this is
/// run on the machine that has the offline keys.
///
/// # Errors
/// [`KeyError::NotTaken`] if it is not metadata of root or targets; what keys and files can fail with.
pub fn sign_file(keys: &Path, file: &Path) -> Result<SignedElsewhere, RepoError> {
    let bytes = fs::read(file).map_err(io("read", file))?;
    let keys = Keys::new(keys);
    match role_of(file, &bytes)? {
        Role::Root => sign_in::<Root>(&keys, file, Role::Root, parse(file, &bytes)?),
        _ => sign_in::<Targets>(&keys, file, Role::Targets, parse(file, &bytes)?),
    }
}

fn sign_in<T: tough::schema::Role>(
    keys: &Keys,
    file: &Path,
    role: Role,
    mut signed: Signed<T>,
) -> Result<SignedElsewhere, RepoError> {
    let added = signing::add_signatures(role, &mut signed, keys.load_all(role)?.iter())?;
    fs::write(file, signing::text(&signed)).map_err(io("write", file))?;
    Ok(SignedElsewhere {
        file: file.into(),
        role,
        version: signed.signed.version().get(),
        expires: Timestamp::from_unix(signed.signed.expires().as_second()),
        signed_by: signed
            .signatures
            .iter()
            .map(|signature| hex::encode(&signature.keyid))
            .collect(),
        added,
    })
}

/// Takes a file that was set aside and signed elsewhere into the repository.
///
/// # Errors
/// [`KeyError::NotTaken`] if its signatures are not enough or do not verify, if it is not the next version, or
/// if what is published would not verify any more.
pub fn take_in(place: &Workplace<'_>, file: &Path) -> Result<KeysReport, RepoError> {
    let bytes = fs::read(file).map_err(io("read", file))?;
    let mut edit = Edit::begin(place)?;
    let role = role_of(file, &bytes)?;
    let not = |detail: String| {
        RepoError::from(KeyError::NotTaken {
            path: file.into(),
            detail,
        })
    };
    let verifies = |result: Result<(), tough::schema::Error>, by: &str| {
        result.map_err(|error| not(format!("it does not verify by the keys of {by}: {error}")))
    };
    let metadata = &mut edit.repository.metadata;
    let next = metadata.version(role) + 1;
    let check_version = |version: NonZeroU64| match version.get() == next {
        true => Ok(()),
        false => Err(not(format!(
            "it is version {version}, and version {next} is the next; set it aside anew"
        ))),
    };
    if role == Role::Root {
        let signed: Signed<Root> = parse(file, &bytes)?;
        check_version(signed.signed.version)?;
        verifies(metadata.root.verify_role(&signed), "the published root")?;
        verifies(signed.signed.verify_role(&signed), "its own")?;
        check_published(place.repo, &signed.signed, metadata, &not)?;
        metadata.root = signed.signed;
        renew_timestamp(&mut edit)?;
    } else {
        let signed: Signed<Targets> = parse(file, &bytes)?;
        check_version(signed.signed.version)?;
        verifies(metadata.root.verify_role(&signed), "the published root")?;
        let delegations = signed.signed.delegations.clone().unwrap_or_default();
        for role in [Role::Releases, Role::Channels, Role::Flags] {
            let published = read(place.repo, role, metadata.version(role))?;
            let kept = delegations.verify_role(&published, role.as_str());
            kept.map_err(|error| not(spoiled(role, &error)))?;
        }
        metadata.targets = signed.signed;
    }
    edit.take_in(role, &bytes)?;
    report(&edit.repository, edit.keys())
}

fn spoiled(role: Role, error: &tough::schema::Error) -> String {
    format!(
        "the published {role} would not verify any more ({error}); sign it with the new keys first"
    )
}

/// The published metadata of a role.
fn read<T: serde::de::DeserializeOwned>(
    repo: &Path,
    role: Role,
    version: u64,
) -> Result<Signed<T>, RepoError> {
    let path = repo.join("metadata").join(role.file_name(version));
    let bytes = fs::read(&path).map_err(io("read", &path))?;
    parse(&path, &bytes)
}

/// Whether what is published verifies by a new root.
fn check_published(
    repo: &Path,
    root: &Root,
    metadata: &Metadata,
    not: &dyn Fn(String) -> RepoError,
) -> Result<(), RepoError> {
    let version = |role| metadata.version(role);
    let (targets, snapshot, timestamp) = (Role::Targets, Role::Snapshot, Role::Timestamp);
    root.verify_role::<Targets>(&read(repo, targets, version(targets))?)
        .map_err(|error| not(spoiled(targets, &error)))?;
    root.verify_role::<Snapshot>(&read(repo, snapshot, version(snapshot))?)
        .map_err(|error| not(spoiled(snapshot, &error)))?;
    root.verify_role::<tough::schema::Timestamp>(&read(repo, timestamp, version(timestamp))?)
        .map_err(|error| not(spoiled(timestamp, &error)))
}

fn parse<T: serde::de::DeserializeOwned>(file: &Path, bytes: &[u8]) -> Result<T, RepoError> {
    serde_json::from_slice(bytes).map_err(|error| {
        KeyError::NotTaken {
            path: file.into(),
            detail: format!("it is not signed metadata as this program writes it: {error}"),
        }
        .into()
    })
}

/// Whose metadata a file holds.
fn role_of(file: &Path, bytes: &[u8]) -> Result<Role, RepoError> {
    let value: serde_json::Value = parse(file, bytes)?;
    let of = |pointer| value.pointer(pointer).and_then(serde_json::Value::as_str);
    match of("/signed/_type") {
        Some("root") => Ok(Role::Root),
        Some("targets") => Ok(Role::Targets),
        other => Err(KeyError::NotTaken {
            path: file.into(),
            detail: format!(
                "it is metadata of {}; only root and targets are signed elsewhere",
                other.unwrap_or("no role")
            ),
        }
        .into()),
    }
}
