//! What this device trusts: drives the sans-IO client over the network and keeps its memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use switchback_manifest::{TrustedChannel, TrustedRelease, channel_path, release_path};
use switchback_tuf::{
    Answer, ErrorKind, Exchange, Freshness, Limits, Refresh, Refreshed, Role, TrustedState,
    TufError, VerifiedTarget, Want,
};
use switchback_types::{ProductName, TargetPath, Timestamp, Version};

use crate::fetch::{FetchError, Source};
use crate::journal::{Loaded, RecordError, RecordFiles, TwoCopies};
use crate::report::chain;
use crate::settings::DeviceSettings;

/// No device ran this program before it was written: 2026-11-01. A clock that says less is wrong.
const EARLIEST: i64 = 1_793_491_200;

/// What changes with everything else.
const TIMESTAMP: &str = "metadata/timestamp.json";

/// So many releases may have to come before another.
const MAX_STEPS: u32 = 32;

/// A signed document longer than this is not one of ours.
const MAX_DOCUMENT: u64 = 256 * 1024;

/// The memory of trust, and the built-in root it began with.
#[derive(Debug)]
pub struct Trust {
    copies: TwoCopies,
    state: TrustedState,
    stored: Vec<u8>,
    documents: Documents,
    /// Whether all metadata was fresh when the repository was asked last: then there is nothing new as long as its
    /// timestamp is the same.
    current: bool,
}

/// The channel and release documents as fetched last, by path: an idle poll need not fetch them
/// again. Only a memory of bytes; each use verifies them anew.
#[derive(Debug, Default)]
struct Documents {
    known: BTreeMap<TargetPath, Vec<u8>>,
    /// Those that the present question needed; the others are of no more use.
    needed: BTreeMap<TargetPath, Vec<u8>>,
}

impl Documents {
    /// What the next question may need.
    fn kept(self) -> Self {
        Self {
            known: self.needed,
            needed: BTreeMap::new(),
        }
    }
}

/// Why trust cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The built-in root cannot be read.
    #[error(
        "{}: cannot be read; the image must carry the repository's root metadata there \
         (`repository.root-file`)",
        path.display()
    )]
    ReadRoot {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The built-in root is not what it should be.
    #[error("{}: is not usable as root metadata", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TufError,
    },
    /// The memory cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What the repository offers this device.
#[derive(Debug)]
pub enum Asked {
    /// The channel names this release.
    Offer {
        /// The channel.
        channel: TrustedChannel,
        /// The release: the one that the channel names, or the next one on the way there.
        release: Box<TrustedRelease>,
        /// The one that the channel names, if that is another.
        toward: Option<Version>,
    },
    /// A bundle brings this release.
    Bundled(Box<TrustedRelease>),
    /// Verified metadata names nothing for this device.
    Nothing(String),
    /// No answer.
    Unreachable(String),
    /// An answer that is not trusted.
    Untrusted(String),
    /// Metadata that has expired.
    Stale(String),
}

/// Why a question to the repository got no answer that can be used.
enum Failure {
    Fetch(FetchError),
    Tuf(TufError),
    Content(String),
    Stale(String),
    Record(RecordError),
}

impl From<TufError> for Failure {
    fn from(error: TufError) -> Self {
        Self::Tuf(error)
    }
}

impl Failure {
    fn text(&self) -> String {
        match self {
            Self::Fetch(error) => chain(error),
            Self::Tuf(error) => chain(error),
            Self::Content(detail) | Self::Stale(detail) => detail.clone(),
            Self::Record(error) => chain(error),
        }
    }

    fn asked(self) -> Asked {
        let text = self.text();
        match self {
            Self::Content(_) => Asked::Untrusted(text),
            Self::Stale(_) => Asked::Stale(text),
            // Trust that cannot be remembered protects nothing: act on nothing new.
            Self::Fetch(_) | Self::Record(_) => Asked::Unreachable(text),
            Self::Tuf(error) => match error.kind() {
                ErrorKind::Missing => Asked::Unreachable(text),
                ErrorKind::Stale => Asked::Stale(text),
                ErrorKind::Invalid
                | ErrorKind::Untrusted
                | ErrorKind::Rollback
                | ErrorKind::Limit
                | ErrorKind::State
                | ErrorKind::Usage => Asked::Untrusted(text),
            },
        }
    }
}

