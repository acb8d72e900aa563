//! What a power cut during a download costs: bytes that are fetched twice.
//!
//! `cargo run --release -p switchbackd --example resume [IMAGE]` publishes an image with
//! `switchback-repo`, installs it with the daemon's own installer into a slot in memory, cuts the
//! power again and again, and counts every byte of the pack that the installer read more than
//! once. Goal: at most one frame for each cut. Exit code 1 if it is missed.
//!
//! Counted is what the installer reads. What a server had sent on top of that, and was on its way
//! when the power went, depends on the network and not on this program.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a benchmark on generated data: it ends at the first thing that is not as it should be"
)]

use std::cell::RefCell;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Parser as _;
use switchback_manifest::{FrameTable, TrustedRelease};
use switchback_types::{ByteCount, SlotName, Timestamp};
use switchbackd::cancel::Cancel;
use switchbackd::fetch::{FetchError, Files, Source};
use switchbackd::install::Installer;
use switchbackd::journal::{DiskFiles, RecordFiles};
use switchbackd::settings::DeviceSettings;
use switchbackd::slot::{Access, BlockDevice, Devices, Layout, Located};
use switchbackd::trust::{Asked, Trust};

/// 2026-12-01.
const NOW: i64 = 1_796_083_200;
/// Bytes of the generated image.
const IMAGE: usize = 64 << 20;
/// Cuts in one install, in the second half of the table.
const MANY: u64 = 20;
/// A drive's cache that is lost with the power, in the last rows: 4 MiB.
const CACHE: usize = 4 << 20;

/// What the cut does to the write at which it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It is durable; the power goes right after it.
    Nothing,
    /// Its first half is durable.
    Half,
    /// None of it is.
    All,
    /// None of it, nor anything of the 4 MiB written before it and not yet synced.
    Cache,
}

/// A slot in memory with a power supply.
#[derive(Debug, Default)]
struct Slot {
    bytes: Vec<u8>,
    /// Writes until the power goes, and how; nothing while it stays.
    fuse: Option<(u64, Loss)>,
    /// What was there before each write since the last sync, oldest first.
    unsynced: Vec<(usize, Vec<u8>)>,
    dead: bool,
}

impl Slot {
    fn write(&mut self, offset: usize, buffer: &[u8]) -> io::Result<()> {
        self.alive()?;
        let range = offset..offset + buffer.len();
        let before = self.bytes[range.clone()].to_vec();
        match &mut self.fuse {
            Some((0, loss)) => {
                let loss = *loss;
                self.dead = true;
                match loss {
                    Loss::Nothing => self.bytes[range].copy_from_slice(buffer),
                    Loss::Half => {
                        let half = buffer.len() / 2;
                        self.bytes[offset..offset + half].copy_from_slice(&buffer[..half]);
                    }
                    Loss::All => {}
                    Loss::Cache => self.lose_cache(),
                }
                return self.alive();
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        self.unsynced.push((offset, before));
        self.bytes[range].copy_from_slice(buffer);
        Ok(())
    }

    fn lose_cache(&mut self) {
        let mut lost = 0;
        while let Some((offset, before)) = self.unsynced.pop() {
            lost += before.len();
            if lost > CACHE {
                return;
            }
            self.bytes[offset..offset + before.len()].copy_from_slice(&before);
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("the power is off"));
        }
        Ok(())
    }

    fn power_on(&mut self, fuse: Option<(u64, Loss)>) {
        self.dead = false;
        self.unsynced.clear();
        self.fuse = fuse;
    }
}

#[derive(Debug, Clone, Default)]
struct Memory(Arc<Mutex<Slot>>);

impl Devices for Memory {
    fn open(&self, _: &Path, _: Access) -> io::Result<Box<dyn BlockDevice>> {
        Ok(Box::new(self.clone()))
    }
}

impl BlockDevice for Memory {
    fn size(&self) -> u64 {
        self.0.lock().unwrap().bytes.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let slot = self.0.lock().unwrap();
        slot.alive()?;
        let rest = &slot.bytes[(offset as usize).min(slot.bytes.len())..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.0.lock().unwrap().write(offset as usize, buffer)
    }

    fn sync(&self) -> io::Result<()> {
        let mut slot = self.0.lock().unwrap();
        slot.alive()?;
        slot.unsynced.clear();
        Ok(())
    }
}

/// The repository's directory, which notes every byte of the pack that is read.
struct Directory {
    root: PathBuf,
    pack: String,
    /// How often each byte of the pack was read.
    reads: Arc<Mutex<Vec<u8>>>,
    connections: RefCell<u64>,
}

struct Counted {
    file: Vec<u8>,
    at: usize,
    reads: Arc<Mutex<Vec<u8>>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.file.len().min(self.at + buffer.len());
        let part = &self.file[self.at..end];
        buffer[..part.len()].copy_from_slice(part);
        for count in &mut self.reads.lock().unwrap()[self.at..end] {
            *count = count.saturating_add(1);
        }
        self.at = end;
        Ok(part.len())
    }
}

impl Files for Directory {
    fn file(&self, path: &str, _: u64) -> Result<Vec<u8>, FetchError> {
        std::fs::read(self.root.join(path)).map_err(|_| FetchError::Missing {
            url: path.into(),
            status: 404,
        })
    }

