//! One streaming pass: network → decode → inactive slot. Nothing is staged anywhere else.
//!
//! Each frame of the pack decodes to one segment of the image; a segment is written only when
//! its digest is in the signed list. Memory is one frame and one segment, whatever the image's
//! size. A break in the network is waited out and taken up again at the frame where it happened;
//! a restart finds in the slot itself how far it came.

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
    ) -> Result<VerifiedSlot, InstallFailure> {
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
        writer
            .skip_present(|index| segments.get(index).copied(), self.cancel)
            .map_err(slot_failure)?;
        let received = self.write(document, &segments, &frames, &mut writer)?;

        let total = document.image.size;
        let synced = writer.sync().map_err(slot_failure)?;
        let progress = &mut self.progress;
        synced
            .verify(&identity(document), self.cancel, &mut |done| {
                progress(InstallProgress {
                    stage: Stage::Verifying,
                    done,
                    total,
                    received,
                });
            })
            .map_err(slot_failure)
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

    /// Every segment that is still missing; gives the bytes received for them.
    fn write(
        &mut self,
        release: &Release,
        segments: &SegmentList,
        frames: &FrameTable,
        writer: &mut SlotWriter,
    ) -> Result<u64, InstallFailure> {
        let path = release.full.blob.path();
        let mut decoder = Decoder::new()?;
        let mut received = 0;
        let mut breaks = 0;
        while let Some((first, _)) = writer.next() {
            let Some((offset, _)) = frames.range(first) else {
                let detail = format!("{path}: has no frame for segment {first}");
                return Err(InstallFailure::Content { detail });
            };
            let broke = match self.source.stream(&path, offset) {
                Err(error) => error,
                Ok(mut stream) => {
                    let mut pass = Pass {
                        segments,
                        frames,
                        decoder: &mut decoder,
                        stream: &mut *stream,
                        url: self.source.url(&path),
                        total: release.image.size,
                        received: &mut received,
                    };
                    let before = writer.next();
                    let ended = pass.run(writer, self.cancel, &mut *self.progress);
                    if writer.next() != before {
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
        Ok(received)
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
    url: String,
    total: u64,
    received: &'a mut u64,
}

impl Pass<'_> {
    fn run(
        &mut self,
        writer: &mut SlotWriter,
        cancel: &Cancel,
        progress: &mut dyn FnMut(InstallProgress),
    ) -> Result<(), Ended> {
        let mut done = writer.written();
        while let Some((index, length)) = writer.next() {
            cancel
                .check()
                .map_err(|error| Ended::Failed(slot_failure(error)))?;
            let (Some((_, frame)), Some(wanted)) =
                (self.frames.range(index), self.segments.get(index))
            else {
                let detail = format!("{}: has no frame for segment {index}", self.url);
                return Err(Ended::Failed(InstallFailure::Content { detail }));
            };
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
            done += u64::try_from(length).unwrap_or(0);
            progress(InstallProgress {
                stage: Stage::Writing,
                done,
                total: self.total,
                received: *self.received,
            });
        }
        Ok(())
    }

    fn receive(&mut self, length: u32) -> Result<(), Ended> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let buffer = self.decoder.input(length);
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
        *self.received += u64::try_from(length).unwrap_or(0);
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
