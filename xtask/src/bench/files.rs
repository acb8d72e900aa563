//! Files: their sizes, their bytes.

use std::fs::File;
use std::io::{BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Read and written at a time.
const PIECE: usize = 1 << 20;
/// What an empty slot is filled with: nothing that an image could be made of.
const FILLING: u8 = 0xa5;

/// A file's length.
pub(crate) fn size(path: &Path) -> anyhow::Result<u64> {
    let metadata = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(metadata.len())
}

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    Ok(BufReader::with_capacity(PIECE, file))
}

/// Reads until `out` is full or the file ends; how much was read.
pub(crate) fn fill_from(file: &mut impl Read, out: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Whether two files hold the same bytes.
pub(crate) fn same(one: &Path, other: &Path) -> anyhow::Result<bool> {
    if size(one)? != size(other)? {
        return Ok(false);
    }
    let (mut first, mut second) = (open(one)?, open(other)?);
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let read = fill_from(&mut first, &mut left).with_context(|| one.display().to_string())?;
        let also =
            fill_from(&mut second, &mut right).with_context(|| other.display().to_string())?;
        if left.get(..read) != right.get(..also) {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// A slot with nothing of use in it, all of its blocks allocated and on the disk.
pub(crate) fn make_slot(path: &Path, length: u64) -> anyhow::Result<()> {
    let make = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        let piece = vec![FILLING; PIECE];
        let mut rest = length;
        while rest > 0 {
            let now = usize::try_from(rest).unwrap_or(PIECE).min(PIECE);
            file.write_all(piece.get(..now).unwrap_or_default())?;
            rest -= now as u64;
        }
        file.sync_all()
    };
    make().with_context(|| path.display().to_string())
}

/// All files below a directory, by their paths in it, with their sizes.
pub(crate) fn listing(directory: &Path) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        let place = directory.join(&below);
        let entries = std::fs::read_dir(&place).with_context(|| place.display().to_string())?;
        for entry in entries {
            let entry = entry.with_context(|| place.display().to_string())?;
            let path = below.join(entry.file_name());
            if entry.path().is_dir() {
                open.push(path);
            } else {
                found.push((path, size(&entry.path())?));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// An empty directory, whatever was there.
pub(crate) fn empty_directory(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        std::fs::remove_dir_all(path).with_context(|| path.display().to_string())?;
    }
    std::fs::create_dir_all(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::{PIECE, listing, make_slot, same, size};
    use std::path::PathBuf;

    #[test]
    fn tells_files_apart_by_their_last_byte() {
        let place = tempfile::tempdir().unwrap();
        let (one, other) = (place.path().join("one"), place.path().join("other"));
        let mut bytes = vec![1; PIECE + 7];
        std::fs::write(&one, &bytes).unwrap();
        std::fs::write(&other, &bytes).unwrap();
        assert!(same(&one, &other).unwrap());
        if let Some(last) = bytes.last_mut() {
            *last = 2;
        }
        std::fs::write(&other, &bytes).unwrap();
        assert!(!same(&one, &other).unwrap());
    }

    #[test]
    fn slot_has_its_length_and_is_listed() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("deep")).unwrap();
        let length = PIECE as u64 + 5;
        make_slot(&place.path().join("deep/slot"), length).unwrap();
        assert_eq!(size(&place.path().join("deep/slot")).unwrap(), length);
        let listed = listing(place.path()).unwrap();
        assert_eq!(listed, [(PathBuf::from("deep/slot"), length)]);
    }
}