    fn url(&self, path: &str) -> String {
        format!("directory:{path}")
    }
}

impl Source for Directory {
    fn stream(&self, path: &str, offset: u64) -> Result<Box<dyn Read + Send>, FetchError> {
        assert_eq!(path, self.pack, "only the pack is streamed");
        *self.connections.borrow_mut() += 1;
        Ok(Box::new(Counted {
            file: self.file(path, u64::MAX)?,
            at: offset as usize,
            reads: Arc::clone(&self.reads),
        }))
    }
}

/// Like a root file system: programs, texts, noise and holes.
fn varied_image() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words = [
        "the ", "slot ", "kernel ", "of ", "a ", "boot", "ing ", "\n",
    ];
    let mut image = Vec::with_capacity(IMAGE);
    while image.len() < IMAGE {
        let end = image.len() + 16 * 1024 * (1 + next() as usize % 8);
        match next() % 5 {
            0 => image.resize(end, 0),
            1 => {
                while image.len() < end {
                    image.extend(words[next() as usize % words.len()].bytes());
                }
            }
            2 | 3 => {
                // Machine code is about half as dense as noise.
                while image.len() < end {
                    let word = next();
                    image.extend([0x48, 0x8b, word as u8, 0, (word >> 8) as u8 & 0x0f, 0]);
                    image.extend(&word.to_le_bytes()[2..5]);
                }
            }
            _ => {
                while image.len() < end {
                    image.extend(next().to_le_bytes());
                }
            }
        }
    }
    image.truncate(IMAGE);
    image
}

/// Publishes the image and asks for it as a device does.
fn publish(directory: &Path, image: &[u8]) -> (PathBuf, TrustedRelease) {
    let (repo, keys, file) = (
        directory.join("repo"),
        directory.join("keys"),
        directory.join("image"),
    );
    std::fs::write(&file, image).unwrap();
    let now = Timestamp::from_unix(NOW);
    let run = |words: &[&str]| {
        let place = [
            "--repo",
            repo.to_str().unwrap(),
            "--keys",
            keys.to_str().unwrap(),
        ];
        let words = ["switchback-repo", "--quiet"].iter().chain(words);
        let cli = switchback_repo::cli::Cli::parse_from(words.chain(&place));
        switchback_repo::run(&cli, now, &mut io::sink()).unwrap();
    };
    run(&["init", "--product", "kiosk"]);
    let image = file.to_str().unwrap();
    let publish = ["publish", "--image", image, "--version", "2"];
    let place = ["--compatible", "board", "--format", "raw"];
    run(&[&publish[..], &place, &["--channel", "stable"]].concat());

    let files: Arc<dyn RecordFiles> = Arc::new(DiskFiles);
    let root = repo.join("metadata/1.root.json");
    let (mut trust, _) = Trust::open(&files, &directory.join("state"), &root).unwrap();
    let device = DeviceSettings {
        product: "kiosk".parse().unwrap(),
        compatible: "board".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        require: Vec::new(),
    };
    let source = Directory {
        root: repo.clone(),
        pack: String::new(),
        reads: Arc::default(),
        connections: RefCell::default(),
    };
    match trust.ask(&source, &device, None, 0, now, &mut || {}) {
        Asked::Offer { release, .. } => (repo, *release),
        other => panic!("{other:?}"),
    }
}

/// Everything that one install needs.
struct Bench {
    image: Vec<u8>,
    repo: PathBuf,
    release: TrustedRelease,
    segments: u64,
    largest_frame: u64,
}

/// What installs with cuts cost, all together.
#[derive(Default)]
struct Cost {
    installs: u64,
    cuts: u64,
    fetched: u64,
    twice: u64,
    /// Bytes fetched twice for the worst cut.
    worst: u64,
    connections: u64,
}

