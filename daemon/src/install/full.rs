//! The whole image: one frame for each segment, those left out that the slot holds already.

use std::io::Read;

use switchback_manifest::Release;
use switchback_types::Digest;
use switchback_update_core::InstallFailure;
use zstd_safe::DCtx;

use super::{Fetched, InstallProgress, Installer, Looked, Stage, slot_failure};
use crate::cancel::Cancel;
use crate::fetch::FetchError;
use crate::report::chain;
use crate::slot::SlotWriter;

impl Installer<'_> {
    /// Every segment before number `until` that the slot does not hold.
    pub(super) fn write_frames(
        &mut self,
        release: &Release,
        looked: &Looked,
        until: u64,
        writer: &mut SlotWriter,
        fetched: &mut Fetched,
    ) -> Result<(), InstallFailure> {
        let wanted = Wanted { looked, until };
        let path = release.full.blob.path();
        let mut decoder = Decoder::new()?;
        let mut breaks = 0;
        loop {
            writer
                .skip_present(|index| wanted.digest(index).copied(), self.cancel)
                .map_err(slot_failure)?;
            let Some((first, _)) = writer.next().filter(|(index, _)| *index < until) else {
                return Ok(());
            };
            let Some((offset, _)) = looked.frames.range(first) else {
                let detail = format!("{path}: has no frame for segment {first}");
                return Err(InstallFailure::Content { detail });
            };
            let broke = match self.source.stream(&path, offset) {
                Err(error) => error,
                Ok(mut stream) => {
                    let before = fetched.segments;
                    let mut pass = Pass {
                        wanted: &wanted,
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
}

/// Which segments are wanted, and their frames.
struct Wanted<'a> {
    looked: &'a Looked,
    until: u64,
}

impl Wanted<'_> {
    fn digest(&self, index: u64) -> Option<&Digest> {
        let digest = self.looked.segments.get(index);
        digest.filter(|_| index < self.until)
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
    wanted: &'a Wanted<'a>,
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
        let until = self.wanted.until;
        while let Some((index, _)) = writer.next().filter(|(index, _)| *index < until) {
            cancel
                .check()
                .map_err(|error| Ended::Failed(slot_failure(error)))?;
            let range = self.wanted.looked.frames.range(index);
            let Some(((offset, frame), wanted)) = range.zip(self.wanted.digest(index)) else {
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
                .skip_present(|index| self.wanted.digest(index).copied(), cancel)
                .map_err(|error| Ended::Failed(slot_failure(error)))?;
        }
        Ok(())
    }

    /// The next bytes of the pack, into the decoder's input.
    fn receive(&mut self, length: u32) -> Result<(), Ended> {
        let count = usize::try_from(length).unwrap_or(usize::MAX);
        let buffer = self.decoder.input(count);
        self.stream.read_exact(buffer).map_err(|error| {
            let url = self.url.clone();
            Ended::Broke(match error.kind() {
                std::io::ErrorKind::UnexpectedEof => FetchError::EndedEarly { url },
                _ => FetchError::Transport {
                    url,
                    detail: chain(&error),
                },
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
