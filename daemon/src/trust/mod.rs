//! What this device trusts: drives the sans-IO client over the network and keeps its memory.

mod answer;
mod drive;
mod lookup;
mod memory;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use switchback_manifest::{TrustedChannel, TrustedRelease, channel_path, release_path};
use switchback_tuf::{Freshness, Limits, Refresh, Refreshed, TrustedState, TufError};
use switchback_types::{ProductName, TargetPath, Timestamp, Version};

pub use self::answer::Asked;
use self::answer::Failure;
use self::drive::{TIMESTAMP, drive, drive_by_memory, drive_refresh};
use self::lookup::{Documents, find, first_on_the_way};
use self::memory::Memory;
use crate::fetch::Files;
use crate::journal::{RecordError, RecordFiles};
use crate::report::chain;
use crate::settings::DeviceSettings;

/// No device ran this program before it was written: 2026-11-01. A clock that says less is wrong.
const EARLIEST: i64 = 1_793_491_200;

/// The memory of trust, and the built-in root it began with.
#[derive(Debug)]
pub struct Trust {
    memory: Memory,
    state: TrustedState,
    documents: Documents,
    /// What the server called the timestamp when it was asked last, if all metadata was fresh then: there is nothing
    /// new as long as it is the same.
    current: Option<String>,
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

impl Trust {
    /// Opens the memory in `directory`; begins it from the built-in root on a new device. Gives
    /// warnings of what was damaged.
    ///
    /// # Errors
    /// The built-in root is missing or not one, or the directory cannot be used.
    pub fn open(
        files: &Arc<dyn RecordFiles>,
        directory: &Path,
        root_file: &Path,
    ) -> Result<(Self, Vec<String>), TrustError> {
        let root = std::fs::read(root_file).map_err(|source| TrustError::ReadRoot {
            path: root_file.into(),
            source,
        })?;
        let earliest = Timestamp::from_unix(EARLIEST);
        let (memory, state, warnings) =
            Memory::open(files, directory, &root, earliest).map_err(|error| error.at(root_file))?;
        let trust = Self {
            memory,
            state,
            documents: Documents::default(),
            current: None,
        };
        Ok((trust, warnings))
    }

    /// The time to act by: the clock's, or the floor of trusted time where that is later.
    #[must_use]
    pub fn now(&self, clock: Timestamp) -> Timestamp {
        clock.max(self.state.floor())
    }

    /// Asks the repository what this device should run: what its channel names, or the version that a fleet server
    /// wants. `running` is the number of the release that runs, 0 if that is not known. `reached` is called once the server's
    /// metadata was verified: the device is not cut off.
    pub fn ask(
        &mut self,
        source: &dyn Files,
        device: &DeviceSettings,
        version: Option<&Version>,
        running: u64,
        clock: Timestamp,
        reached: &mut dyn FnMut(),
    ) -> Asked {
        match self.try_ask(source, device, version, running, clock, reached) {
            Ok(asked) => asked,
            Err(failure) => failure.asked(),
        }
    }

    fn try_ask(
        &mut self,
        source: &dyn Files,
        device: &DeviceSettings,
        version: Option<&Version>,
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
        let mut vouched = |path: TargetPath| find(&mut refreshed, source, path, &mut documents);
        let (channel, path, by) = match version {
            Some(version) => {
                let path = release_path(&device.product, version);
                (None, path, "the fleet server wants")
            }
            None => {
                let path = channel_path(&device.product, &device.channel);
                let Some(channel) = vouched(path.clone())? else {
                    self.remember(refreshed.into_state())?;
                    let url = source.url("metadata");
                    return Ok(Asked::Nothing(format!("{url}: lists no {path}")));
                };
                let channel = TrustedChannel::from_verified(&channel)
                    .map_err(|error| Failure::Content(chain(&error)))?;
                let path = channel.release.path.clone();
                (Some(channel), path, "the channel names")
            }
        };
        let Some(release) = vouched(path.clone())? else {
            self.remember(refreshed.into_state())?;
            let url = source.url("metadata");
            return Ok(Asked::Nothing(format!(
                "{url}: {by} {path}, which no role vouches for"
            )));
        };
        let release = TrustedRelease::from_verified(&release)
            .map_err(|error| Failure::Content(chain(&error)))?;
        if let Some(channel) = &channel {
            channel
                .confirm(&release)
                .map_err(|error| Failure::Content(chain(&error)))?;
        }
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
        if let Some(channel) = &channel
            && let Some(expired) = channel.expires.filter(|expires| *expires <= now)
        {
            let path = channel.path();
            return Ok(Asked::Stale(format!("{path}: expired at {expired}")));
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
    fn refresh(&mut self, source: &dyn Files, clock: Timestamp) -> Result<Refreshed, Failure> {
        let known = std::mem::take(&mut self.current);
        let limits = Limits::default();
        let (unchanged, ahead) = match known {
            None => (None, None),
            Some(tag) => match source
                .unless(TIMESTAMP, limits.timestamp_length, Some(&tag))
                .map_err(Failure::Fetch)?
            {
                None => (Some(tag), None),
                ahead => (None, ahead),
            },
        };
        let mut refresh = Refresh::start(self.state.clone(), limits, Some(clock));
        let driven = match unchanged {
            Some(tag) => drive_by_memory(&mut refresh, &self.state).map(|()| Some(tag)),
            None => drive_refresh(&mut refresh, source, ahead),
        };
        // What was verified on the way is kept, also when a later step failed.
        self.remember(refresh.state().clone())?;
        let tag = driven?;
        let refreshed = refresh.finish()?;
        self.current = tag.filter(|_| matches!(refreshed.freshness(), Freshness::Fresh));
        Ok(refreshed)
    }

    /// The release of one version, whether or not a channel still names it: for the repair of a
    /// slot that held it. `reached` is called as by [`Trust::ask`].
    ///
    /// # Errors
    /// Says why there is none that can be trusted.
    pub fn release(
        &mut self,
        source: &dyn Files,
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
        source: &dyn Files,
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
        source: &dyn Files,
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
        self.memory.store(&state).map_err(Failure::Record)?;
        self.state = state;
        Ok(())
    }
}
