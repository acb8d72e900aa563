//! Authorities, their certificates, and a server with TLS.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::harness::{Answer, Server, try_request};

/// An authority, and what it signs.
pub(crate) struct Authority(pub(crate) CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    pub(crate) fn server(&self) -> Pair {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        self.sign(&CertificateParams::new(names).unwrap())
    }

    pub(crate) fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params
    }

    pub(crate) fn device(&self, name: &str) -> Pair {
        self.sign(&Self::params(name))
    }
}

/// A server with TLS, and the directory of its files.
pub(crate) struct Secure {
    pub(crate) server: Server,
    pub(crate) web: Authority,
    pub(crate) devices: Authority,
    pub(crate) files: tempfile::TempDir,
}

impl Secure {
    pub(crate) fn start(more: &[&str]) -> Self {
        let (web, devices) = (Authority::new("web"), Authority::new("devices"));
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| files.path().join(name);
        write_pair(files.path(), &web.server());
        std::fs::write(path("devices.pem"), devices.0.pem()).unwrap();
        std::fs::write(path("web.pem"), web.0.pem()).unwrap();
        let text = |name: &str| path(name).to_str().unwrap().to_owned();
        let (certificate, key, ca) = (
            text("certificate.pem"),
            text("key.pem"),
            text("devices.pem"),
        );
        let mut arguments = vec![
            "--tls-certificate",
            &certificate,
            "--tls-key",
            &key,
            "--device-ca",
            &ca,
        ];
        arguments.extend(more);
        let server = Server::with(&arguments);
        assert!(server.base.starts_with("https://"), "{}", server.base);
        Self {
            server,
            web,
            devices,
            files,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    pub(crate) fn host(&self) -> &str {
        self.server.base.strip_prefix("https://").unwrap()
    }

    pub(crate) fn try_poll(&self, device: &str, pair: &Pair) -> Result<Answer, ureq::Error> {
        let url = format!("{}/DEFAULT/controller/v1/{device}", self.server.base);
        try_request(Some(client(&self.web, Some(pair))), "GET", &url, &[], None)
    }

    pub(crate) fn poll(&self, device: &str, pair: &Pair) -> Answer {
        self.try_poll(device, pair).unwrap()
    }

    pub(crate) fn admin(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let url = format!("{}{path}", self.server.base);
        let token = format!("Bearer {}", self.server.admin);
        let headers = [("Authorization", token.as_str())];
        let tls = client(&self.web, None);
        try_request(Some(tls), method, &url, &headers, body).unwrap()
    }
}

pub(crate) fn write_pair(directory: &Path, pair: &Pair) {
    std::fs::write(directory.join("key.pem"), &pair.key).unwrap();
    std::fs::write(directory.join("certificate.pem"), &pair.certificate).unwrap();
}

pub(crate) fn client(trusts: &Authority, pair: Option<&Pair>) -> TlsConfig {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = Certificate::from_der(trusts.0.der()).to_owned();
    let shown = pair.map(|pair| {
        let own = Certificate::from_pem(pair.certificate.as_bytes()).unwrap();
        ClientCert::new_with_certs(&[own], PrivateKey::from_pem(pair.key.as_bytes()).unwrap())
    });
    TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[root]))
        .client_cert(shown)
        .build()
}
