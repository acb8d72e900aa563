//! What stands around every signed body: signatures, and the bytes that they cover.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::canonical::Canonical;
use crate::delegation::Authority;
use crate::error::TufError;

/// A metadata file (4.2.1) of which only the outside was read.
#[derive(Debug)]
pub(crate) struct Envelope {
    payload: Vec<u8>,
    signatures: Vec<Signature>,
}

/// Fields beside these two are signed by nobody, and ignored.
#[derive(Deserialize)]
struct Written {
    signed: Canonical,
    #[serde(deserialize_with = "few_signatures")]
    signatures: Vec<WrittenSignature>,
}

#[derive(Deserialize)]
struct WrittenSignature {
    #[serde(rename = "keyid")]
    key_id: String,
    sig: String,
}

/// Most signatures in one file: many times what the largest thresholds in use need. A server that
/// nobody has vouched for could otherwise fill a file, and this device's memory, with them.
const MAX_SIGNATURES: usize = 256;

fn few_signatures<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<WrittenSignature>, D::Error> {
    struct Few;
    impl<'de> Visitor<'de> for Few {
        type Value = Vec<WrittenSignature>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX_SIGNATURES} signatures")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut signatures = Vec::new();
            while let Some(signature) = access.next_element()? {
                if signatures.len() >= MAX_SIGNATURES {
                    return Err(A::Error::invalid_length(MAX_SIGNATURES + 1, &self));
                }
                signatures.push(signature);
            }
            Ok(signatures)
        }
    }
    deserializer.deserialize_seq(Few)
}

#[derive(Debug)]
struct Signature {
    key_id: String,
    /// Empty where the text was not hexadecimal, which no key verifies.
    bytes: Vec<u8>,
}

impl Envelope {
    /// Reads a file; `file` is its name for messages.
    ///
    /// # Errors
    ///
    /// [`TufError::Json`]; [`TufError::Malformed`] for two signatures by one key id, which must
    /// be unique.
    pub(crate) fn read(file: &str, bytes: &[u8]) -> Result<Self, TufError> {
        let written: Written = serde_json::from_slice(bytes).map_err(|source| TufError::Json {
            file: file.into(),
            source,
        })?;
        let mut seen = BTreeSet::new();
        for signature in &written.signatures {
            if !seen.insert(signature.key_id.as_str()) {
                return Err(TufError::Malformed {
                    file: file.into(),
                    reason: alloc::format!("two signatures by the key {}", signature.key_id),
                });
            }
        }
        Ok(Self {
            payload: written.signed.0,
            signatures: written
                .signatures
                .iter()
                .map(|signature| Signature {
                    key_id: signature.key_id.to_string(),
                    bytes: hex::decode(&signature.sig).unwrap_or_default(),
                })
                .collect(),
        })
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
}
