//! Whom the server is checked against, and what it is shown of this device.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::identity::{Identity, IdentityError};
use crate::settings::RepositorySettings;

/// Why no connection can be made at all.
#[derive(Debug, thiserror::Error)]
pub enum HttpSetupError {
    /// The certificates cannot be read.
    #[error("{}: cannot be read; set `repository.ca-file` to a PEM file with certificates", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds no certificate.
    #[error("{}: holds no PEM certificate; set `repository.ca-file` to one that does", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The key, or the certificate for it, cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The system gives no way to wait for connections.
    #[error("connections cannot be waited for")]
    System(#[source] io::Error),
    /// The library for encryption refuses its own defaults.
    #[error("encryption is not possible")]
    Encryption(#[source] rustls::Error),
}

/// Whom servers are checked against, and what the repository is shown of this device.
#[derive(Debug, Clone)]
pub struct Credentials {
    authorities: Arc<RootCertStore>,
    pub(super) identity: Option<CertifiedKey>,
}

impl Credentials {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// Names the one that cannot be used.
    pub fn read(settings: &RepositorySettings) -> Result<Self, HttpSetupError> {
        let path = &settings.ca_file;
        let pem = std::fs::read(path).map_err(|source| HttpSetupError::Read {
            path: path.clone(),
            source,
        })?;
        let identity = match &settings.client {
            Some(client) => Some(Identity::load(client)?.certified(&client.certificate)?),
            None => None,
        };
        Self::new(path, &pem, identity)
    }

    /// The same with certificates that were read from `path` already, and a key that is wherever it is.
    ///
    /// # Errors
    /// There is no certificate.
    pub fn new(
        path: &Path,
        pem: &[u8],
        identity: Option<CertifiedKey>,
    ) -> Result<Self, HttpSetupError> {
        let mut authorities = RootCertStore::empty();
        // One that this library does not know, of an odd kind, is no reason to refuse the others.
        authorities.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
        if authorities.is_empty() {
            return Err(HttpSetupError::NoCertificate { path: path.into() });
        }
        Ok(Self {
            authorities: Arc::new(authorities),
            identity,
        })
    }

    /// For addresses without encryption: no server is believed.
    #[must_use]
    pub fn none() -> Self {
        Self {
            authorities: Arc::new(RootCertStore::empty()),
            identity: None,
        }
    }

    /// Connections that show nothing of this device.
    pub(super) fn anonymous(&self) -> Result<ClientConfig, HttpSetupError> {
        Ok(speaking(self.builder()?.with_no_client_auth()))
    }

    /// Connections that show the device's certificate to a server that asks for one.
    pub(super) fn identified(
        &self,
        identity: CertifiedKey,
    ) -> Result<ClientConfig, HttpSetupError> {
        let shown = Arc::new(SingleCertAndKey::from(identity));
        Ok(speaking(self.builder()?.with_client_cert_resolver(shown)))
    }

    fn builder(&self) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, HttpSetupError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(HttpSetupError::Encryption)?
            .with_root_certificates(Arc::clone(&self.authorities)))
    }
}

/// HTTP/2, else HTTP/1.1.
fn speaking(mut tls: ClientConfig) -> ClientConfig {
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_without_certificates_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Credentials::new(file.path(), b"nothing", None).unwrap_err();
        assert!(
            error.to_string().contains("holds no PEM certificate"),
            "{error}"
        );
    }
}
