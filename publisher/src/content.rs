//! Cuts an image into segments, compresses them and stores the three blobs that hold them.
//!
//! One thread reads and digests the image, two compress, the caller's writes the pack. The
//! queues between them hold one segment each, so memory stays at a few segments however large
//! the image is. The result depends on the image, the segment size and the level only.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest as _, Sha256};
use switchback_manifest::{BlobRef, FrameTable, MAX_IMAGE_BYTES, Pack, SegmentList};
use switchback_types::Digest;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use crate::deltas::{Progress, Watch};
use crate::error::{RepoError, io};
use crate::store::Store;

/// As many as the smallest build machines have cores.
const WORKERS: usize = 2;

/// How an image is cut and compressed.
#[derive(Debug, Clone, Copy)]
pub struct Packing {
    /// Bytes per segment, a power of two.
    pub segment_size: u32,
    /// Compression level, 1 to 22.
    pub level: i32,
    /// Compression level of chunks, 1 to 22; none are stored without.
    pub chunk_level: Option<i32>,
}

/// The blobs of an image, stored.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// Length of the image in bytes.
    pub size: u64,
    /// SHA-256 of the image.
    pub sha256: Digest,
    /// The blob with the digest of every segment.
    pub segments: BlobRef,
    /// The compressed image and its frame table.
    pub full: Pack,
}

/// A segment on its way to a compressor, or a frame on its way to the pack.
struct Segment {
    index: u64,
    bytes: Vec<u8>,
}

struct Frame {
    digest: Digest,
    bytes: Vec<u8>,
}

/// What digests know of an image.
struct ImageDigest {
    size: u64,
    sha256: Digest,
}

/// Stores the image's blobs. `progress` is told how many bytes of the image are done.
///
/// # Errors
/// [`RepoError::ImageEmpty`], [`RepoError::ImageTooLarge`], [`RepoError::ImageChanged`],
/// [`RepoError::Compression`] and [`RepoError::Io`]. Nothing was published then: a blob that no
/// document names is harmless.
pub fn store_image(
    store: &Store,
    path: &Path,
    packing: Packing,
    progress: &Watch<'_>,
) -> Result<StoredImage, RepoError> {
    let file = File::open(path).map_err(io("open", path))?;
    let size = image_size(&file, path)?;
    let mut pack = store.stage()?;
    let mut sink = DigestingWriter::new(BufWriter::new(pack.as_file_mut()));
    let mut digests = Vec::new();
    let mut lengths = Vec::new();
    let image = compress(file, path, packing, |frame| {
        sink.write_all(&frame.bytes)
            .map_err(io("write the pack for", path))?;
        digests.push(frame.digest);
        // A frame is at most a little longer than a segment, which has 32 bits.
        lengths.push(u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX));
        progress(Progress::Packed(
            digests.len() as u64 * u64::from(packing.segment_size),
        ));
        Ok(())
    })?;
    if image.size != size {
        return Err(RepoError::ImageChanged {
            path: path.into(),
            expected: size,
            found: image.size,
        });
    }
    sink.flush().map_err(io("write the pack for", path))?;
    let (_, blob) = sink.finish();
    keep_blob(store, pack, &blob)?;
    let segments = put_blob(store, &SegmentList::from_digests(digests).to_bytes())?;
    let frames = put_blob(store, &FrameTable::encode(&lengths))?;
    Ok(StoredImage {
        size,
        sha256: image.sha256,
        segments,
        full: Pack { blob, frames },
    })
}

fn image_size(file: &File, path: &Path) -> Result<u64, RepoError> {
    let metadata = file.metadata().map_err(io("read", path))?;
    match metadata.len() {
        0 => Err(RepoError::ImageEmpty { path: path.into() }),
        size if size > MAX_IMAGE_BYTES => Err(RepoError::ImageTooLarge {
            path: path.into(),
            size,
            limit: MAX_IMAGE_BYTES,
        }),
        size => Ok(size),
    }
}

