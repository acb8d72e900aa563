//! Installs an image from a repository into a file, as the daemon does into a slot, and prints what it
//! took: `apply REPO VERSION RUNNING TARGET [any]`. With `any` nobody knows what runs: no delta fits.
//!
//! RUNNING holds the image that runs and TARGET stands for the inactive slot; it is as long as the image
//! and is written by direct I/O. The last line is JSON. Peak memory is this process's: what the decoder, the
//! slot and the reader of the repository need, without bus and TLS.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement ends at the first thing that is not as it should be"
)]

use std::io::{Read, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use switchback_manifest::{Release, TrustedRelease, release_path};
use switchback_types::{ByteCount, SlotName};
use switchback_update_core::ImageIdentity;
use switchbackd::cancel::Cancel;
use switchbackd::fetch::{FetchError, Files, Source};
use switchbackd::install::Installer;
use switchbackd::slot::{KernelDevices, Layout, Located};

/// A repository's directory.
struct Directory(PathBuf);

impl Directory {
    fn open(&self, path: &str) -> Result<std::fs::File, FetchError> {
        std::fs::File::open(self.0.join(path)).map_err(|_| FetchError::Missing {
            url: path.into(),
            status: 404,
        })
    }
}

impl Files for Directory {
    fn file(&self, path: &str, _: u64) -> Result<Vec<u8>, FetchError> {
        let mut bytes = Vec::new();
        self.open(path)?.read_to_end(&mut bytes).unwrap();
        Ok(bytes)
    }

    fn url(&self, path: &str) -> String {
        self.0.join(path).display().to_string()
    }
}

impl Source for Directory {
    fn stream(&self, path: &str, offset: u64) -> Result<Box<dyn Read + Send>, FetchError> {
        let mut file = self.open(path)?;
        file.seek(SeekFrom::Start(offset)).unwrap();
        Ok(Box::new(file))
    }
}

/// The release document of a version. Its signature is not looked at here.
fn release(repository: &std::path::Path, version: &str) -> TrustedRelease {
    let product = std::fs::read_dir(repository.join("targets/releases"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .file_name();
    let product = product.to_str().unwrap().parse().unwrap();
    let path = release_path(&product, &version.parse().unwrap()).to_string();
    let directory = repository.join("targets").join(path);
    // With consistent snapshots the file's digest stands before its name.
    let file = std::fs::read_dir(directory.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap())
        .unwrap();
    TrustedRelease::for_tests(Release::parse(&std::fs::read(file).unwrap()).unwrap())
}

/// Most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [repository, version, running, target, any @ ..] = words.as_slice() else {
        panic!("usage: apply REPO VERSION RUNNING TARGET [any]");
    };
    let repository = PathBuf::from(repository);
    let release = release(&repository, version);
    let located = |path: &str| Located {
        path: path.into(),
        number: String::new(),
    };
    let layout = Layout {
        a: located(running),
        b: located(target),
        booted: SlotName::A,
        contact: None,
        environment_bad: false,
        devices: Arc::new(KernelDevices),
    };
    // As a device from the factory, if the length says so; else the first delta is the one meant.
    let known = release.deltas.first().filter(|_| any.is_empty());
    let runs = known.map(|delta| ImageIdentity {
        version: "1".parse().unwrap(),
        sequence: 1,
        security_epoch: 0,
        sha256: delta.from,
        size: delta.from_size,
    });
    let begun = Instant::now();
    let installed = Installer {
        source: &Directory(repository),
        cancel: &Cancel::default(),
        chosen: &mut |_| {},
        progress: &mut |_| {},
        pause: &mut |_| {},
        layout: &layout,
        running: runs.as_ref(),
        begun: false,
        lost: None,
        prove: &mut |synced, image, progress| {
            synced.verify(image, &Cancel::default(), progress).map(drop)
        },
    }
    .run(release.document())
    .unwrap();
    let (seconds, fetched) = (begun.elapsed().as_secs_f64(), installed);
    println!(
        "version {version} by {}: {}, {} segments written, {seconds:.1} s, peak {}",
        fetched.way,
        ByteCount(fetched.bytes),
        fetched.segments,
        ByteCount(peak()),
    );
    println!(
        "{{\"way\":\"{:?}\",\"bytes\":{},\"segments\":{},\"seconds\":{seconds:.3},\"peak\":{}}}",
        fetched.way,
        fetched.bytes,
        fetched.segments,
        peak(),
    );
}
