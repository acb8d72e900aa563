//! A key in a token (PKCS#11): a TPM, a secure element, a smart card. It is used there and cannot be read.

use std::fs;
use std::sync::Arc;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::{AuthPin, Ulong};
use rustls::SignatureScheme;

use super::Signing;
use super::uri::TokenUri;
use crate::report::chain;

/// Object identifiers of curves, as the attribute has them.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// One key in one token.
#[derive(Debug)]
pub(super) struct TokenKey {
    uri: TokenUri,
    module: Pkcs11,
}

impl TokenKey {
    /// Loads the token's library.
    pub(super) fn load(uri: TokenUri) -> Result<Self, String> {
        let path = uri.module.display();
        let module =
            Pkcs11::new(&uri.module).map_err(|error| format!("{path}: {}", chain(&error)))?;
        module
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(|error| format!("{path}: {}", chain(&error)))?;
        Ok(Self { uri, module })
    }

    /// How the key can sign.
    pub(super) fn schemes(&self) -> Result<Vec<SignatureScheme>, String> {
        self.with_key(|session, key| {
            let wanted = [AttributeType::KeyType, AttributeType::EcParams];
            let found = session.get_attributes(key, &wanted)?;
            let kind = found.iter().find_map(|found| match found {
                Attribute::KeyType(kind) => Some(*kind),
                _ => None,
            });
            let curve = found.iter().find_map(|found| match found {
                Attribute::EcParams(curve) => Some(curve.as_slice()),
                _ => None,
            });
            Ok(match (kind, curve) {
                (Some(KeyType::RSA), _) => vec![
                    SignatureScheme::RSA_PSS_SHA256,
                    SignatureScheme::RSA_PSS_SHA384,
                    SignatureScheme::RSA_PSS_SHA512,
                    SignatureScheme::RSA_PKCS1_SHA256,
                ],
                (Some(KeyType::EC), Some(P256)) => vec![SignatureScheme::ECDSA_NISTP256_SHA256],
                (Some(KeyType::EC), Some(P384)) => vec![SignatureScheme::ECDSA_NISTP384_SHA384],
                (Some(KeyType::EC_EDWARDS), _) => vec![SignatureScheme::ED25519],
                _ => Vec::new(),
            })
        })
    }

    /// Opens a session, finds the key and uses it. Nothing stays open: a token may be taken away and come back.
    fn with_key<T>(
        &self,
        using: impl FnOnce(&Session, ObjectHandle) -> Result<T, Error>,
    ) -> Result<T, String> {
        let told = |error: Error| chain(&error);
        let slots = self.module.get_slots_with_token().map_err(told)?;
        let is_it = |slot: &cryptoki::slot::Slot| {
            let info = self.module.get_token_info(*slot);
            let fits = |wanted: &Option<String>, there: &str| {
                wanted
                    .as_ref()
                    .is_none_or(|wanted| wanted == there.trim_end())
            };
            info.is_ok_and(|info| {
                info.token_initialized()
                    && fits(&self.uri.token, info.label())
                    && fits(&self.uri.serial, info.serial_number())
            })
        };
        let slot = slots.into_iter().find(is_it);
        let slot = slot.ok_or("the token is not there")?;
        let session = self.module.open_ro_session(slot).map_err(told)?;
        if let Some(path) = &self.uri.pin {
            let pin =
                fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let pin = AuthPin::new(pin.trim_end_matches(['\r', '\n']).into());
            match session.login(UserType::User, Some(&pin)) {
                Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
                Err(error) => return Err(format!("{}: {}", path.display(), chain(&error))),
            }
        }
        let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
        template.extend(
            self.uri
                .object
                .iter()
                .map(|label| Attribute::Label(label.clone().into())),
        );
        template.extend(self.uri.id.iter().map(|id| Attribute::Id(id.clone())));
        let found = session.find_objects(&template).map_err(told)?;
        match found.as_slice() {
            [key] => using(&session, *key).map_err(told),
            [] => Err("the token has no such private key".into()),
            _ => Err("the token has several such private keys: say which by id=".into()),
        }
    }
}