impl Trust {
    /// Opens the memory in `directory`; begins it from the built-in root on a new device. Gives a
    /// warning where something was damaged.
    ///
    /// # Errors
    /// The built-in root is missing or not one, or the directory cannot be used.
    pub fn open(
        files: &Arc<dyn RecordFiles>,
        directory: &Path,
        root_file: &Path,
    ) -> Result<(Self, Option<String>), TrustError> {
        let root = std::fs::read(root_file).map_err(|source| TrustError::ReadRoot {
            path: root_file.into(),
            source,
        })?;
        let built_in =
            TrustedState::from_root(&root, Timestamp::from_unix(EARLIEST)).map_err(|source| {
                TrustError::Root {
                    path: root_file.into(),
                    source,
                }
            })?;
        let (copies, loaded) = TwoCopies::open(files, directory, "trust")?;
        let (bytes, mut warning) = match loaded {
            Loaded::Nothing => (None, None),
            Loaded::Whole(bytes) => (Some(bytes), None),
            Loaded::OneDamaged { bytes, warning } => (Some(bytes), Some(warning)),
            Loaded::BothDamaged { warning } => (None, Some(warning)),
        };
        let mut state = None;
        if let Some(bytes) = &bytes {
            match TrustedState::from_bytes(bytes) {
                Ok(read) => state = Some(read),
                Err(error) => {
                    let path = copies.path(0);
                    warning = Some(format!("{}: {}", path.display(), chain(&error)));
                }
            }
        }
        let state = state.unwrap_or(built_in);
        Ok((
            Self {
                copies,
                state,
                stored: bytes.unwrap_or_default(),
                documents: Documents::default(),
                current: false,
            },
            warning,
        ))
    }

    /// The time to act by: the clock's, or the floor of trusted time where that is later.
    #[must_use]
    pub fn now(&self, clock: Timestamp) -> Timestamp {
        clock.max(self.state.floor())
    }

    /// Asks the repository what this device should run, where `running` is the number of the release that runs, 0
    /// if that is not known. `reached` is called once the server's
    /// metadata was verified: the device is not cut off.
    pub fn ask(
        &mut self,
        source: &dyn Source,
        device: &DeviceSettings,
        running: u64,
        clock: Timestamp,
        reached: &mut dyn FnMut(),
    ) -> Asked {
        match self.try_ask(source, device, running, clock, reached) {
            Ok(asked) => asked,
            Err(failure) => failure.asked(),
        }
    }

    fn try_ask(
        &mut self,
        source: &dyn Source,
        device: &DeviceSettings,
        running: u64,
        clock: Timestamp,
        reached: &mut dyn FnMut(),
    ) -> Result<Asked, Failure> {
        let mut refreshed = self.refresh(source, clock)?;
        reached();
        if let Freshness::Stale(staleness) = refreshed.freshness() {
            return Ok(Asked::Stale(format!(
                "{}: {staleness}",
                source.url("metadata")
            )));
        }

        let mut documents = std::mem::take(&mut self.documents);
        let path = channel_path(&device.product, &device.channel);
        let Some(channel) = find(&mut refreshed, source, path.clone(), &mut documents)? else {
            self.remember(refreshed.into_state())?;
            let url = source.url("metadata");
            return Ok(Asked::Nothing(format!("{url}: lists no {path}")));
        };
        let channel = TrustedChannel::from_verified(&channel)
            .map_err(|error| Failure::Content(chain(&error)))?;
        let path = channel.release.path.clone();
        let Some(release) = find(&mut refreshed, source, path.clone(), &mut documents)? else {
            self.remember(refreshed.into_state())?;
            let url = source.url("metadata");
            return Ok(Asked::Nothing(format!(
                "{url}: the channel names {path}, which no role vouches for"
            )));
        };
        let release = TrustedRelease::from_verified(&release)
            .map_err(|error| Failure::Content(chain(&error)))?;
        channel
            .confirm(&release)
            .map_err(|error| Failure::Content(chain(&error)))?;
        let named = release.version.clone();
        let release = first_on_the_way(
            &mut refreshed,
            source,
            &device.product,
            release,
            running,
            &mut documents,
        )?;
        let now = self.now(clock);
        if let Some(expired) = channel.expires.filter(|expires| *expires <= now) {
            return Ok(Asked::Stale(format!(
                "{}: expired at {expired}",
                channel.path()
            )));
        }

        self.documents = documents.kept();
        let mut state = refreshed.into_state();
        // A release signed at a time proves that this time has passed.
        state.raise_floor(release.created);
        self.remember(state)?;
        Ok(Asked::Offer {
            channel,
            toward: (release.version != named).then_some(named),
            release: Box::new(release),
        })
    }

