//! Bundles, as the publisher writes them.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use switchback_types::{SlotName, Timestamp};
use switchback_update_core::PhaseKind;
use switchbackd::driver::{Command, JobId, Wish};
use switchbackd::fetch::BundlePlace;

use crate::repository::*;
use crate::rig::*;

/// Version 3, which differs from version 2 in a few places.
fn third() -> Vec<u8> {
    let mut image = noise(2);
    for segment in [1, 4, 11] {
        image[segment * SEGMENT + 5..][..64].fill(7);
    }
    image
}

const SBOM: &str = r#"{"bomFormat": "CycloneDX", "specVersion": "1.5", "components": []}"#;

/// Writes a bundle of version 3 and then takes the repository's content away.
fn bundle(directory: &Path, words: &[&str]) -> PathBuf {
    let sbom = directory.join("sbom.json");
    std::fs::write(&sbom, SBOM).unwrap();
    let papers = ["--sbom", sbom.to_str().unwrap()];
    publish(
        directory,
        "3",
        &third(),
        &[&["--deltas", "2"][..], &papers].concat(),
    );
    let file = directory.join("three.bundle");
    let (repo, out) = (directory.join("repo"), file.display().to_string());
    let place = ["--repo", repo.to_str().unwrap(), "--output", &out];
    let verb = ["switchback-repo", "--quiet", "bundle", "--version", "3"];
    let words = verb.iter().chain(&place).chain(words);
    let cli = switchback_repo::cli::Cli::parse_from(words);
    let now = Timestamp::from_unix(NOW);
    switchback_repo::run(&cli, now, &mut std::io::sink()).unwrap();
    std::fs::rename(&repo, directory.join("gone")).unwrap();
    file
}

fn install(device: &mut Device, file: &Path) -> (&'static str, String) {
    let place = BundlePlace::File {
        name: "three.bundle".into(),
        file: File::open(file).unwrap(),
    };
    let command = Command::InstallBundle {
        job: JobId(1),
        place,
        wish: Wish::default(),
    };
    device.command(command).unwrap();
    device.ended()
}

#[test]
fn bundle_is_installed_without_any_server() {
    for words in [&["--from", "2"][..], &["--full"]] {
        let mut device = Device::new();
        let file = bundle(device.directory.path(), words);
        let (result, text) = install(&mut device, &file);
        assert_eq!(result, "done", "{words:?}: {text}");
        let offer = device.driver.view().offer;
        assert_eq!((offer.version.as_str(), offer.sequence), ("3", 3));
        assert_eq!(offer.document, "releases/kiosk/3/release.json");
        assert!(offer.sbom.starts_with("content/"), "{offer:?}");
        assert_eq!(offer.sbom_length, SBOM.len() as u64);
        assert_eq!(
            (offer.provenance.as_str(), offer.provenance_length),
            ("", 0)
        );
        assert_eq!(device.driver.state().phase.kind(), PhaseKind::OnTrial);
        let slot = device.slots.b.0.lock().unwrap();
        assert!(*slot == third(), "{words:?}");
    }
}

#[test]
fn delta_alone_on_another_base_says_what_is_missing() {
    let mut device = Device::new();
    let file = bundle(device.directory.path(), &["--from", "2"]);
    device.slots.a.0.lock().unwrap()[7 * SEGMENT] ^= 1;
    let (result, text) = install(&mut device, &file);
    assert_eq!(result, "failed");
    let named = text.contains("three.bundle: content/") && text.contains("not there");
    assert!(named, "{text}");
    assert!(!device.bootable());
}

#[test]
fn every_damaged_part_is_refused_and_nothing_is_armed() {
    let mut device = Device::new();
    let file = bundle(device.directory.path(), &["--full"]);
    let whole = std::fs::read(&file).unwrap();
    for at in (600..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        std::fs::write(&file, bytes).unwrap();
        let (result, text) = install(&mut device, &file);
        let state = device.driver.state();
        if result == "done" {
            // In the padding of a header, or in a file that this device does not need.
            assert!(*device.slots.b.0.lock().unwrap() == third(), "byte {at}");
            return;
        }
        assert_eq!(state.phase.kind(), PhaseKind::Idle, "byte {at}: {text}");
        assert_eq!(state.primary, Some(SlotName::A));
    }
}

#[test]
fn what_is_no_bundle_is_named() {
    let mut device = Device::new();
    let file = device.directory.path().join("text");
    std::fs::write(&file, "hello ".repeat(1000)).unwrap();
    let (result, text) = install(&mut device, &file);
    assert_eq!(result, "failed");
    assert!(text.contains("three.bundle: is not a bundle"), "{text}");
}
