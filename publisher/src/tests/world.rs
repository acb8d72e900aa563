//! A repository in a temporary directory, and a device that reads it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use switchback_manifest::{TrustedChannel, TrustedRelease};
use switchback_tuf::{
    Answer, Exchange, Freshness, Limits, Refresh, Refreshed, TrustedState, TufError,
    VerifiedTarget, Want,
};
use switchback_types::{TargetPath, Timestamp};
use tempfile::TempDir;

use crate::content::Packing;
use crate::deltas::DeltaRequest;
use crate::edit::Workplace;
use crate::error::RepoError;
use crate::init::init;
use crate::inspect::{Depth, RepositoryReport, inspect};
use crate::keys::Keys;
use crate::release::{PublishRequest, Published, publish};
use crate::role::Lifetimes;

pub(super) const SEGMENT: u32 = 64 * 1024;

/// The time at which everything here happens.
pub(super) fn now() -> Timestamp {
    Timestamp::from_unix(1_795_000_000)
}

/// A repository, its keys, and room for images.
pub(super) struct World {
    directory: TempDir,
    repo: PathBuf,
    keys: PathBuf,
    pub(super) now: Timestamp,
}

impl World {
    /// Nothing yet.
    pub(super) fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            repo: directory.path().join("repo"),
            keys: directory.path().join("keys"),
            directory,
            now: now(),
        }
    }

    /// An empty repository for the product `gw`.
    pub(super) fn new() -> Self {
        let world = Self::empty();
        init(
            &world.place(),
            &["gw".parse().unwrap()],
            &Lifetimes::default(),
        )
        .unwrap();
        world
    }

    /// Everything as it is here, elsewhere.
    pub(super) fn copy(&self) -> Self {
        let mut copy = Self::empty();
        copy.now = self.now;
        copy_tree(self.directory.path(), copy.directory.path());
        copy
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn place(&self) -> Workplace<'_> {
        Workplace {
            repo: &self.repo,
            keys: &self.keys,
            now: self.now,
        }
    }

    /// A request to publish some bytes under a version.
    pub(super) fn request(&self, version: &str, image: &[u8]) -> PublishRequest {
        let path = self.path(&format!("{version}.img"));
        fs::write(&path, image).unwrap();
        PublishRequest {
            image: path,
            product: None,
            version: version.parse().unwrap(),
            compatible: vec!["board".parse().unwrap()],
            sequence: None,
            force_sequence: None,
            security_epoch: None,
            format: None,
            notes: None,
            kernel_id: None,
            requires: None,
            sbom: None,
            provenance: None,
            channel: Some("stable".parse().unwrap()),
            created: self.now,
            packing: Packing {
                segment_size: SEGMENT,
                level: 3,
                chunk_level: None,
            },
            deltas: DeltaRequest {
                last: 5,
                from: Vec::new(),
                field: None,
                memory: 1 << 30,
            },
        }
    }

    pub(super) fn publish(&self, request: &PublishRequest) -> Result<Published, RepoError> {
        publish(&self.place(), request, &|_| {})
    }

    /// What `inspect` finds, reading every blob.
    pub(super) fn inspect(&self) -> RepositoryReport {
        let root = Keys::new(self.place().keys).pinned_root().unwrap();
        inspect(self.place().repo, &root, self.now, Depth::Digests).unwrap()
    }

    /// Every file of the repository.
    pub(super) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.path("repo"), &self.path("repo"), &mut files);
        files
    }
}

/// Versions 1 and 2, with sequence numbers 10 and 20.
pub(super) fn two_releases() -> World {
    let world = World::new();
    for (version, sequence) in [("1", 10), ("2", 20)] {
        let mut request = world.request(version, version.as_bytes());
        request.sequence = Some(sequence);
        world.publish(&request).unwrap();
    }
    world
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

fn collect(base: &Path, directory: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(base, &path, files);
        } else {
            let name = path.strip_prefix(base).unwrap().to_path_buf();
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}

/// Bytes that neither compress well nor repeat, the same for the same seed.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// A device that reads the repository with its own client, from the root it was shipped with.
pub(super) struct Device {
    repo: PathBuf,
    refreshed: Refreshed,
}

impl Device {
    /// Brings its metadata up to date; everything must verify and be fresh.
    pub(super) fn poll(world: &World) -> Self {
        let root = Keys::new(world.place().keys).pinned_root().unwrap();
        let repo = world.path("repo");
        let state = TrustedState::from_root(&root, Timestamp::EPOCH).unwrap();
        let mut refresh = Refresh::start(state, Limits::default(), Some(world.now));
        drive(&repo, &mut refresh).unwrap();
        let refreshed = refresh.finish().unwrap();
        assert!(
            matches!(refreshed.freshness(), Freshness::Fresh),
            "{:?}",
            refreshed.freshness()
        );
        Self { repo, refreshed }
    }

    /// Fetches one artifact.
    pub(super) fn fetch(&mut self, path: &TargetPath) -> Option<VerifiedTarget> {
        let mut lookup = self.refreshed.lookup(path.clone()).unwrap();
        drive(&self.repo, &mut lookup).unwrap();
        let info = lookup.finish().unwrap()?;
        let file = self.repo.join("targets").join(info.url_path().unwrap());
        Some(info.verify(fs::read(file).unwrap()).unwrap())
    }

    /// The release that a channel names.
    pub(super) fn follow(&mut self, channel: &str) -> (TrustedChannel, TrustedRelease) {
        let path = format!("channels/gw/{channel}.json").parse().unwrap();
        let channel = TrustedChannel::from_verified(&self.fetch(&path).unwrap()).unwrap();
        let release = self.fetch(&channel.release.path).unwrap();
        let release = TrustedRelease::from_verified(&release).unwrap();
        channel.confirm(&release).unwrap();
        (channel, release)
    }
}

fn drive(repo: &Path, exchange: &mut dyn Exchange) -> Result<(), TufError> {
    while let Want::File(request) = exchange.poll() {
        match fs::read(repo.join("metadata").join(request.name.as_str())) {
            Ok(bytes) => exchange.feed(Answer::File(bytes))?,
            Err(_) => exchange.feed(Answer::Missing)?,
        }
    }
    Ok(())
}
