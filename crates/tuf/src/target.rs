//! Artifacts: what is signed about one, and bytes that agree with it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde_json::Value;
use switchback_types::{Digest, TargetPath};

use crate::error::TufError;
use crate::hashes::{Hashes, check_length};
use crate::name::Role;
use crate::schema::TargetMeta;

/// What trusted, fresh metadata says about one artifact. Made only by a
/// [`Lookup`](crate::Lookup).
#[derive(Debug, Clone, PartialEq)]
pub struct TargetInfo {
    path: TargetPath,
    role: Role,
    length: u64,
    hashes: Hashes,
    custom: Option<Value>,
    consistent: bool,
}

impl TargetInfo {
    pub(crate) fn new(path: TargetPath, role: Role, meta: &TargetMeta, consistent: bool) -> Self {
        Self {
            path,
            role,
            length: meta.length,
            hashes: meta.hashes.clone(),
            custom: meta.custom.clone(),
            consistent,
        }
    }

    /// The artifact's path.
    #[must_use]
    pub const fn path(&self) -> &TargetPath {
        &self.path
    }

    /// The role that vouches for it.
    #[must_use]
    pub const fn role(&self) -> &Role {
        &self.role
    }

    /// Its exact length in bytes: fetch no more.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Its SHA-256, where one is signed (this project's publisher always signs one).
    #[must_use]
    pub fn sha256(&self) -> Option<Digest> {
        self.hashes.sha256()
    }

    /// What the publisher attached to it.
    #[must_use]
    pub const fn custom(&self) -> Option<&Value> {
        self.custom.as_ref()
    }

    /// Where it is, below the repository's `targets/`, as a part of a URL: with consistent snapshots the hash
    /// stands before the file name (`releases/gw/1.0/<sha256>.release.json`, specification 3.1).
    ///
    /// # Errors
    ///
    /// [`TufError::NoKnownHash`] when a hash would be part of the name and none is known here.
    pub fn url_path(&self) -> Result<String, TufError> {
        // Of all that a path may hold, only this is written otherwise in a URL.
        let path = self.path.as_str().replace(' ', "%20");
        if !self.consistent {
            return Ok(path);
        }
        let Some(hash) = self.hashes.preferred() else {
            let file = self.path.as_str().into();
            return Err(TufError::NoKnownHash { file });
        };
        Ok(match path.rsplit_once('/') {
            Some((directory, name)) => alloc::format!("{directory}/{hash}.{name}"),
            None => alloc::format!("{hash}.{path}"),
        })
    }

    /// Checks downloaded bytes against the signed length and hashes (5.7.3).
    ///
    /// # Errors
    ///
    /// [`TufError::WrongLength`], [`TufError::WrongHash`], [`TufError::NoKnownHash`].
    pub fn verify(&self, bytes: Vec<u8>) -> Result<VerifiedTarget, TufError> {
        let file = self.path.as_str();
        check_length(file, self.length, &bytes)?;
        self.hashes.check(file, &bytes)?;
        Ok(VerifiedTarget {
            path: self.path.clone(),
            sha256: self.sha256(),
            bytes,
        })
    }
}

/// The proof that these are the bytes that were signed under this path. Made only by
/// [`TargetInfo::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedTarget {
    path: TargetPath,
    sha256: Option<Digest>,
    bytes: Vec<u8>,
}

impl VerifiedTarget {
    /// The artifact's path.
    #[must_use]
    pub const fn path(&self) -> &TargetPath {
        &self.path
    }

    /// The SHA-256 that was signed, if that is one of its hashes.
    #[must_use]
    pub const fn sha256(&self) -> Option<Digest> {
        self.sha256
    }

    /// The content.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The content, taken out.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl fmt::Debug for VerifiedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "VerifiedTarget({}, {} bytes)",
            self.path,
            self.bytes.len()
        )
    }
}
