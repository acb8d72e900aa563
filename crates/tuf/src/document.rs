//! Signed metadata files: first drafts, then, once enough keys vouch for them, documents.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::num::NonZeroU64;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use switchback_types::Timestamp;

use crate::delegation::Authority;
use crate::envelope::Envelope;
use crate::error::TufError;
use crate::schema::Body;

/// Metadata that was trusted when it became a value of this type.
#[derive(Debug, Clone)]
pub(crate) struct Document<B> {
    /// The file byte for byte, so that it can be hashed and verified again.
    pub(crate) bytes: Vec<u8>,
    pub(crate) version: u64,
    pub(crate) expires: Timestamp,
    pub(crate) body: B,
}

impl<B: Body> Document<B> {
    /// Reads what this device vouched for when it stored it.
    ///
    /// # Errors
    ///
    /// As [`Draft::claims`].
    pub(crate) fn from_own_store(file: &str, bytes: Vec<u8>) -> Result<Self, TufError> {
        let (header, body) = parse::<B>(file, &bytes)?;
        Ok(Self {
            bytes,
            version: header.version.get(),
            expires: header.expires,
            body,
        })
    }

    /// Whether the keys of `authority`, which may have changed since, still vouch for it.
    pub(crate) fn is_still_signed_by(&self, file: &str, authority: &Authority) -> bool {
        Envelope::read(file, &self.bytes)
            .and_then(|envelope| envelope.authenticate(file, authority))
            .is_ok()
    }
}

/// A file that somebody served. Its body is read only once its signatures are known to be good,
/// except where the body itself says who may sign it.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    file: &'a str,
    bytes: Vec<u8>,
    envelope: Envelope,
}

impl<'a> Draft<'a> {
    /// Reads the outside; `file` is the name for messages.
    ///
    /// # Errors
    ///
    /// As [`Envelope::read`].
    pub(crate) fn read(file: &'a str, bytes: Vec<u8>) -> Result<Self, TufError> {
        let envelope = Envelope::read(file, &bytes)?;
        Ok(Self {
            file,
            bytes,
            envelope,
        })
    }

    /// Checks that the keys of `authority` vouch for it.
    ///
    /// # Errors
    ///
    /// [`TufError::Threshold`].
    pub(crate) fn authenticate(&self, authority: &Authority) -> Result<(), TufError> {
        self.envelope.authenticate(self.file, authority)
    }

    /// What the body claims, not to be believed yet.
    ///
    /// # Errors
    ///
    /// [`TufError::Malformed`], [`TufError::WrongType`], [`TufError::UnknownSpecification`].
    pub(crate) fn claims<B: Body>(&self) -> Result<B, TufError> {
        parse(self.file, &self.bytes).map(|(_, body)| body)
    }

    /// The document, vouched for by `authority`.
    ///
    /// # Errors
    ///
    /// [`TufError::Threshold`], and as [`claims`](Self::claims).
    pub(crate) fn vouched_by<B: Body>(
        self,
        authority: &Authority,
    ) -> Result<Document<B>, TufError> {
        self.authenticate(authority)?;
        Document::from_own_store(self.file, self.bytes)
    }
}

/// What every signed body has (4.2).
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "_type")]
    kind: String,
    spec_version: String,
    version: NonZeroU64,
    expires: Timestamp,
}

/// The part of a file that is read here; keys given twice were refused with its outside.
#[derive(Deserialize)]
struct Inside<T> {
    signed: T,
}

/// Reads the signed part: first what all bodies share, so that another role's metadata is called
/// that, and not malformed.
fn parse<B: Body>(file: &str, bytes: &[u8]) -> Result<(Header, B), TufError> {
    let header: Header = parse_part(file, bytes)?;
    if header.kind != B::TYPE {
        return Err(TufError::WrongType {
            file: file.into(),
            expected: B::TYPE,
            found: header.kind,
        });
    }
    // Repositories in the field say "1.0" as well as "1.0.31": only the major number decides.
    if header.spec_version.split('.').next() != Some("1") {
        return Err(TufError::UnknownSpecification {
            file: file.into(),
            found: header.spec_version,
        });
    }
    let body: B = parse_part(file, bytes)?;
    match body.problem() {
        None => Ok((header, body)),
        Some(reason) => Err(TufError::Malformed {
            file: file.into(),
            reason,
        }),
    }
}

fn parse_part<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, TufError> {
    match serde_json::from_slice::<Inside<T>>(bytes) {
        Ok(inside) => Ok(inside.signed),
        Err(error) => Err(TufError::Malformed {
            file: file.into(),
            reason: error.to_string(),
        }),
    }
}
