//! One board, one repository, one web server, and what a test does with them.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::board::{Board, Disk, DiskSpec, ENV_DRIVE, MAIN_DRIVE};
use crate::disk::DiskImage;
use crate::error::{Error, IoContext as _, Result};
use crate::factory::{DeviceSettings, Repository, provision};
use crate::https::HttpsServer;
use crate::image::Image;
use crate::machine::Machine;
use crate::nbd::{CutPoint, CutServer, LoggedRequest, Survive};
use crate::product::Product;

/// A device at the bench, with the repository it follows.
#[derive(Debug)]
pub struct Bench<'a> {
    board: &'a dyn Board,
    /// The repository.
    pub repository: Repository,
    /// Its web server.
    pub server: HttpsServer,
    /// The device's disks.
    pub disk: Disk,
    /// Where logs and disks are.
    pub work: PathBuf,
    machine: Option<Machine>,
    cuts: Vec<CutServer>,
    boots: u32,
}

impl<'a> Bench<'a> {
    /// A device with `image` in slot a, as it leaves the factory; the repository holds the same
    /// image as version `version` in the device's channel.
    ///
    /// # Errors
    /// Something cannot be made.
    pub fn set_up(
        board: &'a dyn Board,
        product: &Product,
        image: &Image,
        version: &str,
        slot_size: u64,
        settings: &DeviceSettings,
        work: &Path,
    ) -> Result<Self> {
        std::fs::create_dir_all(work).io("make", work)?;
        let repository = Repository::create(product, work)?;
        repository.publish(image, version)?;
        let server = HttpsServer::start(&repository.directory).map_err(https)?;
        let spec = DiskSpec {
            slot_size,
            ..DiskSpec::new(image, work)
        };
        let disk = board.build_disk(&spec)?;
        provision(&disk, &server, &repository, settings)?;
        Ok(Self {
            board,
            repository,
            server,
            disk,
            work: work.to_owned(),
            machine: None,
            cuts: Vec::new(),
            boots: 0,
        })
    }

    /// The board.
    #[must_use]
    pub fn board(&self) -> &dyn Board {
        self.board
    }

    /// Switches the device on; its disks lose what is not flushed when the power is cut.
    ///
    /// # Errors
    /// QEMU does not start.
    pub fn switch_on(&mut self) -> Result<&mut Machine> {
        self.boots += 1;
        let name = format!("console-{}", self.boots);
        let mut builder = self.board.machine(&self.disk, &name, &self.work);
        let main = CutServer::start(&self.disk.main, &self.work.join("main.nbd")).map_err(nbd)?;
        builder = builder.backend(MAIN_DRIVE, &main.backend());
        self.cuts = vec![main];
        if let Some(env) = &self.disk.env {
            // A card has no cache: what it answered is durable.
            let env =
                CutServer::start_without_cache(env, &self.work.join("env.nbd")).map_err(nbd)?;
            builder = builder.backend(ENV_DRIVE, &env.backend());
            self.cuts.push(env);
        }
        Ok(self.machine.insert(builder.start()?))
    }

    /// The machine that runs.
    ///
    /// # Errors
    /// None does.
    pub fn machine(&mut self) -> Result<&mut Machine> {
        self.machine.as_mut().ok_or_else(|| Error::Malformed {
            path: self.disk.main.clone(),
            why: "the device is switched off".to_owned(),
        })
    }

    /// Waits for a line on the device's console.
    ///
    /// # Errors
    /// It does not come in time; the last lines are in the message.
    pub fn wait(&mut self, part: &str, within: Duration) -> Result<String> {
        self.machine()?.wait_line(part, within)
    }

    /// Waits for a line that may have come already.
    ///
    /// # Errors
    /// It does not come in time; the last lines are in the message.
    pub fn said(&mut self, part: &str, within: Duration) -> Result<String> {
        let before = self.machine()?.lines();
        match before.into_iter().find(|line| line.text.contains(part)) {
            Some(line) => Ok(line.text),
            None => self.wait(part, within),
        }
    }

    /// Stops the disk at the first write at or beyond `fraction` of slot b; the receiver tells.
    ///
    /// # Errors
    /// The device is off.
    pub fn stop_in_slot_b(&self, fraction: f64) -> Result<Receiver<LoggedRequest>> {
        let extent = DiskImage::open(&self.disk.main).partition("slot-b")?;
        let first = extent.offset / 512;
        let end = first + extent.length / 512;
        // A position inside a disk: the sizes are far below what a float holds exactly.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let ahead = ((extent.length / 512) as f64 * fraction) as u64;
        let main = self.cuts.first().ok_or_else(|| Error::Malformed {
            path: self.disk.main.clone(),
            why: "the device is switched off".to_owned(),
        })?;
        // Not "at or beyond": the data partition lies behind slot b and is written all the time.
        Ok(main.cut_at(CutPoint::WritesIn {
            first: first + ahead,
            end,
            count: 1,
        }))
    }

    /// Cuts the power; gives the number of sectors that were not durable.
    ///
    /// # Errors
    /// The disk's file cannot be written.
    pub fn cut_power(&mut self, survive: Survive) -> Result<u64> {
        if let Some(machine) = self.machine.take() {
            machine.power_cut()?;
        }
        let mut lost = 0;
        for cut in self.cuts.drain(..) {
            let report = cut.cut(survive).map_err(nbd)?;
            lost += report.unflushed;
        }
        Ok(lost)
    }

    /// Switches off after everything was written: for looking at the disk.
    ///
    /// # Errors
    /// The disk's file cannot be written.
    pub fn switch_off(&mut self) -> Result<()> {
        self.cut_power(Survive::Everything).map(drop)
    }

    /// Whether a slot holds exactly this image, byte for byte.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn slot_holds(&self, slot: &str, image: &Image) -> Result<bool> {
        let disk = DiskImage::open(&self.disk.main);
        let extent = disk.partition(slot)?;
        let wanted = std::fs::read(&image.path).io("read", &image.path)?;
        let length = u64::try_from(wanted.len()).unwrap_or(u64::MAX);
        Ok(disk.read(extent.offset, length)? == wanted)
    }

    /// Bytes that went over the wire so far, and requests.
    #[must_use]
    pub fn traffic(&self) -> (u64, u64) {
        self.server
            .stats()
            .values()
            .fold((0, 0), |(bytes, requests), class| {
                (bytes + class.bytes, requests + class.requests)
            })
    }
}

/// A server's error as one of the rig.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
pub(crate) fn https(error: crate::https::HttpsError) -> Error {
    Error::Server {
        why: report(&error),
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
pub(crate) fn nbd(error: crate::nbd::NbdError) -> Error {
    Error::Server {
        why: report(&error),
    }
}

fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
