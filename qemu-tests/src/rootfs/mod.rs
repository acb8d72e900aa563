//! Guests: what is in a slot's image.
//!
//! Two kinds share kernel and initramfs. The [tiny](tiny) guest holds little more than the daemon
//! and boots in seconds: it is for the many tests with power cuts. The [systemd](systemd) guest is
//! a real small Debian: it is for everything that needs units, D-Bus, or a person's view.

mod application;
mod staging;
pub mod systemd;
mod sysusers;
pub mod tiny;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::cache::{Cache, Key};
use crate::debian::Archive;
use crate::error::Result;
use crate::initramfs::initramfs;
use crate::kernel::Kernel;
use crate::program::build_guest_init;
use crate::tools::{self, GUEST_TOOLS};

pub use systemd::SystemdRootfs;
pub use tiny::TinyRootfs;

/// How a guest behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variant {
    /// As it should.
    Good,
    /// It boots, but its application fails: the health check must notice.
    UnhealthyApp,
    /// Its init exits: the kernel panics before any of our code, and restarts at once.
    PanicInit,
    /// Its init sleeps for ever: only the watchdog helps.
    HangInit,
}

impl Variant {
    /// The variant's name in file names and keys.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::UnhealthyApp => "unhealthy-app",
            Self::PanicInit => "panic-init",
            Self::HangInit => "hang-init",
        }
    }

    /// What `/etc/tiny-fault` says, for the variants in which init itself fails.
    const fn init_fault(self) -> Option<&'static str> {
        match self {
            Self::Good | Self::UnhealthyApp => None,
            Self::PanicInit => Some("panic"),
            Self::HangInit => Some("hang"),
        }
    }
}

/// A file given as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// Content.
    pub bytes: Vec<u8>,
    /// Permissions, e.g. `0o644`.
    pub mode: u32,
}

impl GuestFile {
    /// A file that all may read.
    #[must_use]
    pub fn text(content: impl Into<String>) -> Self {
        Self {
            bytes: content.into().into_bytes(),
            mode: 0o644,
        }
    }

    /// A file that all may run.
    #[must_use]
    pub fn program(content: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: content.into(),
            mode: 0o755,
        }
    }
}

/// What is asked of an image.
#[derive(Debug, Clone)]
pub struct RootfsSpec {
    /// `IMAGE_VERSION` of os-release(5).
    pub version: String,
    /// How the guest behaves.
    pub variant: Variant,
    /// A staged tree laid over the guest: daemon, CLI, units, policy. In trees with merged `/usr`
    /// programs belong under `usr/bin`.
    pub overlay: Option<PathBuf>,
    /// More files by absolute path, laid over everything else.
    pub files: BTreeMap<String, GuestFile>,
}

impl RootfsSpec {
    /// A well-behaved guest without anything laid over it.
    #[must_use]
    pub fn new(version: impl Into<String>) -> Self {
        let version = version.into();
        Self {
            version,
            variant: Variant::Good,
            overlay: None,
            files: BTreeMap::new(),
        }
    }

    /// With another behaviour.
    #[must_use]
    pub fn variant(mut self, variant: Variant) -> Self {
        self.variant = variant;
        self
    }

    /// With a staged tree laid over the guest.
    #[must_use]
    pub fn overlay(mut self, directory: impl Into<PathBuf>) -> Self {
        self.overlay = Some(directory.into());
        self
    }

    /// With one more file.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, file: GuestFile) -> Self {
        self.files.insert(path.into(), file);
        self
    }

    /// Adds all that decides the image's content to a key.
    fn add_to(&self, key: Key) -> Result<Key> {
        let mut key = key.text(&self.version).text(self.variant.name());
        if let Some(overlay) = &self.overlay {
            key = key.tree(overlay)?;
        }
        for (path, file) in &self.files {
            key = key
                .text(path)
                .bytes(&file.bytes)
                .text(format!("{:o}", file.mode));
        }
        Ok(key)
    }
}

/// What all guests are made of, fetched and built once.
#[derive(Debug)]
pub struct Ingredients {
    cache: Cache,
    archive: Archive,
    kernel: Kernel,
    guest_init: PathBuf,
    initramfs: PathBuf,
}

impl Ingredients {
    /// Fetches the kernel and builds the initramfs; host packages are installed when missing.
    ///
    /// # Errors
    /// A download or a build failed.
    pub fn prepare(cache: &Cache) -> Result<Self> {
        tools::ensure(GUEST_TOOLS)?;
        let archive = Archive::open(cache)?;
        let kernel = Kernel::fetch(cache, &archive)?;
        let guest_init = build_guest_init()?;
        let initramfs = initramfs(cache, &kernel, &guest_init)?;
        Ok(Self {
            cache: cache.clone(),
            archive,
            kernel,
            guest_init,
            initramfs,
        })
    }

    /// The guests' kernel.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The cache that everything lives in.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// A key over kernel, initramfs and `recipe`.
    fn key(&self, recipe: &str) -> Key {
        Key::new(recipe)
            .text(self.kernel.image().to_string_lossy())
            .text(self.initramfs.to_string_lossy())
    }
}
