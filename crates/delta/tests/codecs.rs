//! Deltas between images whose blocks other compressors than zstd made: to the very bytes, from
//! every segment on, and an error with a name when something is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;

use common::{apply, make};
use switchback_delta::fuzz::{Erofs, Filler, Packer, Squash, erofs_pair, squash_pair};
use switchback_delta::{DeltaError, Repacked, SourceError, explain};

fn round_trip(old: &[u8], new: &[u8]) -> (Vec<u8>, Repacked) {
    let (blob, repacked) = make(old, new);
    for first in 0..=new.len() / 4096 {
        let made = apply(&blob, &mut { old }, first as u64).unwrap();
        assert!(made == new[first * 4096..], "from segment {first} on");
    }
    (blob, repacked)
}

fn squash(seed: u8, packer: Packer) -> (Squash, Squash) {
    let (mut old, mut new) = squash_pair(seed);
    (old.packer, new.packer) = (packer, packer);
    (old, new)
}

/// All compressors, as pairs of images of the same files.
fn pairs() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let mut pairs = Vec::new();
    for (name, packer) in [("gzip", Packer::Gzip(9)), ("xz", Packer::Xz)] {
        let (old, new) = squash(1, packer);
        pairs.push((name, old.image(), new.image()));
    }
    for (name, filler) in [
        ("lz4", Filler::Lz4(0)),
        ("lz4hc", Filler::Lz4(9)),
        ("lz4hc,12", Filler::Lz4(12)),
        ("erofs-zstd", Filler::Zstd(0)),
        ("erofs-zstd-9", Filler::Zstd(9)),
    ] {
        let (old, new) = erofs_pair(1, filler);
        pairs.push((name, old.image(), new.image()));
    }
    pairs
}

#[test]
fn every_compressor_makes_every_block_again_from_every_segment_on() {
    for (name, old, new) in pairs() {
        let (_, repacked) = round_trip(&old, &new);
        assert!(repacked.changed > 5, "{name}: {repacked:?}");
        assert_eq!(repacked.reproduced, repacked.changed, "{name}");
    }
}

#[test]
fn every_level_of_zlib_is_recognised() {
    for level in 1..=9 {
        let (old, new) = squash(2, Packer::Gzip(level));
        let (old, new) = (old.image(), new.image());
        let (blob, repacked) = make(&old, &new);
        assert_eq!(repacked.reproduced, repacked.changed, "level {level}");
        assert!(apply(&blob, &mut old.as_slice(), 0).unwrap() == new);
    }
}

#[test]
fn every_level_of_lz4_is_recognised() {
    for level in [0, 3, 5, 8, 9, 10, 12] {
        let (old, new) = erofs_pair(2, Filler::Lz4(level));
        let (old, new) = (old.image(), new.image());
        let (blob, repacked) = make(&old, &new);
        assert_eq!(repacked.reproduced, repacked.changed, "level {level}");
        assert!(apply(&blob, &mut old.as_slice(), 0).unwrap() == new);
    }
}

#[test]
fn every_level_of_zstd_in_erofs_is_recognised() {
    for level in [0, 1, 3, 6, 9, 13, 16, 19, 22] {
        let (old, new) = erofs_pair(2, Filler::Zstd(level));
        let (old, new) = (old.image(), new.image());
        let (blob, repacked) = make(&old, &new);
        assert_eq!(repacked.reproduced, repacked.changed, "level {level}");
        assert!(apply(&blob, &mut old.as_slice(), 0).unwrap() == new);
    }
}

/// A block that is sent compressed is what the one before it sees behind itself.
#[test]
fn blocks_of_another_level_are_sent_and_those_beside_them_are_not() {
    for filler in [Filler::Lz4(9), Filler::Zstd(9)] {
        for strange in 0..5 {
            let (old, new) = erofs_pair(1, filler);
            let new = Erofs {
                strange: Some(strange),
                ..new
            };
            let (_, repacked) = round_trip(&old.image(), &new.image());
            assert!(repacked.reproduced > 0, "{repacked:?}");
            assert!(repacked.reproduced <= repacked.changed, "{repacked:?}");
        }
    }
}

/// Both images may have other compressors.
#[test]
fn an_image_may_change_its_compressor() {
    let pairs = pairs();
    for (from, old, _) in &pairs {
        for (to, _, new) in &pairs {
            let (blob, _) = make(old, new);
            let made = apply(&blob, &mut old.as_slice(), 0).unwrap();
            assert!(&made == new, "{from} to {to}");
        }
    }
}

#[test]
fn an_old_image_that_does_not_unpack_ends_in_an_error() {
    for (name, mut old, new) in pairs() {
        let (blob, _) = make(&old, &new);
        let mut named = 0;
        for place in (96..old.len()).step_by(397) {
            old[place] ^= 0xFF;
            match apply(&blob, &mut old.as_slice(), 0) {
                Err(DeltaError::Source {
                    source: SourceError::Packed { .. },
                    ..
                }) => named += 1,
                Err(DeltaError::NotPacked { .. } | DeltaError::Pack { .. }) => named += 1,
                Err(DeltaError::Damaged(_)) | Ok(_) => {}
                Err(other) => panic!("{name}: {other}"),
            }
            old[place] ^= 0xFF;
        }
        assert!(named > 3, "{name}: {named}");
    }
}

#[test]
fn deltas_of_every_compressor_can_be_explained() {
    for (name, old, new) in pairs() {
        let (blob, _) = make(&old, &new);
        let parts = explain(&blob, &old, &new, &mut |_| {}).unwrap();
        let all = parts.table + parts.maps + parts.frames;
        assert_eq!(all, blob.len() as u64, "{name}");
    }
}

/// Images that mksquashfs and mkfs.erofs made, see `corpus/images/README.md`.
#[test]
fn images_of_the_real_tools_are_understood_and_made_again() {
    let read = |name: &str| {
        let path = format!("{}/corpus/images/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    };
    let kinds = [
        ("gzip", "squashfs", 5),
        ("xz", "squashfs", 5),
        ("lz4", "erofs", 2),
        ("lz4hc", "erofs", 2),
        ("big", "erofs", 1),
        ("full", "erofs", 2),
        ("padded", "erofs", 2),
    ];
    for (kind, system, least) in kinds {
        let old = read(&format!("{kind}-old.{system}"));
        let new = read(&format!("{kind}-new.{system}"));
        let (blob, repacked) = round_trip(&old, &new);
        assert_eq!(repacked.reproduced, repacked.changed, "{kind}");
        assert!(repacked.changed >= least, "{kind}: {repacked:?}");
        assert!(blob.len() < 1500, "{kind}: {}", blob.len());
    }
}

/// What was published once can be read for ever. `UPDATE_CORPUS=1` writes it anew.
#[test]
fn the_format_is_what_it_was() {
    for (name, old, new) in pairs() {
        let (blob, _) = make(&old, &new);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/delta_raw");
        let path = format!("{folder}/blocks-{}", name.replace(',', "-"));
        if std::env::var_os("UPDATE_CORPUS").is_some() {
            std::fs::write(&path, &blob).unwrap();
        }
        let kept = std::fs::read(path).unwrap();
        assert!(apply(&kept, &mut old.as_slice(), 0).unwrap() == new);
        assert!(kept == blob, "{name}: the encoder makes another delta");
    }
}
