//! The process without rights: fetches and decodes what one daemon asks for, and ends with its connection.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use switchback_manifest::Release;
use switchback_update_core::{ImageIdentity, InstallFailure};

use super::Fetcher as _;
use super::channel::Channel;
use super::inside::Inside;
use super::messages::{Answer, Call, Hello, Install, Reply, Request};
use super::slots::{Daemon, GivenSlots};
use crate::cancel::Cancel;
use crate::fetch::{
    BundlePlace, Credentials, FetchError, HttpApi, HttpSetupError, HttpSource, Source, open_url,
};
use crate::fleet::{self, Access};
use crate::identity::{RemoteKey, Signing};
use crate::install::{Fetched, Installer};
use crate::report::chain;
use crate::settings::RepositorySettings;
use crate::slot::{Layout, Located, SlotError};

/// Why the process ends.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The connection is none.
    #[error("this is started by switchback-fetch.socket, with a connection as its standard input")]
    Connection(#[source] io::Error),
    /// The daemon said something else than it should.
    #[error("the daemon cannot be understood")]
    Daemon(#[source] io::Error),
}

/// Serves one connection until it ends; then the process ends, whatever it was doing.
///
/// # Errors
/// The connection is none, or the daemon speaks another language.
pub fn serve(stream: UnixStream) -> Result<(), ServeError> {
    let watched = stream.try_clone().map_err(ServeError::Connection)?;
    std::thread::Builder::new()
        .name("hangup".into())
        .spawn(move || end_with(&watched))
        .map_err(ServeError::Connection)?;
    let mut channel = Channel::new(stream).map_err(ServeError::Connection)?;
    let (hello, length) = channel
        .head::<Hello>(&mut || Ok(()))
        .map_err(ServeError::Daemon)?;
    let authorities = channel.body(length, &mut || Ok(()));
    let authorities = authorities.map_err(ServeError::Daemon)?;
    let daemon = Daemon::new(channel);
    let mut serving = Serving::new(hello, &authorities, daemon);
    drop(authorities);
    loop {
        match serving.next() {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            served => served.map_err(ServeError::Daemon)?,
        }
    }
}

/// Nothing here is worth finishing for a daemon that is gone or wants something else.
fn end_with(stream: &UnixStream) {
    loop {
        let mut ends = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::RDHUP)];
        match poll(&mut ends, None) {
            Ok(_) => std::process::exit(0),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

struct Serving {
    daemon: Daemon,
    /// Or why nothing can be fetched.
    inside: Result<Inside, String>,
    /// The fleet server, or why it cannot be spoken to.
    fleet: Result<(HttpApi, Access), String>,
}

/// Makes the daemon sign.
#[derive(Debug)]
struct ByDaemon(Daemon);

impl Signing for ByDaemon {
    fn sign(&self, scheme: u16, message: &[u8]) -> Result<Vec<u8>, String> {
        let signed = self.0.done(Call::Sign { scheme }, message);
        signed.map_err(|error| chain(&error))
    }
}

impl Serving {
    fn new(hello: Hello, authorities: &[u8], daemon: Daemon) -> Self {
        let identity = hello.identity.map(|shown| {
            let signing = Arc::new(ByDaemon(daemon.clone()));
            RemoteKey::certified(&shown.certificates, &shown.schemes, signing)
        });
        let repository = hello.repository;
        let credentials = identity.transpose().and_then(|identity| {
            let credentials = Credentials::new(&repository.ca_file, authorities, identity);
            credentials.map_err(|error| chain(&error))
        });
        let access = hello.fleet.ok_or_else(|| "no server was named".to_owned());
        let fleet = access.and_then(|access| {
            let credentials = credentials.as_ref().map_err(Clone::clone)?;
            let api = HttpApi::new(&access.url, &repository, credentials);
            Ok((api.map_err(|error| chain(&error))?, access))
        });
        let inside = credentials.and_then(|credentials| connect(repository, credentials));
        Self {
            daemon,
            inside,
            fleet,
        }
    }

    /// One question.
    fn next(&mut self) -> io::Result<()> {
        let (request, body, files) = {
            let mut channel = self.daemon.channel();
            let (request, length, files) = channel.head_with_files(&mut || Ok(()))?;
            (request, channel.body(length, &mut || Ok(()))?, files)
        };
        let (reply, bytes) = match request {
            Request::File {
                bundled,
                path,
                limit,
                known,
            } => self.file(bundled, &path, limit, known.as_deref()),
            Request::OpenBundle { name, url } => (self.open(name, url, files), Vec::new()),
            Request::CloseBundle => {
                if let Ok(inside) = &mut self.inside {
                    inside.close_bundle();
                }
                (Reply::Closed, Vec::new())
            }
            Request::Install(install) => {
                let reply = match self.install(*install, &body, files) {
                    Ok(fetched) => Reply::Installed { fetched },
                    Err(failure) => Reply::NotInstalled { failure },
                };
                (reply, Vec::new())
            }
            Request::Fleet => (self.turn(&body), Vec::new()),
        };
        self.daemon.reply(reply, &bytes)
    }

    fn turn(&self, turn: &[u8]) -> Reply {
        let failed = |url: &str, detail| FetchError::Transport {
            url: url.into(),
            detail,
        };
        let made = match (&self.fleet, serde_json::from_slice(turn)) {
            (Ok((api, access)), Ok(turn)) => fleet::Client::new(api, access).turn(&turn),
            (Ok((_, access)), Err(error)) => Err(failed(&access.url, error.to_string())),
            (Err(detail), _) => Err(failed("the fleet server", detail.clone())),
        };
        match made {
            Ok(word) => Reply::Word(Box::new(word)),
            Err(error) => Reply::Failed { error },
        }
    }

    fn file(&self, bundled: bool, path: &str, limit: u64, known: Option<&str>) -> (Reply, Vec<u8>) {
        let fetched = match &self.inside {
            Ok(inside) => inside.content(bundled).unless(path, limit, known),
            Err(detail) => Err(FetchError::Transport {
                url: path.into(),
                detail: detail.clone(),
            }),
        };
        match fetched {
            Ok(Some(named)) => (Reply::File { tag: named.tag }, named.bytes),
            Ok(None) => (Reply::Unchanged, Vec::new()),
            Err(error) => (Reply::Failed { error }, Vec::new()),
        }
    }

    fn open(&mut self, name: String, url: bool, files: Vec<File>) -> Reply {
        let place = match (url, files.into_iter().next()) {
            (true, _) => BundlePlace::Url(name),
            (false, Some(file)) => BundlePlace::File { name, file },
            (false, None) => {
                let why = format!("{name}: it was not handed over");
                return Reply::NotOpened { why };
            }
        };
        let opened = match &mut self.inside {
            Ok(inside) => inside.open_bundle(place),
            Err(detail) => Err(detail.clone()),
        };
        match opened {
            Ok((product, version)) => Reply::Opened { product, version },
            Err(why) => Reply::NotOpened { why },
        }
    }

    fn install(
        &mut self,
        install: Install,
        document: &[u8],
        files: Vec<File>,
    ) -> Result<Fetched, InstallFailure> {
        let network = |detail: String| InstallFailure::Network { detail };
        let inside = self.inside.as_ref().map_err(|why| network(why.clone()))?;
        let document = Release::parse(document)
            .map_err(|error| network(format!("a release: {}", chain(&error))))?;
        let Ok([a, b]) = <[File; 2]>::try_from(files) else {
            return Err(network("both slots were not handed over".into()));
        };
        let daemon = &self.daemon;
        let layout = layout(&install, [a, b], daemon);
        let source: &dyn Source = inside.content(install.bundled);
        // The daemon calls off by hanging up.
        let cancel = Cancel::default();
        let inactive = layout.inactive().path().to_owned();
        Installer {
            source,
            cancel: &cancel,
            chosen: &mut |choice| told(daemon, Call::Chosen(choice)),
            progress: &mut |progress| told(daemon, Call::Progress(progress)),
            pause: &mut |time: Duration| std::thread::sleep(time),
            layout: &layout,
            running: install.running.as_ref(),
            begun: install.begun,
            lost: install.lost,
            prove: &mut |synced, image, _| {
                // The daemon opens it anew.
                drop(synced);
                prove(daemon, inactive.clone(), image)
            },
        }
        .run(&document)
    }
}

fn connect(repository: RepositorySettings, credentials: Credentials) -> Result<Inside, String> {
    let source = HttpSource::with(&repository, &credentials);
    let source = source.map_err(|error: HttpSetupError| chain(&error))?;
    Ok(Inside::with(
        Box::new(source),
        Box::new(move |url| open_url(&repository, &credentials, url)),
    ))
}

/// What is told is not waited for with anything but patience: if nobody hears, the process ends anyway.
fn told(daemon: &Daemon, call: Call) {
    let _ = daemon.done(call, &[]);
}

fn prove(daemon: &Daemon, path: PathBuf, image: &ImageIdentity) -> Result<(), SlotError> {
    let failed = |path, source| SlotError::Io {
        path,
        verb: "reading back",
        offset: 0,
        source,
    };
    match daemon.call(Call::Prove, &[]) {
        Ok((Answer::Done, _)) => Ok(()),
        Ok((Answer::Differs { found }, _)) => Err(SlotError::Differs {
            path,
            found,
            wanted: image.sha256,
        }),
        Ok((Answer::Failed { detail, .. }, _)) => Err(failed(path, io::Error::other(detail))),
        Err(error) => Err(failed(path, error)),
    }
}

fn layout(install: &Install, files: [File; 2], daemon: &Daemon) -> Layout {
    let paths: [PathBuf; 2] = install.paths.each_ref().map(PathBuf::from);
    let [a, b] = paths.each_ref().map(|path| Located {
        path: path.clone(),
        number: String::new(),
    });
    let [path_a, path_b] = paths;
    let [file_a, file_b] = files;
    Layout {
        a,
        b,
        booted: install.booted,
        contact: None,
        environment_bad: false,
        devices: Arc::new(GivenSlots {
            slots: [(path_a, file_a), (path_b, file_b)],
            daemon: daemon.clone(),
        }),
    }
}
