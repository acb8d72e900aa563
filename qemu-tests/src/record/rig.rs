//! A real board with its disks, used for one case after another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Case, Script, Seen, Slot, stub};
use crate::board::{Board, Disk, DiskSpec, ENV_DRIVE, MAIN_DRIVE};
use crate::cache::Cache;
use crate::command::Run;
use crate::error::{Error, IoContext as _, Result};
use crate::grub::{Contract, EnvironmentFile, Firmware, GrubBoard};
use crate::image::{Image, Layers};
use crate::nbd::{CutServer, NbdError, Survive, Written};
use crate::uboot::{COPIES, COPY_SIZE, UbootBoard};

/// Loader and nothing else; generous for a busy host.
const SOON: Duration = Duration::from_secs(60);

/// The scripts' last words before they reset the machine.
const GIVEN_UP: [&str; 3] = [
    "resetting in 10 seconds",
    "starting over in 10 seconds",
    "does not load, starting over",
];

const SECTOR: u64 = 512;

/// The board with each content of the slots.
pub(super) struct Rig {
    script: Script,
    board: Kind,
    /// What can be put into a slot.
    images: BTreeMap<Slot, Image>,
    /// A disk for each pair of slots that was asked for.
    disks: BTreeMap<[Slot; 2], Disk>,
    work: tempfile::TempDir,
}

enum Kind {
    Grub(GrubBoard),
    Uboot(UbootBoard),
}

impl Rig {
    pub(super) fn new(cache: &Cache, script: Script) -> Result<Self> {
        let grub = |contract| GrubBoard::new(cache, Firmware::Bios, contract);
        let board = match script {
            Script::Grub => Kind::Grub(grub(Contract::Switchback)?),
            Script::GrubRauc => Kind::Grub(grub(Contract::Rauc)?),
            Script::Uboot => Kind::Uboot(UbootBoard::new(cache)?),
            Script::Bootcount => Kind::Uboot(UbootBoard::with_bootcount(cache)?),
        };
        let work = tempfile::tempdir().io("make a directory in", std::env::temp_dir())?;
        let zeros = work.path().join("zeros");
        std::fs::write(&zeros, vec![0; 1 << 20]).io("write", &zeros)?;
        let initrd = || ("initrd.img", b"nobody looks inside\n".to_vec());
        let kernel = || ("vmlinuz", stub::kernel());
        let no_kernel = ("vmlinuz", b"no kernel\n".repeat(200));
        let slot = |name: &str, files: &[_]| slot_with(files, &work.path().join(name));
        let bad_initrd = slot("bad-initrd", &[kernel(), initrd()])?;
        Run::new("debugfs")
            .args([
                "-w",
                "-R",
                "set_inode_field /boot/initrd.img size 3000000000",
            ])
            .arg(&bad_initrd.path)
            .check()?;
        let images = BTreeMap::from([
            (Slot::Loads, slot("loads", &[kernel(), initrd()])?),
            (Slot::Nothing, Image::at(zeros)?),
            (Slot::Broken, slot("broken", &[no_kernel, initrd()])?),
            (Slot::NoInitrd, slot("no-initrd", &[kernel()])?),
            (Slot::BadInitrd, bad_initrd),
        ]);
        Ok(Self {
            script,
            board,
            images,
            disks: BTreeMap::new(),
            work,
        })
    }

    /// The disk with these slots, made when it is first asked for.
    fn disk(&mut self, slots: [Slot; 2]) -> Result<Disk> {
        if let Some(disk) = self.disks.get(&slots) {
            return Ok(disk.clone());
        }
        let [a, b] = slots;
        let out = self
            .work
            .path()
            .join(format!("disk-{}-{}", a.word(), b.word()).replace(' ', "-"));
        std::fs::create_dir(&out).io("make", &out)?;
        let image = |slot| {
            self.images.get(&slot).ok_or_else(|| Error::Server {
                why: format!("no image for a slot that is {slot:?}"),
            })
        };
        let spec = DiskSpec {
            slot_b: Some(image(b)?),
            ..DiskSpec::new(image(a)?, &out)
        };
        let disk = self.board().build_disk(&spec)?;
        self.disks.insert(slots, disk.clone());
        Ok(disk)
    }

    fn board(&self) -> &dyn Board {
        match &self.board {
            Kind::Grub(board) => board,
            Kind::Uboot(board) => board,
        }
    }

    /// Which loader this is.
    pub(super) fn version(&self) -> Result<String> {
        match self.script {
            Script::Grub | Script::GrubRauc => {
                let package = "${Package} ${Version}, PC BIOS";
                Run::new("dpkg-query")
                    .args(["-W", "-f", package, "grub-pc-bin"])
                    .text()
            }
            Script::Uboot => Ok("U-Boot 2023.01, qemu-x86, boot/u-boot/config.fragment".to_owned()),
            Script::Bootcount => {
                Ok("U-Boot 2023.01, qemu-x86, boot/u-boot/{config,bootcount}.fragment".to_owned())
            }
        }
    }

