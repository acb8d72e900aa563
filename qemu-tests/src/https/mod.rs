//! The repository's web server, for tests: real HTTPS on loopback, with faults on demand.
//!
//! Static files over HTTP/1.1 with ranges and entity tags, as any web server or CDN gives them, with
//! a certificate authority of its own. A guest on QEMU's user network finds it at 10.0.2.2.
//!
//! ```no_run
//! # use qemu_tests::https::{Fault, HttpsServer};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = HttpsServer::start("repository".as_ref())?;
//! std::fs::write("image/etc/switchback/ca.pem", server.ca_pem())?;
//! server.set_fault(Fault::Truncate { path_contains: "content/".into(), after_bytes: 100_000 })?;
//! // … the device fetches from server.guest_url() …
//! server.clear_faults()?;
//! println!("{} bytes of content", server.stats()["content"].bytes);
//! # Ok(()) }
//! ```

mod body;
mod certificate;
mod fault;
mod listener;
mod respond;

#[cfg(test)]
mod tests;

pub(crate) use certificate::issue;
pub use fault::Fault;
use fault::Faults;
use listener::{Command, Listener};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedSender;

/// How long the server's own threads may take to open or close the listener.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the server could not start, or not open again.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// What is to be served is not a directory.
    #[error("{} is not a directory that can be served", .0.display())]
    Directory(PathBuf),
    /// No port, or the old one was taken while the server was unreachable.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port; 0 when any would have done.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The certificates could not be made.
    #[error("cannot make the server's certificates")]
    Certificate(#[source] rcgen::Error),
    /// The certificates were made and TLS does not take them.
    #[error("cannot use the server's certificates")]
    Tls(#[source] rustls::Error),
    /// The server's threads did not start.
    #[error("cannot start the server's threads")]
    Threads(#[source] io::Error),
    /// The server's threads did not answer in time.
    #[error("the server's threads gave no answer within {} seconds", PATIENCE.as_secs())]
    Stuck,
}

/// One request that was answered, or begun to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRequest {
    /// `GET` or `HEAD`, or what was refused.
    pub method: String,
    /// The path as it was asked for.
    pub path: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The status of the answer.
    pub status: u16,
}

/// What was asked for below one directory of the root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// Requests, whatever the answer.
    pub requests: u64,
    /// Bytes of content that went out, without headers and TLS.
    pub bytes: u64,
}

/// What the connections share with the handle.
struct Shared {
    state: Mutex<State>,
}

struct State {
    root: PathBuf,
    faults: Faults,
    stats: BTreeMap<String, ClassStats>,
    log: Vec<LoggedRequest>,
}

impl Shared {
    /// The state, also after a connection died while holding it: every field stays meaningful.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running HTTPS server; dropping it stops it.
pub struct HttpsServer {
    port: u16,
    ca_pem: String,
    shared: Arc<Shared>,
    commands: UnboundedSender<Command>,
    runtime: Option<Runtime>,
}

impl std::fmt::Debug for HttpsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpsServer")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl HttpsServer {
    /// Serves `root` on a free port of 127.0.0.1 with a new certificate authority.
    ///
    /// # Errors
    /// When `root` is no directory, or the port, the certificates or the threads cannot be had.
    pub fn start(root: &Path) -> Result<Self, HttpsError> {
        let root = directory(root)?;
        let listen_error = |source| HttpsError::Listen { port: 0, source };
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(listen_error)?;
        socket.set_nonblocking(true).map_err(listen_error)?;
        let port = socket.local_addr().map_err(listen_error)?.port();
        let certificate::Identity { ca_pem, tls } = certificate::identity()?;

        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                root,
                faults: Faults::default(),
                stats: BTreeMap::new(),
                log: Vec::new(),
            }),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("https")
            .enable_io()
            .enable_time()
            .build()
            .map_err(HttpsError::Threads)?;
        let (commands, inbox) = tokio::sync::mpsc::unbounded_channel();
        let listener = Listener::new(port, Arc::new(tls), Arc::clone(&shared));
        runtime.spawn(listener.run(socket, inbox));
        Ok(Self {
            port,
            ca_pem,
            shared,
            commands,
            runtime: Some(runtime),
        })
    }

    /// The port on 127.0.0.1, the same for the server's whole life.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate authority to be trusted, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The server as the host sees it, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The server as a guest on QEMU's user network sees it, without a slash at the end.
    #[must_use]
    pub fn guest_url(&self) -> String {
        format!("https://10.0.2.2:{}", self.port)
    }

    /// Serves another directory from the next request on. Answers under way go on from the old one.
    ///
    /// # Errors
    /// When `root` is no directory.
    pub fn serve(&self, root: &Path) -> Result<(), HttpsError> {
        self.shared.state().root = directory(root)?;
        Ok(())
    }

    /// Adds a fault; one of the same kind is replaced. Answers under way go on as they began, except
    /// that [`Fault::Unreachable`] breaks every connection. In force when this returns.
    ///
    /// # Errors
    /// When the server's threads do not answer.
    pub fn set_fault(&self, fault: Fault) -> Result<(), HttpsError> {
        if fault == Fault::Unreachable {
            return self.command(Command::Close);
        }
        self.shared.state().faults.add(fault);
        Ok(())
    }

    /// Takes all faults back and listens again, on the same port.
    ///
    /// # Errors
    /// When another program took the port meanwhile.
    pub fn clear_faults(&self) -> Result<(), HttpsError> {
        self.shared.state().faults = Faults::default();
        self.command(Command::Open)
    }

    /// Requests and bytes so far by the first directory of the path: `metadata`, `content`, …
    #[must_use]
    pub fn stats(&self) -> BTreeMap<String, ClassStats> {
        self.shared.state().stats.clone()
    }

    /// Every request so far, oldest first.
    #[must_use]
    pub fn log(&self) -> Vec<LoggedRequest> {
        self.shared.state().log.clone()
    }

    /// Forgets requests and bytes so far.
    pub fn reset_stats(&self) {
        let mut state = self.shared.state();
        state.stats.clear();
        state.log.clear();
    }

    fn command(
        &self,
        command: impl FnOnce(std::sync::mpsc::Sender<io::Result<()>>) -> Command,
    ) -> Result<(), HttpsError> {
        let (done, answer) = channel();
        self.commands
            .send(command(done))
            .map_err(|_| HttpsError::Stuck)?;
        match answer.recv_timeout(PATIENCE) {
            Ok(outcome) => outcome.map_err(|source| HttpsError::Listen {
                port: self.port,
                source,
            }),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(HttpsError::Stuck)
            }
        }
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not awaiting the tasks: a stalled answer would never end.
            runtime.shutdown_background();
        }
    }
}

fn directory(path: &Path) -> Result<PathBuf, HttpsError> {
    match path.canonicalize() {
        Ok(path) if path.is_dir() => Ok(path),
        _ => Err(HttpsError::Directory(path.to_owned())),
    }
}
