//! Brings an image back out of its pack, for what has to look at it again.
//!
//! The image comes into memory, not into a temporary file: the encoder wants both images as
//! slices, and mapping a file would take `unsafe`. Beside the image one frame is held.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use switchback_manifest::{BlobRef, FrameTable, Release};
use switchback_types::Digest;
use zstd::bulk::Decompressor;

use crate::error::{RepoError, io as io_error};
use crate::repository::digest;

/// The image of a release, decoded from the pack in `repo` and compared with its digest.
///
/// # Errors
/// [`RepoError::Missing`] and [`RepoError::Damaged`] when a blob is not there or is not what was
/// signed, [`RepoError::Document`] when the tables contradict the release, [`RepoError::Io`].
pub(crate) fn image(repo: &Path, release: &Release) -> Result<Vec<u8>, RepoError> {
    let table = blob(repo, &release.full.frames)?;
    let frames = FrameTable::parse(&table, &release.image, &release.full).map_err(|source| {
        RepoError::Document {
            path: release.full.frames.path(),
            source,
        }
    })?;
    let path = repo.join(release.full.blob.path());
    let mut pack = open(&path, &release.full.blob)?;
    let size = usize::try_from(release.image.size).map_err(|_| too_large(&path))?;
    let mut image = Vec::new();
    image
        .try_reserve_exact(size)
        .map_err(|_| too_large(&path))?;
    let damaged = || RepoError::Damaged {
        path: path.clone(),
        expected: release.full.blob.sha256,
    };
    let mut decompressor = Decompressor::new().map_err(io_error("decompress", &path))?;
    let mut frame = Vec::new();
    for index in 0..frames.count() {
        let (_, length) = frames.range(index).ok_or_else(damaged)?;
        let (_, segment) = release.image.segment_range(index).ok_or_else(damaged)?;
        frame.resize(length as usize, 0);
        pack.read_exact(&mut frame).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return damaged();
            }
            io_error("read", &path)(error)
        })?;
        let made = decompressor
            .decompress(&frame, segment as usize)
            .map_err(|_| damaged())?;
        image.extend_from_slice(&made);
    }
    if Digest::from_bytes(Sha256::digest(&image).into()) != release.image.sha256 {
        return Err(damaged());
    }
    Ok(image)
}

/// Reads a whole blob and compares its digest.
///
/// # Errors
/// [`RepoError::Missing`], [`RepoError::Damaged`], [`RepoError::Io`].
pub(crate) fn blob(repo: &Path, blob: &BlobRef) -> Result<Vec<u8>, RepoError> {
    let path = repo.join(blob.path());
    let mut bytes = Vec::new();
    open(&path, blob)?
        .read_to_end(&mut bytes)
        .map_err(io_error("read", &path))?;
    if digest(&bytes) != blob.sha256 {
        return Err(RepoError::Damaged {
            path,
            expected: blob.sha256,
        });
    }
    Ok(bytes)
}

/// Opens a blob whose length is as signed.
pub(crate) fn open(path: &Path, blob: &BlobRef) -> Result<File, RepoError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(RepoError::Missing { path: path.into() });
        }
        Err(error) => return Err(io_error("open", path)(error)),
    };
    let length = file.metadata().map_err(io_error("read", path))?.len();
    if length != blob.length {
        return Err(RepoError::Damaged {
            path: path.into(),
            expected: blob.sha256,
        });
    }
    Ok(file)
}

fn too_large(path: &Path) -> RepoError {
    let source = io::Error::new(io::ErrorKind::OutOfMemory, "it does not fit into memory");
    io_error("unpack", path)(source)
}
