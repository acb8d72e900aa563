//! A small HTTPS server on loopback that answers as a test says, and notes what it was asked.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use switchbackd::settings::RepositorySettings;

/// A question as it came.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) path: String,
    /// The header's lines.
    pub(crate) head: String,
    /// Which connection it came on.
    pub(crate) connection: usize,
}

impl Question {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The ranges asked for.
    pub(crate) fn ranges(&self) -> Vec<Range<usize>> {
        let Some(header) = self.header("range") else {
            return Vec::new();
        };
        let list = header.strip_prefix("bytes=").unwrap();
        list.split(',')
            .map(|range| {
                let (first, last) = range.split_once('-').unwrap();
                let first = first.parse().unwrap();
                first..last.parse().map_or(usize::MAX, |last: usize| last + 1)
            })
            .collect()
    }
}

/// What to send for a question, in pieces.
pub(crate) type Answer = Vec<Piece>;

pub(crate) enum Piece {
    Bytes(Vec<u8>),
    Pause(Duration),
    /// The connection is closed, in good order.
    Close,
    /// The connection is cut.
    Cut,
}

type Answers = dyn Fn(&Question) -> Answer + Send + Sync;

pub(crate) struct Server {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Question>>>,
    directory: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(answers: impl Fn(&Question) -> Answer + Send + Sync + 'static) -> Self {
        Self::with(Identity::new(&[]), answers)
    }

    /// The same with a certificate, and with what it asks of clients.
    pub(crate) fn with(
        Identity { tls, directory }: Identity,
        answers: impl Fn(&Question) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: Arc<Answers> = Arc::new(answers);
        let notes = Arc::clone(&asked);
        // Ends with the test program.
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (tls, answers) = (Arc::clone(&tls), Arc::clone(&answers));
                let notes = Arc::clone(&notes);
                let stream = stream.unwrap();
                std::thread::spawn(move || {
                    let _ended = serve(stream, number, tls, &*answers, &notes);
                });
            }
        });
        Self {
            port,
            asked,
            directory,
        }
    }

    /// A server of one file, which answers well.
    pub(crate) fn of(file: &[u8], answer: fn(&[u8], &Question) -> Answer) -> Self {
        let file = file.to_vec();
        Self::start(move |question| answer(&file, question))
    }

    pub(crate) fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// How a device is told to use it.
    pub(crate) fn settings(&self) -> RepositorySettings {
        settings(
            &format!("https://localhost:{}/repository", self.port),
            self.ca_file(),
        )
    }
}

pub(crate) fn settings(url: &str, ca_file: PathBuf) -> RepositorySettings {
    RepositorySettings {
        url: url.into(),
        ca_file,
        root_file: PathBuf::new(),
        poll_interval: Duration::from_secs(60),
        stall_timeout: Duration::from_secs(30),
        max_rate: None,
        proxy: None,
        client: None,
    }
}

/// A server of another kind: each connection is a task of its own, until the test program ends. Gives the port.
pub(crate) fn tasks<T: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(tokio::net::TcpStream) -> T + Send + 'static,
) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream));
            }
        });
    });
    port
}

/// A certificate that is its own authority, for `localhost`.
pub(crate) struct Identity {
    pub(crate) tls: Arc<ServerConfig>,
    /// `ca.pem` and `key.pem`.
    pub(crate) directory: tempfile::TempDir,
}

impl Identity {
    pub(crate) fn new(protocols: &[&str]) -> Self {
        Self::asking(protocols, None)
    }

    /// For a server that asks who asks.
    pub(crate) fn asking(protocols: &[&str], clients: Option<Arc<dyn ClientCertVerifier>>) -> Self {
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        std::fs::write(directory.path().join("key.pem"), key.serialize_pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.unwrap_or_else(WebPkiClientVerifier::no_client_auth))
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        tls.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        Self {
            tls: Arc::new(tls),
            directory,
        }
    }
}

fn serve(
    stream: TcpStream,
    connection: usize,
    tls: Arc<ServerConfig>,
    answers: &Answers,
    notes: &Mutex<Vec<Question>>,
) -> std::io::Result<()> {
    let tls = ServerConnection::new(tls).unwrap();
    let mut stream = StreamOwned::new(tls, stream);
    while let Some(head) = head(&mut stream)? {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let question = Question {
            path,
            head,
            connection,
        };
        notes.lock().unwrap().push(question.clone());
        for piece in answers(&question) {
            match piece {
                Piece::Bytes(bytes) => {
                    stream.write_all(&bytes)?;
                    stream.flush()?;
                }
                Piece::Pause(time) => std::thread::sleep(time),
                Piece::Close => {
                    stream.conn.send_close_notify();
                    stream.flush()?;
                    return Ok(());
                }
                Piece::Cut => return Ok(()),
            }
        }
    }
    Ok(())
}

fn head(stream: &mut impl Read) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    Ok(Some(String::from_utf8(head).unwrap()))
}

/// An answer with a length.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Answer {
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    vec![Piece::Bytes(bytes)]
}

/// The whole file, whatever was asked.
pub(crate) fn whole(file: &[u8], _: &Question) -> Answer {
    answer("200 OK", "", file)
}

pub(crate) fn one_range(file: &[u8], range: &Range<usize>) -> Answer {
    if range.start >= file.len() {
        return answer("416 Range Not Satisfiable", "", b"");
    }
    let end = range.end.min(file.len());
    let header = format!(
        "Content-Range: bytes {}-{}/{}\r\n",
        range.start,
        end - 1,
        file.len()
    );
    answer("206 Partial Content", &header, &file[range.start..end])
}

/// One range, or the whole file for several, as S3 has it.
pub(crate) fn single(file: &[u8], question: &Question) -> Answer {
    match question.ranges().as_slice() {
        [range] => one_range(file, range),
        _ => whole(file, question),
    }
}

/// All ranges, as nginx has them.
pub(crate) fn multi(file: &[u8], question: &Question) -> Answer {
    match question.ranges().as_slice() {
        [] | [_] => single(file, question),
        ranges => parts(file, ranges),
    }
}

pub(crate) fn parts(file: &[u8], ranges: &[Range<usize>]) -> Answer {
    let mut body = Vec::new();
    for range in ranges {
        let (start, end) = (range.start, range.end.min(file.len()));
        let head = format!(
            "\r\n--00000000000000000001\r\nContent-Type: application/octet-stream\r\n\
             Content-Range: bytes {start}-{}/{}\r\n\r\n",
            end - 1,
            file.len()
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&file[start..end]);
    }
    body.extend_from_slice(b"\r\n--00000000000000000001--\r\n");
    let header = "Content-Type: multipart/byteranges; boundary=00000000000000000001\r\n";
    answer("206 Partial Content", header, &body)
}
