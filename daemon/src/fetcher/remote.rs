//! The daemon's side: asks the process that fetches, and does for it what only root can do.

use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use switchback_types::{ProductName, SlotName, Version};
use switchback_update_core::InstallFailure;

use super::channel::Channel;
use super::messages::{Answer, Call, Hello, Install, Reply, Request, Said, Shown};
use super::writing::Writing;
use super::{Fetcher, Order};
use crate::fetch::{BundlePlace, FetchError, Files, LEAST_RATE, Named};
use crate::fleet::{Access, Turn, Word};
use crate::identity::Identity;
use crate::install::{Installed, Way};
use crate::report::chain;
use crate::settings::RepositorySettings;
use crate::slot::open_for_another;

/// Longest text that is taken from the other process.
const MOST_TEXT: usize = 1000;
/// A way is left when the process ended so often while it was taken.
const MOST_ENDS: u32 = 2;
/// More than any one answer of a server may take beside its bytes.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// The process that fetches, behind its socket.
pub struct Remote {
    repository: Place,
    bundle: Option<Place>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("socket", &self.repository.process.socket)
            .finish_non_exhaustive()
    }
}

/// The repository, or a bundle.
struct Place {
    process: Arc<Process>,
    name: Name,
}

enum Name {
    Repository(String),
    Bundle(String),
}

/// One process for as long as it is needed: it ends when its connection does.
pub(super) struct Process {
    socket: PathBuf,
    repository: RepositorySettings,
    identity: Option<Identity>,
    fleet: Option<Access>,
    channel: Mutex<Option<Channel>>,
}

impl Remote {
    /// Asks at `socket`; nobody is asked yet.
    #[must_use]
    pub fn new(socket: &Path, repository: RepositorySettings, identity: Option<Identity>) -> Self {
        let name = Name::Repository(repository.url.clone());
        let process = Arc::new(Process::new(socket, repository, identity, None));
        Self {
            repository: Place { process, name },
            bundle: None,
        }
    }

    /// The same with a connection that is there already.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn over(stream: UnixStream, repository: RepositorySettings) -> io::Result<Self> {
        let remote = Self::new(Path::new("/nowhere"), repository, None);
        let channel = Channel::new(stream)?;
        *remote
            .process()
            .channel
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(channel);
        Ok(remote)
    }

    fn process(&self) -> &Process {
        &self.repository.process
    }

    fn try_install(
        &self,
        order: &mut Order<'_>,
        lost: Option<(Way, String)>,
    ) -> Result<Result<Installed, InstallFailure>, (Option<Way>, io::Error)> {
        let layout = order.layout;
        let slots = SlotName::ALL.map(|slot| layout.slot(slot).path.clone());
        let install = Request::Install(Box::new(Install {
            running: order.running.cloned(),
            begun: order.begun,
            bundled: order.bundled,
            lost,
            booted: layout.booted,
            paths: slots.each_ref().map(|path| path.display().to_string()),
        }));
        let asked = || -> io::Result<_> {
            let document = serde_json::to_vec(order.release.document())?;
            let [a, b] = slots;
            Ok((document, open_for_another(&a)?, open_for_another(&b)?))
        };
        let (document, a, b) = asked().map_err(|error| (None, error))?;
        let cancel = order.cancel;
        let mut writing = Writing::new(order);
        let outcome = self.process().ask(
            &install,
            &document,
            &[a.as_fd(), b.as_fd()],
            &mut || match cancel.is_requested() {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => Ok(()),
            },
            &mut |call, length, channel| writing.answer(call, length, channel),
        );
        match outcome {
            Ok((Reply::Installed { fetched }, _)) => {
                Ok(Installed::proven(writing.proof(), fetched))
            }
            Ok((Reply::NotInstalled { failure }, _)) => Ok(Err(plainly(failure))),
            Ok(_) => Err((writing.way, unexpected())),
            Err(_) if cancel.is_requested() => Ok(Err(InstallFailure::Cancelled)),
            Err(error) => Err((writing.way, error)),
        }
    }
}

impl Fetcher for Remote {
    fn repository(&self) -> &dyn Files {
        &self.repository
    }

    fn open_bundle(&mut self, place: BundlePlace) -> Result<(ProductName, Version), String> {
        self.bundle = None;
        let (name, file) = match place {
            BundlePlace::File { name, file } => (name, Some(file)),
            BundlePlace::Url(url) => (url, None),
        };
        let request = Request::OpenBundle {
            name: name.clone(),
            url: file.is_none(),
        };
        let files: Vec<_> = file.iter().map(|file| file.as_fd()).collect();
        let process = Arc::clone(&self.repository.process);
        let began = Instant::now();
        let mut patience = || wait(began, PATIENCE);
        let outcome = process.ask(&request, &[], &files, &mut patience, &mut refuse);
        match outcome {
            Ok((Reply::Opened { product, version }, _)) => {
                let name = Name::Bundle(name);
                self.bundle = Some(Place { process, name });
                Ok((product, version))
            }
            Ok((Reply::NotOpened { why }, _)) => Err(plain(&why)),
            Ok(_) => Err(format!("{name}: {}", unexpected())),
            Err(error) => Err(format!("{name}: {}", chain(&error))),
        }
    }

