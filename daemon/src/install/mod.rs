//! One streaming pass: network → decode → inactive slot. Nothing is staged anywhere else.
//!
//! There are three ways to an image, and the one that costs fewest bytes is tried first:
//!
//! - [`delta`]: from exactly the image that runs. What it makes counts when the whole slot reads back
//!   as the signed image, so that not even the list of segments has to be fetched.
//! - [`chunks`]: what neither slot holds, whatever image runs.
//! - [`full`]: every segment that the slot does not hold already, each compared with the signed list
//!   before it is written.
//!
//! When a way does not fit (another image runs than was thought, the blob is gone, the old slot lost a
//! bit) the next one goes on in the same slot, and what is right there stays. When only the network is
//! bad the same way waits and goes on where it was. A restart finds in the slot itself how far it came.

mod chunks;
mod delta;
mod full;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use switchback_manifest::{BlobRef, Chunks, FrameTable, ManifestError, Release, SegmentList};
use switchback_types::ByteCount;
use switchback_update_core::{ImageIdentity, InstallFailure};

use crate::cancel::Cancel;
use crate::fetch::{FetchError, Source};
use crate::hash::sha256;
use crate::report::chain;
use crate::slot::{Layout, SlotError, SlotWriter, SyncedSlot, VerifiedSlot};

/// Breaks in a row, without one frame of progress between them, before the install gives up.
/// What is written stays; the next poll goes on from there.
const MAX_BREAKS: u32 = 5;
/// Pause after the first break; doubled with each that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How far an install is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallProgress {
    /// What is being done.
    pub stage: Stage,
    /// Bytes of the image done in this stage.
    pub done: u64,
    /// Bytes of the image.
    pub total: u64,
    /// Bytes received from the network so far.
    pub received: u64,
}

/// How an image came into the slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// It was there already.
    #[default]
    Flip,
    /// By a delta from the image that runs.
    Delta,
    /// By chunks that neither slot holds.
    Chunks,
    /// By its own frames.
    Full,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Flip => "nothing to fetch",
            Self::Delta => "a delta from the image that runs",
            Self::Chunks => "chunks that neither slot holds",
            Self::Full => "the image's own frames",
        })
    }
}

impl Way {
    /// The word on D-Bus.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flip => "flip",
            Self::Delta => "delta",
            Self::Chunks => "chunks",
            Self::Full => "full",
        }
    }
}

/// A way that is taken, and why it and not another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The way.
    pub way: Way,
    /// In words.
    pub reason: String,
}

/// What had to be fetched for an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// The way that led there.
    pub way: Way,
    /// Segments fetched and written.
    pub segments: u64,
    /// Segments of the image.
    pub of: u64,
    /// Bytes of content received, by all ways that were tried; lists, and what lies between two
    /// wanted frames, included.
    pub bytes: u64,
}

/// An image that was written and proven.
#[derive(Debug)]
pub struct Installed {
    /// The proof.
    pub slot: VerifiedSlot,
    /// What it took.
    pub fetched: Fetched,
}

impl Installed {
    /// What was installed, if it was proven.
    ///
    /// # Errors
    /// There is no proof.
    pub(crate) fn proven(
        proof: Option<VerifiedSlot>,
        fetched: Fetched,
    ) -> Result<Self, InstallFailure> {
        match proof {
            Some(slot) => Ok(Self { slot, fetched }),
            None => Err(InstallFailure::Slot {
                detail: "the slot was written and nobody proved it".into(),
            }),
        }
    }
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Receiving, decoding and writing.
    Writing,
    /// Reading back and comparing.
    Verifying,
}

impl Stage {
    /// The word on D-Bus.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writing => "writing",
            Self::Verifying => "verifying",
        }
    }
}

/// Tells how far an image of `total` bytes is read back.
pub(crate) fn reading_back(
    progress: &mut dyn FnMut(InstallProgress),
    total: u64,
    received: u64,
) -> impl FnMut(u64) {
    move |done| {
        progress(InstallProgress {
            stage: Stage::Verifying,
            done,
            total,
            received,
        });
    }
}

/// The image that a signed release describes.
#[must_use]
pub fn identity(release: &Release) -> ImageIdentity {
    ImageIdentity {
        version: release.version.clone(),
        sequence: release.sequence,
        security_epoch: release.security_epoch,
        sha256: release.image.sha256,
        size: release.image.size,
    }
}

/// What an install needs from outside.
pub struct Installer<'a> {
    /// Where content comes from.
    pub source: &'a dyn Source,
    /// Asked between two segments.
    pub cancel: &'a Cancel,
    /// Told which way is taken, and again when another one is.
    pub chosen: &'a mut dyn FnMut(Choice),
    /// Told after each segment.
    pub progress: &'a mut dyn FnMut(InstallProgress),
    /// Waits between two tries; a test does not.
    pub pause: &'a mut dyn FnMut(Duration),
    /// The slots.
    pub layout: &'a Layout,
    /// What runs, as far as is known.
    pub running: Option<&'a ImageIdentity>,
    /// Whether the slot is known to hold parts of the image: they are looked for first.
    pub begun: bool,
    /// A way that was taken before and cannot be taken again, and why; nor are those before it.
    pub lost: Option<(Way, String)>,
    /// Reads a slot back that was written, compares it with what was signed, and keeps the proof.
    pub prove: &'a mut Prove<'a>,
}