/// Runs the reader and the compressors and gives the frames to `take`, in order.
fn compress(
    file: File,
    path: &Path,
    packing: Packing,
    mut take: impl FnMut(Frame) -> Result<(), RepoError>,
) -> Result<ImageDigest, RepoError> {
    std::thread::scope(|scope| {
        let mut inputs = Vec::with_capacity(WORKERS);
        let mut outputs = Vec::with_capacity(WORKERS);
        for _ in 0..WORKERS {
            let (to_worker, segments) = sync_channel::<Segment>(1);
            let (to_writer, frames) = sync_channel(1);
            inputs.push(to_worker);
            outputs.push(frames);
            scope.spawn(move || compress_segments(&segments, &to_writer, path, packing));
        }
        let reader = scope.spawn(move || read_segments(file, path, packing, &inputs));
        // Segments are dealt out in turn, so the frames come back in order the same way.
        for frames in outputs.iter().cycle() {
            match frames.recv() {
                Ok(frame) => take(frame?)?,
                // The worker whose turn it is has no more: neither have the others.
                Err(_) => break,
            }
        }
        drop(outputs);
        match reader.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Reads and digests the image and deals its segments out to the workers in turn.
fn read_segments(
    mut file: File,
    path: &Path,
    packing: Packing,
    workers: &[SyncSender<Segment>],
) -> Result<ImageDigest, RepoError> {
    let mut hasher = Sha256::new();
    let mut size = 0_u64;
    for (index, worker) in (0_u64..).zip(workers.iter().cycle()) {
        let mut bytes = Vec::with_capacity(packing.segment_size as usize);
        let count = (&mut file)
            .take(u64::from(packing.segment_size))
            .read_to_end(&mut bytes)
            .map_err(io("read", path))?;
        if count == 0 {
            break;
        }
        hasher.update(&bytes);
        size += count as u64;
        if worker.send(Segment { index, bytes }).is_err() {
            // The worker failed; the writer has its error.
            break;
        }
    }
    Ok(ImageDigest {
        size,
        sha256: Digest::from_bytes(hasher.finalize().into()),
    })
}

fn compress_segments(
    segments: &Receiver<Segment>,
    frames: &SyncSender<Result<Frame, RepoError>>,
    path: &Path,
    packing: Packing,
) {
    let mut compressor = None;
    for segment in segments {
        let frame = compress_segment(&mut compressor, &segment, packing).map_err(|source| {
            RepoError::Compression {
                path: path.into(),
                index: segment.index,
                source,
            }
        });
        let failed = frame.is_err();
        if frames.send(frame).is_err() || failed {
            break;
        }
    }
}

/// One independent frame: its length is in its header, so that a device allocates exactly; no
/// checksum, because every segment has a signed digest; the window never exceeds the segment.
fn compress_segment(
    compressor: &mut Option<Compressor<'static>>,
    segment: &Segment,
    packing: Packing,
) -> io::Result<Frame> {
    let compressor = match compressor {
        Some(compressor) => compressor,
        None => {
            let mut new = Compressor::new(packing.level)?;
            new.set_parameter(CParameter::ContentSizeFlag(true))?;
            new.set_parameter(CParameter::ChecksumFlag(false))?;
            new.set_parameter(CParameter::WindowLog(packing.segment_size.ilog2()))?;
            compressor.insert(new)
        }
    };
    Ok(Frame {
        digest: Digest::from_bytes(Sha256::digest(&segment.bytes).into()),
        bytes: compressor.compress(&segment.bytes)?,
    })
}

/// Makes a staged file the blob that it is.
pub(crate) fn keep_blob(
    store: &Store,
    file: tempfile::NamedTempFile,
    blob: &BlobRef,
) -> Result<(), RepoError> {
    if is_stored(store, blob)? {
        return Ok(());
    }
    store.keep(file, &blob.path())
}

/// Stores bytes under their digest.
pub(crate) fn put_blob(store: &Store, bytes: &[u8]) -> Result<BlobRef, RepoError> {
    let blob = BlobRef {
        sha256: Digest::from_bytes(Sha256::digest(bytes).into()),
        length: bytes.len() as u64,
    };
    if !is_stored(store, &blob)? {
        store.put(&blob.path(), bytes)?;
    }
    Ok(blob)
}

/// Whether the blob is there, whole: it is read, so that publishing again mends a damaged one.
fn is_stored(store: &Store, blob: &BlobRef) -> Result<bool, RepoError> {
    let path = store.root().join(blob.path());
    match digest_file(&path) {
        Ok(found) => Ok(found == *blob),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io("read", &path)(error)),
    }
}

/// Digest and length of a file.
pub(crate) fn digest_file(path: &Path) -> io::Result<BlobRef> {
    let mut sink = DigestingWriter::new(io::sink());
    io::copy(&mut File::open(path)?, &mut sink)?;
    Ok(sink.finish().1)
}

/// Passes bytes on and remembers their digest.
pub(crate) struct DigestingWriter<W> {
    inner: W,
    hasher: Sha256,
    length: u64,
}

impl<W: Write> DigestingWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            length: 0,
        }
    }

    /// What was written to, and what was written.
    pub(crate) fn finish(self) -> (W, BlobRef) {
        let blob = BlobRef {
            sha256: Digest::from_bytes(self.hasher.finalize().into()),
            length: self.length,
        };
        (self.inner, blob)
    }
}

impl<W: Write> Write for DigestingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_fails_ends_every_thread() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        std::fs::write(&path, vec![1; 64 * 65_536]).unwrap();
        let packing = Packing {
            segment_size: 65_536,
            level: 1,
            chunk_level: None,
        };
        for survive in [0, 1, 5] {
            let mut taken = 0;
            let result = compress(File::open(&path).unwrap(), &path, packing, |_| {
                if taken == survive {
                    return Err(io("write", &path)(io::Error::other("full")));
                }
                taken += 1;
                Ok(())
            });
            assert!(matches!(result, Err(RepoError::Io { .. })));
        }
    }

    #[test]
    fn frames_arrive_in_the_order_of_their_segments() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        let bytes: Vec<u8> = (0..37_u8).flat_map(|n| vec![n; 65_536]).collect();
        std::fs::write(&path, &bytes).unwrap();
        let packing = Packing {
            segment_size: 65_536,
            level: 1,
            chunk_level: None,
        };
        let mut decoded = Vec::new();
        let image = compress(File::open(&path).unwrap(), &path, packing, |frame| {
            decoded.extend(zstd::bulk::decompress(&frame.bytes, 65_536).unwrap());
            Ok(())
        });
        assert_eq!(image.unwrap().size, bytes.len() as u64);
        assert!(decoded == bytes);
    }
}
