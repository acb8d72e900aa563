//! The checks that several roles share.

use alloc::vec::Vec;

use crate::delegation::Authority;
use crate::document::{Document, Draft};
use crate::error::TufError;
use crate::name::Role;
use crate::schema::{Body, FileMeta};

/// Checks a file that its parent describes: length and hashes (5.5.2, 5.6.2), signatures (5.5.3,
/// 5.6.3), version (5.5.4, 5.6.4).
pub(crate) fn take<B: Body>(
    file: &str,
    bytes: Vec<u8>,
    meta: &FileMeta,
    authority: &Authority,
) -> Result<Document<B>, TufError> {
    meta.check(file, &bytes)?;
    let document: Document<B> = Draft::read(file, bytes)?.vouched_by(authority)?;
    check_version(file, meta.version(), document.version)?;
    Ok(document)
}

/// Whether a stored document is the one that `meta` describes, vouched for by today's keys.
pub(crate) fn is_current<B: Body>(
    stored: &Document<B>,
    meta: &FileMeta,
    authority: &Authority,
) -> bool {
    let file = authority.role.as_str();
    stored.version == meta.version()
        && meta.check(file, &stored.bytes).is_ok()
        && stored.is_still_signed_by(file, authority)
}

/// The bound on a download: what is signed, if that is less than what this device accepts.
pub(crate) fn signed_bound(meta: &FileMeta, limit: u64) -> u64 {
    meta.length.map_or(limit, |length| length.min(limit))
}

pub(crate) fn check_version(file: &str, expected: u64, found: u64) -> Result<(), TufError> {
    if found == expected {
        return Ok(());
    }
    Err(TufError::WrongVersion {
        file: file.into(),
        expected,
        found,
    })
}

pub(crate) fn check_rollback(
    file: &str,
    role: &Role,
    trusted: u64,
    offered: u64,
) -> Result<(), TufError> {
    if offered >= trusted {
        return Ok(());
    }
    Err(TufError::RollbackAttempt {
        file: file.into(),
        role: role.clone(),
        trusted,
        offered,
    })
}
