//! Disks to begin rounds with, made once for each board.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::device::Device;
use super::plan::Start;
use crate::board::{Board, Disk, DiskSpec};
use crate::command::Run;
use crate::error::{Error, IoContext as _, Result};
use crate::factory::{DeviceSettings, Repository, provision};
use crate::https::HttpsServer;
use crate::image::Image;
use crate::nbd::Survive;
use crate::product::Product;
use crate::rootfs::{GuestFile, RootfsSpec, TinyRootfs, Variant};

/// Longest step of the preparation.
const STEP: Duration = Duration::from_secs(600);
/// Large enough for the journal of ext4, small enough to be copied often.
const DATA_SIZE: u64 = 16 << 20;
/// An unhealthy version is found out quickly.
const QUICK_VERDICT: &str = "[health]\ndeadline = \"2s\"\n";
/// A healthy one must not be called unhealthy because the host is busy with other things.
pub(super) const PATIENT: &str = "[health]\ndeadline = \"3m\"\n";
/// Where the guests' deadline is set, over the board's own.
const DEADLINE_FILE: &str = "/usr/lib/switchback/config.d/20-deadline.toml";

/// What an undisturbed update took on this board and this host.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reference {
    /// From power on to the bootloader's choice, in milliseconds.
    pub(super) loader_ms: u64,
    /// From that choice to the guest's first line, in milliseconds.
    pub(super) boot_ms: u64,
    /// From power on with an update on offer to its commit, in milliseconds.
    pub(super) update_ms: u64,
    /// Changes on the main drive in that time.
    pub(super) update_changes: u64,
}

/// A board with its disks. The servers run as long as it lives.
pub(super) struct Prepared<'a> {
    pub(super) board: &'a (dyn Board + Sync),
    pub(super) one: Image,
    pub(super) two: Image,
    /// Where version 2's bytes end: after this there are only zeros, which are not written.
    pub(super) two_ends: u64,
    pub(super) reference: Reference,
    /// Files on the boot partition, when it is a FAT with the environment on it.
    pub(super) boot_files: Option<usize>,
    disks: Vec<(Start, Disk)>,
    servers: Vec<HttpsServer>,
}

impl<'a> Prepared<'a> {
    /// Makes ready what `starts` need.
    pub(super) fn make(
        board: &'a (dyn Board + Sync),
        product: &Product,
        guest: &TinyRootfs<'_>,
        overlay: &Path,
        work: &Path,
        starts: &[Start],
    ) -> Result<Self> {
        // Copies: while a long run goes on, others may need the cache's room for their images.
        let image = |version| -> Result<Image> {
            let cached = guest.image(&spec(version, PATIENT, overlay))?;
            let own = work.join(format!("version-{version}.ext4"));
            copy_sparse(&cached.path, &own)?;
            Image::at(own)
        };
        let (one, two) = (image("1")?, image("2")?);
        let two_ends = end_of_data(&two.path)?;
        let mut bed = Self {
            board,
            one,
            two,
            two_ends,
            reference: Reference::default(),
            boot_files: None,
            disks: Vec::new(),
            servers: Vec::new(),
        };
        if starts.iter().any(|start| *start != Start::Unhealthy) {
            bed.prepare_good(product, starts, &work.join("good"))?;
        }
        if starts.contains(&Start::Unhealthy) {
            let bad = spec("2", QUICK_VERDICT, overlay).variant(Variant::UnhealthyApp);
            bed.prepare_unhealthy(product, &guest.image(&bad)?, &work.join("bad"))?;
        }
        Ok(bed)
    }

    /// Follows a good update, as far as some of `starts` needs it, and keeps its disks.
    fn prepare_good(&mut self, product: &Product, starts: &[Start], work: &Path) -> Result<()> {
        let line = Line::begin(self.board, product, &self.one, work)?;
        let offered = self.offer(&line, &self.two.clone())?;
        let run = copy(&offered, &line.work.join("run"))?;
        self.disks.push((Start::Offered, offered));
        self.servers.push(line.server);

        let mut device = Device::new(self.board, run, &line.work);
        device.switch_on()?;
        until(&mut device, "is armed: ")?;
        self.reference.update_ms = millis(device.on_for());
        self.reference.update_changes = device.changes();
        device.cut(Survive::Nothing)?;
        let armed = copy(&device.disk, &line.work.join("armed"))?;
        self.disks.push((Start::Armed, armed));

        device.switch_on()?;
        until(&mut device, "is healthy and committed")?;
        self.reference.update_ms += millis(device.on_for());
        self.reference.update_changes += device.changes();
        if starts.contains(&Start::Committed) {
            settle(&mut device)?;
            device.rest()?;
            device.cut(Survive::Everything)?;
            let committed = copy(&device.disk, &line.work.join("committed"))?;
            self.disks.push((Start::Committed, committed));
        }
        Ok(())
    }

