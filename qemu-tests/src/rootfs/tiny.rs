//! The tiny guest: `guest-init` as PID 1, busybox, the daemon and the libraries it needs.
//!
//! Once up it prints `SB: TINY-UP slot=… version=…`, runs `/usr/bin/switchbackd` with its output
//! on the console and a shell on the same console; `reboot` restarts in order.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::staging::{Staging, layers_over};
use super::{Ingredients, RootfsSpec};
use crate::error::{IoContext as _, Result};
use crate::image::{Image, Layers};
use crate::program::libraries;

/// The line that the guest prints when it is up starts with this.
pub const UP: &str = "SB: TINY-UP";

/// Names under which busybox is called; its own shell finds all others by itself.
const APPLETS: &[&str] = &["sh", "cat", "sleep"];

/// Mount points and directories that programs expect.
const DIRECTORIES: &[&str] = &[
    "/dev", "/proc", "/sys", "/run", "/tmp", "/var", "/etc", "/root", "/usr/lib", "/usr/bin",
];

/// Builder of tiny guests.
#[derive(Debug)]
pub struct TinyRootfs<'a> {
    ingredients: &'a Ingredients,
    busybox: PathBuf,
}

impl<'a> TinyRootfs<'a> {
    /// Fetches busybox.
    ///
    /// # Errors
    /// The package cannot be downloaded.
    pub fn new(ingredients: &'a Ingredients) -> Result<Self> {
        let package = ingredients.archive.unpack("busybox-static")?;
        let usr_merged = package.join("usr/bin/busybox");
        let busybox = if usr_merged.exists() {
            usr_merged
        } else {
            package.join("bin/busybox")
        };
        Ok(Self {
            ingredients,
            busybox,
        })
    }

    /// The image for `spec`, built when it is new.
    ///
    /// # Errors
    /// A file cannot be read, or making the image failed.
    pub fn image(&self, spec: &RootfsSpec) -> Result<Image> {
        let key = spec.add_to(self.ingredients.key("tiny-1").file(&self.busybox)?)?;
        let entry = self.ingredients.cache.entry("tiny", &key, |directory| {
            let scratch = tempfile::tempdir_in(directory).io("make a directory in", directory)?;
            let layers = self.layers(spec, scratch.path())?;
            layers.into_ext4(&directory.join("image.ext4")).map(drop)
        })?;
        Image::at(entry.join("image.ext4"))
    }

    fn layers(&self, spec: &RootfsSpec, scratch: &Path) -> Result<Layers> {
        let staging = Staging::new(scratch)?;
        for directory in DIRECTORIES {
            staging.directory(directory)?;
        }
        // Merged /usr as in Debian, so that overlays fit both guests.
        for (link, target) in [("bin", "usr/bin"), ("sbin", "usr/bin"), ("usr/sbin", "bin")] {
            staging.link(link, target)?;
        }
        for (link, target) in [("lib", "usr/lib"), ("lib64", "usr/lib64")] {
            staging.link(link, target)?;
        }
        staging.copy(&self.ingredients.guest_init, "/usr/bin/init")?;
        staging.link("/usr/bin/reboot", "init")?;
        staging.copy(&self.busybox, "/usr/bin/busybox")?;
        for applet in APPLETS {
            staging.link(&format!("/usr/bin/{applet}"), "busybox")?;
        }
        staging.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")?;
        staging.text("/etc/group", "root:x:0:\n")?;
        staging.text("/etc/hostname", "tiny\n")?;
        staging.text("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")?;
        staging.shared_parts(self.ingredients, spec)?;
        if let Some(overlay) = &spec.overlay {
            for library in libraries_below(overlay)? {
                let path = library.to_string_lossy();
                let below_usr = path.strip_prefix("/usr").unwrap_or(&path);
                staging.copy(&library, &format!("/usr{below_usr}"))?;
            }
        }

        layers_over(Layers::default(), &staging, spec, scratch)
    }
}

/// The libraries that the programs of a staged tree need.
fn libraries_below(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).io("list", directory)? {
        let path = entry.io("list", directory)?.path();
        let status = fs::symlink_metadata(&path).io("look at", &path)?;
        if status.is_dir() {
            found.extend(libraries_below(&path)?);
        } else if status.is_file() {
            found.extend(libraries(&path)?);
        }
    }
    Ok(found)
}
