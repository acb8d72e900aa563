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

/// Loaded only where a PCI device of the class is: base class and subclass in hexadecimal (PCI
/// Code and ID Assignment 1.16). A module takes 0.1 s to load in an emulated machine.
const MODULES_BY_PCI_CLASS: &[(&str, &[&str])] = &[
    ("0108", &["nvme"]),
    ("0805", &["mmc_block", "cqhci", "sdhci_pci"]),
];

/// A hang is noticed after this many seconds; and once started the watchdog cannot be stopped.
const WATCHDOG_PARAMETERS: &str = "heartbeat=15 nowayout=1";

/// Builds (or finds) the initramfs for `kernel`; the path of the file.
///
/// # Errors
/// The kernel lacks a module, or a file cannot be read or written.
pub(crate) fn initramfs(cache: &Cache, kernel: &Kernel, guest_init: &Path) -> Result<PathBuf> {
    let key = Key::new("initramfs-2")
        .text(kernel.modules().to_string_lossy())
        .text(format!("{MODULES:?} {MODULES_BY_PCI_CLASS:?}"))
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
    add_modules(&mut cpio, &mut list, kernel, MODULES, scratch)?;
    for (class, modules) in MODULES_BY_PCI_CLASS {
        list.push_str(&format!("pci-class {class}\n"));
        add_modules(&mut cpio, &mut list, kernel, modules, scratch)?;
    }
    cpio.file("modules.list", 0o644, list.as_bytes());
    cpio.file("init", 0o755, &fs::read(guest_init).io("read", guest_init)?);
    Ok(cpio.finish())
}

/// Adds modules and what they need to the archive, and to the list in load order.
fn add_modules(
    cpio: &mut Cpio,
    list: &mut String,
    kernel: &Kernel,
    names: &[&str],
    scratch: &Path,
) -> Result<()> {
    let modules = kernel.close_over(names)?;
    let files = kernel.unpack_modules(&modules, scratch)?;
    for (module, file) in modules.iter().zip(files) {
        let path = scratch.join(file);
        let name = format!("modules/{}.ko", module.name);
        let bytes = fs::read(&path).io("read", &path)?;
        cpio.file(&name, 0o644, without_signature(&bytes));
        let parameters = if module.name == "i6300esb" {
            WATCHDOG_PARAMETERS
        } else {
            ""
        };
        list.push_str(&format!("/{name} {parameters}\n"));
    }
    Ok(())
}

/// A module without the signature at its end (kernel: `Documentation/admin-guide/module-signing`).
/// Debian's kernels take unsigned modules, and checking a signature costs an emulated machine more
/// than all else about a module.
fn without_signature(module: &[u8]) -> &[u8] {
    const MARKER: &[u8] = b"~Module signature appended~\n";
    /// Algorithms, padding and, last, the signature's length, big-endian.
    const DESCRIPTION: usize = 12;
    let strip = || {
        let described = module.strip_suffix(MARKER)?;
        let (signed, length) = described.split_last_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let end = (signed.len() + 4)
            .checked_sub(DESCRIPTION)?
            .checked_sub(length)?;
        module.get(..end)
    };
    strip().unwrap_or(module)
}

#[cfg(test)]
mod tests {
    use super::without_signature;

    #[test]
    fn signature_is_cut_off_exactly() {
        let mut module = b"ELF content".to_vec();
        assert_eq!(without_signature(&module), b"ELF content");
        module.extend_from_slice(b"SIGNATURE");
        module.extend_from_slice(&[0, 0, 2, 0, 0, 0, 0, 0]);
        module.extend_from_slice(&9_u32.to_be_bytes());
        module.extend_from_slice(b"~Module signature appended~\n");
        assert_eq!(without_signature(&module), b"ELF content");
    }

    #[test]
    fn impossible_length_leaves_the_module_as_it_is() {
        let mut module = vec![0xff; 16];
        module.extend_from_slice(b"~Module signature appended~\n");
        assert_eq!(without_signature(&module), module);
    }
}