    /// Follows an update to an unhealthy version until it is armed, and keeps its disk.
    fn prepare_unhealthy(&mut self, product: &Product, two: &Image, work: &Path) -> Result<()> {
        let line = Line::begin(self.board, product, &self.one, work)?;
        let disk = self.offer(&line, two)?;
        self.servers.push(line.server);
        let mut device = Device::new(self.board, disk, &line.work);
        device.switch_on()?;
        until(&mut device, "is armed: ")?;
        device.cut(Survive::Nothing)?;
        self.disks.push((Start::Unhealthy, device.disk.clone()));
        Ok(())
    }

    /// Lets version 1 of a device come up and settle, then publishes `two`; the disk of the device,
    /// which is switched off.
    fn offer(&mut self, line: &Line, two: &Image) -> Result<Disk> {
        let mut device = Device::new(self.board, line.disk.clone(), &line.work);
        device.switch_on()?;
        until(&mut device, "SB: slot=A")?;
        self.reference.loader_ms = millis(device.on_for());
        until(&mut device, "SB: TINY-UP")?;
        self.reference.boot_ms = millis(device.on_for()).saturating_sub(self.reference.loader_ms);
        until(&mut device, "version 1 runs already")?;
        device.rest()?;
        device.cut(Survive::Everything)?;
        line.repository.publish(two, "2")?;
        self.boot_files = boot_files(&line.disk)?;
        Ok(line.disk.clone())
    }

    /// The kept disk of a start.
    pub(super) fn disk(&self, start: Start) -> Result<&Disk> {
        let found = self.disks.iter().find(|(kept, _)| *kept == start);
        found.map(|(_, disk)| disk).ok_or_else(|| Error::Server {
            why: format!("no disk was prepared for a round that begins with {start:?}"),
        })
    }
}

/// A guest whose verdict on its own health may take as long as `deadline` says.
pub(super) fn spec(version: &str, deadline: &str, overlay: &Path) -> RootfsSpec {
    RootfsSpec::new(version)
        .overlay(overlay)
        .file(DEADLINE_FILE, GuestFile::text(deadline))
}

/// A device with version 1 and a repository of its own.
pub(super) struct Line {
    pub(super) repository: Repository,
    server: HttpsServer,
    pub(super) disk: Disk,
    work: PathBuf,
}

impl Line {
    pub(super) fn begin(
        board: &dyn Board,
        product: &Product,
        one: &Image,
        work: &Path,
    ) -> Result<Self> {
        std::fs::create_dir_all(work).io("make", work)?;
        let repository = Repository::create(product, work)?;
        repository.publish(one, "1")?;
        let server = HttpsServer::start(&repository.directory).map_err(crate::bench::https)?;
        let spec = DiskSpec {
            data_size: DATA_SIZE,
            ..DiskSpec::new(one, work)
        };
        let disk = board.build_disk(&spec)?;
        let settings = DeviceSettings {
            poll_interval: "2s",
            ..DeviceSettings::default()
        };
        provision(&disk, &server, &repository, &settings)?;
        Ok(Self {
            repository,
            server,
            disk,
            work: work.to_owned(),
        })
    }
}

fn until(device: &mut Device<'_>, part: &str) -> Result<()> {
    match device.wait(Some(part), false, STEP)? {
        Some(_) => Ok(()),
        None => Err(Error::Server {
            why: format!("preparing: the device did not say `{part}` within {STEP:?}"),
        }),
    }
}

fn settle(device: &mut Device<'_>) -> Result<()> {
    match device.wait(None, true, STEP)? {
        Some(_) => Ok(()),
        None => Err(Error::Server {
            why: format!("preparing: the device did not settle within {STEP:?}"),
        }),
    }
}

/// Copies a device's disks, holes as holes, into a directory that is made.
pub(super) fn copy(disk: &Disk, to: &Path) -> Result<Disk> {
    std::fs::create_dir_all(to).io("make", to)?;
    let one = |from: &Path, name: &str| -> Result<PathBuf> {
        let place = to.join(name);
        copy_sparse(from, &place)?;
        Ok(place)
    };
    Ok(Disk {
        main: one(&disk.main, "disk.img")?,
        env: disk
            .env
            .as_deref()
            .map(|env| one(env, "env.img"))
            .transpose()?,
    })
}

fn copy_sparse(from: &Path, to: &Path) -> Result<()> {
    Run::new("cp")
        .args(["--sparse=always", "--reflink=auto"])
        .arg(from)
        .arg(to)
        .check()
}

/// How many files the boot partition with the environment holds; `None` where the environment is
/// not in files.
pub(super) fn boot_files(disk: &Disk) -> Result<Option<usize>> {
    if disk.env.is_some() {
        return Ok(None);
    }
    let address = crate::disk::DiskImage::open(&disk.main).fat_address("esp")?;
    let listed = Run::new("mdir")
        .args(["-/", "-b", "-i", &address, "::"])
        .text()?;
    Ok(Some(listed.lines().filter(|line| !line.is_empty()).count()))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes of a file up to the last one that is not zero.
fn end_of_data(path: &Path) -> Result<u64> {
    let bytes = std::fs::read(path).io("read", path)?;
    let last = bytes.iter().rposition(|byte| *byte != 0);
    Ok(last.map_or(0, |last| last as u64 + 1))
}