    fn bundle(&self) -> Option<&dyn Files> {
        self.bundle.as_ref().map(|bundle| bundle as &dyn Files)
    }

    fn close_bundle(&mut self) {
        if self.bundle.take().is_some() {
            let began = Instant::now();
            let mut patience = || wait(began, PATIENCE);
            // If it does not hear, it is asked nothing more either.
            let _ = self
                .process()
                .ask(&Request::CloseBundle, &[], &[], &mut patience, &mut refuse);
        }
    }

    fn install(&mut self, mut order: Order<'_>) -> Result<Installed, InstallFailure> {
        let mut lost: Option<(Way, String)> = None;
        let mut ends = 0;
        loop {
            let (way, error) = match self.try_install(&mut order, lost.clone()) {
                Ok(outcome) => return outcome,
                Err(broken) => broken,
            };
            let detail = format!("the process that fetches ended: {}", chain(&error));
            ends += 1;
            let another = way.filter(|way| *way < Way::Full && ends >= MOST_ENDS);
            // A bundle is gone with the process that had it open.
            if order.bundled || way.is_none() || (ends >= MOST_ENDS && another.is_none()) {
                return Err(InstallFailure::Network { detail });
            }
            tracing::warn!("{detail}");
            order.begun = true;
            if let Some(way) = another {
                ends = 0;
                lost = Some((way, format!("{way}: {detail}")));
            }
        }
    }

    fn rest(&mut self) {
        if self.bundle.is_none() {
            self.process().close();
        }
    }
}

impl Files for Place {
    fn file(&self, path: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let named = self.unless(path, limit, None)?;
        Ok(named.map(|named| named.bytes).unwrap_or_default())
    }

    fn unless(
        &self,
        path: &str,
        limit: u64,
        known: Option<&str>,
    ) -> Result<Option<Named>, FetchError> {
        let request = Request::File {
            bundled: matches!(self.name, Name::Bundle(_)),
            path: path.into(),
            limit,
            known: known.map(Into::into),
        };
        let most = PATIENCE
            + self.process.repository.stall_timeout * 4
            + Duration::from_secs(limit / LEAST_RATE);
        let began = Instant::now();
        let url = || self.url(path);
        let broken = |error: &io::Error| FetchError::Transport {
            url: url(),
            detail: chain(error),
        };
        let (reply, bytes) = self
            .process
            .ask(&request, &[], &[], &mut || wait(began, most), &mut refuse)
            .map_err(|error| broken(&error))?;
        match reply {
            Reply::File { .. }
                if u64::try_from(bytes.len()).map_or(true, |length| length > limit) =>
            {
                Err(FetchError::TooLong { url: url(), limit })
            }
            Reply::File { tag } => Ok(Some(Named { bytes, tag })),
            Reply::Unchanged if known.is_some() => Ok(None),
            Reply::Failed { error } => Err(error.with_text(plain)),
            _ => Err(broken(&unexpected())),
        }
    }

    fn url(&self, path: &str) -> String {
        match &self.name {
            Name::Repository(base) => format!("{base}/{path}"),
            Name::Bundle(name) => format!("{name}: {path}"),
        }
    }
}

/// Does what the other process calls for, taking so many bytes from the channel.
type Answering<'a> = dyn FnMut(Call, usize, &mut Channel) -> io::Result<Answer> + 'a;

impl Process {
    /// At `socket`, for the repository, or for the fleet server.
    pub(super) fn new(
        socket: &Path,
        repository: RepositorySettings,
        identity: Option<Identity>,
        fleet: Option<Access>,
    ) -> Self {
        Self {
            socket: socket.into(),
            repository,
            identity,
            fleet,
            channel: Mutex::default(),
        }
    }

    /// One exchange with the fleet server.
    pub(super) fn turn(&self, turn: &Turn) -> Result<Word, FetchError> {
        let url = || {
            let access = self.fleet.as_ref();
            access.map(|access| access.url.clone()).unwrap_or_default()
        };
        let broken = |error: &io::Error| FetchError::Transport {
            url: url(),
            detail: chain(error),
        };
        let body = serde_json::to_vec(turn).map_err(|error| broken(&error.into()))?;
        let began = Instant::now();
        let mut patience = || wait(began, PATIENCE);
        let (reply, _) = self
            .ask(&Request::Fleet, &body, &[], &mut patience, &mut refuse)
            .map_err(|error| broken(&error))?;
        match reply {
            Reply::Word(word) => Ok(word.with_text(plain)),
            Reply::Failed { error } => Err(error.with_text(plain)),
            _ => Err(broken(&unexpected())),
        }
    }

