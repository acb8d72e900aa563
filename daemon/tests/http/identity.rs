//! A repository that wants to know who asks.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use switchbackd::fetch::{Credentials, Files, HttpSource, open_url};
use switchbackd::settings::ClientIdentity;

use super::server::{self, Answer, Identity, Question, Server};

/// An authority for devices, and what it gave one of them.
pub(super) struct Devices {
    authority: CertifiedIssuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

impl Devices {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap());
        let devices = Self {
            authority: authority.unwrap(),
            directory: tempfile::tempdir().unwrap(),
        };
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["device-1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &devices.authority).unwrap();
        std::fs::write(devices.path("device.pem"), certificate.pem()).unwrap();
        devices.write_key(&key.serialize_pem(), 0o600);
        devices
    }

    pub(super) fn authority(&self) -> &CertifiedIssuer<'static, KeyPair> {
        &self.authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_key(&self, text: &str, mode: u32) {
        let path = self.path("device.key");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn identity(&self) -> ClientIdentity {
        ClientIdentity {
            certificate: self.path("device.pem"),
            key: self.path("device.key"),
        }
    }

    /// A server that speaks to these devices only, or also to those that show nothing.
    pub(super) fn server(
        &self,
        all: bool,
        answers: impl Fn(&Question) -> Answer + Send + Sync + 'static,
    ) -> Server {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = if all {
            verifier.allow_unauthenticated()
        } else {
            verifier
        };
        Server::with(
            Identity::asking(&[], Some(verifier.build().unwrap())),
            answers,
        )
    }
}

pub(super) fn hello(question: &Question) -> Answer {
    server::whole(b"hello", question)
}

#[test]
fn a_server_is_shown_the_certificate_that_it_asks_for() {
    let devices = Devices::new();
    let server = devices.server(false, hello);
    let mut settings = server.settings();
    let stranger = HttpSource::new(&settings).unwrap();
    assert!(stranger.file("x", 5).is_err());
    settings.client = Some(devices.identity());
    let source = HttpSource::new(&settings).unwrap();
    assert_eq!(source.file("x", 5).unwrap(), b"hello");
    // A bundle's address is somebody's word, even if it leads there.
    let url = format!("{}/x.bundle", settings.url);
    assert!(open_url(&settings, &Credentials::read(&settings).unwrap(), &url).is_err());
}

#[test]
fn another_host_is_not_shown_it() {
    let devices = Devices::new();
    // Two names of one host: the server that is pointed to is another one to the client.
    let pointed_to = devices.server(false, hello);
    let port = pointed_to.port;
    let server = devices.server(true, move |question| {
        if question.path.ends_with("here") {
            return hello(question);
        }
        let location = format!("Location: https://127.0.0.1:{port}/elsewhere\r\n");
        server::answer("302 Found", &location, b"")
    });
    let both = tempfile::NamedTempFile::new().unwrap();
    let mut text = std::fs::read_to_string(server.ca_file()).unwrap();
    text += &std::fs::read_to_string(pointed_to.ca_file()).unwrap();
    std::fs::write(both.path(), text).unwrap();
    let mut settings = server.settings();
    settings.ca_file = both.path().into();
    settings.client = Some(devices.identity());
    let source = HttpSource::new(&settings).unwrap();
    assert_eq!(source.file("here", 5).unwrap(), b"hello");
    assert!(source.file("moved", 5).is_err());
    assert_eq!(pointed_to.asked().len(), 0);
}

#[test]
fn a_key_that_cannot_be_used_is_named() {
    let devices = Devices::new();
    let server = devices.server(false, hello);
    let mut settings = server.settings();
    settings.client = Some(devices.identity());
    let said = |settings| HttpSource::new(settings).unwrap_err().to_string();
    let named = |error: String, path: &Path, part: &str| {
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert!(error.contains(part), "{error}");
        assert!(error.contains("`repository.client-key`"), "{error}");
    };
    let (certificate, key) = (devices.path("device.pem"), devices.path("device.key"));
    let good = std::fs::read_to_string(&key).unwrap();
    devices.write_key(&good, 0o644);
    named(said(&settings), &key, "everyone may read");
    // That of another certificate.
    devices.write_key(&KeyPair::generate().unwrap().serialize_pem(), 0o600);
    named(said(&settings), &key, "");
    devices.write_key("nothing", 0o600);
    named(said(&settings), &key, "");
    std::fs::remove_file(&key).unwrap();
    named(said(&settings), &key, "No such file");
    std::fs::write(&certificate, "nothing").unwrap();
    named(said(&settings), &certificate, "no PEM certificate");
}
