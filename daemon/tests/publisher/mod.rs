//! A repository that `switchback-repo` really makes, and a device that follows it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use switchback_repo::cli::Cli;
use switchback_types::Timestamp;
use switchbackd::settings::DeviceSettings;
use switchbackd::trust::Trust;

/// 2026-12-01.
pub(crate) const NOW: i64 = 1_796_083_200;

pub(crate) struct Publisher {
    directory: tempfile::TempDir,
    pub(crate) now: RefCell<i64>,
}

impl Publisher {
    pub(crate) fn new() -> Self {
        let publisher = Self {
            directory: tempfile::tempdir().unwrap(),
            now: RefCell::new(NOW),
        };
        publisher.run(&["init", "--product", "kiosk"]);
        publisher.publish("1");
        publisher
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command that signs.
    pub(crate) fn run(&self, words: &[&str]) {
        let keys = self.path("keys");
        self.run_keyless(&[words, &["--keys", keys.to_str().unwrap()]].concat());
    }

    /// One that does not.
    pub(crate) fn run_keyless(&self, words: &[&str]) {
        let repo = self.path("repo");
        let place = ["--repo", repo.to_str().unwrap()];
        let words = ["switchback-repo", "--quiet"]
            .iter()
            .chain(words)
            .chain(&place);
        let cli = Cli::parse_from(words);
        let now = Timestamp::from_unix(*self.now.borrow());
        switchback_repo::run(&cli, now, &mut std::io::sink()).unwrap();
    }

    pub(crate) fn publish(&self, version: &str) {
        self.publish_with(version, &[]);
    }

    pub(crate) fn publish_with(&self, version: &str, more: &[&str]) {
        let image = format!("image of version {version}");
        self.publish_image(version, image.as_bytes(), more);
    }

    pub(crate) fn publish_image(&self, version: &str, bytes: &[u8], more: &[&str]) {
        let image = self.path("image");
        std::fs::write(&image, bytes).unwrap();
        let image = image.to_str().unwrap().to_owned();
        let words = [
            "publish",
            "--image",
            &image,
            "--version",
            version,
            "--compatible",
            "board",
            "--format",
            "raw",
            "--channel",
            "stable",
        ];
        self.run(&[&words, more].concat());
    }

    pub(crate) fn trust(&self, state: &Path) -> Trust {
        let (trust, warnings) = self.open_trust(state);
        assert!(warnings.is_empty(), "{warnings:?}");
        trust
    }

    /// The same with what was wrong.
    pub(crate) fn open_trust(&self, state: &Path) -> (Trust, Vec<String>) {
        let root = self.path("repo/metadata/1.root.json");
        let files: std::sync::Arc<dyn switchbackd::journal::RecordFiles> =
            std::sync::Arc::new(switchbackd::journal::DiskFiles);
        Trust::open(&files, state, &root).unwrap()
    }
}

pub(crate) fn device() -> DeviceSettings {
    DeviceSettings {
        product: "kiosk".parse().unwrap(),
        compatible: "board".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        require: Vec::new(),
    }
}
