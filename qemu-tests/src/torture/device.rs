//! One device under torture: its disks, its power switch, and what it said.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::plan::{Cut, From, Point};
use super::prepare::Reference;
use super::watch::Watch;
use crate::bench::nbd;
use crate::board::{Board, Disk, ENV_DRIVE, MAIN_DRIVE};
use crate::disk::{DiskImage, Extent};
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::nbd::{CutPoint, CutServer, LoggedRequest, Survive};

const SECTOR: u64 = 512;
/// Between two looks at the console.
const LOOK: Duration = Duration::from_millis(15);
/// A point that was not reached so long after it was set, or in twice the time of a whole update, is
/// cut by the clock.
const POINT: Duration = Duration::from_secs(20);
/// A settled device gets this long to reach a point that lies in what it does when idle.
const IDLE: Duration = Duration::from_secs(2);

/// A drive that was left alone for so long is left alone.
const REST: Duration = Duration::from_millis(1200);
/// But a device that polls writes from time to time.
const REST_LIMIT: Duration = Duration::from_secs(6);

/// A device.
pub(super) struct Device<'a> {
    board: &'a dyn Board,
    pub(super) disk: Disk,
    work: PathBuf,
    power: Option<Power>,
    boots: u32,
    pub(super) watch: Watch,
}

/// What there is while the power is on.
struct Power {
    machine: Machine,
    main: CutServer,
    env: Option<CutServer>,
    ledger: Ledger,
    /// Console lines already taken.
    taken: usize,
    since: Instant,
}

/// What became of a planned cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hit {
    /// The power went at the point.
    AtPoint,
    /// The power went, but the point had not been reached in time.
    ByClock,
    /// The device had settled before the point could come: the power stayed on.
    Missed,
}

impl<'a> Device<'a> {
    pub(super) fn new(board: &'a dyn Board, disk: Disk, work: &Path) -> Self {
        Self {
            board,
            disk,
            work: work.to_owned(),
            power: None,
            boots: 0,
            watch: Watch::default(),
        }
    }

    /// Whether the power is on.
    pub(super) const fn is_on(&self) -> bool {
        self.power.is_some()
    }

    pub(super) fn switch_on(&mut self) -> Result<()> {
        self.boots += 1;
        let ledger = Ledger::open(self.board, &self.disk)?;
        let name = format!("console-{}", self.boots);
        let mut builder = self.board.machine(&self.disk, &name, &self.work);
        let main = CutServer::start(&self.disk.main, &self.work.join("main.nbd")).map_err(nbd)?;
        builder = builder.backend(MAIN_DRIVE, &main.backend());
        let mut env = None;
        if let Some(card) = &self.disk.env {
            let server =
                CutServer::start_without_cache(card, &self.work.join("env.nbd")).map_err(nbd)?;
            builder = builder.backend(ENV_DRIVE, &server.backend());
            env = Some(server);
        }
        env.as_ref().unwrap_or(&main).keep_writes();
        let machine = builder.start()?;
        self.power = Some(Power {
            machine,
            main,
            env,
            ledger,
            taken: 0,
            since: Instant::now(),
        });
        Ok(())
    }

    /// Cuts the power; what was not durable fares as `survive` says.
    pub(super) fn cut(&mut self, survive: Survive) -> Result<()> {
        let Some(power) = self.power.take() else {
            return Ok(());
        };
        // What was said before the power went counts.
        for line in power.machine.lines_after(power.taken) {
            self.watch.take(&line.text);
        }
        power.machine.power_cut()?;
        let written = power.env.as_ref().unwrap_or(&power.main);
        let written = power.ledger.writes(written);
        power.main.cut(survive).map_err(nbd)?;
        if let Some(env) = power.env {
            env.cut(survive).map_err(nbd)?;
        }
        self.watch.power_off();
        let wrong = power.ledger.judge(self.board, &self.disk, &written)?;
        self.watch.alarms.extend(wrong);
        Ok(())
    }

    /// Changes on the main drive since power on.
    pub(super) fn changes(&self) -> u64 {
        self.power
            .as_ref()
            .map_or(0, |power| power.main.traffic().changes)
    }

    /// Since power on.
    pub(super) fn on_for(&self) -> Duration {
        self.power
            .as_ref()
            .map_or(Duration::ZERO, |power| power.since.elapsed())
    }

