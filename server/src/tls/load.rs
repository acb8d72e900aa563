//! From files to what rustls works with.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::{Certified, Files, TlsError};

/// Longest file in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The bytes of the files.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Bytes {
    certificate: Vec<u8>,
    key: Vec<u8>,
    pub(super) device_ca: Option<Vec<u8>>,
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A key is not for logs.
        f.write_str("Bytes")
    }
}

/// What the files make.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) bytes: Bytes,
    pub(super) config: Arc<ServerConfig>,
    pub(super) ends_at: i64,
}

/// Reads all files.
pub(super) fn read(files: &Files) -> Result<Bytes, TlsError> {
    Ok(Bytes {
        certificate: one(&files.certificate)?,
        key: one(&files.key)?,
        device_ca: files.device_ca.as_deref().map(one).transpose()?,
    })
}

fn one(path: &Path) -> Result<Vec<u8>, TlsError> {
    let cannot = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(TlsError::TooLong {
            path: path.to_owned(),
            limit: MAX_FILE,
        });
    }
    Ok(bytes)
}

fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = || TlsError::Pem {
        path: path.to_owned(),
        what: "certificate",
    };
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let all = all.map_err(|_| none())?;
    if all.is_empty() {
        return Err(none());
    }
    Ok(all)
}

impl Loaded {
    pub(super) fn new(files: &Files, bytes: Bytes) -> Result<Self, TlsError> {
        let provider = Arc::new(default_provider());
        let chain = certificates(&files.certificate, &bytes.certificate)?;
        let ends_at = chain.first().map_or(0, |own| Certified::of(own).ends_at);
        let key = PrivateKeyDer::from_pem_slice(&bytes.key).map_err(|_| TlsError::Pem {
            path: files.key.clone(),
            what: "private key",
        })?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?;
        let builder = match (&files.device_ca, &bytes.device_ca) {
            (Some(path), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path, pem)? {
                    let added = roots.add(certificate);
                    added.map_err(|why| TlsError::Ca(why.to_string()))?;
                }
                // People and devices with tokens come without one.
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .allow_unauthenticated()
                        .build()
                        .map_err(|why| TlsError::Ca(why.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            bytes,
            config: Arc::new(config),
            ends_at,
        })
    }
}
