//! A disk whose power can be cut.
//!
//! Killing a virtual machine is not a power cut: what its disk had accepted and not flushed is in
//! the host's page cache and survives. [`CutServer`] is a block server for QEMU (NBD over a Unix
//! socket) that keeps unflushed writes in memory. When the power goes, the test says what became of
//! them ([`Survive`]), and the image file then holds what a real disk would hold.
//!
//! ```no_run
//! # use qemu_tests::nbd::{CutPoint, CutServer, Survive};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let disk = CutServer::start("disk.img".as_ref(), "disk.sock".as_ref())?;
//! let reached = disk.cut_at(CutPoint::Change(7));
//! # let builder = qemu_tests::machine::MachineBuilder::new("example", "/tmp");
//! let machine = builder.backend("main", &disk.backend()).start()?;
//! let request = reached.recv()?; // the seventh write or flush is under way and gets no answer
//! machine.power_cut()?;
//! let report = disk.cut(Survive::TornLast { sectors: 1 })?;
//! # Ok(()) }
//! ```
//!
//! A request is *under way* until it has been answered. Walking through `Change(1)`, `Change(2)`, …
//! with [`Survive::Nothing`] and [`Survive::Everything`] therefore visits the states before and
//! after every durable change.

mod cache;
mod connection;
mod disk;
mod wire;

#[cfg(test)]
mod tests;

use crate::machine::DiskBackend;
use connection::serve;
use disk::Disk;
pub use disk::{CutReport, Survive};
use std::fs::OpenOptions;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Why a [`CutServer`] could not be started or its disk not be written.
#[derive(Debug, thiserror::Error)]
pub enum NbdError {
    /// The image cannot be opened for reading and writing.
    #[error("cannot open the disk image {}", path.display())]
    Image {
        /// The image file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The image does not end on a sector boundary.
    #[error("{} has {bytes} bytes; a disk has a multiple of 512, at least one sector", path.display())]
    Size {
        /// The image file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// The socket cannot be listened on.
    #[error("cannot listen on {}; paths of Unix sockets end after 107 bytes", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What survived the cut could not be written to the image.
    #[error("cannot write what survived the power cut to the image")]
    Store(#[source] io::Error),
}

/// What a client asked of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Data.
    Write,
    /// Zeros without carrying them.
    WriteZeroes,
    /// Make all earlier writes durable.
    Flush,
    /// The range is no longer needed. Accepted and ignored: the old content stays, as it may.
    Trim,
}

/// One request that was not a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedRequest {
    /// Which change it is, counted from 1 over writes, zeroings and flushes; trims count with the
    /// change before them.
    pub change: u64,
    /// What was asked.
    pub kind: Kind,
    /// First sector; 0 for a flush.
    pub lba: u64,
    /// How many sectors; 0 for a flush.
    pub sectors: u64,
    /// Forced unit access: durable before it is answered.
    pub fua: bool,
}

/// A write with its data. See [`CutServer::keep_writes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// First sector.
    pub lba: u64,
    /// What was written, whole sectors.
    pub bytes: Vec<u8>,
}

/// Where the disk stops answering. See [`CutServer::cut_at`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutPoint {
    /// The n-th write, zeroing or flush from now, counted from 1.
    Change(u64),
    /// The first write or zeroing from now that touches this sector or one behind it.
    WriteAtOrBeyond(u64),
    /// The n-th write or zeroing from now that touches these sectors: `first` and those up to, not
    /// including, `end`.
    WritesIn {
        /// First sector of the range.
        first: u64,
        /// First sector behind it.
        end: u64,
        /// Which of these writes, counted from 1.
        count: u64,
    },
}

/// What passed through the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Read requests.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes, zeroings and flushes.
    pub changes: u64,
    /// Sectors that would be lost if the power went now.
    pub unflushed: u64,
}

/// The state that the connections share.
struct State {
    disk: Disk,
    /// Every write is durable when it is answered.
    writes_through: bool,
    log: Vec<LoggedRequest>,
    /// Writes with their data, where somebody asked for them.
    kept: Option<Vec<Written>>,
    traffic: Traffic,
    armed: Option<Armed>,
    /// The request that reached the armed point and will never be answered.
    under_way: Option<UnderWay>,
    powered: bool,
    connections: Vec<UnixStream>,
}

struct Armed {
    point: CutPoint,
    reached: Sender<LoggedRequest>,
}

/// A change that was received, not carried out and not answered.
struct UnderWay {
    request: LoggedRequest,
    bytes: Option<Vec<u8>>,
}

/// State with the signal that wakes requests held at a cut point.
struct Shared {
    state: Mutex<State>,
    power_lost: Condvar,
}

impl Shared {
    /// The state, also after a connection thread died: the cut must still be carried out.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A block server with a volatile write cache over an image file.
///
/// Dropping it is a power cut that nothing survives.
pub struct CutServer {
    shared: Arc<Shared>,
    socket: PathBuf,
    listener: UnixStream,
    acceptor: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for CutServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CutServer")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl CutServer {
    /// Switches the disk on: serves `image` on the Unix socket `socket`, which is replaced.
    ///
    /// # Errors
    /// When the image cannot be opened or is not a whole number of sectors, or the socket cannot be
    /// made.
    pub fn start(image: &Path, socket: &Path) -> Result<Self, NbdError> {
        Self::switch_on(image, socket, false)
    }

    /// As [`start`](Self::start), for a medium without a cache, such as an SD card: a write that was
    /// answered is durable. QEMU's card sends single sectors and never flushes.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_without_cache(image: &Path, socket: &Path) -> Result<Self, NbdError> {
        Self::switch_on(image, socket, true)
    }

