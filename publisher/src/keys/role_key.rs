//! One key: its private half in a file of ours, its public half as metadata lists it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use serde_json::json;
use tough::schema::decoded::{Decoded, Hex};
use tough::schema::key::Key;
use tough::sign::{Sign, parse_keypair};

use super::error::KeyError;
use super::signer::Signer;
use crate::error::{RepoError, io};
use crate::role::Role;
use crate::signing::block_on;

/// Names a key in metadata.
pub(crate) type KeyId = Decoded<Hex>;

/// Before the 32 bytes of an ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const ED25519: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// The object identifiers of elliptic curves' public keys, of P-256, and of RSA in DER.
const EC_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const RSA: [u8; 11] = [
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
];

/// A new private key as the text of a file.
pub(super) fn generate(role: Role) -> Result<Vec<u8>, RepoError> {
    let document = Ed25519KeyPair::generate()
        // Version 1 of PKCS#8, which every other program reads too.
        .and_then(|pair| pair.to_pkcs8v1())
        .map_err(|_| RepoError::KeyGeneration { role })?;
    Ok(pem::encode(&pem::Pem::new("PRIVATE KEY", document.as_ref())).into_bytes())
}

/// A private key of one role.
#[derive(Clone)]
pub struct RoleKey {
    path: PathBuf,
    public: Key,
    id: KeyId,
    private: Private,
}

/// The private half, or who has it.
#[derive(Clone)]
enum Private {
    /// As the signing library reads it.
    Here(Vec<u8>),
    /// A program signs.
    Elsewhere(Signer),
}

impl std::fmt::Debug for RoleKey {
    /// Never shows the private half.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoleKey")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl RoleKey {
    /// Reads a file that says which program signs.
    pub(super) fn read_signer(path: PathBuf) -> Result<Self, RepoError> {
        let signer = Signer::read(&path)?;
        let public = public_key(signer.public())?;
        let id = public
            .key_id()
            .map_err(|_| RepoError::KeyUnusable { path: path.clone() })?;
        Ok(Self {
            path,
            public,
            id,
            private: Private::Elsewhere(signer),
        })
    }

    /// Reads a private key, which nobody else may read.
    pub(super) fn read(path: PathBuf) -> Result<Self, RepoError> {
        let metadata = fs::metadata(&path).map_err(io("read", &path))?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(RepoError::KeyMode { path, mode });
        }
        let text = fs::read(&path).map_err(io("read", &path))?;
        let unusable = || RepoError::KeyUnusable { path: path.clone() };
        let pem = pem::parse(&text).map_err(|_| unusable())?;
        // The signing library reads RSA keys as PEM and all others without it.
        let bytes = match parse_keypair(pem.contents()) {
            Ok(_) => pem.into_contents(),
            Err(_) => text,
        };
        let public = parse_keypair(&bytes).map_err(|_| unusable())?.tuf_key();
        let id = public.key_id().map_err(|_| unusable())?;
        Ok(Self {
            path,
            public,
            id,
            private: Private::Here(bytes),
        })
    }

    /// The public half, as metadata lists it.
    #[must_use]
    pub fn public(&self) -> &Key {
        &self.public
    }

    /// The public half as a file has it.
    pub(super) fn public_pem(&self) -> String {
        match &self.public {
            Key::Ed25519 { keyval, .. } => {
                let mut der = ED25519.to_vec();
                der.extend_from_slice(&keyval.public);
                pem::encode(&pem::Pem::new("PUBLIC KEY", der))
            }
            // Metadata has these so already.
            Key::Ecdsa { keyval, .. } | Key::EcdsaOld { keyval, .. } => encoded(&keyval.public),
            Key::Rsa { keyval, .. } => encoded(&keyval.public),
        }
    }

    /// Its name in metadata.
    pub(crate) fn id(&self) -> &KeyId {
        &self.id
    }

    /// The file that it came from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// That what it signed does not verify by its public half.
    pub(crate) fn not_by_it(&self) -> RepoError {
        match &self.private {
            Private::Elsewhere(signer) => {
                let public = signer.public().display();
                signer.failed(format!(
                    "what it gave is no signature by the key in {public}"
                ))
            }
            Private::Here(_) => RepoError::KeyUnusable {
                path: self.path.clone(),
            },
        }
    }

    /// Signs.
    ///
    /// # Errors
    /// [`KeyError::Signer`] if a program was to sign and did not; [`RepoError::Signing`].
    pub(crate) fn sign(&self, role: Role, message: &[u8]) -> Result<Vec<u8>, RepoError> {
        let bytes = match &self.private {
            Private::Elsewhere(signer) => return signer.sign(message),
            Private::Here(bytes) => bytes,
        };
        let unusable = |_| RepoError::KeyUnusable {
            path: self.path.clone(),
        };
        let pair = parse_keypair(bytes).map_err(unusable)?;
        let random = SystemRandom::new();
        block_on(pair.sign(message, &random))?.map_err(|source| RepoError::Signing { role, source })
    }
}

fn encoded(public: &impl serde::Serialize) -> String {
    let text = serde_json::to_value(public).unwrap_or_default();
    text.as_str().unwrap_or_default().to_owned()
}

/// The public half of a key from a file with either half of it.
///
/// # Errors
/// [`KeyError::PublicKeyUnusable`], [`RepoError::Io`]; for a private key as [`Keys::load`](super::Keys::load).
pub(crate) fn public_key(path: &Path) -> Result<Key, RepoError> {
    let text = fs::read(path).map_err(io("read", path))?;
    let unusable = || RepoError::from(KeyError::PublicKeyUnusable { path: path.into() });
    let pem = pem::parse(&text).map_err(|_| unusable())?;
    if pem.tag() != "PUBLIC KEY" {
        return Ok(RoleKey::read(path.into())?.public);
    }
    let holds = |part: &[u8]| {
        pem.contents()
            .windows(part.len())
            .any(|window| window == part)
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let (kind, scheme, public) = match pem.contents().strip_prefix(&ED25519) {
        Some(raw) if raw.len() == 32 => ("ed25519", "ed25519", hex::encode(raw)),
        _ if holds(&EC_KEY) && holds(&P256) => ("ecdsa", "ecdsa-sha2-nistp256", text),
        _ if holds(&RSA) => ("rsa", "rsassa-pss-sha256", text),
        _ => return Err(unusable()),
    };
    let key = json!({"keytype": kind, "scheme": scheme, "keyval": {"public": public}});
    let mut key: Key = serde_json::from_value(key).map_err(|_| unusable())?;
    // Written as the signing library writes it for the private half: the id is a digest of this text.
    match &mut key {
        Key::Ed25519 { .. } => {}
        Key::Ecdsa { keyval, .. } | Key::EcdsaOld { keyval, .. } => {
            keyval.public = keyval.public.to_vec().into();
        }
        Key::Rsa { keyval, .. } => keyval.public = keyval.public.to_vec().into(),
    }
    Ok(key)
}