    /// Waits for a console line with `part` in it, or until the device has settled when that is
    /// `enough`. `None`: neither came in time.
    pub(super) fn wait(
        &mut self,
        part: Option<&str>,
        enough: bool,
        within: Duration,
    ) -> Result<Option<Seen>> {
        let deadline = Instant::now() + within;
        loop {
            let power = self.power.as_mut().ok_or_else(|| off(&self.disk))?;
            for line in power.machine.lines_after(power.taken) {
                power.taken += 1;
                self.watch.take(&line.text);
                if part.is_some_and(|part| line.text.contains(part)) {
                    return Ok(Some(Seen::Line));
                }
            }
            if enough && self.watch.is_settled() {
                return Ok(Some(Seen::Settled));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the main drive was left alone for a while: what a settled device still writes
    /// down about how it settled. A file system's own writes end this wait, too.
    pub(super) fn rest(&mut self) -> Result<()> {
        let deadline = Instant::now() + REST_LIMIT;
        let mut changes = self.changes();
        let mut since = Instant::now();
        while since.elapsed() < REST && Instant::now() < deadline {
            self.wait(None, false, LOOK)?;
            if self.changes() != changes {
                changes = self.changes();
                since = Instant::now();
            }
        }
        Ok(())
    }

    /// Lets the device run to a cut, and cuts.
    pub(super) fn run_to(
        &mut self,
        cut: &Cut,
        reference: &Reference,
        image_bytes: u64,
        within: Duration,
    ) -> Result<Hit> {
        match cut.from {
            From::PowerOn => {}
            From::Line(part) => {
                if self.wait(Some(part), true, within)? != Some(Seen::Line) {
                    return Ok(Hit::Missed);
                }
            }
            From::SlotWritten => {
                if !self.slot_written(image_bytes, within)? {
                    return Ok(Hit::Missed);
                }
            }
        }
        let limit = POINT.max(Duration::from_millis(2 * reference.update_ms));
        let share = |whole: u64, part: u64| whole * part / 1000;
        let hit = match cut.point {
            Point::Millis(ms) => self.pass(ms)?,
            Point::LoaderShare(part) => self.pass(share(reference.loader_ms, part))?,
            Point::BootShare(part) => self.pass(share(reference.boot_ms, part))?,
            Point::TimeShare(part) => self.pass(share(reference.update_ms, part))?,
            Point::Change(count) => self.reach(CutPoint::Change(count), false, limit)?,
            Point::ChangeShare(part) => {
                let count = share(reference.update_changes, part) + 1;
                self.reach(CutPoint::Change(count), false, limit)?
            }
            Point::SlotWrite(part) => {
                let slot = self.partition("slot-b")?;
                let first = (slot.offset + share(image_bytes, part)) / SECTOR;
                let end = (slot.offset + slot.length) / SECTOR;
                self.reach(
                    CutPoint::WritesIn {
                        first,
                        end,
                        count: 1,
                    },
                    false,
                    limit,
                )?
            }
            Point::EnvWrite(count) => {
                let extent = self.board.env_extent(&self.disk)?;
                self.reach(within_extent(extent, count), true, limit)?
            }
            Point::DataWrite(count) => {
                let data = self.partition("data")?;
                self.reach(within_extent(data, count), false, limit)?
            }
        };
        if hit != Hit::Missed {
            self.cut(cut.survive)?;
        }
        Ok(hit)
    }

    /// Lets `ms` milliseconds pass.
    #[allow(
        clippy::unnecessary_wraps,
        reason = "the other arms of its caller can fail"
    )]
    fn pass(&self, ms: u64) -> Result<Hit> {
        std::thread::sleep(Duration::from_millis(ms));
        Ok(Hit::AtPoint)
    }

    fn reach(&mut self, point: CutPoint, on_env_drive: bool, limit: Duration) -> Result<Hit> {
        let power = self.power.as_ref().ok_or_else(|| off(&self.disk))?;
        let drive = match (&power.env, on_env_drive) {
            (Some(env), true) => env,
            _ => &power.main,
        };
        let reached = drive.cut_at(point);
        self.await_point(&reached, limit)
    }

    fn await_point(&mut self, reached: &Receiver<LoggedRequest>, limit: Duration) -> Result<Hit> {
        let set = Instant::now();
        let mut settled: Option<Instant> = None;
        loop {
            match reached.recv_timeout(LOOK) {
                Ok(_) => return Ok(Hit::AtPoint),
                Err(RecvTimeoutError::Disconnected) => return Ok(Hit::ByClock),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.wait(None, false, Duration::ZERO)?;
            if self.watch.is_settled() {
                let since = *settled.get_or_insert_with(Instant::now);
                if since.elapsed() > IDLE {
                    return Ok(Hit::ByClock);
                }
            } else {
                settled = None;
            }
            if set.elapsed() > limit {
                return Ok(Hit::ByClock);
            }
        }
    }

    /// Waits until the last twentieth of the image is being written into slot b; false when the
    /// device arms or settles without that.
    fn slot_written(&mut self, image_bytes: u64, within: Duration) -> Result<bool> {
        let slot = self.partition("slot-b")?;
        let first = (slot.offset + image_bytes / 20 * 19) / SECTOR;
        let end = (slot.offset + slot.length) / SECTOR;
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            let seen = self.wait(Some("is armed: "), true, Duration::ZERO)?;
            if seen.is_some() {
                return Ok(false);
            }
            let power = self.power.as_ref().ok_or_else(|| off(&self.disk))?;
            let written = power.main.log();
            if written
                .iter()
                .rev()
                .any(|request| request.lba >= first && request.lba < end)
            {
                return Ok(true);
            }
            std::thread::sleep(LOOK);
        }
        Ok(false)
    }

    fn partition(&self, name: &str) -> Result<Extent> {
        DiskImage::open(&self.disk.main).partition(name)
    }
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The line.
    Line,
    /// The device settled.
    Settled,
}

fn within_extent(extent: Extent, count: u64) -> CutPoint {
    CutPoint::WritesIn {
        first: extent.offset / SECTOR,
        end: (extent.offset + extent.length).div_ceil(SECTOR),
        count,
    }
}

fn off(disk: &Disk) -> Error {
    Error::Malformed {
        path: disk.main.clone(),
        why: "the device is switched off".to_owned(),
    }
}