/// What proves a slot: it is told how far it is.
pub type Prove<'a> =
    dyn FnMut(SyncedSlot, &ImageIdentity, &mut dyn FnMut(u64)) -> Result<(), SlotError> + 'a;

impl std::fmt::Debug for Installer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Installer").finish_non_exhaustive()
    }
}

/// Why a way was left.
#[derive(Debug)]
enum Left {
    /// It does not fit: another one may.
    Unfit(String),
    /// No other way would help.
    Failed(InstallFailure),
}

impl Left {
    /// A blob that is gone or damaged does not fit.
    fn unless_content(failure: InstallFailure) -> Self {
        match failure {
            InstallFailure::Content { detail } => Self::Unfit(detail),
            failure => Self::Failed(failure),
        }
    }
}

impl From<SlotError> for Left {
    fn from(error: SlotError) -> Self {
        Self::Failed(slot_failure(error))
    }
}

/// What the slot holds of an image, found by looking.
struct Looked {
    segments: SegmentList,
    frames: FrameTable,
    /// The first segment that it does not hold.
    first: u64,
}

impl Installer<'_> {
    /// Writes the release's image into the inactive slot and has it proved.
    ///
    /// # Errors
    /// Says whether the network, the content or the slot stood in the way.
    pub fn run(&mut self, document: &Release) -> Result<Fetched, InstallFailure> {
        let mut fetched = Fetched {
            of: document.image.segment_count(),
            ..Fetched::default()
        };
        let looked = match self.begun {
            true => Some(self.look(document, &mut fetched)?),
            false => None,
        };
        let first = looked.as_ref().map_or(0, |looked| looked.first);
        let mut why = "no delta leads from what runs".to_owned();
        let lost = self.lost.clone();
        let is_lost = |way: Way| lost.as_ref().is_some_and(|(lost, _)| way <= *lost);
        if let Some((_, lost)) = &lost {
            why.clone_from(lost);
        } else if let Some(base) = self.base(document) {
            if worth_it(document, &base, looked.as_ref()) {
                let reason = format!(
                    "it has {}, all frames have {}",
                    ByteCount(base.delta.blob.length),
                    ByteCount(document.full.blob.length)
                );
                self.choose(Way::Delta, reason, &mut fetched);
                match self.by_delta(document, base, first, &mut fetched) {
                    Ok(()) => return Ok(fetched),
                    Err(Left::Failed(failure)) => return Err(failure),
                    Err(Left::Unfit(unfit)) => why = format!("the delta does not fit: {unfit}"),
                }
            } else {
                why = "less is missing than the delta has".to_owned();
            }
        }
        let looked = match looked {
            Some(looked) => looked,
            None => self.lists(document, &mut fetched)?,
        };
        let worth_it =
            |chunks: &&Chunks| !is_lost(Way::Chunks) && chunks.index.length < looked.rest(document);
        if let Some(chunks) = document.chunks.as_ref().filter(worth_it) {
            self.choose(Way::Chunks, why.clone(), &mut fetched);
            match self.by_chunks(document, chunks, &looked, &mut fetched) {
                Ok(()) => return Ok(fetched),
                Err(Left::Failed(failure)) => return Err(failure),
                Err(Left::Unfit(unfit)) => why = format!("{why}; chunks do not fit: {unfit}"),
            }
        }
        self.choose(Way::Full, why, &mut fetched);
        let mut writer = self.writer(document)?;
        // What was found right stays so: what did not fit began after it.
        writer.skip_to(first);
        self.write_frames(document, &looked, u64::MAX, &mut writer, &mut fetched)?;
        let synced = writer.sync().map_err(slot_failure)?;
        self.verify(document, synced, fetched.bytes)
            .map_err(slot_failure)?;
        Ok(fetched)
    }

    fn choose(&mut self, way: Way, reason: String, fetched: &mut Fetched) {
        fetched.way = way;
        (self.chosen)(Choice { way, reason });
    }

    fn writer(&self, document: &Release) -> Result<SlotWriter, InstallFailure> {
        let segment_size = usize::try_from(document.image.segment_size).unwrap_or(usize::MAX);
        let slot = self.layout.inactive();
        SlotWriter::open(&slot, document.image.size, segment_size).map_err(slot_failure)
    }

    /// Reads everything back and compares it with what was signed.
    fn verify(
        &mut self,
        document: &Release,
        synced: SyncedSlot,
        received: u64,
    ) -> Result<(), SlotError> {
        let mut told = reading_back(&mut *self.progress, document.image.size, received);
        (self.prove)(synced, &identity(document), &mut told)
    }

    /// The signed lists of an image's segments and frames.
    fn lists(
        &mut self,
        document: &Release,
        fetched: &mut Fetched,
    ) -> Result<Looked, InstallFailure> {
        let segments = self.blob(&document.image.segments)?;
        let segments = SegmentList::parse(&segments, &document.image)
            .map_err(|error| self.content(&document.image.segments.path(), &error))?;
        let frames = self.blob(&document.full.frames)?;
        let frames = FrameTable::parse(&frames, &document.image, &document.full)
            .map_err(|error| self.content(&document.full.frames.path(), &error))?;
        fetched.bytes += document.image.segments.length + document.full.frames.length;
        Ok(Looked {
            segments,
            frames,
            first: 0,
        })
    }

    /// The same, and how far an earlier attempt came.
    fn look(
        &mut self,
        document: &Release,
        fetched: &mut Fetched,
    ) -> Result<Looked, InstallFailure> {
        let mut looked = self.lists(document, fetched)?;
        let mut writer = self.writer(document)?;
        looked.first = writer
            .skip_present(|index| looked.segments.get(index).copied(), self.cancel)
            .map_err(slot_failure)?;
        Ok(looked)
    }

    /// A small blob, whole, compared with its digest.
    fn blob(&mut self, blob: &BlobRef) -> Result<Vec<u8>, InstallFailure> {
        let path = blob.path();
        let mut breaks = 0;
        let bytes = loop {
            match self.source.file(&path, blob.length) {
                Ok(bytes) => break bytes,
                Err(error) => self.after_break(&mut breaks, &error)?,
            }
        };
        let found = sha256(&bytes);
        if found != blob.sha256 {
            let url = self.source.url(&path);
            let detail = format!("{url}: has SHA-256 {found}, signed is {}", blob.sha256);
            return Err(InstallFailure::Content { detail });
        }
        Ok(bytes)
    }

    fn content(&self, path: &str, error: &ManifestError) -> InstallFailure {
        let detail = format!("{}: {}", self.source.url(path), chain(error));
        InstallFailure::Content { detail }
    }

    /// Waits before the next try, or gives up.
    fn after_break(&mut self, breaks: &mut u32, error: &FetchError) -> Result<(), InstallFailure> {
        *breaks += 1;
        let gone = matches!(
            error,
            FetchError::Missing { .. } | FetchError::TooLong { .. }
        );
        if gone {
            return Err(InstallFailure::Content {
                detail: chain(error),
            });
        }
        if *breaks >= MAX_BREAKS {
            return Err(InstallFailure::Network {
                detail: chain(error),
            });
        }
        tracing::info!("{}; waiting and going on from there", chain(error));
        let asked = match error {
            FetchError::Status { retry_after, .. } => *retry_after,
            _ => None,
        };
        let pause = FIRST_PAUSE.saturating_mul(1 << (*breaks - 1).min(6));
        self.wait(asked.unwrap_or(pause))
    }

    /// The same for a way that may be left: a file that is gone or ends early each time, or a server
    /// that does not serve it so, does not fit; a bad network is no reason to take more bytes.
    fn after_break_of_way(&mut self, breaks: &mut u32, error: &FetchError) -> Result<(), Left> {
        if let FetchError::NoRanges { .. } = error {
            return Err(Left::Unfit(chain(error)));
        }
        let ended_early = matches!(error, FetchError::EndedEarly { .. });
        self.after_break(breaks, error)
            .map_err(|failure| match failure {
                // The server has no more of it, however often it is asked.
                InstallFailure::Network { detail } if ended_early => Left::Unfit(detail),
                failure => Left::unless_content(failure),
            })
    }

    /// Waits in slices, so that a cancel is heard.
    fn wait(&mut self, mut time: Duration) -> Result<(), InstallFailure> {
        while !time.is_zero() {
            self.cancel.check().map_err(slot_failure)?;
            let slice = time.min(Duration::from_millis(250));
            (self.pause)(slice);
            time -= slice;
        }
        Ok(())
    }
}

impl Looked {
    /// Bytes of the frames that the slot lacks, if it holds none after the first one missing.
    fn rest(&self, document: &Release) -> u64 {
        let first = self.frames.range(self.first);
        first.map_or(0, |(offset, _)| {
            document.full.blob.length.saturating_sub(offset)
        })
    }
}

fn slot_failure(error: SlotError) -> InstallFailure {
    match error {
        SlotError::Cancelled => InstallFailure::Cancelled,
        other => InstallFailure::Slot {
            detail: chain(&other),
        },
    }
}

/// Whether the rest of the delta is less than the rest of the frames.
fn worth_it(document: &Release, base: &delta::Base, looked: Option<&Looked>) -> bool {
    let count = document.image.segment_count();
    let (first, full) = match looked {
        None => (0, document.full.blob.length),
        Some(looked) => (looked.first, looked.rest(document)),
    };
    let whole = u128::from(base.delta.blob.length);
    let rest = u128::from(count.saturating_sub(first)) * whole / u128::from(count.max(1));
    rest < u128::from(full)
}

#[cfg(test)]
mod tests;
