//! Signed releases, made once by the real publisher and kept in memory.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser as _;
use switchback_repo::cli::Cli;
use switchback_types::{Digest, Timestamp};
use switchbackd::fetch::{FetchError, Source};

/// When everything was published: 2026-12-01.
pub const PUBLISHED: i64 = 1_796_083_200;
/// Bytes of an image: two whole segments and a part of one.
pub const IMAGE: usize = 2 * 65_536 + 5000;
/// Bytes of a slot.
pub const SLOT: usize = 160 * 1024;
/// Versions that there are.
pub const VERSIONS: u8 = 3;

/// A release as the simulation knows it.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its version.
    pub version: u8,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// Their digest.
    pub sha256: Digest,
}

/// The repository after each publication.
#[derive(Debug)]
pub struct Repository {
    _directory: tempfile::TempDir,
    root_file: PathBuf,
    /// The images, version 1 first.
    pub images: Vec<Image>,
    stages: Vec<Arc<Files>>,
}

type Files = BTreeMap<String, Arc<[u8]>>;

/// The repository could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the simulated repository cannot be made: {0}")]
pub struct Unpublished(String);

impl Repository {
    /// Publishes all versions, one after another.
    ///
    /// # Errors
    /// The publisher refused, or there is no room for temporary files.
    pub fn publish() -> Result<Self, Unpublished> {
        let refuse = |error: &dyn std::fmt::Display| Unpublished(error.to_string());
        let directory = tempfile::tempdir().map_err(|error| refuse(&error))?;
        let at = |name: &str| directory.path().join(name);
        let run = |words: &[&str]| {
            let (repo, keys) = (at("repo"), at("keys"));
            let place = [
                "--repo".into(),
                repo.display().to_string(),
                "--keys".into(),
                keys.display().to_string(),
            ];
            let words = ["switchback-repo", "--quiet"]
                .iter()
                .chain(words)
                .map(ToString::to_string)
                .chain(place);
            let cli = Cli::try_parse_from(words).map_err(|error| refuse(&error))?;
            let now = Timestamp::from_unix(PUBLISHED);
            switchback_repo::run(&cli, now, &mut std::io::sink())
                .map(drop)
                .map_err(|error| refuse(&error))
        };
        run(&["init", "--product", "kiosk"])?;
        let (mut images, mut stages) = (Vec::new(), Vec::new());
        for version in 1..=VERSIONS {
            let image = image(version);
            let file = at("image");
            std::fs::write(&file, &image.bytes).map_err(|error| refuse(&error))?;
            run(&[
                "publish",
                "--image",
                &file.display().to_string(),
                "--version",
                &version.to_string(),
                "--compatible",
                "board",
                "--format",
                "raw",
                "--channel",
                "stable",
                "--segment-size",
                "65536",
            ])?;
            images.push(image);
            let mut files = Files::new();
            collect(&at("repo"), &at("repo"), &mut files).map_err(|error| refuse(&error))?;
            stages.push(Arc::new(files));
        }
        Ok(Self {
            root_file: at("repo").join("metadata/1.root.json"),
            _directory: directory,
            images,
            stages,
        })
    }

    /// The root metadata that comes with the image.
    #[must_use]
    pub fn root_file(&self) -> &Path {
        &self.root_file
    }

    /// The image of a version.
    #[must_use]
    pub fn image(&self, version: u8) -> Option<&Image> {
        self.images.iter().find(|image| image.version == version)
    }

    /// Which image a slot begins with, whole.
    #[must_use]
    pub fn whole(&self, slot: &[u8]) -> Option<&Image> {
        self.images
            .iter()
            .find(|image| slot.get(..image.bytes.len()) == Some(&*image.bytes))
    }

    /// The server, when `version` is the newest that was published.
    #[must_use]
    pub fn server(&self, version: u8, fault: Fault) -> Server {
        let index = usize::from(version.clamp(1, VERSIONS)) - 1;
        Server {
            files: self.stages.get(index).cloned().unwrap_or_default(),
            fault,
        }
    }
}

/// Bytes that differ from version to version in every sector, and compress a little.
fn image(version: u8) -> Image {
    let bytes: Arc<[u8]> = (0..IMAGE)
        .map(|at| u8::try_from((at / 7 + at / 512) % 251).unwrap_or(0) ^ version)
        .collect();
    let mut digest = [0; 32];
    let found = ring::digest::digest(&ring::digest::SHA256, &bytes);
    digest.copy_from_slice(found.as_ref());
    Image {
        version,
        bytes,
        sha256: Digest::from_bytes(digest),
    }
}

fn collect(root: &Path, directory: &Path, into: &mut Files) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, into)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            into.insert(name.display().to_string(), std::fs::read(&path)?.into());
        }
    }
    Ok(())
}

/// What is wrong with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing.
    None,
    /// It does not answer.
    Gone,
    /// One byte of each pack is another one.
    Corrupt,
    /// A pack ends in the middle.
    Truncated,
}

/// A server over the files of one stage.
#[derive(Debug)]
pub struct Server {
    files: Arc<Files>,
    fault: Fault,
}

impl Server {
    /// Whether it does not answer.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.fault == Fault::Gone
    }

    fn find(&self, path: &str) -> Result<Arc<[u8]>, FetchError> {
        if self.fault == Fault::Gone {
            return Err(FetchError::Transport {
                url: self.url(path),
                detail: "no answer".into(),
            });
        }
        self.files
            .get(path)
            .cloned()
            .ok_or_else(|| FetchError::Missing {
                url: self.url(path),
                status: 404,
            })
    }
}

impl Source for Server {
    fn file(&self, path: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let bytes = self.find(path)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            let url = self.url(path);
            return Err(FetchError::TooLong { url, limit });
        }
        Ok(bytes.to_vec())
    }

    fn stream(&self, path: &str, offset: u64) -> Result<Box<dyn Read + Send>, FetchError> {
        let mut bytes = self.find(path)?.to_vec();
        match self.fault {
            Fault::None | Fault::Gone => {}
            Fault::Corrupt => {
                let middle = bytes.len() / 2;
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 0x55;
                }
            }
            Fault::Truncated => bytes.truncate(bytes.len() / 2),
        }
        let mut stream = Cursor::new(bytes);
        stream.set_position(offset);
        Ok(Box::new(stream))
    }

    fn url(&self, path: &str) -> String {
        format!("https://repository/{path}")
    }
}
