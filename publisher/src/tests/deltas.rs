//! Deltas between releases: which are cut, that a device can use them, and what is said.

use std::fs;

use switchback_delta::{Decoder, Images, matches};
use switchback_manifest::{Delta, Release, SegmentList};

use crate::deltas::Fate;
use crate::error::RepoError;
use crate::explain::{ExplainRequest, explain_release};
use crate::keys::Keys;
use crate::release::Published;
use crate::repository::Repository;

use super::images::{IDENTITY, ext4, tree};
use super::world::{Device, World, noise};

fn open(world: &World) -> Repository {
    let root = Keys::new(world.place().keys).pinned_root().unwrap();
    Repository::open(world.place().repo, &root).unwrap()
}

/// Makes the new image as a device does, holding every segment to the signed list.
pub(super) fn apply(world: &World, release: &Release, delta: &Delta, mut old: &[u8]) -> Vec<u8> {
    let read = |path: String| fs::read(world.path("repo").join(path)).unwrap();
    let list = SegmentList::parse(&read(release.image.segments.path()), &release.image).unwrap();
    let blob = read(delta.blob.path());
    assert_eq!(blob.len() as u64, delta.blob.length);
    let mut decoder = Decoder::new(Images {
        old_len: old.len() as u64,
        new_len: release.image.size,
        old_sha256: delta.from,
        new_sha256: release.image.sha256,
    });
    let mut made = Vec::new();
    while !decoder.is_done() {
        while let Some(needed) = decoder.needs() {
            let from = usize::try_from(needed.start).unwrap();
            let taken = decoder.feed(needed.start, &blob[from..]).unwrap();
            assert_eq!(taken as u64, needed.end - needed.start);
        }
        while let Some(segment) = decoder.segment(&mut old).unwrap() {
            assert!(matches(segment.bytes, list.get(segment.index).unwrap()));
            made.extend_from_slice(segment.bytes);
        }
    }
    made
}

/// An image that differs from that of the number before in a few places.
pub(super) fn image(number: u64) -> Vec<u8> {
    let mut image = noise(9, 400_000);
    for (place, step) in (1..).zip(1..=number) {
        let at: usize = 20_000 * place;
        image.splice(at..at + 50, noise(100 + step, 150));
    }
    image
}

/// Publishes versions 1 to `count`.
pub(super) fn line(count: u64) -> World {
    let world = World::new();
    for number in 1..=count {
        publish(&world, number);
    }
    world
}

pub(super) fn publish(world: &World, number: u64) -> Published {
    let request = world.request(&number.to_string(), &image(number));
    world.publish(&request).unwrap()
}

fn sources(published: &Published) -> Vec<String> {
    let reports = published.deltas.iter();
    reports.map(|report| report.from.to_string()).collect()
}

#[test]
fn a_device_makes_the_new_image_of_any_of_the_last_ones_and_few_bytes() {
    let world = line(7);
    let (_, release) = Device::poll(&world).follow("stable");
    assert_eq!(release.deltas.len(), 5);
    for (number, delta) in (2..=6).rev().zip(&release.deltas) {
        assert!(delta.blob.length < 5000, "{delta:?}");
        let made = apply(&world, &release, delta, &image(number));
        assert!(made == image(7), "from {number}");
    }
    assert_eq!(world.inspect().problems, Vec::<String>::new());
}

#[test]
fn what_is_cut_follows_the_wish() {
    let world = line(4);
    let mut request = world.request("5", &image(5));
    request.deltas.last = 1;
    request.deltas.from = vec!["2".parse().unwrap()];
    assert_eq!(
        sources(&world.copy().publish(&request).unwrap()),
        ["2", "4"]
    );

    let field = world.path("field.json");
    fs::write(&field, r#"{"versions": {"1": 5, "3": 900, "0": 7}}"#).unwrap();
    request.deltas.from.clear();
    request.deltas.last = 3;
    request.deltas.field = Some(field.clone());
    let warnings = world.copy().publish(&request).unwrap().warnings;
    assert!(
        warnings[0].starts_with("7 devices run versions"),
        "{warnings:?}"
    );
    assert_eq!(
        sources(&world.copy().publish(&request).unwrap()),
        ["3", "1", "4"]
    );

    fs::write(&field, "[]").unwrap();
    let before = world.files();
    let error = world.publish(&request).unwrap_err();
    assert!(matches!(error, RepoError::Field { .. }), "{error}");
    request.deltas.field = None;
    request.deltas.from = vec!["9".parse().unwrap()];
    let error = world.publish(&request).unwrap_err();
    assert!(matches!(error, RepoError::NoSuchRelease { .. }), "{error}");
    request.deltas.from = vec!["2".parse().unwrap()];
    request.compatible = vec!["other".parse().unwrap()];
    let error = world.publish(&request).unwrap_err();
    assert!(
        matches!(error, RepoError::DeltaIncompatible { .. }),
        "{error}"
    );
    assert_eq!(world.files(), before);

    request.deltas.from.clear();
    let published = world.publish(&request).unwrap();
    assert_eq!(published.deltas, []);
    assert!(published.release.deltas.is_empty());
}

#[test]
fn a_delta_that_is_not_worth_it_is_left_out_and_that_is_said() {
    let world = line(2);
    let mut request = world.request("3", &noise(77, 300_000));
    let published = world.copy().publish(&request).unwrap();
    assert!(published.release.deltas.is_empty());
    assert_eq!(published.deltas.len(), 2);
    for report in &published.deltas {
        assert!(matches!(report.fate, Fate::TooLarge { .. }), "{report:?}");
    }
    request.deltas.from = vec!["1".parse().unwrap()];
    let published = world.copy().publish(&request).unwrap();
    assert_eq!(sources(&published), ["1", "2"]);

    let mut request = world.request("3", &image(3));
    request.deltas.memory = 1 << 20;
    let published = world.copy().publish(&request).unwrap();
    assert!(matches!(
        published.deltas[0].fate,
        Fate::TooMuchMemory { .. }
    ));
    request.deltas.from = vec!["1".parse().unwrap()];
    let error = world.copy().publish(&request).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("publish without --delta-from 1"), "{text}");
    request.deltas.from.clear();
    request.deltas.memory = u64::MAX;
    request.packing.segment_size = 2 << 20;
    let published = world.copy().publish(&request).unwrap();
    assert!(matches!(
        published.deltas[0].fate,
        Fate::SegmentSize { segment_size } if segment_size == 2 << 20
    ));
}

