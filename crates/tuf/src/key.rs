//! Public keys and the one question asked of them.

use alloc::vec::Vec;
use core::fmt;

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use serde::de::{Deserialize, Deserializer};
use serde_json::Value;

use crate::spki::{self, PublicKeyBits};

/// A key from metadata. Equal keys under two ids are one key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PublicKey {
    /// `ed25519` / `ed25519`.
    Ed25519([u8; 32]),
    /// `ecdsa` or `ecdsa-sha2-nistp256` / `ecdsa-sha2-nistp256`: an uncompressed point.
    EcdsaP256(Vec<u8>),
    /// `rsa` / `rsassa-pss-sha256`: a DER `RSAPublicKey` of 2,048 to 8,192 bits.
    RsaPss(Vec<u8>),
    /// A kind of key that this client does not know, or a key that cannot be read. It verifies
    /// nothing, and does no harm to the keys beside it.
    Unusable,
}

impl PublicKey {
    /// Whether `signature` over `message` was made with this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let (algorithm, key): (&'static dyn VerificationAlgorithm, &[u8]) = match self {
            Self::Ed25519(key) => (&signature::ED25519, key),
            Self::EcdsaP256(key) => (&signature::ECDSA_P256_SHA256_ASN1, key),
            Self::RsaPss(key) => (&signature::RSA_PSS_2048_8192_SHA256, key),
            Self::Unusable => return false,
        };
        let verify = || {
            UnparsedPublicKey::new(algorithm, key)
                .verify(message, signature)
                .is_ok()
        };
        #[cfg(feature = "remembering")]
        return crate::remembering::answer(algorithm, &[key, signature, message], verify);
        #[cfg(not(feature = "remembering"))]
        verify()
    }

    fn from_json(key: &Value) -> Self {
        let text = |pointer| key.pointer(pointer).and_then(Value::as_str);
        let (Some(kind), Some(scheme), Some(public)) =
            (text("/keytype"), text("/scheme"), text("/keyval/public"))
        else {
            return Self::Unusable;
        };
        let parsed = match (kind, scheme) {
            ("ed25519", "ed25519") => {
                let mut bytes = [0_u8; 32];
                hex::decode_to_slice(public, &mut bytes)
                    .ok()
                    .map(|()| Self::Ed25519(bytes))
            }
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
                match spki::parse_pem(public) {
                    Some(PublicKeyBits::EcP256(point)) => Some(Self::EcdsaP256(point)),
                    _ => None,
                }
            }
            ("rsa", "rsassa-pss-sha256") => match spki::parse_pem(public) {
                Some(PublicKeyBits::Rsa(key)) => Some(Self::RsaPss(key)),
                _ => None,
            },
            _ => None,
        };
        parsed.unwrap_or(Self::Unusable)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, key): (&str, &[u8]) = match self {
            Self::Ed25519(key) => ("ed25519", key),
            Self::EcdsaP256(key) => ("ecdsa", key),
            Self::RsaPss(key) => ("rsa", key),
            Self::Unusable => return f.write_str("PublicKey(unusable)"),
        };
        write!(f, "PublicKey({kind} {})", hex::encode(key))
    }
}

/// Every JSON value is some key: what cannot be understood is [`PublicKey::Unusable`].
impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_json(&Value::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(value: &Value) -> PublicKey {
        PublicKey::deserialize(value).unwrap()
    }

    #[test]
    fn unknown_or_unreadable_keys_are_unusable_and_not_an_error() {
        let public = hex::encode([7_u8; 32]);
        for value in [
            json!(null),
            json!({"keytype": "ed25519", "scheme": "ed25519"}),
            json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "07"}}),
            json!({"keytype": "ed25519", "scheme": "ed25519ph", "keyval": {"public": public}}),
            json!({"keytype": "rsa", "scheme": "rsa-pkcs1v15-sha256", "keyval": {"public": "x"}}),
            json!({"keytype": "sphincs", "scheme": "sphincs", "keyval": {"public": public}}),
            json!({"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256",
                   "keyval": {"public": include_str!("../tests/keys/rsa.pub.pem")}}),
        ] {
            assert_eq!(key(&value), PublicKey::Unusable, "{value}");
        }
        assert!(!PublicKey::Unusable.verifies(b"", b""));
    }

    #[test]
    fn known_keys_are_read_past_unknown_fields() {
        let value = json!({
            "keytype": "ed25519", "scheme": "ed25519", "keyid_hash_algorithms": ["md5"],
            "keyval": {"public": hex::encode([7_u8; 32]), "private": ""}, "x-note": 1,
        });
        assert_eq!(key(&value), PublicKey::Ed25519([7; 32]));
    }
}
