//! Kinds of proxies, and who is not asked through one.

use std::process::Command;
use std::sync::{Arc, Mutex};

use switchbackd::fetch::{Credentials, Files, HttpSource, open_url};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::server::{Identity, Server, tasks, whole};

/// A proxy that opens tunnels and answers questions itself with `hello`; the first lines of all that it was asked.
struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    /// What it shows when it is spoken to by TLS.
    identity: Option<tempfile::TempDir>,
}

impl Proxy {
    fn start(encrypted: bool) -> Self {
        let identity = encrypted.then(|| Identity::new(&[]));
        let acceptor = identity
            .as_ref()
            .map(|identity| tokio_rustls::TlsAcceptor::from(Arc::clone(&identity.tls)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        let port = tasks(move |stream| {
            let (acceptor, notes) = (acceptor.clone(), Arc::clone(&notes));
            async move {
                match acceptor {
                    Some(acceptor) => {
                        serve(acceptor.accept(stream).await.unwrap(), &notes).await;
                    }
                    None => serve(stream, &notes).await,
                }
            }
        });
        Self {
            port,
            asked,
            identity: identity.map(|identity| identity.directory),
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(mut client: impl AsyncRead + AsyncWrite + Unpin, notes: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let line = head.lines().next().unwrap().to_owned();
    let target = line.strip_prefix("CONNECT ").map(ToOwned::to_owned);
    notes.lock().unwrap().push(line);
    let Some(target) = target else {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        client.write_all(answer).await.unwrap();
        return;
    };
    let target = target.split(' ').next().unwrap();
    let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

#[test]
fn a_proxy_may_be_spoken_to_by_tls() {
    let (proxy, server) = (Proxy::start(true), Server::of(b"hello", whole));
    let mut settings = server.settings();
    settings.proxy = Some(format!("https://localhost:{}", proxy.port));
    // Its certificate is checked against the same authorities as the repository's.
    let stranger = HttpSource::new(&settings)
        .unwrap()
        .file("x", 5)
        .unwrap_err();
    let expected = format!("the proxy localhost:{}: ", proxy.port);
    assert!(stranger.to_string().contains(&expected), "{stranger}");
    assert_eq!(server.asked().len(), 0);

    let both = tempfile::NamedTempFile::new().unwrap();
    let of_proxy = proxy.identity.as_ref().unwrap().path().join("ca.pem");
    let mut certificates = std::fs::read_to_string(of_proxy).unwrap();
    certificates += &std::fs::read_to_string(server.ca_file()).unwrap();
    std::fs::write(both.path(), certificates).unwrap();
    settings.ca_file = both.path().into();
    let source = HttpSource::new(&settings).unwrap();
    assert_eq!(source.file("x", 5).unwrap(), b"hello");
    let tunnel = format!("CONNECT localhost:{} HTTP/1.1", server.port);
    assert_eq!(proxy.asked(), [tunnel]);
}

#[test]
fn a_plain_address_is_asked_for_from_the_proxy_itself() {
    let (proxy, server) = (Proxy::start(false), Server::of(b"", whole));
    let mut settings = server.settings();
    settings.proxy = Some(format!("http://localhost:{}", proxy.port));
    let mut bytes = Vec::new();
    let mut stream = open_url(
        &settings,
        &Credentials::read(&settings).unwrap(),
        "http://updates.invalid/x.bundle?y=1",
    )
    .unwrap();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"hello");
    let question = "GET http://updates.invalid/x.bundle?y=1 HTTP/1.1";
    assert_eq!(proxy.asked(), [question]);
}

/// The environment belongs to the whole process: this is played in one of its own.
#[test]
fn the_environment_names_a_proxy_and_who_is_asked_without_it() {
    let server = Server::of(b"hello", whole);
    for (no_proxy, through) in [
        ("", 1),
        ("localhost", 0),
        ("example.org, .localhost, localhost", 0),
        ("*", 0),
        ("example.org", 1),
    ] {
        let proxy = Proxy::start(false);
        let played = Command::new(std::env::current_exe().unwrap())
            .args(["proxies::in_this_environment", "--exact", "--ignored"])
            .env("HTTPS_PROXY", format!("http://localhost:{}", proxy.port))
            .env("NO_PROXY", no_proxy)
            .env("SWITCHBACK_TEST_PORT", server.port.to_string())
            .env("SWITCHBACK_TEST_CA", server.ca_file())
            .output()
            .unwrap();
        assert!(played.status.success(), "{played:?}");
        let output = String::from_utf8_lossy(&played.stdout);
        assert!(output.contains("1 passed"), "{output}");
        assert_eq!(proxy.asked().len(), through, "NO_PROXY={no_proxy}");
    }
    assert_eq!(server.asked().len(), 5);
}

#[test]
#[ignore = "a part of the test above"]
fn in_this_environment() {
    let port = std::env::var("SWITCHBACK_TEST_PORT").unwrap();
    let ca = std::env::var_os("SWITCHBACK_TEST_CA").unwrap();
    let url = format!("https://localhost:{port}/repository");
    let settings = super::server::settings(&url, ca.into());
    let source = HttpSource::new(&settings).unwrap();
    assert_eq!(source.file("x", 5).unwrap(), b"hello");
}
