//! Cuts an image into chunks and stores the two blobs that hold them.
//!
//! The image is read once, stretch by stretch; stretches are compressed side by side. The result depends on
//! the image and the level only.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek as _, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use switchback_chunks::{BEHIND, Builder, ChunkError, Cutting, MAX_CHUNK, Packer};
use switchback_manifest::{Chunks, Image, ImageFormat, MAX_CHUNK_INDEX_BYTES};
use switchback_types::Digest;

use crate::content::{DigestingWriter, keep_blob, put_blob};
use crate::deltas::{Progress, Watch};
use crate::error::{RepoError, io};
use crate::store::Store;

/// New bytes of one stretch.
const STRETCH: usize = 2 << 20;

/// Stores the image's chunks; nothing when it has too many for an index. `progress` is told how many bytes
/// of the image are done.
///
/// # Errors
/// [`RepoError::ImageChanged`], [`RepoError::Compression`] and [`RepoError::Io`]. Nothing was published
/// then: a blob that no document names is harmless.
pub(crate) fn store_chunks(
    store: &Store,
    path: &Path,
    image: &Image,
    level: i32,
    progress: &Watch<'_>,
) -> Result<Option<Chunks>, RepoError> {
    let cutting = match image.format {
        ImageFormat::Squashfs => Cutting::content(image.size),
        ImageFormat::Ext4 | ImageFormat::Erofs | ImageFormat::Raw => Cutting::blocks(image.size),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let file = File::open(path).map_err(io("open", path))?;
    let mut stretches = Stretches {
        file,
        cutting,
        bytes: Vec::new(),
        known: 0,
        ended: false,
        hasher: Sha256::new(),
    };
    let mut builder = Builder::new(cutting);
    let mut pack = store.stage()?;
    let mut sink = BufWriter::new(pack.as_file_mut());
    let mut done = 0_u64;
    loop {
        let mut batch = Vec::with_capacity(threads);
        while batch.len() < threads
            && let Some(stretch) = stretches.next().map_err(io("read", path))?
        {
            batch.push(stretch);
        }
        if batch.is_empty() {
            break;
        }
        for (stretch, packed) in batch.iter().zip(compress(&batch, level)) {
            let packed = packed.map_err(|source| RepoError::Compression {
                path: path.into(),
                index: done / u64::from(image.segment_size),
                source: io::Error::other(source),
            })?;
            sink.write_all(&packed.bytes)
                .map_err(io("write the chunks for", path))?;
            for (chunk, length) in stretch.chunks().zip(packed.lengths) {
                builder.push(chunk, length);
                done += chunk.len() as u64;
            }
            progress(Progress::Chunked(done));
        }
    }
    let found = Digest::from_bytes(stretches.hasher.finalize().into());
    if found != image.sha256 {
        return Err(RepoError::ImageChanged {
            path: path.into(),
            expected: image.size,
            found: done,
        });
    }
    sink.flush().map_err(io("write the chunks for", path))?;
    drop(sink);
    let Ok(blobs) = builder.finish() else {
        return Ok(None);
    };
    if blobs.index.len() as u64 > MAX_CHUNK_INDEX_BYTES {
        return Ok(None);
    }
    let mut data = store.stage()?;
    let mut sink = DigestingWriter::new(BufWriter::new(data.as_file_mut()));
    pack.rewind()
        .and_then(|()| sink.write_all(&blobs.lists))
        .and_then(|()| io::copy(&mut pack, &mut sink))
        .and_then(|_| sink.flush())
        .map_err(io("write the chunks for", path))?;
    let (_, blob) = sink.finish();
    keep_blob(store, data, &blob)?;
    Ok(Some(Chunks {
        index: put_blob(store, &blobs.index)?,
        data: blob,
    }))
}

/// Some chunks of the image, behind bytes that come before them.
struct Stretch {
    bytes: Vec<u8>,
    /// So many of the bytes come before the first chunk.
    known: usize,
    lengths: Vec<usize>,
}

impl Stretch {
    fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.get(self.known..).unwrap_or_default();
        self.lengths.iter().map(move |length| {
            let (chunk, after) = rest.split_at_checked(*length).unwrap_or((rest, &[]));
            rest = after;
            chunk
        })
    }
}

