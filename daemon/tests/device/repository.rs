//! A repository that `switchback-repo` really makes, and a directory that serves it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use switchback_types::Timestamp;
use switchbackd::fetch::{FetchError, Files, Source};

use crate::rig::{NOW, SEGMENT, SEGMENTS};

/// A repository's directory; the offsets from which the pack was asked for are noted.
#[derive(Clone)]
pub(crate) struct Directory {
    pub(crate) root: PathBuf,
    pub(crate) streams: Arc<Mutex<Vec<u64>>>,
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
        self.streams.lock().unwrap().push(offset);
        let bytes = self.file(path, u64::MAX)?;
        Ok(Box::new(io::Cursor::new(bytes[offset as usize..].to_vec())))
    }
}

/// Bytes that do not compress, others for each seed.
pub(crate) fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..SEGMENTS * SEGMENT).map(|_| next()).collect()
}

/// Publishes a version; the first one makes the repository.
pub(crate) fn publish(directory: &Path, version: &str, image: &[u8], words: &[&str]) {
    let (repo, keys, file) = (
        directory.join("repo"),
        directory.join("keys"),
        directory.join("image"),
    );
    std::fs::write(&file, image).unwrap();
    let run = |words: &[&str]| {
        let place = [
            "--repo",
            repo.to_str().unwrap(),
            "--keys",
            keys.to_str().unwrap(),
        ];
        let words = ["switchback-repo", "--quiet"].iter().chain(words);
        let cli = switchback_repo::cli::Cli::parse_from(words.chain(&place));
        switchback_repo::run(&cli, Timestamp::from_unix(NOW), &mut io::sink()).unwrap();
    };
    if version == "1" {
        run(&["init", "--product", "kiosk"]);
    }
    let image = file.to_str().unwrap();
    let what = ["publish", "--image", image, "--version", version];
    let how = ["--compatible", "board", "--format", "raw"];
    let size = SEGMENT.to_string();
    let more = ["--channel", "stable", "--segment-size", &size];
    run(&[&what[..], &how, &more, words].concat());
}