    /// Switches the board on with the case's environment, until a kernel starts or the script
    /// gives up.
    pub(super) fn run(&mut self, case: &Case) -> Result<Seen> {
        let disk = self.disk(case.slots)?;
        let places = self.prepare(&disk, &case.copies)?;
        let (drive, image) = match &disk.env {
            Some(card) => (ENV_DRIVE, card),
            None => (MAIN_DRIVE, &disk.main),
        };
        let socket: PathBuf = self.work.path().join("s");
        let server =
            CutServer::start_without_cache(image, &socket).map_err(|error| server_error(&error))?;
        server.keep_writes();
        let builder = self
            .board()
            .machine(&disk, "recorded", self.work.path())
            .no_network()
            .no_watchdog()
            .backend(drive, &server.backend());
        let mut machine = builder.start()?;
        let command_line =
            machine.wait_for("a kernel, or the script's last words", SOON, |line| {
                if let Some(text) = line.strip_prefix(stub::LINE) {
                    return Some(Some(text.trim().to_owned()));
                }
                GIVEN_UP
                    .iter()
                    .any(|words| line.contains(words))
                    .then_some(None)
            })?;
        machine.power_cut()?;
        let writes = server.writes();
        server
            .cut(Survive::Nothing)
            .map_err(|error| server_error(&error))?;
        let saves = saves(&places, &case.copies, &writes).map_err(|why| Error::Malformed {
            path: image.clone(),
            why: format!("case `{}`: {why}", case.name),
        })?;
        Ok(Seen {
            saves,
            command_line,
        })
    }

    /// Puts the copies into their places; where these are, in bytes.
    fn prepare(&self, disk: &Disk, copies: &[Vec<u8>]) -> Result<Vec<u64>> {
        let files = match self.script {
            Script::Grub => &[EnvironmentFile::Copy1, EnvironmentFile::Copy2] as &[_],
            Script::GrubRauc => &[EnvironmentFile::Single],
            Script::Uboot | Script::Bootcount => &[],
        };
        match &self.board {
            Kind::Grub(board) => {
                for (file, bytes) in files.iter().zip(copies) {
                    board.write_block(disk, *file, bytes)?;
                }
                files.iter().map(|file| board.place(disk, *file)).collect()
            }
            Kind::Uboot(board) => {
                for (index, bytes) in copies.iter().enumerate() {
                    board.write_copy(disk, index, 0, bytes)?;
                }
                Ok(COPIES.to_vec())
            }
        }
    }
}

/// An image with these files in its `/boot`.
fn slot_with(files: &[(&str, Vec<u8>)], work: &Path) -> Result<Image> {
    let tree = work.join("tree");
    let boot = tree.join("boot");
    std::fs::create_dir_all(&boot).io("make", &boot)?;
    for (name, bytes) in files {
        let path = boot.join(name);
        std::fs::write(&path, bytes).io("write", &path)?;
    }
    Layers::default()
        .directory(&tree)
        .into_ext4(&work.join("slot.ext4"))
}

/// The writes put together to saves of whole copies. GRUB sends one request, the SD card one
/// sector after the other.
fn saves(
    places: &[u64],
    copies: &[Vec<u8>],
    writes: &[Written],
) -> Result<Vec<(usize, Vec<u8>)>, String> {
    let mut saves: Vec<(usize, Vec<u8>)> = Vec::new();
    for Written { lba, bytes } in writes {
        let at = lba * SECTOR;
        let length = |copy: usize| copies.get(copy).map_or(0, Vec::len);
        if let Some((copy, done)) = saves.last_mut()
            && done.len() < length(*copy)
        {
            let expected = places.get(*copy).map(|place| place + done.len() as u64);
            if expected != Some(at) {
                return Err(format!("a save was not finished before a write at {at:#x}"));
            }
            done.extend_from_slice(bytes);
            continue;
        }
        let copy = places.iter().position(|place| *place == at);
        let copy = copy.ok_or_else(|| format!("a write at {at:#x}, where no copy begins"))?;
        saves.push((copy, bytes.clone()));
    }
    match saves
        .iter()
        .find(|(copy, bytes)| Some(bytes.len()) != copies.get(*copy).map(Vec::len))
    {
        Some((copy, bytes)) => Err(format!("{} bytes were saved as copy {copy}", bytes.len())),
        None => Ok(saves),
    }
}

fn server_error(error: &NbdError) -> Error {
    Error::Server {
        why: error.to_string(),
    }
}

/// The size of U-Boot's copies, for the cases.
pub(super) fn uboot_size() -> usize {
    usize::try_from(COPY_SIZE).unwrap_or(usize::MAX)
}
