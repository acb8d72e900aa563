//! RAUC's adaptive update, counted: its streaming needs a kernel and a newer release than Debian's.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::files;
use super::peers::Figures;

/// What its block-hash-index counts in.
const BLOCK: usize = 4096;
const LEVEL: i32 = 19;
/// Changes when what is counted does.
pub(crate) const WAY: &str = "counted, 4 KiB, zstd 19";

/// The blocks of `new` that `old` lacks, each compressed alone, and the compressed list of all
/// digests.
pub(crate) fn count(old: &Path, new: &Path) -> anyhow::Result<Figures> {
    let mut held = HashSet::new();
    each_block(old, |_, digest| {
        held.insert(digest);
        Ok(())
    })?;
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    let (mut index, mut wire) = (Vec::new(), 0);
    each_block(new, |block, digest| {
        index.extend_from_slice(&digest);
        // A block that is missing twice is fetched once.
        if held.insert(digest) {
            wire += compressor.compress(block)?.len() as u64;
        }
        Ok(())
    })?;
    wire += compressor.compress(&index)?.len() as u64;
    Ok(Figures {
        wire,
        encode: None,
        apply: None,
    })
}

fn each_block(
    path: &Path,
    mut on: impl FnMut(&[u8], [u8; 32]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut file = files::open(path)?;
    let mut block = vec![0; BLOCK];
    loop {
        block.fill(0);
        let read =
            files::fill_from(&mut file, &mut block).with_context(|| path.display().to_string())?;
        if read == 0 {
            return Ok(());
        }
        let digest: [u8; 32] = Sha256::digest(&block).into();
        on(&block, digest)?;
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, count};

    #[test]
    fn sends_each_missing_block_once_and_the_index() {
        let place = tempfile::tempdir().unwrap();
        let (old, new) = (place.path().join("old"), place.path().join("new"));
        std::fs::write(&old, vec![1; BLOCK * 4]).unwrap();
        std::fs::write(&new, vec![1; BLOCK * 4]).unwrap();
        let nothing = count(&old, &new).unwrap().wire;
        // Two times the same block, which the old image lacks, and the digest of it.
        let mut bytes = vec![1; BLOCK * 2];
        bytes.extend(vec![2; BLOCK * 2]);
        std::fs::write(&new, bytes).unwrap();
        let one = count(&old, &new).unwrap().wire;
        assert!(one > nothing);
        assert!(one < nothing + 100, "{nothing} {one}");
    }
}
