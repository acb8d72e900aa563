//! Signed lengths and hashes, and content that must agree with them.

use alloc::string::String;
use alloc::vec::Vec;

use ring::digest::{self, Algorithm, SHA256, SHA512};
use serde::de::{Deserialize, Deserializer, Error};
use switchback_types::Digest;

use crate::error::TufError;

/// The signed hashes of one file. Unknown algorithms are ignored, as long as one is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hashes {
    sha256: Option<[u8; 32]>,
    sha512: Option<[u8; 64]>,
}

impl Hashes {
    /// The SHA-256, where it is signed.
    pub(crate) fn sha256(&self) -> Option<Digest> {
        self.sha256.map(Digest::from_bytes)
    }

    /// The hash that names the file under consistent snapshots, in hexadecimal.
    pub(crate) fn preferred(&self) -> Option<String> {
        match (&self.sha256, &self.sha512) {
            (Some(hash), _) => Some(hex::encode(hash)),
            (None, Some(hash)) => Some(hex::encode(hash)),
            (None, None) => None,
        }
    }

    /// Checks `bytes` against every known hash.
    ///
    /// # Errors
    ///
    /// [`TufError::NoKnownHash`], [`TufError::WrongHash`].
    pub(crate) fn check(&self, file: &str, bytes: &[u8]) -> Result<(), TufError> {
        let known = self.known();
        if known.is_empty() {
            return Err(TufError::NoKnownHash { file: file.into() });
        }
        for (algorithm, name, expected) in known {
            let found = digest::digest(algorithm, bytes);
            if found.as_ref() != expected {
                return Err(TufError::WrongHash {
                    file: file.into(),
                    algorithm: name,
                    expected: hex::encode(expected),
                    found: hex::encode(found.as_ref()),
                });
            }
        }
        Ok(())
    }

    fn known(&self) -> Vec<(&'static Algorithm, &'static str, &[u8])> {
        let mut known = Vec::new();
        if let Some(hash) = &self.sha256 {
            known.push((&SHA256, "sha256", hash.as_slice()));
        }
        if let Some(hash) = &self.sha512 {
            known.push((&SHA512, "sha512", hash.as_slice()));
        }
        known
    }
}

impl<'de> Deserialize<'de> for Hashes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = serde_json::Map::deserialize(deserializer)?;
        Ok(Self {
            sha256: decode(&written, "sha256").map_err(D::Error::custom)?,
            sha512: decode(&written, "sha512").map_err(D::Error::custom)?,
        })
    }
}

fn decode<const LENGTH: usize>(
    written: &serde_json::Map<String, serde_json::Value>,
    algorithm: &str,
) -> Result<Option<[u8; LENGTH]>, String> {
    let Some(value) = written.get(algorithm) else {
        return Ok(None);
    };
    let mut bytes = [0_u8; LENGTH];
    match value
        .as_str()
        .map(|text| hex::decode_to_slice(text, &mut bytes))
    {
        Some(Ok(())) => Ok(Some(bytes)),
        _ => Err(alloc::format!("{algorithm} hash {value} is not one")),
    }
}

/// The length of `bytes` as metadata counts it.
pub(crate) fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Checks that `bytes` has the signed length.
///
/// # Errors
///
/// [`TufError::WrongLength`].
pub(crate) fn check_length(file: &str, expected: u64, bytes: &[u8]) -> Result<(), TufError> {
    let found = length_of(bytes);
    if found == expected {
        return Ok(());
    }
    Err(TufError::WrongLength {
        file: file.into(),
        expected,
        found,
    })
}
