//! Whom the server is checked against, and what it is shown of this device.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::report::chain;
use crate::settings::ClientIdentity;

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
    #[error("{}: {detail}; set `repository.client-certificate` and `repository.client-key` to PEM files that belong together", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// The system gives no way to wait for connections.
    #[error("connections cannot be waited for")]
    System(#[source] io::Error),
    /// The library for encryption refuses its own defaults.
    #[error("encryption is not possible")]
    Encryption(#[source] rustls::Error),
}

/// Connections that show nothing of this device.
pub(super) fn anonymous(ca_file: &Path) -> Result<ClientConfig, HttpSetupError> {
    Ok(speaking(builder(ca_file)?.with_no_client_auth()))
}

/// Connections that show the device's certificate to a server that asks for one.
pub(super) fn identified(
    ca_file: &Path,
    identity: &ClientIdentity,
) -> Result<ClientConfig, HttpSetupError> {
    let fail = |path: &Path, detail: String| HttpSetupError::Identity {
        path: path.into(),
        detail,
    };
    let (certificate, key) = (&identity.certificate, &identity.key);
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| fail(certificate, chain(&error)));
    let certificates = certificates?;
    if certificates.is_empty() {
        return Err(fail(certificate, "holds no PEM certificate".into()));
    }
    let metadata = std::fs::metadata(key).map_err(|error| fail(key, chain(&error)))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        let detail = format!("everyone may read the private key (mode {mode:04o})");
        return Err(fail(key, detail));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| fail(key, chain(&error)))?;
    let tls = builder(ca_file)?.with_client_auth_cert(certificates, private);
    Ok(speaking(tls.map_err(|error| fail(key, chain(&error)))?))
}

fn builder(ca_file: &Path) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, HttpSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(HttpSetupError::Encryption)?
        .with_root_certificates(certificates(ca_file)?))
}

/// HTTP/2, else HTTP/1.1.
fn speaking(mut tls: ClientConfig) -> ClientConfig {
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls
}

fn certificates(path: &Path) -> Result<RootCertStore, HttpSetupError> {
    let pem = std::fs::read(path).map_err(|source| HttpSetupError::Read {
        path: path.into(),
        source,
    })?;
    let mut store = RootCertStore::empty();
    // One that this library does not know, of an odd kind, is no reason to refuse the others.
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    if store.is_empty() {
        return Err(HttpSetupError::NoCertificate { path: path.into() });
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_without_certificates_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = certificates(file.path()).unwrap_err();
        assert!(
            error.to_string().contains("holds no PEM certificate"),
            "{error}"
        );
    }
}
