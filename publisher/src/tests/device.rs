//! What is published is what a device reads.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use switchback_manifest::{
    BlobRef, FrameTable, ManifestError, SegmentList, TrustedChannel, TrustedRelease,
};
use switchback_types::TargetPath;
use zstd::zstd_safe;

use crate::edit::Edit;
use crate::flags::{self, FlagsRequest};
use crate::refresh::refresh;
use crate::role::Role;

use super::world::{Device, SEGMENT, World, noise};

fn blob(world: &World, blob: &BlobRef) -> Vec<u8> {
    let bytes = fs::read(world.path("repo").join(blob.path())).unwrap();
    assert_eq!(bytes.len() as u64, blob.length);
    assert_eq!(Sha256::digest(&bytes)[..], blob.sha256.as_bytes()[..]);
    bytes
}

/// Decodes the pack frame by frame as a device does, holding every frame to its promises.
fn decode(world: &World, release: &TrustedRelease) -> Vec<u8> {
    let image = &release.image;
    let segments = SegmentList::parse(&blob(world, &image.segments), image).unwrap();
    let frames =
        FrameTable::parse(&blob(world, &release.full.frames), image, &release.full).unwrap();
    let pack = blob(world, &release.full.blob);
    let mut decoded = Vec::new();
    for index in 0..frames.count() {
        let (offset, length) = frames.range(index).unwrap();
        let offset = usize::try_from(offset).unwrap();
        let frame = &pack[offset..offset + length as usize];
        let (_, expected) = image.segment_range(index).unwrap();
        // The header says how much comes out: nothing is allocated on a guess.
        let promised = zstd_safe::get_frame_content_size(frame).unwrap();
        assert_eq!(promised, Some(u64::from(expected)));
        // Bit 2 of the frame header descriptor says whether a checksum follows (RFC 8878).
        assert_eq!(frame[4] & 0b100, 0);
        let mut decompressor = zstd::bulk::Decompressor::new().unwrap();
        decompressor.window_log_max(SEGMENT.ilog2()).unwrap();
        let segment = decompressor.decompress(frame, expected as usize).unwrap();
        assert_eq!(
            Sha256::digest(&segment)[..],
            segments.get(index).unwrap().as_bytes()[..]
        );
        decoded.extend_from_slice(&segment);
    }
    decoded
}

#[test]
fn a_device_decodes_exactly_the_image_that_was_published() {
    let segment = SEGMENT as usize;
    let mut mixed = noise(3, segment + 17);
    mixed.extend(vec![0; 2 * segment]);
    mixed.extend(b"hello ".repeat(9000));
    let images = [
        ("one-byte", vec![7]),
        ("one-segment", noise(4, segment)),
        ("one-more", noise(5, segment + 1)),
        ("zeros", vec![0; 3 * segment]),
        ("mixed", mixed),
    ];
    let world = World::new();
    for (version, image) in images {
        world.publish(&world.request(version, &image)).unwrap();
        let (channel, release) = Device::poll(&world).follow("stable");
        assert_eq!(channel.release.version.as_str(), version);
        assert_eq!(
            Sha256::digest(&image)[..],
            release.image.sha256.as_bytes()[..]
        );
        assert!(decode(&world, &release) == image, "{version}");
    }
}

#[test]
fn a_device_follows_every_refresh_and_a_renewed_root() {
    let world = World::new();
    world.publish(&world.request("1", b"image")).unwrap();
    for roles in [&[][..], &[Role::Targets], &[Role::Root], &Role::ALL] {
        refresh(&world.place(), roles).unwrap();
        assert_eq!(
            Device::poll(&world).follow("stable").1.version.as_str(),
            "1"
        );
    }
    assert_eq!(world.inspect().roles[0].version, 3);
}

#[test]
fn what_a_device_reads_before_a_second_release_stays_small() {
    let world = World::new();
    world.publish(&world.request("1", b"image")).unwrap();
    let before = world.files();
    world.publish(&world.request("2", b"another")).unwrap();
    let mut read = 0;
    for (path, bytes) in world.files() {
        let content = path.components().any(|part| part.as_os_str() == "content");
        if !content && before.get(&path) != Some(&bytes) {
            read += bytes.len();
        }
    }
    // Four roles and two documents; with blanks in the roles it was 700 bytes more.
    assert!((2000..3700).contains(&read), "{read}");
}

