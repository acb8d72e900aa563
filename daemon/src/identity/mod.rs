//! Who this device is to a server that asks: a certificate, and a key that never leaves the daemon.
//!
//! The process that talks to the network has the certificate and may have a signature made; it has no key to lose.

#[cfg(feature = "pkcs11")]
mod token;
#[cfg(feature = "pkcs11")]
mod uri;

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::report::chain;
use crate::settings::ClientIdentity;

/// What TLS 1.2 and 1.3 may be signed with here, the best first.
const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
];

/// The key, or the certificate for it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {detail}; set `repository.client-certificate` and `repository.client-key` to a certificate and the key for it", path.display())]
pub struct IdentityError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub detail: String,
}

/// Where it is: `credential:NAME` is what systemd hands over by that name (`LoadCredential=`,
/// `SetCredentialEncrypted=`).
pub(crate) fn place(path: &Path) -> Result<PathBuf, String> {
    let text = path.to_string_lossy();
    let Some(name) = text.strip_prefix("credential:") else {
        return Ok(path.to_owned());
    };
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err("a credential has a plain name".into());
    }
    match std::env::var_os("CREDENTIALS_DIRECTORY") {
        Some(directory) => Ok(Path::new(&directory).join(name)),
        None => Err(format!(
            "systemd handed no credential over: add `LoadCredential={name}` to switchbackd.service"
        )),
    }
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Identity {
    certificates: String,
    key: Arc<dyn SigningKey>,
}

impl Identity {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn load(settings: &ClientIdentity) -> Result<Self, IdentityError> {
        let fail = |path: &Path, detail: String| IdentityError {
            path: path.into(),
            detail,
        };
        let place = |path: &PathBuf| place(path).map_err(|detail| fail(path, detail));
        let (certificate, key) = (&place(&settings.certificate)?, &place(&settings.key)?);
        let certificates = std::fs::read_to_string(certificate)
            .map_err(|error| fail(certificate, chain(&error)))?;
        let shown = certified(&certificates).map_err(|detail| fail(certificate, detail))?;
        let address = key.to_string_lossy();
        let signing = match address.starts_with("pkcs11:") {
            true => in_token(&address).map_err(|detail| fail(key, detail))?,
            false => in_file(key).map_err(|detail| fail(key, detail))?,
        };
        CertifiedKey::new(shown, Arc::clone(&signing))
            .keys_match()
            .or_else(|error| match error {
                // What a token holds is not shown; the server finds out.
                rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown) => Ok(()),
                error => Err(fail(key, chain(&error))),
            })?;
        Ok(Self {
            certificates,
            key: signing,
        })
    }

    /// The certificate and those that lead to an authority (PEM).
    #[must_use]
    pub fn certificates(&self) -> &str {
        &self.certificates
    }

    /// How the key can sign: numbers of TLS's `SignatureScheme`.
    #[must_use]
    pub fn schemes(&self) -> Vec<u16> {
        let can = |scheme: &SignatureScheme| self.key.choose_scheme(&[*scheme]).is_some();
        SCHEMES.into_iter().filter(can).map(u16::from).collect()
    }

    /// Signs `message`, as TLS wants it signed.
    ///
    /// # Errors
    /// Says why not.
    pub fn sign(&self, scheme: u16, message: &[u8]) -> Result<Vec<u8>, String> {
        let scheme = SignatureScheme::from(scheme);
        let signer = self.key.choose_scheme(&[scheme]);
        let signer = signer.ok_or_else(|| format!("the client key cannot sign as {scheme:?}"))?;
        signer.sign(message).map_err(|error| chain(&error))
    }

    /// Both, for connections of this process; `path` is where the certificate was.
    ///
    /// # Errors
    /// The certificate is none.
    pub fn certified(&self, path: &Path) -> Result<CertifiedKey, IdentityError> {
        let shown = certified(&self.certificates).map_err(|detail| IdentityError {
            path: path.into(),
            detail,
        })?;
        Ok(CertifiedKey::new(shown, Arc::clone(&self.key)))
    }
}

fn in_file(path: &Path) -> Result<Arc<dyn SigningKey>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| chain(&error))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(format!(
            "everyone may read the private key (mode {mode:04o})"
        ));
    }
    let private = PrivateKeyDer::from_pem_file(path).map_err(|error| chain(&error))?;
    rustls::crypto::ring::sign::any_supported_type(&private).map_err(|error| chain(&error))
}

#[cfg(feature = "pkcs11")]
fn in_token(address: &str) -> Result<Arc<dyn SigningKey>, String> {
    let (schemes, signing) = token::open(address)?;
    Ok(Arc::new(RemoteKey { schemes, signing }))
}

#[cfg(not(feature = "pkcs11"))]
fn in_token(_: &str) -> Result<Arc<dyn SigningKey>, String> {
    Err("this daemon was built without the feature `pkcs11`".into())
}

fn certified(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let read = read.map_err(|error| chain(&error))?;
    match read.is_empty() {
        true => Err("holds no PEM certificate".into()),
        false => Ok(read),
    }
}

/// Signs somewhere else.
pub trait Signing: fmt::Debug + Send + Sync {
    /// As [`Identity::sign`].
    ///
    /// # Errors
    /// Says why not.
    fn sign(&self, scheme: u16, message: &[u8]) -> Result<Vec<u8>, String>;
}

/// A key that is somewhere else.
#[derive(Debug, Clone)]
pub struct RemoteKey {
    schemes: Vec<SignatureScheme>,
    signing: Arc<dyn Signing>,
}

impl RemoteKey {
    /// A certificate and the key for it, which can sign in these ways.
    ///
    /// # Errors
    /// The certificate is none, or the key can do nothing.
    pub fn certified(
        certificates: &str,
        schemes: &[u16],
        signing: Arc<dyn Signing>,
    ) -> Result<CertifiedKey, String> {
        let schemes: Vec<_> = schemes.iter().copied().map(SignatureScheme::from).collect();
        if schemes.is_empty() {
            return Err("the client key cannot sign".into());
        }
        let key = Self { schemes, signing };
        Ok(CertifiedKey::new(certified(certificates)?, Arc::new(key)))
    }
}

impl SigningKey for RemoteKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let mut schemes = self.schemes.iter();
        let scheme = *schemes.find(|scheme| offered.contains(scheme))?;
        let signing = Arc::clone(&self.signing);
        Some(Box::new(RemoteSigner { scheme, signing }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        let first = self.schemes.first().copied();
        match first.unwrap_or(SignatureScheme::ED25519) {
            SignatureScheme::ED25519 => SignatureAlgorithm::ED25519,
            SignatureScheme::ECDSA_NISTP256_SHA256 | SignatureScheme::ECDSA_NISTP384_SHA384 => {
                SignatureAlgorithm::ECDSA
            }
            _ => SignatureAlgorithm::RSA,
        }
    }
}

#[derive(Debug)]
struct RemoteSigner {
    scheme: SignatureScheme,
    signing: Arc<dyn Signing>,
}

impl Signer for RemoteSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signed = self.signing.sign(u16::from(self.scheme), message);
        signed.map_err(rustls::Error::General)
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
