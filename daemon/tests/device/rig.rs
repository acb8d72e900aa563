//! The daemon over two slots in memory, and a repository that `switchback-repo` really made.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use switchback_boot_env::grub;
use switchback_types::{SlotName, Timestamp};
use switchback_update_core::{
    Attempt, BootId, Gate, ImageIdentity, Outcome, SlotContent, SlotRecord, State,
};
use switchbackd::boot::{BootControl, EnvFiles, FileFacts, Locks, RealFiles};
use switchbackd::cancel::Cancel;
use switchbackd::driver::{Command, Driver, FleetParts, JobEnd, Message, Parts, Refused, Reloaded};
use switchbackd::fetcher::Inside;
use switchbackd::fleet::{self, Trouble, Turn, Word};
use switchbackd::health::{self, Pace, Reached};
use switchbackd::host::{HealthReports, Host};
use switchbackd::install::identity;
use switchbackd::journal::{DiskFiles, Journal, RecordFiles};
use switchbackd::settings::{GateSettings, HealthSettings, Settings};
use switchbackd::slot::{Access, BlockDevice, Devices, Layout, Located};
use switchbackd::trust::Trust;
use switchbackd::worker::{Job, Worker};
use tokio::sync::{mpsc, oneshot};

use crate::repository::{Directory, noise, publish};

/// 2026-12-01.
pub(crate) const NOW: i64 = 1_796_083_200;
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
pub(crate) const SEGMENT: usize = 64 * 1024;
pub(crate) const SEGMENTS: usize = 12;

/// A slot's bytes, shared with the test.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(pub(crate) Arc<Mutex<Vec<u8>>>);

/// Both slots in memory, by their paths.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slots {
    pub(crate) a: Memory,
    pub(crate) b: Memory,
}

impl Devices for Slots {
    fn open(&self, path: &Path, _: Access) -> io::Result<Box<dyn BlockDevice>> {
        let slot = if path == Path::new("/dev/a") {
            &self.a
        } else {
            &self.b
        };
        Ok(Box::new(slot.clone()))
    }
}

impl BlockDevice for Memory {
    fn size(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.0.lock().unwrap();
        let rest = &bytes[(offset as usize).min(bytes.len())..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        let offset = offset as usize;
        self.0.lock().unwrap()[offset..offset + buffer.len()].copy_from_slice(buffer);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The environment's file, wherever the temporary directory is.
#[derive(Debug)]
pub(crate) struct Anywhere;

impl EnvFiles for Anywhere {
    fn lock(&self, _: Locks<'_>) -> Result<Box<dyn std::fmt::Debug>, switchbackd::boot::BootError> {
        Ok(Box::new(()))
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        Ok(FileFacts {
            unsuitable_for_grub: None,
            ..RealFiles.facts(path)?
        })
    }

    fn read(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        RealFiles.read(path, offset, length)
    }

    fn probe_writable(&self, path: &Path) -> io::Result<()> {
        RealFiles.probe_writable(path)
    }

    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        RealFiles.write(path, offset, bytes)
    }

    fn shorten(&self, path: &Path, length: u64) -> io::Result<()> {
        RealFiles.shorten(path, length)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        RealFiles.sync(path)
    }
}

/// A machine whose time and gates the test moves, and which is healthy.
#[derive(Debug, Default)]
pub(crate) struct Still {
    pub(crate) uptime: Mutex<Duration>,
    pub(crate) gates: Mutex<Vec<Gate>>,
    pub(crate) restarts: AtomicU32,
    pub(crate) unwell: AtomicBool,
}

pub(crate) struct Quick(Duration);

impl Pace for Quick {
    fn elapsed(&mut self) -> Duration {
        self.0
    }

    fn pause(&mut self, time: Duration) {
        self.0 += time;
    }
}

impl Host for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(NOW).plus_seconds(self.uptime().as_secs().cast_signed())
    }

    fn uptime(&self) -> Duration {
        *self.uptime.lock().unwrap()
    }

    fn pause(&self, _: Duration) {}

    fn random(&self, bytes: &mut [u8]) -> bool {
        bytes.fill(0x7f);
        true
    }

    fn check_health(&self, settings: &HealthSettings, _: &Reached, reports: HealthReports) {
        (reports.end)(health::watch(
            settings,
            &mut Quick(Duration::ZERO),
            &mut || match self.unwell.load(Ordering::Relaxed) {
                true => Err("the application does not answer".into()),
                false => Ok(()),
            },
        ));
    }