    /// Brings the metadata up to date.
    ///
    /// A device that asks again and again costs one question without content: whoever can answer it wrongly could as well
    /// serve the old files, and no longer than until they expire.
    fn refresh(&mut self, source: &dyn Source, clock: Timestamp) -> Result<Refreshed, Failure> {
        let current = std::mem::take(&mut self.current);
        let unchanged = current && source.is_unchanged(TIMESTAMP).map_err(Failure::Fetch)?;
        let mut refresh = Refresh::start(self.state.clone(), Limits::default(), Some(clock));
        let driven = match unchanged {
            true => drive_by_memory(&mut refresh, &self.state),
            false => drive(&mut refresh, source),
        };
        // What was verified on the way is kept, also when a later step failed.
        self.remember(refresh.state().clone())?;
        driven?;
        let refreshed = refresh.finish()?;
        self.current = matches!(refreshed.freshness(), Freshness::Fresh);
        Ok(refreshed)
    }

    /// The release of one version, whether or not a channel still names it: for the repair of a
    /// slot that held it. `reached` is called as by [`Trust::ask`].
    ///
    /// # Errors
    /// Says why there is none that can be trusted.
    pub fn release(
        &mut self,
        source: &dyn Source,
        product: &ProductName,
        version: &Version,
        clock: Timestamp,
        reached: &mut dyn FnMut(),
    ) -> Result<Box<TrustedRelease>, String> {
        self.try_release(source, product, version, clock, reached)
            .map_err(|failure| failure.text())
    }

    fn try_release(
        &mut self,
        source: &dyn Source,
        product: &ProductName,
        version: &Version,
        clock: Timestamp,
        reached: &mut dyn FnMut(),
    ) -> Result<Box<TrustedRelease>, Failure> {
        let mut refreshed = self.refresh(source, clock)?;
        reached();
        let url = source.url("metadata");
        if let Freshness::Stale(staleness) = refreshed.freshness() {
            return Err(Failure::Stale(format!("{url}: {staleness}")));
        }
        let path = release_path(product, version);
        let found = find(
            &mut refreshed,
            source,
            path.clone(),
            &mut Documents::default(),
        )?;
        self.remember(refreshed.into_state())?;
        let Some(release) = found else {
            return Err(Failure::Content(format!("{url}: lists no {path}")));
        };
        TrustedRelease::from_verified(&release)
            .map(Box::new)
            .map_err(|error| Failure::Content(chain(&error)))
    }

    /// What a bundle brings. Its metadata is held to the same rules as a server's: nothing older than
    /// what this device has seen, and nothing that has expired.
    pub fn bundled(
        &mut self,
        source: &dyn Source,
        product: &ProductName,
        version: &Version,
        clock: Timestamp,
    ) -> Asked {
        match self.try_release(source, product, version, clock, &mut || {}) {
            Ok(release) => Asked::Bundled(release),
            Err(failure) => failure.asked(),
        }
    }

    /// Stores the state before anything is done on its word; writes only what changed.
    fn remember(&mut self, state: TrustedState) -> Result<(), Failure> {
        let bytes = state.to_bytes();
        if bytes != self.stored {
            self.copies.commit(&bytes).map_err(Failure::Record)?;
            self.stored = bytes;
        }
        self.state = state;
        Ok(())
    }
}