#[test]
fn an_old_image_that_is_damaged_stops_no_release() {
    let world = line(2);
    let one = open(&world).release(&"gw".parse().unwrap(), &"1".parse().unwrap());
    let pack = world.path("repo").join(one.unwrap().full.blob.path());
    let mut bytes = fs::read(&pack).unwrap();
    bytes[1000] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let published = world
        .copy()
        .publish(&world.request("3", &image(3)))
        .unwrap();
    assert_eq!(published.release.deltas.len(), 1);
    let fate = &published.deltas[1].fate;
    assert!(matches!(fate, Fate::BaseUnusable { .. }), "{fate:?}");
    fs::remove_file(&pack).unwrap();
    let mut request = world.request("3", &image(3));
    let published = world.copy().publish(&request).unwrap();
    assert!(
        published.deltas[1]
            .fate
            .why_not()
            .unwrap()
            .contains("is missing")
    );
    request.deltas.from = vec!["1".parse().unwrap()];
    let error = world.publish(&request).unwrap_err();
    assert!(matches!(error, RepoError::NoDelta { .. }), "{error}");
}

#[test]
fn the_same_publish_gives_the_same_deltas() {
    let base = line(3);
    let request = base.request("4", &image(4));
    let (first, second) = (base.copy(), base.copy());
    for world in [&first, &second] {
        let published = world.publish(&request).unwrap();
        assert_eq!(published.release.deltas.len(), 3);
    }
    assert_eq!(first.files(), second.files());
    let again = first.publish(&request).unwrap();
    assert!(again.unchanged && again.deltas.is_empty());
    assert_eq!(first.files(), second.files());
}

#[test]
fn a_delta_of_ext4_images_is_explained_file_by_file() {
    let world = World::new();
    let files = tree(&world, "tree");
    let old = ext4(&files, &world.path("old"), IDENTITY);
    let first = world.publish(&world.request("1", &old)).unwrap();
    assert_eq!(first.warnings, Vec::<String>::new());
    fs::write(files.join("usr/bin/tool-11"), noise(55, 20_000)).unwrap();
    let new = ext4(&files, &world.path("new"), IDENTITY);
    let second = world.publish(&world.request("2", &new)).unwrap();
    assert_eq!(second.warnings, Vec::<String>::new());
    let delta = &second.release.deltas[0];
    assert!(apply(&world, &second.release, delta, &old) == new);

    let mut request = ExplainRequest {
        product: None,
        version: "2".parse().unwrap(),
        from: None,
    };
    let explained = explain_release(&open(&world), &request).unwrap();
    assert_eq!(explained.deltas.len(), 1);
    let explained = &explained.deltas[0];
    assert_eq!(explained.from, Some("1".parse().unwrap()));
    let parts = explained.parts.as_ref().unwrap();
    let image = parts.copied + parts.changed + parts.sent + parts.zeros;
    assert_eq!(image, new.len() as u64);
    assert_eq!(parts.table + parts.maps + parts.frames, delta.blob.length);
    let dearest = &parts.files[0];
    assert_eq!(dearest.path, "/usr/bin/tool-11");
    assert!(
        (19_000..=20_100).contains(&(dearest.sent + dearest.changed)),
        "{dearest:?}"
    );
    assert!(dearest.cost <= parts.frames, "{parts:?}");
    assert!(
        parts
            .files
            .iter()
            .all(|file| !file.path.contains("tool-12"))
    );

    request.from = Some("2".parse().unwrap());
    let error = explain_release(&open(&world), &request).unwrap_err();
    assert_eq!(
        error.to_string(),
        "version 2 has no delta from 2; it has deltas from: 1"
    );
}

#[test]
fn images_that_are_needlessly_different_are_warned_about() {
    let world = World::new();
    let files = tree(&world, "tree");
    let old = ext4(&files, &world.path("old"), IDENTITY);
    world.publish(&world.request("1", &old)).unwrap();
    let mut identity = IDENTITY;
    identity.uuid = "11111111-2222-4333-8444-555555555555";
    identity.features = "has_journal";
    let new = ext4(&files, &world.path("new"), identity);
    let published = world.publish(&world.request("2", &new)).unwrap();
    assert_eq!(published.warnings.len(), 2, "{:?}", published.warnings);
    for warning in &published.warnings {
        assert!(warning.starts_with("compared with 1: "), "{warning}");
    }
}
