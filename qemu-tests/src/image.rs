//! From a directory tree to an ext4 image, without mounting anything and without root.
//!
//! The same tree gives the same bytes on one host: no journal, fixed UUIDs and fixed times. The
//! order in which mke2fs meets files is the host file system's, so two hosts may differ.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::command::Run;
use crate::error::{IoContext as _, Result};

/// Every time in an image, seconds since 1970: 2025-01-01.
pub(crate) const EPOCH: &str = "1735689600";

const UUID: &str = "5b0c1a52-6c0f-4d0e-9a57-5e1f00000001";
const HASH_SEED: &str = "5b0c1a52-6c0f-4d0e-9a57-5e1f00000002";

const BLOCK: u64 = 4096;
const INODE: u64 = 256;

/// Sizes are multiples of this, in bytes: the device's segments divide it.
const SIZE_STEP: u64 = 4 << 20;

/// Room for group descriptors, bitmaps, directories that grow: measured need is below half of it.
const MARGIN: u64 = 1 << 20;

/// An image file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
}

impl Image {
    /// Takes an existing file as an image.
    ///
    /// # Errors
    /// The file cannot be examined.
    pub fn at(path: PathBuf) -> Result<Self> {
        let size = fs::metadata(&path).io("look at", &path)?.len();
        Ok(Self { path, size })
    }
}

/// A root file system under construction; the owners of its files live in fakeroot's state file.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    owners: PathBuf,
}

impl Tree {
    /// An empty tree below `scratch`.
    pub(crate) fn new(scratch: &Path) -> Result<Self> {
        let root = scratch.join("tree");
        fs::create_dir(&root).io("make", &root)?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).io("open up", &root)?;
        Ok(Self {
            root,
            owners: scratch.join("owners"),
        })
    }

    /// Unpacks a tar file, leaving out what matches `excludes` (tar patterns, `./usr/share/doc`).
    pub(crate) fn unpack(&self, tar: &Path, excludes: &[&str]) -> Result<()> {
        let excludes = excludes
            .iter()
            .map(|pattern| format!("--exclude={pattern}"));
        self.fakeroot("tar")
            .args(["--wildcards", "-xpf"])
            .arg(tar)
            .arg("-C")
            .arg(&self.root)
            .args(excludes)
            .check()?;
        // mke2fs must be able to read files of mode 000, such as gshadow.
        self.fakeroot("chmod")
            .args(["-R", "u+r"])
            .arg(&self.root)
            .check()
    }

    /// Lays `directory` over the tree; its files come to belong to root.
    pub(crate) fn add(&self, directory: &Path) -> Result<()> {
        let script = "tar -C \"$1\" --owner=0 --group=0 --exclude-vcs -cf - . \
                      | tar -C \"$2\" --no-overwrite-dir --keep-directory-symlink -xpf -";
        self.fakeroot("sh")
            .args(["-c", script, "lay-over"])
            .arg(directory)
            .arg(&self.root)
            .check()
    }

    /// Makes the image `out`, as large as the tree needs.
    pub(crate) fn into_ext4(self, out: &Path) -> Result<Image> {
        self.fakeroot("chown")
            .args(["0:0"])
            .arg(&self.root)
            .check()?;
        let touch = ["-exec", "touch", "--no-dereference", "--date"];
        let date = format!("@{EPOCH}");
        self.fakeroot("find")
            .arg(&self.root)
            .args(touch)
            .args([&date, "{}", "+"])
            .check()?;

        let need = Need::of(&self.root)?;
        let size = need.image_size();
        let file = fs::File::create(out).io("create", out)?;
        file.set_len(size).io("size", out)?;
        self.fakeroot("mke2fs")
            .env("E2FSPROGS_FAKE_TIME", EPOCH)
            .env("SOURCE_DATE_EPOCH", EPOCH)
            .args([
                "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0",
            ])
            // Features named here are not understood by every bootloader that reads slots.
            .args([
                "-O",
                "^has_journal,^resize_inode,^metadata_csum_seed,^orphan_file",
            ])
            .args([
                "-U",
                UUID,
                "-E",
                &format!("hash_seed={HASH_SEED},lazy_itable_init=0"),
            ])
            .args(["-N", &need.inode_count().to_string(), "-d"])
            .arg(&self.root)
            .arg(out)
            .check()?;
        Ok(Image {
            path: out.to_owned(),
            size,
        })
    }

    fn fakeroot(&self, program: &str) -> Run {
        let mut run = Run::new("fakeroot");
        if self.owners.exists() {
            run = run.arg("-i").arg(&self.owners);
        }
        run.arg("-s").arg(&self.owners).args(["--", program])
    }
}

/// What a tree needs of a file system.
#[derive(Debug, Default, Clone, Copy)]
struct Need {
    inodes: u64,
    blocks: u64,
}

impl Need {
    fn of(directory: &Path) -> Result<Self> {
        let mut need = Self {
            inodes: 1,
            blocks: 1,
        };
        for entry in fs::read_dir(directory).io("list", directory)? {
            let path = entry.io("list", directory)?.path();
            let status = fs::symlink_metadata(&path).io("look at", &path)?;
            if status.is_dir() {
                let below = Self::of(&path)?;
                need.inodes += below.inodes;
                need.blocks += below.blocks;
            } else {
                need.inodes += 1;
                need.blocks += status.len().div_ceil(BLOCK);
            }
        }
        Ok(need)
    }

    /// With the inodes that ext4 reserves and a few to spare.
    fn inode_count(self) -> u64 {
        self.inodes + self.inodes / 16 + 64
    }

    fn image_size(self) -> u64 {
        let files = self.blocks * BLOCK;
        let tables = self.inode_count() * INODE;
        // 1/64: extent blocks of large files and the bitmaps of each block group.
        (files + files / 64 + tables + MARGIN).next_multiple_of(SIZE_STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::{SIZE_STEP, Tree};
    use std::fs;

    #[test]
    fn same_tree_gives_same_image_owned_by_root() {
        let scratch = tempfile::tempdir().unwrap();
        let source = scratch.path().join("source");
        fs::create_dir_all(source.join("etc")).unwrap();
        fs::write(source.join("etc/hello"), b"world").unwrap();
        let image = |name: &str| {
            let place = scratch.path().join(name);
            fs::create_dir(&place).unwrap();
            let tree = Tree::new(&place).unwrap();
            tree.add(&source).unwrap();
            tree.into_ext4(&place.join("image")).unwrap()
        };
        let (one, two) = (image("one"), image("two"));
        assert_eq!(one.size, SIZE_STEP);
        assert!(fs::read(&one.path).unwrap() == fs::read(&two.path).unwrap());

        let debugfs = |request: &str| {
            let run = crate::command::Run::new("debugfs")
                .args(["-R", request])
                .arg(&one.path);
            run.text().unwrap()
        };
        assert_eq!(debugfs("cat /etc/hello"), "world");
        let status = debugfs("stat /etc/hello");
        assert!(status.contains("User:     0   Group:     0"), "{status}");
    }
}