impl Bench {
    /// One install from nothing, cut at these writes (counted from 0, each from the start of its
    /// own attempt), then let through to its end.
    fn install(&self, cuts: &[u64], loss: Loss, cost: &mut Cost) {
        let memory = Memory::default();
        memory.0.lock().unwrap().bytes = vec![0; self.image.len().next_multiple_of(4096)];
        let located = |name: &str| Located {
            path: name.into(),
            number: name.into(),
        };
        let layout = Layout {
            a: located("a"),
            b: located("b"),
            booted: SlotName::A,
            contact: None,
            environment_bad: false,
            devices: Arc::new(memory.clone()),
        };
        let pack = &self.release.document().full.blob;
        let source = Directory {
            root: self.repo.clone(),
            pack: pack.path(),
            reads: Arc::new(Mutex::new(vec![0; pack.length as usize])),
            connections: RefCell::default(),
        };
        let (mut cut, mut twice, mut total) = (false, 0, 0);
        for fuse in cuts
            .iter()
            .map(|at| Some((*at, loss)))
            .chain(std::iter::once(None))
        {
            memory.0.lock().unwrap().power_on(fuse);
            let result = Installer {
                source: &source,
                cancel: &Cancel::default(),
                chosen: &mut |_| {},
                progress: &mut |_| {},
                pause: &mut |_| {},
                layout: &layout,
                running: None,
                begun: true,
                lost: None,
                prove: &mut |synced, image, progress| {
                    synced.verify(image, &Cancel::default(), progress).map(drop)
                },
            }
            .run(self.release.document());
            assert_eq!(result.is_err(), memory.0.lock().unwrap().dead, "{result:?}");
            // What is read twice now is the price of the cut before.
            let reads = source.reads.lock().unwrap();
            let fetched: u64 = reads.iter().map(|count| u64::from(*count)).sum();
            let once = reads.iter().filter(|count| **count > 0).count() as u64;
            let new = fetched - once - twice;
            assert!(cut || new == 0, "{new} bytes read twice without a cut");
            twice += new;
            cost.worst = cost.worst.max(new);
            total = fetched;
            cut = result.is_err();
            cost.cuts += u64::from(cut);
        }
        assert_eq!(
            memory.0.lock().unwrap().bytes[..self.image.len()],
            self.image
        );
        cost.installs += 1;
        cost.fetched += total;
        cost.twice += twice;
        cost.connections += *source.connections.borrow();
    }

    fn report(&self, title: &str, cost: &Cost) -> bool {
        let met = cost.worst <= self.largest_frame;
        println!(
            "{title:<44} {:>8} {:>5} {:>12} {:>14} {:>14}  {}",
            cost.installs,
            cost.cuts,
            ByteCount(cost.fetched / cost.installs.max(1)).to_string(),
            ByteCount(cost.worst).to_string(),
            ByteCount(cost.twice / cost.cuts.max(1)).to_string(),
            if met { "yes" } else { "NO" }
        );
        met
    }
}

fn main() -> ExitCode {
    let started = Instant::now();
    let image = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read(path).unwrap(),
        None => varied_image(),
    };
    let directory = tempfile::tempdir().unwrap();
    let (repo, release) = publish(directory.path(), &image);
    let document = release.document();
    let frames = std::fs::read(repo.join(document.full.frames.path())).unwrap();
    let frames = FrameTable::parse(&frames, &document.image, &document.full).unwrap();
    let segments = document
        .image
        .size
        .div_ceil(u64::from(document.image.segment_size));
    let largest_frame = (0..segments)
        .filter_map(|index| frames.range(index))
        .map(|(_, length)| u64::from(length))
        .max()
        .unwrap_or(0);
    println!(
        "image {}, pack {}, {segments} segments of {}, largest frame {}",
        ByteCount(document.image.size),
        ByteCount(document.full.blob.length),
        ByteCount(u64::from(document.image.segment_size)),
        ByteCount(largest_frame),
    );
    println!(
        "{:<44} {:>8} {:>5} {:>12} {:>14} {:>14}  <= 1 frame",
        "", "installs", "cuts", "fetched each", "twice, worst", "twice, mean"
    );
    let bench = Bench {
        image,
        repo,
        release,
        segments,
        largest_frame,
    };
    let mut met = true;
    let losses = [
        (Loss::Nothing, "right after a write"),
        (Loss::Half, "in the middle of a write"),
        (Loss::All, "before a write is durable"),
        (Loss::Cache, "with 4 MiB in the drive's cache"),
    ];
    // Every segment of the generated image; of a larger one, some of them.
    let step = (bench.segments / 64).max(1) as usize;
    for (loss, words) in losses {
        let (mut one, mut many) = (Cost::default(), Cost::default());
        for at in (0..bench.segments).step_by(step) {
            bench.install(&[at], loss, &mut one);
        }
        let each = (bench.segments / (MANY + 1)).max(1);
        bench.install(&vec![each; MANY as usize], loss, &mut many);
        let one = bench.report(&format!("one cut, {words}"), &one);
        let many = bench.report(&format!("{MANY} cuts in one install, {words}"), &many);
        // What a drive says is durable and is not, nobody can keep.
        met &= loss == Loss::Cache || (one && many);
    }
    println!("took {:.0} s", started.elapsed().as_secs_f64());
    if met {
        ExitCode::SUCCESS
    } else {
        println!("goal missed: more than one frame for a cut was fetched twice");
        ExitCode::FAILURE
    }
}
