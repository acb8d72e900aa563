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

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/publisher/mod.rs"]
mod publisher;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use publisher::{NOW, Publisher, device};
use switchback_types::Timestamp;
use switchbackd::fetch::{FetchError, Files, Named};
use switchbackd::trust::{Asked, Trust};

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

fn ask(trust: &mut Trust, source: &Directory, version: &str) {
    let now = Timestamp::from_unix(NOW);
    match trust.ask(source, &device(), None, 1, now, &mut || {}) {
        Asked::Offer { release, .. } => assert_eq!(release.version.as_str(), version),
        other => panic!("{other:?}"),
    }
}

/// Asks from the same memory again and again, after `before`; prints the middle time, and what was asked for.
fn measure(
    name: &str,
    (publisher, source): (&Publisher, &Directory),
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
        let mut trust = publisher.trust(state.path());
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
    let publisher = Publisher::new();
    let source = Directory {
        root: publisher.path("repo"),
        asked: Mutex::default(),
    };
    let both = (&publisher, &source);
    let [nothing, memory] = ["nothing", "memory"].map(|name| publisher.path(name));
    std::fs::create_dir(&nothing).unwrap();
    measure(
        "first contact, from the built-in root",
        both,
        &nothing,
        |_| {},
        "1",
    );
    ask(&mut publisher.trust(&memory), &source, "1");
    let again = |trust: &mut Trust| ask(trust, &source, "1");
    measure("asked again", both, &memory, again, "1");
    publisher.publish("2");
    measure("an update is found", both, &memory, |_| {}, "2");
    let stored = std::fs::metadata(memory.join("trust.0")).unwrap().len();
    println!("memory of trust: {stored} bytes in each copy");
}
