//! Files on their way into a tree, and the parts that all guests share.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::{GuestFile, Ingredients, RootfsSpec, application};
use crate::error::{IoContext as _, Result};
use crate::image::Layers;

/// `IMAGE_ID` of os-release(5), for all guests.
const IMAGE_ID: &str = "switchback-guest";

/// A directory to be laid over a tree.
#[derive(Debug)]
pub(crate) struct Staging(PathBuf);

impl Staging {
    /// An empty directory below `scratch`.
    pub(crate) fn new(scratch: &Path) -> Result<Self> {
        let root = scratch.join("staging");
        fs::create_dir_all(&root).io("make", &root)?;
        Ok(Self(root))
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where `path`, absolute in the guest, is staged.
    fn place(&self, path: &str) -> Result<PathBuf> {
        let place = self.0.join(path.trim_start_matches('/'));
        let parent = place.parent().unwrap_or(&self.0);
        fs::create_dir_all(parent).io("make", parent)?;
        Ok(place)
    }

    /// Stages an empty directory.
    pub(crate) fn directory(&self, path: &str) -> Result<()> {
        let place = self.place(path)?;
        fs::create_dir_all(&place).io("make", &place)
    }

    /// Stages a file.
    pub(crate) fn file(&self, path: &str, file: &GuestFile) -> Result<()> {
        let place = self.place(path)?;
        fs::write(&place, &file.bytes).io("write", &place)?;
        let permissions = fs::Permissions::from_mode(file.mode);
        fs::set_permissions(&place, permissions).io("set the mode of", &place)
    }

    /// Stages a readable text file.
    pub(crate) fn text(&self, path: &str, content: &str) -> Result<()> {
        self.file(path, &GuestFile::text(content))
    }

    /// Stages a copy of a host file, following links, keeping its permissions.
    pub(crate) fn copy(&self, from: &Path, path: &str) -> Result<()> {
        let place = self.place(path)?;
        fs::copy(from, &place).io("copy", from).map(drop)
    }

    /// Stages a symbolic link.
    pub(crate) fn link(&self, path: &str, target: &str) -> Result<()> {
        let place = self.place(path)?;
        symlink(target, &place).io("link", &place)
    }

    /// Stages what every guest has: kernel, identity, the application and the wanted fault.
    pub(crate) fn shared_parts(&self, ingredients: &Ingredients, spec: &RootfsSpec) -> Result<()> {
        self.copy(&ingredients.kernel.image(), "/boot/vmlinuz")?;
        self.copy(&ingredients.initramfs, "/boot/initrd.img")?;
        self.text("/usr/lib/os-release", &os_release(&spec.version))?;
        self.link("/etc/os-release", "../usr/lib/os-release")?;
        self.directory("/efi")?;
        application::stage(self, spec.variant)?;
        if let Some(fault) = spec.variant.init_fault() {
            self.text("/etc/tiny-fault", fault)?;
        }
        Ok(())
    }
}

/// The guest's own files over `below`, then the overlay, then the files given one by one.
pub(super) fn layers_over(
    below: Layers,
    staging: &Staging,
    spec: &RootfsSpec,
    scratch: &Path,
) -> Result<Layers> {
    let mut layers = below.directory(staging.path());
    if let Some(overlay) = &spec.overlay {
        layers = layers.directory(overlay);
    }
    if spec.files.is_empty() {
        return Ok(layers);
    }
    let given = Staging::new(&scratch.join("given"))?;
    for (path, file) in &spec.files {
        given.file(path, file)?;
    }
    Ok(layers.directory(given.path()))
}

fn os_release(version: &str) -> String {
    format!(
        "NAME=\"Switchback test guest\"\nID=switchback-guest\nPRETTY_NAME=\"Switchback test guest \
         {version}\"\nIMAGE_ID={IMAGE_ID}\nIMAGE_VERSION={version}\nVERSION_ID={version}\n"
    )
}
