//! One streaming pass: network → decode → inactive slot. Nothing is staged anywhere else.
//!
//! Each frame of the pack decodes to one segment of the image; a segment is written only when
//! its digest is in the signed list, and fetched only when the slot does not hold it already. So a
//! restart finds in the slot itself how far it came, and the repair of a slot that went bad in
//! places fetches those places alone. Memory is one frame and one segment, whatever the image's
//! size. A break in the network is waited out and taken up again at the frame where it happened.

use std::io::Read;
use std::time::Duration;

use switchback_manifest::{
    BlobRef, FrameTable, ManifestError, Release, SegmentList, TrustedRelease,
};
use switchback_update_core::{ImageIdentity, InstallFailure};
use zstd_safe::DCtx;

use crate::cancel::Cancel;
use crate::fetch::{FetchError, Source};
use crate::hash::sha256;
use crate::report::chain;
use crate::slot::{InactiveSlot, SlotError, SlotWriter, VerifiedSlot};

/// Breaks in a row, without one frame of progress between them, before the install gives up.
/// What is written stays; the next poll goes on from there.
const MAX_BREAKS: u32 = 5;
/// Pause after the first break; doubled with each that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How far an install is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// What had to be fetched for an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Segments fetched and written.
    pub segments: u64,
    /// Segments of the image.
    pub of: u64,
    /// Bytes of the pack received, those between two wanted frames included.
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

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Told after each segment.
    pub progress: &'a mut dyn FnMut(InstallProgress),
    /// Waits between two tries; a test does not.
    pub pause: &'a mut dyn FnMut(Duration),
}

impl std::fmt::Debug for Installer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Installer").finish_non_exhaustive()
    }
}