/// Cuts a file.
struct Stretches<R> {
    file: R,
    cutting: Cutting,
    /// What was read and is not in a chunk yet, behind what is.
    bytes: Vec<u8>,
    known: usize,
    ended: bool,
    hasher: Sha256,
}

impl<R: Read> Stretches<R> {
    fn next(&mut self) -> io::Result<Option<Stretch>> {
        let wanted = BEHIND + STRETCH + MAX_CHUNK;
        let missing = wanted.saturating_sub(self.bytes.len());
        let read = (&mut self.file)
            .take(missing as u64)
            .read_to_end(&mut self.bytes)?;
        self.ended |= read < missing;
        let new = self.bytes.len().saturating_sub(read);
        self.hasher
            .update(self.bytes.get(new..).unwrap_or_default());
        let mut lengths = Vec::new();
        let mut end = self.known;
        while let Some(rest) = self.bytes.get(end..)
            && (rest.len() >= MAX_CHUNK || self.ended)
            && let Some(length) = self.cutting.chunk(rest, self.ended)
        {
            lengths.push(length);
            end += length;
        }
        if lengths.is_empty() {
            return Ok(None);
        }
        let keep = end.saturating_sub(BEHIND);
        let next = self.bytes.get(keep..).unwrap_or_default().to_vec();
        let mut bytes = std::mem::replace(&mut self.bytes, next);
        bytes.truncate(end);
        let known = std::mem::replace(&mut self.known, end - keep);
        Ok(Some(Stretch {
            bytes,
            known,
            lengths,
        }))
    }
}

/// The chunks of a stretch, one after another, and their lengths.
struct Packed {
    bytes: Vec<u8>,
    lengths: Vec<u32>,
}

/// One thread for each stretch.
fn compress(batch: &[Stretch], level: i32) -> Vec<Result<Packed, ChunkError>> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = batch
            .iter()
            .map(|stretch| scope.spawn(move || pack(stretch, level)))
            .collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| match worker.join() {
            Ok(packed) => packed,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        workers.into_iter().map(join).collect()
    })
}

fn pack(stretch: &Stretch, level: i32) -> Result<Packed, ChunkError> {
    let mut packer = Packer::new(&stretch.bytes, level)?;
    let mut packed = Packed {
        bytes: Vec::new(),
        lengths: Vec::with_capacity(stretch.lengths.len()),
    };
    let mut place = stretch.known;
    for length in &stretch.lengths {
        let one = packer.pack(place, *length, &mut packed.bytes)?;
        packed.lengths.push(one);
        place += length;
    }
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_all_of_the_image_and_know_what_comes_before() {
        let image: Vec<u8> = (0..9_000_000_u32)
            .map(|at| (at.wrapping_mul(at) >> 13).to_le_bytes()[0])
            .collect();
        for cutting in [Cutting::Blocks { log: 12 }, Cutting::Content { log: 13 }] {
            let mut stretches = Stretches {
                file: &image[..],
                cutting,
                bytes: Vec::new(),
                known: 0,
                ended: false,
                hasher: Sha256::new(),
            };
            let mut place = 0;
            while let Some(stretch) = stretches.next().unwrap() {
                let known = &stretch.bytes[..stretch.known];
                assert_eq!(stretch.known, place.min(BEHIND));
                assert!(image[..place].ends_with(known));
                let before = place;
                for chunk in stretch.chunks() {
                    let length = cutting.chunk(&image[place..], true);
                    assert_eq!(length, Some(chunk.len()));
                    assert!(image[place..].starts_with(chunk));
                    place += chunk.len();
                }
                assert!(place - before >= STRETCH || place == image.len());
            }
            assert_eq!(place, image.len());
        }
    }
}