    fn read_gates(&self, _: &GateSettings, _: Timestamp) -> Vec<Gate> {
        self.gates.lock().unwrap().clone()
    }

    fn restart(&self, _: &[String]) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    fn is_stopping(&self) -> bool {
        false
    }

    fn tell(&self, _: &Attempt, _: &Outcome) -> Result<(), String> {
        Ok(())
    }

    fn os_release(&self) -> String {
        String::new()
    }

    fn recall(&self, _: &str) -> Option<String> {
        Some("proven".into())
    }

    fn keep(&self, _: &str, _: &str) {}
}

/// Version 2 runs in slot a; slot b holds version 1, which was healthy once.
pub(crate) struct Device {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) slots: Slots,
    pub(crate) streams: Arc<Mutex<Vec<u64>>>,
    pub(crate) host: Arc<Still>,
    pub(crate) driver: Driver,
    pub(crate) worker: Worker,
    pub(crate) jobs: std::sync::mpsc::Receiver<Job>,
    pub(crate) messages: mpsc::UnboundedReceiver<Message>,
    pub(crate) ends: mpsc::UnboundedReceiver<JobEnd>,
    pub(crate) turns: std::sync::mpsc::Receiver<Turn>,
    pub(crate) fleet: Server,
    pub(crate) old: Vec<u8>,
}

/// A fleet server: what it says, and all that it was told.
pub(crate) struct Server {
    pub(crate) word: Result<Word, Trouble>,
    pub(crate) heard: Vec<Turn>,
}

impl Server {
    fn answer(&mut self, turn: &Turn) -> Result<Word, Trouble> {
        let word = self.word.clone().map(|word| Word {
            told: turn.reports.len(),
            attributes_told: turn.attributes_new,
            ..word
        });
        self.heard.push(turn.clone());
        word
    }
}

pub(crate) fn holds(image: ImageIdentity) -> SlotRecord {
    SlotRecord {
        content: SlotContent::Holds { image },
        good: true,
        checked: Some(Timestamp::from_unix(NOW)),
    }
}

/// A board's settings and `more`: a section that is in both may only add to it.
fn settings(directory: &Path, more: &str) -> Settings {
    let config = directory.join("config.d");
    std::fs::create_dir_all(&config).unwrap();
    let text = format!(
        "[device]\nproduct = \"kiosk\"\ncompatible = \"board\"\n[repository]\n\
         url = \"https://updates.example\"\n[boot]\ncontract = \"rauc-grub\"\n\
         grubenv = [\"{}\"]\n[health]\nrepository = false\n",
        directory.join("grubenv").display()
    );
    std::fs::write(config.join("10-board.toml"), text).unwrap();
    std::fs::write(config.join("20-more.toml"), more).unwrap();
    switchbackd::settings::load(&[config]).unwrap()
}

impl Device {
    /// What a daemon reads that is told to read its configuration anew.
    pub(crate) fn reloaded(&self, more: &str) -> Reloaded {
        let source = Directory {
            root: self.directory.path().join("repo"),
            streams: Arc::clone(&self.streams),
        };
        Reloaded {
            settings: settings(self.directory.path(), more),
            fetcher: Box::new(Inside::new(Box::new(source))),
        }
    }

    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// With more lines of configuration.
    pub(crate) fn with(more: &str) -> Self {
        Self::starting(more, |_| {})
    }