    fn switch_on(image: &Path, socket: &Path, writes_through: bool) -> Result<Self, NbdError> {
        let image_error = |source| NbdError::Image {
            path: image.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(image)
            .map_err(image_error)?;
        let bytes = file.metadata().map_err(image_error)?.len();
        if bytes == 0 || !bytes.is_multiple_of(cache::SECTOR) {
            return Err(NbdError::Size {
                path: image.to_owned(),
                bytes,
            });
        }
        let socket_error = |source| NbdError::Socket {
            path: socket.to_owned(),
            source,
        };
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(socket_error(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(socket).map_err(socket_error)?;
        // The standard library cannot wake a thread that waits in accept(2); shutting the listening
        // socket down does, and that function exists on streams only.
        let handle = OwnedFd::from(listener.try_clone().map_err(socket_error)?).into();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                disk: Disk::new(file, bytes),
                writes_through,
                log: Vec::new(),
                kept: None,
                traffic: Traffic::default(),
                armed: None,
                under_way: None,
                powered: true,
                connections: Vec::new(),
            }),
            power_lost: Condvar::new(),
        });
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Ok(Self {
            shared,
            socket: socket.to_owned(),
            listener: handle,
            acceptor: Some(acceptor),
        })
    }

    /// This disk as a machine's drive.
    #[must_use]
    pub fn backend(&self) -> DiskBackend {
        DiskBackend::Nbd {
            socket: self.socket.clone(),
        }
    }

    /// Stops answering at `point`: the request that reaches it is held, and so is everything after
    /// it, until [`cut`](Self::cut). The receiver gets that request at this very moment.
    ///
    /// A new point replaces one that was not reached yet.
    #[must_use = "the receiver tells when the point is reached"]
    pub fn cut_at(&self, point: CutPoint) -> Receiver<LoggedRequest> {
        let (reached, receiver) = channel();
        let mut state = self.shared.state();
        let point = match point {
            CutPoint::Change(count) => CutPoint::Change(state.traffic.changes + count.max(1)),
            CutPoint::WriteAtOrBeyond(_) | CutPoint::WritesIn { .. } => point,
        };
        state.armed = Some(Armed { point, reached });
        receiver
    }

    /// Every request so far that was not a read, oldest first.
    #[must_use]
    pub fn log(&self) -> Vec<LoggedRequest> {
        self.shared.state().log.clone()
    }

    /// Keeps every write from now on with its data, for [`writes`](Self::writes).
    pub fn keep_writes(&self) {
        self.shared.state().kept = Some(Vec::new());
    }

    /// The writes since [`keep_writes`](Self::keep_writes), oldest first.
    #[must_use]
    pub fn writes(&self) -> Vec<Written> {
        self.shared.state().kept.clone().unwrap_or_default()
    }

    /// The write that reached the cut point and waits there; whether it is carried out depends on
    /// what survives.
    #[must_use]
    pub fn write_under_way(&self) -> Option<Written> {
        let state = self.shared.state();
        let UnderWay { request, bytes } = state.under_way.as_ref()?;
        Some(Written {
            lba: request.lba,
            bytes: bytes.clone()?,
        })
    }

    /// What passed through so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let state = self.shared.state();
        Traffic {
            unflushed: state.disk.unflushed(),
            ..state.traffic
        }
    }

    /// Cuts the power: nothing is answered from here on, connections close, and the image holds
    /// what survived. Kill the machine first if it must not see its disk vanish.
    ///
    /// # Errors
    /// When the image cannot be written.
    pub fn cut(mut self, survive: Survive) -> Result<CutReport, NbdError> {
        self.power_off(survive)
    }

    fn power_off(&mut self, survive: Survive) -> Result<CutReport, NbdError> {
        let report = self
            .shared
            .state()
            .lose_power(survive)
            .map_err(NbdError::Store)?;
        self.shared.power_lost.notify_all();
        // Failing means that the socket is gone already, which is what this is for.
        let _gone = self.listener.shutdown(Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _died = acceptor.join();
        }
        let _absent = std::fs::remove_file(&self.socket);
        Ok(report)
    }
}

impl Drop for CutServer {
    fn drop(&mut self) {
        if self.acceptor.is_some() {
            let _unreported = self.power_off(Survive::Nothing);
        }
    }
}

impl State {
    fn lose_power(&mut self, survive: Survive) -> io::Result<CutReport> {
        self.powered = false;
        for connection in self.connections.drain(..) {
            let _closed = connection.shutdown(Shutdown::Both);
        }
        if let Some(UnderWay { request, bytes }) = self.under_way.take()
            && matches!(request.kind, Kind::Write | Kind::WriteZeroes)
        {
            let (offset, length) = (request.lba * cache::SECTOR, request.sectors * cache::SECTOR);
            self.disk.write(offset, length, bytes.as_deref());
        }
        self.disk.lose_power(survive)
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    for stream in listener.incoming() {
        let Ok(stream) = stream else { break };
        let Ok(handle) = stream.try_clone() else {
            continue;
        };
        let mut state = shared.state();
        if !state.powered {
            break;
        }
        state.connections.push(handle);
        drop(state);
        let shared = Arc::clone(shared);
        threads.push(std::thread::spawn(move || {
            // A client that leaves or speaks nonsense ends its own connection and nothing else.
            let _left = serve(&stream, &shared);
            let _closed = stream.shutdown(Shutdown::Both);
        }));
    }
    for thread in threads {
        let _died = thread.join();
    }
}
