//! Metadata that another implementation signed: python-tuf, see `tests/python-tuf/make.py`.

use std::path::PathBuf;

use serde_json::json;
use switchback_tuf::{ErrorKind, Freshness};

use crate::device::Device;
use crate::repository::Repository;

fn foreign() -> Repository {
    let mut repository = Repository::unpublished();
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python-tuf");
    for name in [
        "1.root.json",
        "2.root.json",
        "timestamp.json",
        "1.snapshot.json",
        "1.targets.json",
        "1.release.json",
    ] {
        repository
            .files
            .insert(name.into(), std::fs::read(directory.join(name)).unwrap());
    }
    repository
}

#[test]
fn three_kinds_of_foreign_signatures_and_unusual_strings_are_understood() {
    let repository = foreign();
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
    let whole = foreign();
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
        let mut changed = foreign();
        let bytes = text.replacen(from, to, 1).into_bytes();
        assert_ne!(bytes, whole.files["2.root.json"], "{from}");
        changed.files.insert("2.root.json".into(), bytes);
        Device::new(&changed).refused(&changed, ErrorKind::Untrusted);
    }
}
