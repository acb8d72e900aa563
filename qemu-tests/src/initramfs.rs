//! The initramfs of all guests: `guest-init` and the modules on the way to a root.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{Cache, Key};
use crate::command::Run;
use crate::cpio::Cpio;
use crate::error::{IoContext as _, Result};
use crate::kernel::Kernel;

/// What is loaded before the root is mounted, in this order, with what these need.
///
/// The watchdog comes first, so that a hang anywhere later is noticed. The network is here because
/// the tiny guest has no module loader of its own.
const MODULES: &[&str] = &[
    "i6300esb",
    "virtio_pci",
    "virtio_blk",
    "nvme",
    "mmc_block",
    "cqhci",
    "sdhci_pci",
    // ext4 asks for a checksum by name, for which the kernel would want a module loader.
    "crc32c_generic",
    "ext4",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "nls_utf8",
    "virtio_net",
    "overlay",
];

/// A hang is noticed after this many seconds; and once started the watchdog cannot be stopped.
const WATCHDOG_PARAMETERS: &str = "heartbeat=15 nowayout=1";

/// Builds (or finds) the initramfs for `kernel`; the path of the file.
///
/// # Errors
/// The kernel lacks a module, or a file cannot be read or written.
pub(crate) fn initramfs(cache: &Cache, kernel: &Kernel, guest_init: &Path) -> Result<PathBuf> {
    let key = Key::new("initramfs-1")
        .text(kernel.modules().to_string_lossy())
        .text(MODULES.join(" "))
        .text(WATCHDOG_PARAMETERS)
        .file(guest_init)?;
    let entry = cache.entry("initramfs", &key, |directory| {
        let unpacked = tempfile::tempdir_in(directory).io("make a directory in", directory)?;
        let archive = archive(kernel, guest_init, unpacked.path())?;
        let packed = directory.join("initrd.img");
        let cpio = unpacked.path().join("initrd.cpio");
        fs::write(&cpio, archive).io("write", &cpio)?;
        Run::new("zstd")
            .args(["-q", "-19", "-o"])
            .arg(&packed)
            .arg(&cpio)
            .check()
    })?;
    Ok(entry.join("initrd.img"))
}

fn archive(kernel: &Kernel, guest_init: &Path, scratch: &Path) -> Result<Vec<u8>> {
    let mut cpio = Cpio::default();
    for directory in ["dev", "proc", "sys", "newroot", "modules"] {
        cpio.directory(directory);
    }
    cpio.character_device("dev/console", 5, 1);

    let mut list = String::new();
    let modules = kernel.close_over(MODULES)?;
    let files = kernel.unpack_modules(&modules, scratch)?;
    for (module, file) in modules.iter().zip(files) {
        let path = scratch.join(file);
        let name = format!("modules/{}.ko", module.name);
        cpio.file(&name, 0o644, &fs::read(&path).io("read", &path)?);
        let parameters = if module.name == "i6300esb" {
            WATCHDOG_PARAMETERS
        } else {
            ""
        };
        list.push_str(&format!("/{name} {parameters}\n"));
    }
    cpio.file("modules.list", 0o644, list.as_bytes());
    cpio.file("init", 0o755, &fs::read(guest_init).io("read", guest_init)?);
    Ok(cpio.finish())
}
