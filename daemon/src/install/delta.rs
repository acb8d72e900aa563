//! The delta from exactly the image that runs.

use std::io::Read;

use switchback_delta::{Decoder, DeltaError, Images, Source as OldImage, SourceError};
use switchback_manifest::{Delta, Release};
use switchback_types::Digest;

use super::{Fetched, InstallProgress, Installer, Left, Stage};
use crate::fetch::FetchError;
use crate::report::chain;
use crate::slot::{SlotError, SlotReader, hash_slot};

/// Bytes read from the network at once.
const READ: usize = 32 * 1024;
/// Lengths of images that a slot from the factory is hashed for, to find a delta that fits.
const MOST_SIZES: usize = 3;

/// A delta and the image that it leads from.
pub(super) struct Base {
    pub(super) delta: Delta,
    slot: SlotReader,
}

impl OldImage for Base {
    /// What is read is not compared with anything here: it was the image when it was installed, and
    /// what is made of it counts only when it is the signed image.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let read = self
            .slot
            .read_at(buffer, offset)
            .map_err(|error| SourceError::Unreadable(Box::new(error)))?;
        if read < buffer.len() {
            let len = self.delta.from_size;
            return Err(SourceError::TooShort { len });
        }
        Ok(())
    }
}

/// A connection, and where in the blob it stands.
struct Connection {
    at: u64,
    stream: Box<dyn Read + Send>,
}

impl Installer<'_> {
    /// The delta of this release that leads from what runs.
    pub(super) fn base(&self, document: &Release) -> Option<Base> {
        let running = self.running?;
        let delta = match running.sequence {
            0 => self.fits_factory_slot(document),
            _ => document.delta_from(&running.sha256),
        }?;
        match SlotReader::open(self.layout, self.layout.booted) {
            Ok(slot) => Some(Base {
                delta: delta.clone(),
                slot,
            }),
            Err(error) => {
                tracing::warn!("no delta is used: {}", chain(&error));
                None
            }
        }
    }

    /// Of a slot that nobody wrote through this program only the whole partition is known: it may
    /// begin with the image of a release.
    fn fits_factory_slot<'d>(&self, document: &'d Release) -> Option<&'d Delta> {
        let known = || document.deltas.iter().filter(|d| d.format.is_known());
        let mut sizes: Vec<u64> = known().map(|delta| delta.from_size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes.into_iter().take(MOST_SIZES).find_map(|size| {
            let booted = self.layout.booted;
            let (found, _) = hash_slot(self.layout, booted, Some(size), self.cancel).ok()?;
            known().find(|delta| (delta.from, delta.from_size) == (found, size))
        })
    }

    /// Writes the image from segment `first` on, and proves all of it.
    pub(super) fn by_delta(
        &mut self,
        document: &Release,
        mut base: Base,
        first: u64,
        fetched: &mut Fetched,
    ) -> Result<(), Left> {
        let mut writer = self.writer(document).map_err(Left::Failed)?;
        writer.skip_to(first);
        let images = images(&base.delta, &document.image.sha256, document.image.size);
        let mut decoder = Decoder::from_segment(images, first);
        let path = base.delta.blob.path();
        let url = self.source.url(&path);
        let unfit = |error: DeltaError| Left::Unfit(format!("{url}: {}", chain(&error)));
        let mut connection = None;
        let mut buffer = vec![0; READ];
        let mut breaks = 0;
        loop {
            while let Some(segment) = decoder.segment(&mut base).map_err(unfit)? {
                self.cancel.check()?;
                if writer.next() != Some((segment.index, segment.bytes.len())) {
                    let why = format!("{url}: has segments of another size than the image");
                    return Err(Left::Unfit(why));
                }
                fetched.segments += u64::from(writer.put(segment.bytes)?);
                (self.progress)(InstallProgress {
                    stage: Stage::Writing,
                    done: writer.written(),
                    total: document.image.size,
                    received: fetched.bytes,
                });
            }
            let Some(needed) = decoder.needs() else {
                break;
            };
            self.cancel.check()?;
            if needed.end > base.delta.blob.length {
                let why = format!("{url}: speaks of bytes after its end");
                return Err(Left::Unfit(why));
            }
            match self.receive(&mut connection, &path, &needed, &mut buffer) {
                Ok(bytes) => {
                    breaks = 0;
                    fetched.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    decoder.feed(needed.start, bytes).map_err(unfit)?;
                }
                Err(error) => {
                    connection = None;
                    self.after_break_of_way(&mut breaks, &error)?;
                }
            }
        }
        let synced = writer.sync()?;
        self.verify(document, synced, fetched.bytes)
            .map_err(|error| match error {
                SlotError::Differs { .. } => Left::Unfit(format!(
                    "{url}: makes another image of what runs, which may not be what was installed: \
                     {}",
                    chain(&error)
                )),
                error => error.into(),
            })
    }

    /// Some of the bytes needed.
    fn receive<'b>(
        &self,
        connection: &mut Option<Connection>,
        path: &str,
        needed: &std::ops::Range<u64>,
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], FetchError> {
        let there = connection.take().filter(|there| there.at == needed.start);
        let mut there = match there {
            Some(there) => there,
            None => Connection {
                at: needed.start,
                stream: self.source.stream(path, needed.start)?,
            },
        };
        let most = usize::try_from(needed.end - needed.start).unwrap_or(usize::MAX);
        let room = buffer.len().min(most);
        let part = buffer.get_mut(..room).unwrap_or_default();
        let url = || self.source.url(path);
        let count = there
            .stream
            .read(part)
            .map_err(|error| FetchError::Transport {
                url: url(),
                detail: chain(&error),
            })?;
        if count == 0 {
            return Err(FetchError::EndedEarly { url: url() });
        }
        there.at += u64::try_from(count).unwrap_or(u64::MAX);
        *connection = Some(there);
        Ok(buffer.get(..count).unwrap_or_default())
    }
}

const fn images(delta: &Delta, wanted: &Digest, size: u64) -> Images {
    Images {
        old_len: delta.from_size,
        new_len: size,
        old_sha256: delta.from,
        new_sha256: *wanted,
    }
}
