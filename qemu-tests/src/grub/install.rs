//! GRUB's images, and their places on a disk.

use std::fs;
use std::path::{Path, PathBuf};

use super::environment::{self, EnvironmentFile, Variables};
use crate::cache::{Cache, Key};
use crate::command::Run;
use crate::disk::{DATA_FEATURES, DiskImage};
use crate::error::{Error, IoContext as _, Result};
use crate::image::Image;

/// The modules that the scripts name; `ls` and `cat` help a person at the prompt.
const MODULES: &[&str] = &[
    "part_gpt",
    "fat",
    "ext2",
    "loadenv",
    "test",
    "echo",
    "linux",
    "search",
    "search_label",
    "reboot",
    "sleep",
    "configfile",
    "regexp",
    "serial",
    "terminal",
    "minicmd",
    "normal",
    "halt",
    "true",
    "cat",
    "ls",
    "memdisk",
    "tar",
];

/// The script is found here inside the image.
const PREFIX: &str = "(memdisk)/boot/grub";

const BOOT_IMAGE: &str = "/usr/lib/grub/i386-pc/boot.img";

/// GRUB with a script inside, for both kinds of firmware.
#[derive(Debug)]
pub(super) struct GrubImages {
    uefi: PathBuf,
    bios: PathBuf,
}

impl GrubImages {
    /// Builds both, or finds them in the cache.
    pub(super) fn build(cache: &Cache, script: &str) -> Result<Self> {
        let key = Key::new("grub-1")
            .text(script)
            .text(MODULES.join(" "))
            .file(Path::new("/usr/lib/grub/i386-pc/kernel.img"))?
            .file(Path::new("/usr/lib/grub/x86_64-efi/kernel.img"))?;
        let entry = cache.entry("grub", &key, |directory| build(directory, script))?;
        Ok(Self {
            uefi: entry.join("BOOTX64.EFI"),
            bios: entry.join("core.img"),
        })
    }
}

fn build(directory: &Path, script: &str) -> Result<()> {
    let boot = directory.join("memdisk/boot/grub");
    fs::create_dir_all(&boot).io("make", &boot)?;
    let path = boot.join("grub.cfg");
    fs::write(&path, script).io("write", &path)?;
    Run::new("grub-script-check").arg(&path).check()?;
    let memdisk = directory.join("memdisk.tar");
    Run::new("tar")
        .args(["--format=ustar", "-C"])
        .arg(directory.join("memdisk"))
        .arg("-cf")
        .arg(&memdisk)
        .arg("boot")
        .check()?;
    let images: [(&str, &str, &[&str]); 2] = [
        ("x86_64-efi", "BOOTX64.EFI", &[]),
        ("i386-pc", "core.img", &["biosdisk"]),
    ];
    for (format, name, more) in images {
        Run::new("grub-mkimage")
            .args(["-O", format, "-p", PREFIX, "-o"])
            .arg(directory.join(name))
            .arg("-m")
            .arg(&memdisk)
            .args(MODULES)
            .args(more)
            .check()?;
    }
    Ok(())
}

/// Fills the boot partition: the UEFI loader and the environment files.
pub(super) fn esp(
    disk: &DiskImage,
    images: &GrubImages,
    files: &[(EnvironmentFile, Variables)],
    scratch: &Path,
) -> Result<()> {
    let extent = disk.partition("esp")?;
    let fat = scratch.join("esp.fat");
    fs::File::create(&fat)
        .and_then(|file| file.set_len(extent.length))
        .io("create", &fat)?;
    // Clusters of 4 KiB: an environment file is one piece, and GRUB writes it in one request.
    Run::new("mkfs.vfat")
        .args([
            "-F",
            "16",
            "-s",
            "8",
            "-i",
            "5b005b00",
            "--invariant",
            "-n",
            "SBENV",
        ])
        .arg(&fat)
        .check()?;
    Run::new("mmd")
        .arg("-i")
        .arg(&fat)
        .args(["::/EFI", "::/EFI/BOOT"])
        .check()?;
    let copy = |from: &Path, to: &str| {
        Run::new("mcopy")
            .arg("-i")
            .arg(&fat)
            .arg(from)
            .arg(format!("::/{to}"))
            .check()
    };
    copy(&images.uefi, "EFI/BOOT/BOOTX64.EFI")?;
    for (file, variables) in files {
        let block = environment::create(variables, scratch)?;
        let path = scratch.join(file.name());
        fs::write(&path, block).io("write", &path)?;
        copy(&path, file.name())?;
        fs::remove_file(&path).io("remove", &path)?;
    }
    disk.write_image("esp", &Image::at(fat.clone())?)?;
    fs::remove_file(&fat).io("remove", &fat)
}

/// Makes the disk start under BIOS, as `grub-bios-setup` does on a device: boot.img into the code
/// area of LBA 0, pointed to the partition that holds core.img, which is told where it goes on.
pub(super) fn bios(disk: &DiskImage, images: &GrubImages) -> Result<()> {
    /// Code ends where the disk signature begins.
    const CODE: usize = 440;
    /// In boot.img: the sector of core.img.
    const KERNEL_SECTOR: usize = 0x5c;
    /// In boot.img: a jump that trusts the drive number of the BIOS only if patched out.
    const DRIVE_CHECK: usize = 0x66;
    /// In core.img's first sector: the sector of the rest.
    const BLOCK_LIST: usize = 0x1f4;

    let extent = disk.partition("bios")?;
    let sector = extent.offset / 512;
    let mut boot = fs::read(BOOT_IMAGE).io("read", BOOT_IMAGE)?;
    patch(
        &mut boot,
        KERNEL_SECTOR,
        &sector.to_le_bytes(),
        Path::new(BOOT_IMAGE),
    )?;
    patch(&mut boot, DRIVE_CHECK, &[0x90, 0x90], Path::new(BOOT_IMAGE))?;
    boot.truncate(CODE);
    disk.write(0, &boot)?;

    let mut core = fs::read(&images.bios).io("read", &images.bios)?;
    patch(
        &mut core,
        BLOCK_LIST,
        &(sector + 1).to_le_bytes(),
        &images.bios,
    )?;
    let size = core.len() as u64;
    if size > extent.length {
        let (image, place) = (images.bios.clone(), "partition bios".to_owned());
        return Err(Error::TooLarge {
            image,
            size,
            place,
            room: extent.length,
        });
    }
    disk.write(extent.offset, &core)
}

fn patch(bytes: &mut [u8], at: usize, new: &[u8], path: &Path) -> Result<()> {
    let Some(place) = bytes.get_mut(at..at + new.len()) else {
        let why = format!("too short to be patched at {at:#x}");
        return Err(Error::Malformed {
            path: path.to_owned(),
            why,
        });
    };
    place.copy_from_slice(new);
    Ok(())
}

/// Makes the empty file system for the device's data, with a journal: it is written to.
pub(super) fn data(disk: &DiskImage, scratch: &Path) -> Result<()> {
    let extent = disk.partition("data")?;
    let path = scratch.join("data.ext4");
    fs::File::create(&path)
        .and_then(|file| file.set_len(extent.length))
        .io("create", &path)?;
    Run::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-L", "data"])
        .args(["-O", DATA_FEATURES])
        .arg(&path)
        .check()?;
    disk.write_image("data", &Image::at(path.clone())?)?;
    fs::remove_file(&path).io("remove", &path)
}