/// Feeds a machine from a repository until it wants nothing more.
fn drive(exchange: &mut dyn Exchange, source: &dyn Source) -> Result<(), Failure> {
    feed(exchange, |path, limit| match source.file(path, limit) {
        Ok(bytes) => Ok(Answer::File(bytes)),
        Err(FetchError::Missing { .. }) => Ok(Answer::Missing),
        Err(error) => Err(Failure::Fetch(error)),
    })
}

/// Feeds a machine from what is trusted: the repository as it is while its timestamp is the same.
fn drive_by_memory(exchange: &mut dyn Exchange, known: &TrustedState) -> Result<(), Failure> {
    feed(exchange, |path, _| {
        let mut documents = known.documents();
        let timestamp = documents.find(|(role, _)| *role == Role::Timestamp);
        let asked = timestamp.filter(|_| path == TIMESTAMP);
        Ok(asked.map_or(Answer::Missing, |(_, bytes)| Answer::File(bytes.to_vec())))
    })
}

fn feed(
    exchange: &mut dyn Exchange,
    fetch: impl Fn(&str, u64) -> Result<Answer, Failure>,
) -> Result<(), Failure> {
    while let Want::File(request) = exchange.poll() {
        let path = format!("metadata/{}", request.name);
        exchange.feed(fetch(&path, request.max_length)?)?;
    }
    Ok(())
}

/// The first release on the way to one that a device with this one running may install. The release role alone
/// says which those are: whoever paces releases cannot leave one out.
fn first_on_the_way(
    refreshed: &mut Refreshed,
    source: &dyn Source,
    product: &ProductName,
    named: TrustedRelease,
    running: u64,
    documents: &mut Documents,
) -> Result<TrustedRelease, Failure> {
    let mut release = named;
    for _ in 0..=MAX_STEPS {
        let requires = match &release.requires {
            Some(requires) if running < requires.sequence => requires.clone(),
            _ => return Ok(release),
        };
        let path = release_path(product, &requires.version);
        let said = format!(
            "version {} requires version {} before it",
            release.version, requires.version
        );
        let Some(found) = find(refreshed, source, path.clone(), documents)? else {
            let url = source.url("metadata");
            return Err(Failure::Content(format!(
                "{said}, and {url} lists no {path}"
            )));
        };
        let before = TrustedRelease::from_verified(&found)
            .map_err(|error| Failure::Content(chain(&error)))?;
        // The numbers go down with each step: there is no going round in circles.
        if before.sequence != requires.sequence {
            return Err(Failure::Content(format!(
                "{said}, as number {}, which has number {}",
                requires.sequence, before.sequence
            )));
        }
        release = before;
    }
    Err(Failure::Content(format!(
        "more than {MAX_STEPS} releases come before the one that the channel names"
    )))
}

/// Finds an artifact through the delegations, fetches it and checks it.
fn find(
    refreshed: &mut Refreshed,
    source: &dyn Source,
    path: TargetPath,
    documents: &mut Documents,
) -> Result<Option<VerifiedTarget>, Failure> {
    let mut lookup = refreshed.lookup(path.clone())?;
    drive(&mut lookup, source)?;
    let Some(info) = lookup.finish()? else {
        return Ok(None);
    };
    let known = documents.known.remove(&path);
    if let Some(verified) = known.and_then(|known| info.verify(known).ok()) {
        documents.needed.insert(path, verified.bytes().to_vec());
        return Ok(Some(verified));
    }
    let url_path = format!("targets/{}", info.url_path()?);
    if info.length() > MAX_DOCUMENT {
        let url = source.url(&url_path);
        let length = info.length();
        return Err(Failure::Content(format!(
            "{url}: {length} bytes, at most {MAX_DOCUMENT}"
        )));
    }
    let bytes = source
        .file(&url_path, info.length())
        .map_err(Failure::Fetch)?;
    let verified = info.verify(bytes)?;
    documents.needed.insert(path, verified.bytes().to_vec());
    Ok(Some(verified))
}
