//! TLS: a certificate that is read again when it changes, and devices that prove who they are by
//! theirs.
//!
//! The files are looked at every few seconds and at SIGHUP. What cannot be used, such as a new
//! certificate whose key is not there yet, is said once, and what worked before stays.

mod identity;
mod load;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use identity::{Certified, NoDevice, is_device_name};
use load::Loaded;

use crate::report::chain;

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(5);
/// A client has this long for its handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// What comes first in a TLS connection: a record of a handshake.
const HANDSHAKE_RECORD: u8 = 0x16;
/// For who speaks HTTP to a port of HTTPS.
const SPEAK_TLS: &str = "this port speaks HTTPS: the address begins with https://\n";

/// The files that TLS is made of.
#[derive(Debug, Clone)]
pub struct Files {
    /// The server's certificates, its own first; PEM.
    pub certificate: PathBuf,
    /// Its key; PEM.
    pub key: PathBuf,
    /// Whose signature makes a certificate a device's; PEM.
    pub device_ca: Option<PathBuf>,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is too long to be what it should.
    #[error("{} has more than {limit} bytes", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
        /// Most allowed.
        limit: u64,
    },
    /// A file holds something else.
    #[error("{} holds no {what} in PEM form", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The certificate or its key is of no use.
    #[error("certificate and key: {0}")]
    Pair(rustls::Error),
    /// The certificates of the CA are of no use.
    #[error("device CA: {0}")]
    Ca(String),
}

/// TLS as it is now.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    current: RwLock<Arc<Loaded>>,
    /// Counts how often whom to trust has changed.
    trust: watch::Sender<u64>,
}

/// A connection whose client shook hands.
#[derive(Debug)]
pub struct Secured {
    /// What is said over it.
    pub stream: TlsStream<TcpStream>,
    /// The device at the other end, when it showed a certificate.
    pub device: Option<Arc<Certified>>,
    /// Whether HTTP/2 was agreed on.
    pub is_http2: bool,
    /// Tells when whom to trust has changed since.
    pub trust: watch::Receiver<u64>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum NoHandshake {
    /// The client took too long.
    #[error("no handshake within {} s", HANDSHAKE_TIME.as_secs())]
    Slow,
    /// It speaks no TLS.
    #[error("it does not speak TLS")]
    Plain,
    /// One side refused; the other was told why.
    #[error(transparent)]
    Refused(#[from] io::Error),
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn open(files: Files) -> Result<Arc<Self>, TlsError> {
        let loaded = Loaded::new(&files, load::read(&files)?)?;
        Ok(Arc::new(Self {
            files,
            current: RwLock::new(Arc::new(loaded)),
            trust: watch::Sender::new(0),
        }))
    }

    fn current(&self) -> Arc<Loaded> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the server's certificate ends, in seconds since 1970.
    #[must_use]
    pub fn ends_at(&self) -> i64 {
        self.current().ends_at
    }

    /// Reads the files again if they changed. Returns whether they did.
    ///
    /// # Errors
    /// Names the file that cannot be used; what worked before stays.
    pub fn look_again(&self) -> Result<bool, TlsError> {
        let bytes = load::read(&self.files)?;
        let before = self.current();
        if before.bytes == bytes {
            return Ok(false);
        }
        let loaded = Arc::new(Loaded::new(&self.files, bytes)?);
        let trusts_others = before.bytes.device_ca != loaded.bytes.device_ca;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        if trusts_others {
            self.trust.send_modify(|count| *count += 1);
        }
        Ok(true)
    }

    /// Looks at the files every few seconds, and at SIGHUP, until the process ends.
    pub async fn follow(self: Arc<Self>) {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut said = String::new();
        loop {
            let asked = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await.is_some(),
                    None => std::future::pending().await,
                }
            };
            let by_hand = tokio::select! {
                asked = asked => asked,
                () = tokio::time::sleep(LOOK) => false,
            };
            let this = self.clone();
            let looked = tokio::task::spawn_blocking(move || this.look_again()).await;
            let words = match looked {
                Ok(Ok(false)) if by_hand => "TLS: the files have not changed".into(),
                Ok(Ok(false)) => {
                    said.clear();
                    continue;
                }
                Ok(Ok(true)) => "TLS: certificate and key were read again".into(),
                Ok(Err(why)) => format!("TLS: what was read before stays: {}", chain(&why)),
                Err(_) => continue,
            };
            // The same fault every five seconds is said once.
            if by_hand || words != said {
                tracing::warn!("{words}");
                said = words;
            }
        }
    }

    /// Shakes hands, within a time. Who speaks plain HTTP is told so.
    ///
    /// # Errors
    /// There is no connection then.
    pub async fn accept(&self, stream: TcpStream) -> Result<Secured, NoHandshake> {
        match tokio::time::timeout(HANDSHAKE_TIME, self.shake(stream)).await {
            Ok(result) => result,
            Err(_) => Err(NoHandshake::Slow),
        }
    }

    async fn shake(&self, mut stream: TcpStream) -> Result<Secured, NoHandshake> {
        let mut first = [0_u8; 1];
        if stream.peek(&mut first).await? == 1 && first != [HANDSHAKE_RECORD] {
            let _ = stream.write_all(speak_tls().as_bytes()).await;
            let _ = stream.shutdown().await;
            drain(&mut stream).await;
            return Err(NoHandshake::Plain);
        }
        let trust = self.trust.subscribe();
        let config: Arc<ServerConfig> = self.current().config.clone();
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        Ok(Secured {
            device: certificate.map(|der| Arc::new(Certified::of(der))),
            is_http2: session.alpn_protocol() == Some(b"h2"),
            trust,
            stream,
        })
    }
}

fn speak_tls() -> String {
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{SPEAK_TLS}",
        SPEAK_TLS.len()
    )
}

/// Reads what a client still sends: closing before that would take the answer away from it.
async fn drain(stream: &mut TcpStream) {
    use tokio::io::AsyncReadExt as _;
    let mut bytes = [0_u8; 4096];
    for _ in 0..16 {
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