impl Installer<'_> {
    /// Writes the release's image into `slot` and proves it.
    ///
    /// # Errors
    /// Says whether the network, the content or the slot stood in the way.
    pub fn run(
        &mut self,
        release: &TrustedRelease,
        slot: &InactiveSlot,
    ) -> Result<Installed, InstallFailure> {
        let document = release.document();
        let segments = self.blob(&document.image.segments)?;
        let segments = SegmentList::parse(&segments, &document.image)
            .map_err(|error| self.content(&document.image.segments.path(), &error))?;
        let frames = self.blob(&document.full.frames)?;
        let frames = FrameTable::parse(&frames, &document.image, &document.full)
            .map_err(|error| self.content(&document.full.frames.path(), &error))?;

        let segment_size = usize::try_from(document.image.segment_size).unwrap_or(usize::MAX);
        let mut writer =
            SlotWriter::open(slot, document.image.size, segment_size).map_err(slot_failure)?;
        let mut fetched = Fetched {
            of: document
                .image
                .size
                .div_ceil(u64::from(document.image.segment_size.max(1))),
            ..Fetched::default()
        };
        self.write(document, &segments, &frames, &mut writer, &mut fetched)?;

        let total = document.image.size;
        let synced = writer.sync().map_err(slot_failure)?;
        let progress = &mut self.progress;
        let slot = synced
            .verify(&identity(document), self.cancel, &mut |done| {
                progress(InstallProgress {
                    stage: Stage::Verifying,
                    done,
                    total,
                    received: fetched.bytes,
                });
            })
            .map_err(slot_failure)?;
        Ok(Installed { slot, fetched })
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

    /// Every segment that the slot does not hold.
    fn write(
        &mut self,
        release: &Release,
        segments: &SegmentList,
        frames: &FrameTable,
        writer: &mut SlotWriter,
        fetched: &mut Fetched,
    ) -> Result<(), InstallFailure> {
        let path = release.full.blob.path();
        let mut decoder = Decoder::new()?;
        let mut breaks = 0;
        loop {
            writer
                .skip_present(|index| segments.get(index).copied(), self.cancel)
                .map_err(slot_failure)?;
            let Some((first, _)) = writer.next() else {
                return Ok(());
            };
            let Some((offset, _)) = frames.range(first) else {
                let detail = format!("{path}: has no frame for segment {first}");
                return Err(InstallFailure::Content { detail });
            };
            let broke = match self.source.stream(&path, offset) {
                Err(error) => error,
                Ok(mut stream) => {
                    let before = fetched.segments;
                    let mut pass = Pass {
                        segments,
                        frames,
                        decoder: &mut decoder,
                        stream: &mut *stream,
                        at: offset,
                        url: self.source.url(&path),
                        total: release.image.size,
                        skip: u64::from(release.image.segment_size),
                        fetched: &mut *fetched,
                    };
                    let ended = pass.run(writer, self.cancel, &mut *self.progress);
                    if fetched.segments != before {
                        breaks = 0;
                    }
                    match ended {
                        Ok(()) => continue,
                        Err(Ended::Failed(failure)) => return Err(failure),
                        Err(Ended::Broke(error)) => error,
                    }
                }
            };
            self.after_break(&mut breaks, &broke)?;
        }
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

enum Ended {
    /// The connection broke: try again from here.
    Broke(FetchError),
    /// Trying again would not help.
    Failed(InstallFailure),
}

/// One connection's worth of frames.
struct Pass<'a> {
    segments: &'a SegmentList,
    frames: &'a FrameTable,
    decoder: &'a mut Decoder,
    stream: &'a mut dyn Read,
    /// Where in the pack the stream stands.
    at: u64,
    url: String,
    total: u64,
    /// So many unwanted bytes, at most, are read over; for more, a new connection is cheaper.
    skip: u64,
    fetched: &'a mut Fetched,
}

impl Pass<'_> {
    /// Goes on until the image ends, or the next frame that is wanted is too far away.
    fn run(
        &mut self,
        writer: &mut SlotWriter,
        cancel: &Cancel,
        progress: &mut dyn FnMut(InstallProgress),
    ) -> Result<(), Ended> {
        while let Some((index, _)) = writer.next() {
            cancel
                .check()
                .map_err(|error| Ended::Failed(slot_failure(error)))?;
            let (Some((offset, frame)), Some(wanted)) =
                (self.frames.range(index), self.segments.get(index))
            else {
                let detail = format!("{}: has no frame for segment {index}", self.url);
                return Err(Ended::Failed(InstallFailure::Content { detail }));
            };
            let gap = offset.saturating_sub(self.at);
            if gap > self.skip {
                return Ok(());
            }
            // At most one segment's size, which is 32 bits.
            self.receive(u32::try_from(gap).unwrap_or(u32::MAX))?;
            self.receive(frame)?;
            let wrong = |what: &str| {
                let detail = format!("{}: frame {index} {what}", self.url);
                Ended::Failed(InstallFailure::Content { detail })
            };
            if !self.decoder.decode(writer.buffer()) {
                return Err(wrong(
                    "does not decode to its segment: the content is corrupt",
                ));
            }
            if !writer.holds(wanted) {
                return Err(wrong("decodes to bytes that are not the signed ones"));
            }
            writer
                .write()
                .map_err(|error| Ended::Failed(slot_failure(error)))?;
            self.fetched.segments += 1;
            progress(InstallProgress {
                stage: Stage::Writing,
                done: writer.written(),
                total: self.total,
                received: self.fetched.bytes,
            });
            writer
                .skip_present(|index| self.segments.get(index).copied(), cancel)
                .map_err(|error| Ended::Failed(slot_failure(error)))?;
        }
        Ok(())
    }

    /// The next bytes of the pack, into the decoder's input.
    fn receive(&mut self, length: u32) -> Result<(), Ended> {
        let count = usize::try_from(length).unwrap_or(usize::MAX);
        let buffer = self.decoder.input(count);
        self.stream.read_exact(buffer).map_err(|error| {
            let detail = match error.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    "ended before all of it had arrived: the file is truncated".to_owned()
                }
                _ => chain(&error),
            };
            Ended::Broke(FetchError::Transport {
                url: self.url.clone(),
                detail,
            })
        })?;
        self.at += u64::from(length);
        self.fetched.bytes += u64::from(length);
        Ok(())
    }
}

/// The decompressor and its input.
struct Decoder {
    context: DCtx<'static>,
    input: Vec<u8>,
}

impl Decoder {
    fn new() -> Result<Self, InstallFailure> {
        let context = DCtx::try_create().ok_or_else(|| InstallFailure::Slot {
            detail: "not enough memory for the decompressor".into(),
        })?;
        Ok(Self {
            context,
            input: Vec::new(),
        })
    }

    /// Room for the next frame; its length was checked against the signed table.
    fn input(&mut self, length: usize) -> &mut [u8] {
        self.input.resize(length, 0);
        &mut self.input
    }

    /// Whether the input is one frame that fills `out` exactly. The output's length is the
    /// limit: a frame that claims more is refused by the decompressor itself.
    fn decode(&mut self, out: &mut [u8]) -> bool {
        let length = out.len();
        matches!(self.context.decompress(out, &self.input), Ok(written) if written == length)
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

#[cfg(test)]
mod tests;
