//! Metadata that other programs signed: python-tuf (see `tests/python-tuf/make.py`) and this
//! project's publisher (`switchback-repo init`, then `publish --version 1.0 --channel stable`).

use std::path::PathBuf;

use serde_json::json;
use switchback_tuf::{ErrorKind, Freshness};

use crate::device::{Device, time};
use crate::repository::Repository;

fn directory(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// A repository that serves the JSON files of a directory.
fn served(name: &str) -> Repository {
    let mut repository = Repository::unpublished();
    for entry in std::fs::read_dir(directory(name)).unwrap() {
        let entry = entry.unwrap();
        let file = entry.file_name().into_string().unwrap();
        repository
            .files
            .insert(file, std::fs::read(entry.path()).unwrap());
    }
    repository
}

#[test]
fn three_kinds_of_foreign_signatures_and_unusual_strings_are_understood() {
    let repository = served("python-tuf");
    let mut device = Device::new(&repository);
    let path = "releases/gw/1.0/release.json";
    let target = device.find(&repository, &[path]).unwrap().unwrap();
    assert_eq!(device.trusted(), [2, 1, 1, 1]);
    assert_eq!(target.role().as_str(), "release");
    assert_eq!(target.custom(), Some(&json!({"ü": "€"})));
    target.verify(b"foreign artifact\n".to_vec()).unwrap();
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
}

#[test]
fn every_changed_character_of_the_signed_part_is_noticed() {
    let whole = served("python-tuf");
    let mut device = Device::new(&whole);
    device.refresh(&whole).unwrap();
    let text = String::from_utf8(whole.files["2.root.json"].clone()).unwrap();
    for (from, to) in [
        ("\\u0001", "\\u0002"),
        ("\\t", " "),
        ("back\\\\slash", "backslash"),
        ("12345678901234", "12345678901235"),
        ("\"z\": null", "\"z\": false"),
        ("\"threshold\": 3", "\"threshold\": 1"),
    ] {
        let mut changed = served("python-tuf");
        let bytes = text.replacen(from, to, 1).into_bytes();
        assert_ne!(bytes, whole.files["2.root.json"], "{from}");
        changed.files.insert("2.root.json".into(), bytes);
        Device::new(&changed).refused(&changed, ErrorKind::Untrusted);
    }
}

#[test]
fn a_release_of_our_own_publisher_is_found_and_verified() {
    let repository = served("switchback-repo");
    let mut device = Device::new(&repository);
    device.now = Some(time("2026-11-26T00:00:00Z"));
    let path = "releases/gw/1.0/release.json";
    let target = device
        .find(&repository, &["channels/gw/stable.json", path])
        .unwrap()
        .unwrap();
    assert_eq!(
        device.requests,
        [
            "2.root.json",
            "timestamp.json",
            "2.snapshot.json",
            "1.targets.json",
            "2.channels.json",
            "2.releases.json",
        ]
    );
    let release = std::fs::read(directory("switchback-repo").join("release.json")).unwrap();
    let verified = target.verify(release).unwrap();
    assert_eq!(verified.path().as_str(), path);
}