impl Signing for TokenKey {
    fn sign(&self, scheme: u16, message: &[u8]) -> Result<Vec<u8>, String> {
        let hashed = |algorithm| ring::digest::digest(algorithm, message).as_ref().to_vec();
        let pss = |hash_alg, mgf, length| PkcsPssParams {
            hash_alg,
            mgf,
            s_len: Ulong::new(length),
        };
        let (mechanism, bytes) = match SignatureScheme::from(scheme) {
            SignatureScheme::ECDSA_NISTP256_SHA256 => {
                (Mechanism::Ecdsa, hashed(&ring::digest::SHA256))
            }
            SignatureScheme::ECDSA_NISTP384_SHA384 => {
                (Mechanism::Ecdsa, hashed(&ring::digest::SHA384))
            }
            SignatureScheme::ED25519 => {
                let params = EddsaParams::new(EddsaSignatureScheme::Ed25519);
                (Mechanism::Eddsa(params), message.to_vec())
            }
            SignatureScheme::RSA_PSS_SHA256 => {
                let params = pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32);
                (Mechanism::Sha256RsaPkcsPss(params), message.to_vec())
            }
            SignatureScheme::RSA_PSS_SHA384 => {
                let params = pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48);
                (Mechanism::Sha384RsaPkcsPss(params), message.to_vec())
            }
            SignatureScheme::RSA_PSS_SHA512 => {
                let params = pss(MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64);
                (Mechanism::Sha512RsaPkcsPss(params), message.to_vec())
            }
            SignatureScheme::RSA_PKCS1_SHA256 => (Mechanism::Sha256RsaPkcs, message.to_vec()),
            other => return Err(format!("a token is not asked to sign as {other:?}")),
        };
        let is_pair = matches!(mechanism, Mechanism::Ecdsa);
        let signature = self.with_key(|session, key| session.sign(&mechanism, key, &bytes))?;
        match is_pair {
            true => pair(&signature).ok_or_else(|| "the token made no ECDSA signature".into()),
            false => Ok(signature),
        }
    }
}

/// ECDSA's two numbers as TLS has them (DER) from how tokens have them: one behind the other, of equal length.
fn pair(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.is_empty() || !raw.len().is_multiple_of(2) || raw.len() > 96 {
        return None;
    }
    let mut both = Vec::new();
    for number in raw.chunks_exact(raw.len() / 2) {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let number = number.get(zeros.min(number.len() - 1)..)?;
        // A first bit that is set would be a minus.
        let sign = usize::from(number.first()? & 0x80 != 0);
        both.extend([0x02, u8::try_from(number.len() + sign).ok()?]);
        both.extend(std::iter::repeat_n(0, sign));
        both.extend(number);
    }
    let mut der = vec![0x30, u8::try_from(both.len()).ok()?];
    der.extend(both);
    Some(der)
}

/// A key that signs where it is.
pub(super) fn open(uri: &str) -> Result<(Vec<SignatureScheme>, Arc<dyn Signing>), String> {
    let key = TokenKey::load(TokenUri::parse(uri)?)?;
    let schemes = key.schemes()?;
    if schemes.is_empty() {
        return Err("the key is none that TLS can use here: RSA, P-256, P-384 or Ed25519".into());
    }
    Ok((schemes, Arc::new(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_short_as_they_can_be_and_never_negative() {
        assert_eq!(
            pair(&[0x80, 0x01, 0x00, 0x7f]).unwrap(),
            [0x30, 0x08, 0x02, 0x03, 0x00, 0x80, 0x01, 0x02, 0x01, 0x7f]
        );
        assert_eq!(pair(&[0, 0]).unwrap(), [0x30, 6, 2, 1, 0, 2, 1, 0]);
        assert_eq!(pair(&[1, 2, 3]), None);
        assert_eq!(pair(&[]), None);
        assert_eq!(pair(&[0xff; 96]).unwrap().len(), 2 + 2 * (2 + 49));
    }
}
