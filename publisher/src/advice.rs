//! What keeps two images needlessly far apart, and which option of which tool mends it.

use crate::filesystem::ext4::Superblock;
use crate::filesystem::tree::Tree;
use crate::filesystem::{erofs, squashfs, uuid};

use switchback_delta::limits::{MAX_PACKED_XZ, MAX_PACKED_ZLIB, MAX_PACKED_ZSTD};
use switchback_delta::{PACKERS, Repacked};
use switchback_types::ByteCount;

/// A delta may be so much larger than all files that changed, before it looks odd: in bytes.
const ODD_ABOVE: u64 = 32 * 1024;

/// Looks at an old image and a new one, whose delta has about `cost` bytes, 0 when that is not
/// known. Each sentence names what differs and the way out.
pub(crate) fn on(old: &[u8], new: &[u8], cost: u64) -> Vec<String> {
    let mut found = Vec::new();
    if let (Some(before), Some(after)) = (Superblock::read(old), Superblock::read(new)) {
        ext4(&before, &after, &mut found);
        let _ = files(old, new, cost, &mut found);
    }
    let squashfs = squashfs::Superblock::read;
    if let (Some(before), Some(after)) = (squashfs(old), squashfs(new)) {
        on_squashfs(&before, &after, &mut found);
    }
    let erofs = erofs::Superblock::read;
    if let (Some(before), Some(after)) = (erofs(old), erofs(new)) {
        on_erofs(&before, &after, &mut found);
    }
    found
}

/// Whether a device can make the blocks of a new image from what is in them.
pub(crate) fn on_blocks(new: &[u8], repacked: &Repacked) -> Option<String> {
    let (library, way_out) = match squashfs::Superblock::read(new) {
        Some(superblock) => {
            let size = usize::try_from(superblock.block_size).unwrap_or(usize::MAX);
            let (library, most) = match superblock.compressor_name() {
                "zstd" => ("zstd", MAX_PACKED_ZSTD),
                "gzip" => ("zlib", MAX_PACKED_ZLIB),
                "xz" => ("xz", MAX_PACKED_XZ),
                _ => ("", 0),
            };
            if size > most {
                return Some(
                    "the delta is one of compressed bytes, which differ far more than what is in \
                     them; build with `mksquashfs -comp zstd -b 128K` (or gzip, or xz)"
                        .into(),
                );
            }
            (library, "a mksquashfs that uses the same version")
        }
        None => {
            let superblock = erofs::Superblock::read(new)?;
            let Some(library) = superblock.packer() else {
                return Some(
                    "the delta is one of compressed bytes, which differ far more than what is in \
                     them; build with `mkfs.erofs -zlz4hc` (or lz4, or zstd)"
                        .into(),
                );
            };
            (
                library,
                "a mkfs.erofs that uses it, without `-Efragments` and `-Ededupe`",
            )
        }
    };
    let Repacked {
        changed,
        reproduced,
        sent,
    } = *repacked;
    let version = PACKERS.iter().find(|(name, _)| *name == library);
    let version = version.map_or("", |(_, version)| *version);
    (reproduced < changed).then(|| {
        format!(
            "{} of {changed} changed blocks do not come out of {library} {version} as they are, \
             which devices have, and are sent compressed ({}); build with {way_out}",
            changed - reproduced,
            ByteCount(sent)
        )
    })
}

fn ext4(before: &Superblock, after: &Superblock, found: &mut Vec<String>) {
    if before.uuid != after.uuid {
        found.push(format!(
            "the file systems have different UUIDs; build with `mke2fs -U {}`",
            uuid(before.uuid)
        ));
    }
    if before.hash_seed != after.hash_seed {
        found.push(format!(
            "the directories are hashed with different seeds; build with \
             `mke2fs -E hash_seed={}`",
            uuid(before.hash_seed)
        ));
    }
    if (before.made, before.written) != (after.made, after.written) {
        found.push(
            "the file systems were made or written at different times; build both with the same \
             SOURCE_DATE_EPOCH (e2fsprogs before 1.47.1: E2FSPROGS_FAKE_TIME)"
                .into(),
        );
    }
    if after.has_journal {
        found.push(
            "the new file system has a journal, which a slot that is only read has no use for; \
             build with `mke2fs -O ^has_journal`"
                .into(),
        );
    }
    if before.block_size != after.block_size {
        found.push(format!(
            "the blocks have {} bytes and had {}; build with `mke2fs -b {}`",
            after.block_size, before.block_size, before.block_size
        ));
    }
}

/// What the files say: many that only got other times, or a delta that is larger than what
/// changed in them explains.
fn files(old: &[u8], new: &[u8], cost: u64, found: &mut Vec<String>) -> Option<()> {
    let before = Tree::read(old)?;
    let after = Tree::read(new)?;
    let differ = before.differences(old, &after, new)?;
    if differ.retimed > differ.files / 10 {
        found.push(format!(
            "{} of {} files have the same content, but other times (accessed, changed or \
             modified); set them all to the time of the build before it fills the file system, \
             and the changed times afterwards with `debugfs -w` and `set_inode_field … ctime`",
            differ.retimed, differ.files
        ));
    } else if cost > differ.bytes.saturating_add(ODD_ABOVE) {
        found.push(format!(
            "only {} of {} files differ, with {} together, but the delta has about {}: blocks or \
             inodes moved; fill both file systems in the same order, with the same options",
            differ.changed,
            differ.files,
            ByteCount(differ.bytes),
            ByteCount(cost)
        ));
    }
    Some(())
}

fn on_squashfs(
    before: &squashfs::Superblock,
    after: &squashfs::Superblock,
    found: &mut Vec<String>,
) {
    if before.made != after.made {
        found.push(
            "the file systems were made at different times; build both with the same \
             SOURCE_DATE_EPOCH, or with `mksquashfs -mkfs-time`"
                .into(),
        );
    }
    if before.block_size != after.block_size {
        found.push(format!(
            "the blocks have {} bytes and had {}; build with `mksquashfs -b {}`",
            after.block_size, before.block_size, before.block_size
        ));
    }
    if before.compressor != after.compressor {
        found.push(format!(
            "the compressor is {} and was {}; build with `mksquashfs -comp {}`",
            after.compressor_name(),
            before.compressor_name(),
            before.compressor_name()
        ));
    }
}

fn on_erofs(before: &erofs::Superblock, after: &erofs::Superblock, found: &mut Vec<String>) {
    if before.uuid != after.uuid {
        found.push(format!(
            "the file systems have different UUIDs; build with `mkfs.erofs -U {}`",
            uuid(before.uuid)
        ));
    }
    if before.made != after.made {
        found.push(
            "the file systems were made at different times; build both with the same \
             `mkfs.erofs -T` (or SOURCE_DATE_EPOCH)"
                .into(),
        );
    }
}