    /// The same, with another journal.
    pub(crate) fn starting(more: &str, change: impl FnOnce(&mut State)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let (old, new) = (noise(1), noise(2));
        publish(directory.path(), "1", &old, &["--deltas", "0"]);
        publish(directory.path(), "2", &new, &["--deltas", "0"]);

        let settings = settings(directory.path(), more);
        let lines = b"ORDER=A B\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=0\n".as_slice();
        let mut block = [b"# GRUB Environment Block\n".as_slice(), lines].concat();
        block.resize(1024, b'#');
        std::fs::write(path("grubenv"), block).unwrap();

        let slots = Slots::default();
        *slots.a.0.lock().unwrap() = new;
        *slots.b.0.lock().unwrap() = old.clone();
        let located = |name: &str| Located {
            path: format!("/dev/{name}").into(),
            number: name.into(),
        };
        let layout = Layout {
            a: located("a"),
            b: located("b"),
            booted: SlotName::A,
            contact: None,
            environment_bad: false,
            devices: Arc::new(slots.clone()),
        };
        let streams = Arc::default();
        let source = Directory {
            root: path("repo"),
            streams: Arc::clone(&streams),
        };
        let files: Arc<dyn RecordFiles> = Arc::new(DiskFiles);
        let root = path("repo/metadata/1.root.json");
        let (mut trust, _) = Trust::open(&files, &path("trust"), &root).unwrap();
        let now = Timestamp::from_unix(NOW);
        let released = |version: &str, trust: &mut Trust| {
            let version = version.parse().unwrap();
            let product = &settings.device.product;
            identity(
                &trust
                    .release(&source, product, &version, now, &mut || {})
                    .unwrap(),
            )
        };
        let mut state = State {
            a: holds(released("2", &mut trust)),
            b: holds(released("1", &mut trust)),
            primary: Some(SlotName::A),
            ..State::default()
        };
        change(&mut state);
        let host = Arc::new(Still::default());
        let (queue, messages) = mpsc::unbounded_channel();
        let (job_ends, ends) = mpsc::unbounded_channel();
        let (sender, jobs) = std::sync::mpsc::channel();
        let cancel = Cancel::default();
        let worker = Worker {
            fetcher: Box::new(Inside::new(Box::new(source))),
            trust,
            device: settings.device.clone(),
            layout: layout.clone(),
            reached: Reached::default(),
            cancel: cancel.clone(),
            reports: queue.clone(),
            host: Arc::clone(&host) as Arc<dyn Host>,
            not_running: HashSet::new(),
        };
        let boot = BootControl::over(&settings.boot, Box::new(Anywhere)).unwrap();
        let (to_fleet, turns) = std::sync::mpsc::channel();
        let fleet = settings.fleet.as_ref().map(|_| {
            let id = || "made".to_owned();
            let (memory, _) = fleet::Memory::open(&files, &path("state"), id).unwrap();
            let turns = to_fleet;
            FleetParts { turns, memory }
        });
        let (mut driver, _) = Driver::new(Parts {
            decide: switchback_update_core::step,
            settings,
            layout,
            boot,
            journal: Journal::open(&files, &path("state")).unwrap().journal,
            state,
            boot_id: BootId::new("this"),
            host: Arc::clone(&host) as Arc<dyn Host>,
            worker: sender,
            fleet,
            cancel,
            reached: Reached::default(),
            queue,
            job_ends,
        })
        .unwrap();
        driver.start().unwrap();
        let mut device = Self {
            directory,
            slots,
            streams,
            host,
            driver,
            worker,
            jobs,
            messages,
            ends,
            turns,
            fleet: Server {
                word: Ok(Word::default()),
                heard: Vec::new(),
            },
            old,
        };
        device.settle();
        device
    }

    /// Lets everything happen that can happen without time passing.
    pub(crate) fn settle(&mut self) {
        loop {
            if let Ok(message) = self.messages.try_recv() {
                self.driver.message(message).unwrap();
            } else if let Ok(job) = self.jobs.try_recv() {
                self.worker.work(job);
            } else if let Ok(turn) = self.turns.try_recv() {
                let word = self.fleet.answer(&turn);
                self.driver.message(Message::Fleet { turn, word }).unwrap();
            } else {
                return;
            }
        }
    }

    /// Lets time pass in steps of an hour.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.pass_in_steps(time, Duration::from_secs(3600));
    }

    /// Lets time pass.
    pub(crate) fn pass_in_steps(&mut self, time: Duration, step: Duration) {
        let end = self.host.uptime() + time;
        while self.host.uptime() < end {
            *self.host.uptime.lock().unwrap() += step;
            while self
                .driver
                .due()
                .is_some_and(|due| due <= self.host.uptime())
            {
                self.driver.tick().unwrap();
                self.settle();
            }
        }
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<(), Refused> {
        let (reply, mut answer) = oneshot::channel();
        self.driver
            .message(Message::Command { command, reply })
            .unwrap();
        self.settle();
        answer.try_recv().unwrap()
    }

    pub(crate) fn spoil(&self, segments: &[usize]) {
        for segment in segments {
            self.slots.b.0.lock().unwrap()[segment * SEGMENT + 77] ^= 0x10;
        }
    }

    /// The bootloader's word for whether slot b may be started.
    pub(crate) fn bootable(&self) -> bool {
        let block = std::fs::read(self.directory.path().join("grubenv")).unwrap();
        grub::parse(&block).unwrap().text("B_OK") == Some("1")
    }

    pub(crate) fn ended(&mut self) -> (&'static str, String) {
        let end = self.ends.try_recv().unwrap();
        (end.result, end.message)
    }
}
