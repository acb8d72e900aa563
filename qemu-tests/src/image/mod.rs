//! From layers of files to an ext4 image, without mounting anything and without root.
//!
//! The same layers give the same bytes on one host: no journal, fixed UUIDs and fixed times. The
//! order in which mke2fs meets files is the host file system's, so two hosts may differ.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::Run;
use crate::error::{IoContext as _, Result};

/// Every time in an image, seconds since 1970: 2025-01-01.
const EPOCH: &str = "1735689600";

const UUID: &str = "5b0c1a52-6c0f-4d0e-9a57-5e1f00000001";
const HASH_SEED: &str = "5b0c1a52-6c0f-4d0e-9a57-5e1f00000002";

/// Sizes are multiples of this, in bytes: the device's segments divide it.
const SIZE_STEP: u64 = 4 << 20;

/// Room for group descriptors and for directories that need more than one block, in bytes.
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

/// The layers of a root file system, lowest first.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    base: Option<PathBuf>,
    left_out: Vec<&'static str>,
    directories: Vec<PathBuf>,
}

impl Layers {
    /// Starts with a tar file, without what matches `left_out` (tar patterns such as
    /// `./usr/share/doc`). Owners and permissions are kept.
    pub(crate) fn base(mut self, tar: &Path, left_out: &[&'static str]) -> Self {
        self.base = Some(tar.to_owned());
        self.left_out = left_out.to_vec();
        self
    }

    /// Lays `directory` over what is there; its files come to belong to root. A directory that
    /// meets a link to a directory goes where the link leads.
    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.directories.push(directory.to_owned());
        self
    }

    /// Makes the image `out`, as large as the files need.
    pub(crate) fn into_ext4(self, out: &Path) -> Result<Image> {
        let parent = out.parent().unwrap_or(Path::new("."));
        let scratch = tempfile::tempdir_in(parent).io("make a directory in", parent)?;
        let excludes = scratch.path().join("excludes");
        fs::write(&excludes, self.left_out.join("\n")).io("write", &excludes)?;
        Run::new("fakeroot")
            .args(["--", "sh", "-c", include_str!("pack.sh"), "pack.sh"])
            .arg(out)
            .arg(scratch.path())
            .arg(self.base.unwrap_or_default())
            .arg(&excludes)
            .args(&self.directories)
            .env("EPOCH", EPOCH)
            .env("E2FSPROGS_FAKE_TIME", EPOCH)
            .env("FS_UUID", UUID)
            .env("FS_HASH_SEED", HASH_SEED)
            .env("SIZE_STEP", SIZE_STEP.to_string())
            .env("MARGIN", MARGIN.to_string())
            .check()?;
        Image::at(out.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{Layers, SIZE_STEP};
    use crate::command::Run;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn same_layers_give_the_same_image() {
        let scratch = tempfile::tempdir().unwrap();
        let source = scratch.path().join("source");
        fs::create_dir_all(source.join("etc")).unwrap();
        fs::write(source.join("etc/hello"), b"world").unwrap();
        let image = |name: &str| {
            Layers::default()
                .directory(&source)
                .into_ext4(&scratch.path().join(name))
                .unwrap()
        };
        let one = image("one");
        // Times in an image are whole seconds: two of them must not be made in the same one.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let two = image("two");
        assert_eq!(one.size, SIZE_STEP);
        assert!(fs::read(&one.path).unwrap() == fs::read(&two.path).unwrap());
    }

    #[test]
    fn layers_follow_links_and_belong_to_root() {
        let scratch = tempfile::tempdir().unwrap();
        let (low, high) = (scratch.path().join("low"), scratch.path().join("high"));
        fs::create_dir_all(low.join("usr/bin")).unwrap();
        symlink("usr/bin", low.join("bin")).unwrap();
        fs::write(low.join("usr/bin/tool"), b"old").unwrap();
        fs::create_dir_all(high.join("bin")).unwrap();
        fs::write(high.join("bin/tool"), b"new").unwrap();
        let image = Layers::default()
            .directory(&low)
            .directory(&high)
            .into_ext4(&scratch.path().join("image"))
            .unwrap();
        let debugfs = |request: &str| {
            Run::new("debugfs")
                .args(["-R", request])
                .arg(&image.path)
                .text()
                .unwrap()
        };
        assert_eq!(debugfs("cat /usr/bin/tool"), "new");
        let status = debugfs("stat /usr/bin/tool");
        assert!(status.contains("User:     0   Group:     0"), "{status}");
    }
}
