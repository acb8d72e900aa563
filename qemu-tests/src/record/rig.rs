//! A real board with its disks, used for one case after another.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Case, Script, Seen, stub};
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
const GIVEN_UP: [&str; 2] = ["SB: nothing can be started", "SB: nothing loads"];

const SECTOR: u64 = 512;

/// The board with each content of the slots.
pub(super) struct Rig {
    script: Script,
    board: Kind,
    /// A disk for each of: no slot, A, B, both hold a kernel.
    disks: Vec<Disk>,
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
        };
        let work = tempfile::tempdir().io("make a directory in", std::env::temp_dir())?;
        let kernel = slot_with_kernel(work.path())?;
        let zeros = work.path().join("zeros");
        std::fs::write(&zeros, vec![0; 1 << 20]).io("write", &zeros)?;
        let zeros = Image::at(zeros)?;
        let mut rig = Self {
            script,
            board,
            disks: Vec::new(),
            work,
        };
        for [a, b] in [[false, false], [true, false], [false, true], [true, true]] {
            let out = rig.work.path().join(format!("disk-{a}-{b}"));
            std::fs::create_dir(&out).io("make", &out)?;
            let slot = |holds: bool| if holds { &kernel } else { &zeros };
            let spec = DiskSpec {
                slot_a: slot(a),
                slot_b: Some(slot(b)),
                ..DiskSpec::new(&kernel, &out)
            };
            let disk = rig.board().build_disk(&spec)?;
            rig.disks.push(disk);
        }
        Ok(rig)
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
        }
    }

    /// Switches the board on with the case's environment, until a kernel starts or the script
    /// gives up.
    pub(super) fn run(&self, case: &Case) -> Result<Seen> {
        let [a, b] = case.loads.map(usize::from);
        let disk = self.disks.get(a + 2 * b).ok_or_else(|| Error::Server {
            why: "no disk for these slots".to_owned(),
        })?;
        let places = self.prepare(disk, &case.copies)?;
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
            .machine(disk, "recorded", self.work.path())
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
            Script::Uboot => &[],
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

/// An image with the kernel that only talks, and something as its initrd.
fn slot_with_kernel(work: &Path) -> Result<Image> {
    let tree = work.join("tree");
    let boot = tree.join("boot");
    std::fs::create_dir_all(&boot).io("make", &boot)?;
    for (name, bytes) in [
        ("vmlinuz", stub::kernel()),
        ("initrd.img", b"nobody looks inside\n".to_vec()),
    ] {
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
