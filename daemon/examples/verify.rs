//! What it takes to trust an answer: `cargo run --release -p switchbackd --example verify`.
//!
//! A real repository in the place of a server, and a device that asks it for the first time, again, and for an update:
//! files and bytes asked for, and the time until the answer is verified, without network and disk.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "an example fails by panicking and prints its figures"
)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Parser as _;
use switchback_repo::cli::Cli;
use switchback_types::Timestamp;
use switchbackd::fetch::{FetchError, Files, Named};
use switchbackd::journal::{DiskFiles, RecordFiles};
use switchbackd::settings::DeviceSettings;
use switchbackd::trust::{Asked, Trust};

const NOW: i64 = 1_796_083_200;
const ROUNDS: usize = 200;

/// A directory that names its files' versions, as nearly every server does.
struct Directory {
    root: PathBuf,
    asked: Mutex<Vec<usize>>,
}

impl Files for Directory {
    fn file(&self, path: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        Ok(self.unless(path, limit, None)?.unwrap().bytes)
    }

    fn unless(&self, path: &str, _: u64, known: Option<&str>) -> Result<Option<Named>, FetchError> {
        let bytes = std::fs::read(self.root.join(path));
        self.asked
            .lock()
            .unwrap()
            .push(bytes.as_ref().map_or(0, Vec::len));
        let bytes = bytes.map_err(|_| FetchError::Missing {
            url: path.into(),
            status: 404,
        })?;
        let tag = format!(
            "{:x}",
            bytes.iter().fold(7_u64, |sum, byte| {
                sum.wrapping_mul(1_000_003) ^ u64::from(*byte)
            })
        );
        if known == Some(tag.as_str()) {
            self.asked.lock().unwrap().pop();
            self.asked.lock().unwrap().push(0);
            return Ok(None);
        }
        Ok(Some(Named {
            bytes,
            tag: Some(tag),
        }))
    }

    fn url(&self, path: &str) -> String {
        path.into()
    }
}

fn publisher(place: &Path, words: &[&str]) {
    let (repo, keys) = (place.join("repo"), place.join("keys"));
    let place = [
        "--repo",
        repo.to_str().unwrap(),
        "--keys",
        keys.to_str().unwrap(),
    ];
    let words = ["switchback-repo", "--quiet"]
        .iter()
        .chain(words)
        .chain(&place);
    let cli = Cli::parse_from(words);
    switchback_repo::run(&cli, Timestamp::from_unix(NOW), &mut std::io::sink()).unwrap();
}

fn publish(place: &Path, version: &str) {
    let image = place.join("image");
    std::fs::write(&image, format!("image of version {version}")).unwrap();
    let image = image.to_str().unwrap();
    publisher(
        place,
        &[
            "publish",
            "--image",
            image,
            "--version",
            version,
            "--compatible",
            "board",
            "--format",
            "raw",
            "--channel",
            "stable",
        ],
    );
}

fn device() -> DeviceSettings {
    DeviceSettings {
        product: "kiosk".parse().unwrap(),
        compatible: "board".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        require: Vec::new(),
    }
}

fn open(source: &Directory, memory: &Path) -> Trust {
    let files: Arc<dyn RecordFiles> = Arc::new(DiskFiles);
    let root = source.root.join("metadata/1.root.json");
    let (trust, warnings) = Trust::open(&files, memory, &root).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    trust
}

fn ask(trust: &mut Trust, source: &Directory, version: &str) {
    let now = Timestamp::from_unix(NOW);
    match trust.ask(source, &device(), 1, now, &mut || {}) {
        Asked::Offer { release, .. } => assert_eq!(release.version.as_str(), version),
        other => panic!("{other:?}"),
    }
}

/// Asks from the same memory again and again, after `before`; prints the middle time, and what was asked for.
fn measure(
    name: &str,
    source: &Directory,
    memory: &Path,
    before: impl Fn(&mut Trust),
    version: &str,
) {
    let mut times = Vec::new();
    let mut asked = Vec::new();
    for _ in 0..ROUNDS {
        // In memory: what a disk takes is another question.
        let state = tempfile::tempdir_in("/dev/shm").unwrap();
        for entry in std::fs::read_dir(memory).unwrap().flatten() {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), state.path().join(entry.file_name())).unwrap();
            }
        }
        let mut trust = open(source, state.path());
        before(&mut trust);
        source.asked.lock().unwrap().clear();
        let begun = Instant::now();
        ask(&mut trust, source, version);
        times.push(begun.elapsed());
        asked.clone_from(&source.asked.lock().unwrap());
    }
    times.sort_unstable();
    println!(
        "{name:<40} {:>7.3} ms, {} questions, {} bytes of content",
        times.get(times.len() / 2).unwrap().as_secs_f64() * 1000.0,
        asked.len(),
        asked.iter().sum::<usize>(),
    );
}

fn main() {
    let place = tempfile::tempdir().unwrap();
    publisher(place.path(), &["init", "--product", "kiosk"]);
    publish(place.path(), "1");
    let source = Directory {
        root: place.path().join("repo"),
        asked: Mutex::default(),
    };
    let nothing = place.path().join("nothing");
    std::fs::create_dir(&nothing).unwrap();
    measure(
        "first contact, from the built-in root",
        &source,
        &nothing,
        |_| {},
        "1",
    );
    let memory = place.path().join("memory");
    ask(&mut open(&source, &memory), &source, "1");
    let again = |trust: &mut Trust| ask(trust, &source, "1");
    measure("asked again", &source, &memory, again, "1");
    publish(place.path(), "2");
    measure("an update is found", &source, &memory, |_| {}, "2");
    let stored = std::fs::metadata(memory.join("trust.0")).unwrap().len();
    println!("memory of trust: {stored} bytes in each copy");
}
