//! A certificate authority for one test run, and the server's certificate under it.

use super::HttpsError;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::sync::Arc;

/// Where the server is reached: by guests (QEMU's user network), by the host.
const NAMES: [&str; 3] = ["10.0.2.2", "127.0.0.1", "localhost"];

pub(super) struct Identity {
    pub(super) ca_pem: String,
    pub(super) tls: ServerConfig,
}

/// A server's certificate and key, and who signed it; all PEM.
pub(crate) struct Issued {
    pub(crate) ca_pem: String,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

/// Makes new keys and certificates for another program than this one.
pub(crate) fn issue() -> Result<Issued, HttpsError> {
    let (ca_pem, certificate, key) = certificates()?;
    Ok(Issued {
        ca_pem,
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    })
}

/// Makes new keys and certificates.
pub(super) fn identity() -> Result<Identity, HttpsError> {
    let (ca_pem, certificate, server_key) = certificates()?;
    // The provider is named, because a process may hold several and then has no default.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(HttpsError::Tls)?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(server_key.serialize_der()).into(),
        )
        .map_err(HttpsError::Tls)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity { ca_pem, tls })
}

/// An authority's certificate, and a server's with its key. They are valid from long ago, since guests have odd clocks.
fn certificates() -> Result<(String, Certificate, KeyPair), HttpsError> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority
        .distinguished_name
        .push(DnType::CommonName, "Switchback tests");
    let authority_key = KeyPair::generate().map_err(HttpsError::Certificate)?;
    let ca_pem = authority
        .self_signed(&authority_key)
        .map_err(HttpsError::Certificate)?
        .pem();
    let issuer = Issuer::new(authority, authority_key);

    // Names that are addresses become address entries.
    let mut server =
        CertificateParams::new(NAMES.map(str::to_owned)).map_err(HttpsError::Certificate)?;
    server
        .distinguished_name
        .push(DnType::CommonName, "Switchback test repository");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server_key = KeyPair::generate().map_err(HttpsError::Certificate)?;
    let certificate = server
        .signed_by(&server_key, &issuer)
        .map_err(HttpsError::Certificate)?;
    Ok((ca_pem, certificate, server_key))
}
