//! Signed releases, made once by the real publisher and kept in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser as _;
use switchback_manifest::Release;
use switchback_repo::cli::Cli;
use switchback_types::{Digest, Timestamp};
use switchbackd::fetch::{FetchError, Files, Source};

use crate::storage::{Chance, SECTOR};

/// When everything was published: 2026-12-01.
pub const PUBLISHED: i64 = 1_796_083_200;
/// Bytes of an image: two whole segments and a part of one.
pub const IMAGE: usize = 2 * 65_536 + 5000;
/// Bytes of a slot.
pub const SLOT: usize = 160 * 1024;
/// Versions that there are.
const VERSIONS: u8 = 3;
/// From this version on, what is older must never be installed again.
pub const EPOCH_ONE: u8 = 3;

/// What the repository offers, in the order in which it was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Stage {
    /// Version 1.
    #[default]
    One,
    /// Version 2.
    Two,
    /// Version 1 again, and devices are let go back to it.
    BackToOne,
    /// Version 3, which raises the security epoch.
    Three,
    /// Version 2 again, which is of the older security epoch.
    BackToTwo,
}

impl Stage {
    const ALL: [Self; 5] = [
        Self::One,
        Self::Two,
        Self::BackToOne,
        Self::Three,
        Self::BackToTwo,
    ];
}

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
    stages: BTreeMap<Stage, Arc<Stored>>,
    /// Where the deltas between them lie.
    deltas: Arc<BTreeSet<String>>,
}

type Stored = BTreeMap<String, Arc<[u8]>>;

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
        let images: Vec<Image> = (1..=VERSIONS).map(image).collect();
        let file = at("image").display().to_string();
        let publish = |image: &Image| {
            std::fs::write(at("image"), &image.bytes).map_err(|error| refuse(&error))?;
            let version = image.version.to_string();
            let epoch = u8::from(image.version >= EPOCH_ONE).to_string();
            run(&[
                "publish",
                "--image",
                &file,
                "--version",
                &version,
                "--security-epoch",
                &epoch,
                "--compatible",
                "board",
                "--format",
                "raw",
                "--channel",
                "stable",
                "--segment-size",
                "65536",
                // Images here have no chunk in common.
                "--no-chunks",
            ])
        };
        let back_to = |version: &str| {
            let allow = "--allow-downgrade";
            let words = [
                "channel",
                "set",
                "--channel",
                "stable",
                "--version",
                version,
            ];
            run(&[&words[..], &[allow]].concat())
        };
        let mut stages = BTreeMap::new();
        for stage in Stage::ALL {
            match (stage, &*images) {
                (Stage::One, [first, ..]) => publish(first)?,
                (Stage::Two, [_, second, _]) => publish(second)?,
                (Stage::Three, [.., third]) => publish(third)?,
                (Stage::BackToOne, _) => back_to("1")?,
                (Stage::BackToTwo, _) => back_to("2")?,
                _ => return Err(Unpublished("there are three images".into())),
            }
            let mut files = Stored::new();
            collect(&at("repo"), &at("repo"), &mut files).map_err(|error| refuse(&error))?;
            stages.insert(stage, Arc::new(files));
        }
        let deltas = stages.values().flat_map(|files| deltas_in(files)).collect();
        Ok(Self {
            deltas: Arc::new(deltas),
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

    /// The server at one stage; without the deltas that the releases name, unless they are wanted.
    #[must_use]
    pub fn server(&self, stage: Stage, deltas: bool, fault: ServerFault) -> Server {
        Server {
            files: self.stages.get(&stage).cloned().unwrap_or_default(),
            hidden: match deltas {
                true => Arc::default(),
                false => Arc::clone(&self.deltas),
            },
            fault,
        }
    }
}

/// The paths of all deltas that the release documents name.
fn deltas_in(files: &Stored) -> Vec<String> {
    let documents = files
        .iter()
        .filter(|(path, _)| path.ends_with("release.json"));
    documents
        .filter_map(|(_, bytes)| Release::parse(bytes).ok())
        .flat_map(|release| release.deltas)
        .map(|delta| delta.blob.path())
        .collect()
}

/// Bytes that do not compress, and that differ from version to version in the first bytes of every
/// sector: a delta is far smaller than the whole.
fn image(version: u8) -> Image {
    let mut chance = Chance::new(1);
    let noise = std::iter::repeat_with(|| chance.draw().to_le_bytes()).flatten();
    let bytes: Arc<[u8]> = noise
        .take(IMAGE)
        .enumerate()
        .map(|(at, byte)| match at % SECTOR {
            0..4 => byte ^ version,
            _ => byte,
        })
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

fn collect(root: &Path, directory: &Path, into: &mut Stored) -> std::io::Result<()> {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ServerFault {
    /// Nothing.
    #[default]
    None,
    /// It does not answer.
    Gone,
    /// One byte of each pack is another one.
    Corrupt,
    /// A pack ends in the middle.
    Truncated,
    /// Metadata says what no key that the device knows has signed.
    Lying,
}

/// A server over the files of one stage.
#[derive(Debug)]
pub struct Server {
    files: Arc<Stored>,
    /// What it has lost.
    hidden: Arc<BTreeSet<String>>,
    fault: ServerFault,
}

impl Server {
    fn find(&self, path: &str) -> Result<Arc<[u8]>, FetchError> {
        if self.fault == ServerFault::Gone {
            return Err(FetchError::Transport {
                url: self.url(path),
                detail: "no answer".into(),
            });
        }
        self.files
            .get(path)
            .filter(|_| !self.hidden.contains(path))
            .cloned()
            .ok_or_else(|| FetchError::Missing {
                url: self.url(path),
                status: 404,
            })
    }
}

impl Files for Server {
    fn file(&self, path: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let bytes = self.find(path)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            let url = self.url(path);
            return Err(FetchError::TooLong { url, limit });
        }
        let mut bytes = bytes.to_vec();
        let metadata = Path::new(path)
            .extension()
            .is_some_and(|kind| kind == "json");
        if self.fault == ServerFault::Lying && metadata {
            // Another version, in the same number of bytes.
            for digit in bytes.iter_mut().filter(|byte| byte.is_ascii_digit()) {
                *digit = b'9';
            }
        }
        Ok(bytes)
    }

    fn url(&self, path: &str) -> String {
        format!("https://repository/{path}")
    }
}

impl Source for Server {
    fn stream(&self, path: &str, offset: u64) -> Result<Box<dyn Read + Send>, FetchError> {
        let mut bytes = self.find(path)?.to_vec();
        match self.fault {
            ServerFault::None | ServerFault::Gone | ServerFault::Lying => {}
            ServerFault::Corrupt => {
                let middle = bytes.len() / 2;
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 0x55;
                }
            }
            ServerFault::Truncated => bytes.truncate(bytes.len() / 2),
        }
        let mut stream = Cursor::new(bytes);
        stream.set_position(offset);
        Ok(Box::new(stream))
    }
}