    /// Asks one question. After any error the process is let go.
    fn ask(
        &self,
        request: &Request,
        body: &[u8],
        files: &[std::os::fd::BorrowedFd<'_>],
        going_on: &mut dyn FnMut() -> io::Result<()>,
        answer: &mut Answering<'_>,
    ) -> io::Result<(Reply, Vec<u8>)> {
        let mut kept = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has ended since is found out by asking it; nothing was done then.
        let (mut channel, asked) = match kept.take() {
            Some(mut channel) => match channel.send(request, body, files) {
                Ok(()) => (channel, true),
                Err(_) => (self.connect()?, false),
            },
            None => (self.connect()?, false),
        };
        if !asked {
            channel.send(request, body, files)?;
        }
        loop {
            let (said, length) = channel.head(going_on)?;
            let call = match said {
                Said::Reply(reply) => {
                    let bytes = channel.body(length, going_on)?;
                    *kept = Some(channel);
                    return Ok((reply, bytes));
                }
                Said::Call(call) => call,
            };
            let (answer, signature) = match call {
                Call::Sign { scheme } => {
                    let message = channel.body(length, going_on)?;
                    self.sign(scheme, &message)
                }
                call => (answer(call, length, &mut channel)?, Vec::new()),
            };
            channel.send(&answer, &signature, &[])?;
        }
    }

    fn connect(&self) -> io::Result<Channel> {
        let failed = |error: io::Error| {
            let detail = format!(
                "{}: nobody fetches for this daemon ({error}): `systemctl status switchback-fetch.socket`",
                self.socket.display()
            );
            io::Error::new(error.kind(), detail)
        };
        let stream = UnixStream::connect(&self.socket).map_err(failed)?;
        let mut channel = Channel::new(stream)?;
        let identity = self.identity.as_ref().map(|identity| Shown {
            certificates: identity.certificates().into(),
            schemes: identity.schemes(),
        });
        let repository = self.repository.clone();
        let hello = Hello {
            repository,
            identity,
            fleet: self.fleet.clone(),
        };
        let authorities = std::fs::read(&self.repository.ca_file).map_err(|error| {
            let path = self.repository.ca_file.display();
            let detail = format!(
                "{path}: cannot be read ({error}); set `repository.ca-file` to a PEM file with certificates"
            );
            io::Error::new(error.kind(), detail)
        })?;
        channel.send(&hello, &authorities, &[])?;
        Ok(channel)
    }

    fn sign(&self, scheme: u16, message: &[u8]) -> (Answer, Vec<u8>) {
        let signed = match &self.identity {
            Some(identity) => identity.sign(scheme, message),
            None => Err("this device has no certificate".into()),
        };
        match signed {
            Ok(signature) => (Answer::Done, signature),
            Err(detail) => {
                tracing::warn!("{detail}");
                (Answer::Failed { code: None, detail }, Vec::new())
            }
        }
    }

    pub(super) fn close(&self) {
        *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn wait(began: Instant, most: Duration) -> io::Result<()> {
    match began.elapsed() > most {
        true => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer for {} s", most.as_secs()),
        )),
        false => Ok(()),
    }
}

/// Nothing but an install may call for anything but signatures.
fn refuse(_: Call, _: usize, _: &mut Channel) -> io::Result<Answer> {
    Err(unexpected())
}

fn unexpected() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the process that fetches answered something else than it was asked",
    )
}

/// Text of the other process, as it can be shown: in one line, and not without end.
pub(super) fn plain(text: &str) -> String {
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().take(MOST_TEXT).map(plain).collect()
}

fn plainly(failure: InstallFailure) -> InstallFailure {
    match failure {
        InstallFailure::Network { detail } => InstallFailure::Network {
            detail: plain(&detail),
        },
        InstallFailure::Content { detail } => InstallFailure::Content {
            detail: plain(&detail),
        },
        InstallFailure::Slot { detail }
        | InstallFailure::SlotChanged { detail }
        | InstallFailure::BootEnvironment { detail } => InstallFailure::Slot {
            detail: plain(&detail),
        },
        // Whether it was called off is known here.
        InstallFailure::Interrupted | InstallFailure::Cancelled => InstallFailure::Network {
            detail: "the process that fetches stopped by itself".into(),
        },
    }
}
