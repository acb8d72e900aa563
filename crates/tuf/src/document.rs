//! Signed metadata files: first drafts, then, once enough keys vouch for them, documents.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::num::NonZeroU64;

use serde::Deserialize;
use serde_json::Value;
use switchback_types::Timestamp;

use crate::canonical::to_canonical;
use crate::delegation::Authority;
use crate::error::TufError;
use crate::json;
use crate::key::Signature;
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
    /// Whether the keys of `authority`, which may have changed since, still vouch for it.
    pub(crate) fn is_still_signed_by(&self, file: &str, authority: &Authority) -> bool {
        Draft::<B>::parse(file, self.bytes.clone())
            .and_then(|draft| draft.authenticate(file, authority))
            .is_ok()
    }
}

/// Metadata that was parsed and nothing more.
#[derive(Debug)]
pub(crate) struct Draft<B> {
    document: Document<B>,
    payload: Vec<u8>,
    signatures: Vec<Signature>,
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

impl<B: Body> Draft<B> {
    /// Parses a file; `file` is its name for messages.
    ///
    /// # Errors
    ///
    /// [`TufError::Json`], [`TufError::Malformed`], [`TufError::WrongType`],
    /// [`TufError::UnknownSpecification`].
    pub(crate) fn parse(file: &str, bytes: Vec<u8>) -> Result<Self, TufError> {
        let value = json::parse(&bytes).map_err(|source| TufError::Json {
            file: file.into(),
            source,
        })?;
        let malformed = |reason: String| TufError::Malformed {
            file: file.into(),
            reason,
        };
        let signed = value
            .get("signed")
            .ok_or_else(|| malformed("no \"signed\"".into()))?;
        let header = Header::deserialize(signed).map_err(|error| malformed(error.to_string()))?;
        check_header::<B>(file, &header)?;
        let body = B::deserialize(signed).map_err(|error| malformed(error.to_string()))?;
        if let Some(problem) = body.problem() {
            return Err(malformed(problem));
        }
        let payload = to_canonical(signed).map_err(|error| malformed(error.to_string()))?;
        let signatures = signatures(&value).map_err(malformed)?;
        Ok(Self {
            document: Document {
                bytes,
                version: header.version.get(),
                expires: header.expires,
                body,
            },
            payload,
            signatures,
        })
    }

    /// What the file claims, still to be believed.
    pub(crate) fn claims(&self) -> &Document<B> {
        &self.document
    }

    /// Checks that at least a threshold of the authority's keys signed.
    ///
    /// Distinct key values are counted, not ids: one key listed under two ids is one signer.
    /// Signatures by unknown keys and signatures that do not verify are passed over.
    ///
    /// # Errors
    ///
    /// [`TufError::Threshold`].
    pub(crate) fn authenticate(&self, file: &str, authority: &Authority) -> Result<(), TufError> {
        let signers: BTreeSet<_> = self
            .signatures
            .iter()
            .filter_map(|signature| {
                let key = authority.keys.get(&signature.key_id)?;
                key.verifies(&self.payload, &signature.bytes).then_some(key)
            })
            .collect();
        let valid = u64::try_from(signers.len()).unwrap_or(u64::MAX);
        if valid < authority.threshold {
            return Err(TufError::Threshold {
                file: file.into(),
                role: authority.role.clone(),
                valid,
                threshold: authority.threshold,
            });
        }
        Ok(())
    }

    /// The document, vouched for by `authority`.
    ///
    /// # Errors
    ///
    /// [`TufError::Threshold`].
    pub(crate) fn vouched_by(
        self,
        file: &str,
        authority: &Authority,
    ) -> Result<Document<B>, TufError> {
        self.authenticate(file, authority)?;
        Ok(self.document)
    }

    /// The document, which this device vouched for when it stored it.
    pub(crate) fn assume_trusted(self) -> Document<B> {
        self.document
    }
}

fn check_header<B: Body>(file: &str, header: &Header) -> Result<(), TufError> {
    if header.kind != B::TYPE {
        return Err(TufError::WrongType {
            file: file.into(),
            expected: B::TYPE,
            found: header.kind.clone(),
        });
    }
    // Repositories in the field say "1.0" as well as "1.0.31": only the major number decides.
    if header.spec_version.split('.').next() != Some("1") {
        return Err(TufError::UnknownSpecification {
            file: file.into(),
            found: header.spec_version.clone(),
        });
    }
    Ok(())
}

/// Reads the signatures; two by one key id make the file invalid (4.2.1: key ids are unique).
fn signatures(envelope: &Value) -> Result<Vec<Signature>, String> {
    let written = envelope
        .get("signatures")
        .and_then(Value::as_array)
        .ok_or("no list of \"signatures\"")?;
    let mut seen = BTreeSet::new();
    let mut signatures = Vec::with_capacity(written.len());
    for value in written {
        let signature = Signature::from_json(value).ok_or("a signature lacks keyid or sig")?;
        if !seen.insert(signature.key_id.clone()) {
            return Err(alloc::format!(
                "two signatures by the key {}",
                signature.key_id
            ));
        }
        signatures.push(signature);
    }
    Ok(signatures)
}