#[test]
fn a_device_gets_nothing_that_its_role_may_not_sign() {
    let world = World::new();
    world.publish(&world.request("1", b"image")).unwrap();
    let release = Device::poll(&world).follow("stable").1.to_json().unwrap();
    let cases = [
        (Role::Channels, "releases/gw/2/release.json"),
        (Role::Releases, "channels/gw/beta.json"),
        (Role::Releases, "releases/other/1/release.json"),
        (Role::Releases, "releases/gw/2/other.json"),
        // Who turns flags can neither make a release nor pace one, and nobody else turns flags.
        (Role::Flags, "releases/gw/3/release.json"),
        (Role::Flags, "channels/gw/gamma.json"),
        (Role::Flags, "flags/gw/other.json"),
        (Role::Channels, "flags/gw/a.flags.json"),
        (Role::Releases, "flags/gw/b.flags.json"),
    ];
    let mut edit = Edit::begin(&world.place()).unwrap();
    for (role, path) in cases {
        edit.sign_document(role, &path.parse().unwrap(), &release, HashMap::new())
            .unwrap();
    }
    edit.commit().unwrap();
    let mut device = Device::poll(&world);
    for (role, path) in cases {
        assert!(
            device.fetch(&path.parse().unwrap()).is_none(),
            "{role} signed {path}"
        );
    }
}

#[test]
fn flags_are_signed_shown_changed_and_taken_away() {
    let world = World::new();
    world.publish(&world.request("1", b"image")).unwrap();
    let file = world.path("ui.json");
    let text = |default: &str| {
        format!(
            r#"{{"flags": {{"new-ui": {{"state": "ENABLED", "variants": {{"on": true, "off": false}}, "defaultVariant": "{default}"}}}}}}"#
        )
    };
    let request = |file: Option<&PathBuf>| FlagsRequest {
        product: None,
        name: "ui".parse().unwrap(),
        file: file.cloned(),
    };
    let path: TargetPath = "flags/gw/ui.flags.json".parse().unwrap();
    let before = world.inspect();
    for (default, unchanged) in [("off", false), ("off", true), ("on", false)] {
        std::fs::write(&file, text(default)).unwrap();
        let report = flags::change(&world.place(), &request(Some(&file))).unwrap();
        assert_eq!(report.unchanged, unchanged);
        assert_eq!(report.sets[0].flags, ["new-ui"]);
        let signed = Device::poll(&world).fetch(&path).unwrap();
        assert_eq!(signed.bytes(), text(default).as_bytes());
    }
    // Neither the releases nor the channels were signed for it.
    let after = world.inspect();
    for (before, after) in before.roles.iter().zip(&after.roles) {
        let moves = ["flags", "snapshot", "timestamp"].contains(&after.role.to_string().as_str());
        assert_eq!(after.version > before.version, moves, "{}", after.role);
    }
    std::fs::write(&file, text("neither")).unwrap();
    let error = flags::change(&world.place(), &request(Some(&file))).unwrap_err();
    assert!(
        error.to_string().contains("ui.json: flag \"new-ui\""),
        "{error}"
    );
    flags::change(&world.place(), &request(None)).unwrap();
    assert!(Device::poll(&world).fetch(&path).is_none());
    assert!(
        flags::change(&world.place(), &request(None))
            .unwrap()
            .unchanged
    );
}

#[test]
fn a_document_under_the_name_of_another_is_not_trusted() {
    let world = World::new();
    world.publish(&world.request("1", b"image")).unwrap();
    let (channel, release) = Device::poll(&world).follow("stable");
    let moved: TargetPath = "releases/gw/2/release.json".parse().unwrap();
    let beta: TargetPath = "channels/gw/beta.json".parse().unwrap();
    let mut edit = Edit::begin(&world.place()).unwrap();
    let text = release.to_json().unwrap();
    edit.sign_document(Role::Releases, &moved, &text, HashMap::new())
        .unwrap();
    let text = channel.to_json().unwrap();
    edit.sign_document(Role::Channels, &beta, &text, HashMap::new())
        .unwrap();
    edit.commit().unwrap();

    let mut device = Device::poll(&world);
    let error = TrustedRelease::from_verified(&device.fetch(&moved).unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the artifact releases/gw/2/release.json holds the release document that belongs at \
         releases/gw/1/release.json"
    );
    let error = TrustedChannel::from_verified(&device.fetch(&beta).unwrap()).unwrap_err();
    assert!(matches!(error, ManifestError::WrongPath { .. }), "{error}");
}

#[test]
fn the_same_publish_gives_the_same_files() {
    let base = World::new();
    let image = noise(6, 700_000);
    let request = base.request("1", &image);
    let first = base.copy();
    let second = base.copy();
    for world in [&first, &second] {
        world.publish(&request).unwrap();
    }
    assert_eq!(first.files(), second.files());
}

#[test]
fn images_that_share_everything_share_their_blobs() {
    let world = World::new();
    world.publish(&world.request("1", b"image")).unwrap();
    let blobs = |world: &World| {
        world
            .files()
            .into_keys()
            .filter(|path| path.starts_with("content"))
            .count()
    };
    let before = blobs(&world);
    world.publish(&world.request("2", b"image")).unwrap();
    assert_eq!((before, blobs(&world)), (3, 3));
}
