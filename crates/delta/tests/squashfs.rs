//! Deltas between images of compressed blocks: unpacked, and packed again to the very bytes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;

use common::{apply, make};
use switchback_delta::fuzz::{Packer, Squash, squash_pair};
use switchback_delta::{DeltaError, Source, SourceError, explain};

/// What is read of the old image.
struct Counting<'a>(&'a [u8], u64);

impl Source for Counting<'_> {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        self.1 += buffer.len() as u64;
        (&mut &self.0[..]).read_at(offset, buffer)
    }
}

#[test]
fn every_block_is_made_again_from_every_segment_on() {
    for seed in 0..3 {
        let (old, new) = squash_pair(seed);
        let (old, new) = (old.image(), new.image());
        let (blob, repacked) = make(&old, &new);
        assert!(repacked.changed > 5, "{repacked:?}");
        assert_eq!(repacked.reproduced, repacked.changed);
        for first in 0..=new.len() / 4096 {
            let made = apply(&blob, &mut old.as_slice(), first as u64).unwrap();
            assert!(made == new[first * 4096..], "from segment {first} on");
        }
    }
}

/// What the compressed bytes cost is told by images whose blocks do not come out as they are.
#[test]
fn plain_bytes_cost_a_fraction_of_compressed_ones() {
    let (old, new) = squash_pair(1);
    let (small, _) = make(&old.image(), &new.image());
    let (mut strange_old, mut strange_new) = (old, new);
    for image in [&mut strange_old, &mut strange_new] {
        image.block_size = 8192;
        image.packer = Packer::Zstd(7);
    }
    strange_new.strange = Some(0);
    let (some, repacked) = make(&strange_old.image(), &strange_new.image());
    assert!(repacked.reproduced > 0, "{repacked:?}");
    assert!(repacked.reproduced < repacked.changed, "{repacked:?}");
    assert!(repacked.sent > 0);
    assert!(small.len() < some.len(), "{} {}", small.len(), some.len());
}

/// Where blocks do not come out the same, the images as they are may have more in common: a few bytes within
/// incompressible files.
#[test]
fn what_does_not_come_out_costs_no_more_than_the_images_as_they_are() {
    let mut state = 7_u32;
    let mut noise = |len: usize| -> Vec<u8> {
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0] & 0x7f
            })
            .collect()
    };
    let mut old = Squash {
        files: (0..12).map(|_| noise(30_000)).collect(),
        ..squash_pair(1).0
    };
    old.packer = Packer::Zstd(7);
    let mut new = old.clone();
    for file in &mut new.files {
        file[29_000] ^= 1;
    }
    // By another compressor, as it were.
    new.strange = Some(0);
    let (old, new) = (old.image(), new.image());
    let (blob, repacked) = make(&old, &new);
    assert!(repacked.reproduced < repacked.changed, "{repacked:?}");
    assert!(apply(&blob, &mut old.as_slice(), 0).unwrap() == new);
    // Nobody knows these for squashfs.
    let hide = |image: &[u8]| [&[!image[0]], &image[1..]].concat();
    let (as_they_are, _) = make(&hide(&old), &hide(&new));
    assert!(
        blob.len() <= as_they_are.len() + 16,
        "{} {}",
        blob.len(),
        as_they_are.len()
    );
}

#[test]
fn an_image_of_another_level_is_recognised() {
    for level in [1, 3, 9, 19] {
        let (mut old, mut new) = squash_pair(2);
        (old.packer, new.packer) = (Packer::Zstd(level), Packer::Zstd(level));
        let (blob, repacked) = make(&old.image(), &new.image());
        assert_eq!(repacked.reproduced, repacked.changed, "level {level}");
        let made = apply(&blob, &mut old.image().as_slice(), 0).unwrap();
        assert!(made == new.image());
    }
}

/// What did not change is copied as it is, and nothing of it is unpacked.
#[test]
fn unchanged_blocks_are_read_once_and_not_listed() {
    let (old, _) = squash_pair(1);
    let mut new = old.clone();
    let last = new.files.len() - 1;
    new.files[last][14_000] ^= 1;
    let (old, new) = (old.image(), new.image());
    let (blob, repacked) = make(&old, &new);
    assert!(repacked.changed <= 3, "{repacked:?}");
    let mut source = Counting(&old, 0);
    assert!(apply(&blob, &mut source, 0).unwrap() == new);
    assert!(
        source.1 < old.len() as u64 + 20_000,
        "{} of {}",
        source.1,
        old.len()
    );
    assert!(blob.len() < 450, "{}", blob.len());
}

/// A tree of digests behind the file system is bytes like others; all that changed is sent.
#[test]
fn a_hash_tree_behind_the_file_system_stays_as_it_is() {
    let (old, new) = squash_pair(0);
    let (mut old, mut new) = (old.image(), new.image());
    let (plain, _) = make(&old, &new);
    let digests = |image: &[u8]| -> Vec<u8> {
        use sha2::Digest as _;
        image
            .chunks(4096)
            .flat_map(|block| sha2::Sha256::digest(block).to_vec())
            .collect()
    };
    let (of_old, of_new) = (digests(&old), digests(&new));
    old.extend_from_slice(&of_old);
    new.extend_from_slice(&of_new);
    let (blob, repacked) = make(&old, &new);
    assert_eq!(repacked.reproduced, repacked.changed);
    assert!(apply(&blob, &mut old.as_slice(), 0).unwrap() == new);
    let more = blob.len() - plain.len();
    assert!(more <= of_new.len() + 100, "{more} of {}", of_new.len());
}

#[test]
fn an_old_image_that_does_not_unpack_ends_in_an_error() {
    let (old, new) = squash_pair(3);
    let (mut old, new) = (old.image(), new.image());
    let (blob, _) = make(&old, &new);
    let mut named = 0;
    for place in (96..old.len()).step_by(97) {
        old[place] ^= 0xFF;
        match apply(&blob, &mut old.as_slice(), 0) {
            Err(DeltaError::Source {
                source: SourceError::Packed { .. },
                ..
            }) => named += 1,
            Err(DeltaError::NotPacked { .. } | DeltaError::Damaged(_)) | Ok(_) => {}
            Err(other) => panic!("{other}"),
        }
        old[place] ^= 0xFF;
    }
    assert!(named > 3, "{named}");
}

#[test]
fn an_image_cut_short_at_any_place_comes_back() {
    let (old, new) = squash_pair(1);
    let (old, new) = (old.image(), new.image());
    for cut in (0..new.len()).step_by(new.len() / 11) {
        for (old, new) in [(&old[..], &new[..cut]), (&new[..cut], &old[..])] {
            let (blob, _) = make(old, new);
            assert!(
                apply(&blob, &mut { old }, 0).unwrap() == new,
                "cut at {cut}"
            );
        }
    }
}

#[test]
fn a_superblock_that_lies_costs_bytes_and_nothing_else() {
    let (old, new) = squash_pair(1);
    let (old, mut new) = (old.image(), new.image());
    for place in (0..96).filter(|place| !(8..12).contains(place)) {
        let by = if place % 2 == 0 { 0x01 } else { 0xFF };
        new[place] ^= by;
        let (blob, _) = make(&old, &new);
        assert!(apply(&blob, &mut old.as_slice(), 0).unwrap() == new);
        new[place] ^= by;
    }
}

/// Two files may share blocks, and a damaged table may name parts of others.
#[test]
fn blocks_listed_twice_or_across_each_other_count_once() {
    let (old, new) = squash_pair(1);
    let twice = Squash {
        files: vec![old.files[0].clone(); 9],
        ..old.clone()
    };
    // All of them begin at the first one's blocks, which the table's first words say.
    let (old, image) = (old.image(), twice.image());
    let (blob, _) = make(&old, &image);
    assert!(apply(&blob, &mut old.as_slice(), 0).unwrap() == image);
    let new = new.image();
    let (blob, _) = make(&image, &new);
    assert!(apply(&blob, &mut image.as_slice(), 0).unwrap() == new);
}

#[test]
fn a_compressed_delta_can_be_explained() {
    let (old, new) = squash_pair(2);
    let (old, new) = (old.image(), new.image());
    let (blob, _) = make(&old, &new);
    let mut seen = 0;
    let parts = explain(&blob, &old, &new, &mut |frame| {
        seen += frame.copied + frame.zeros;
        seen += frame
            .costly
            .iter()
            .map(|(range, _)| range.end - range.start)
            .sum::<u64>();
    })
    .unwrap();
    assert_eq!(parts.table + parts.maps + parts.frames, blob.len() as u64);
    assert!(seen > new.len() as u64, "{seen}: of unpacked bytes");
}

/// Images that mksquashfs made, see `corpus/images/README.md`: every kind of file.
#[test]
fn images_of_the_real_tool_are_understood_and_made_again() {
    let read = |name: &str| {
        let path = format!("{}/corpus/images/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    };
    let (old, new) = (read("zstd-old.squashfs"), read("zstd-new.squashfs"));
    let (blob, repacked) = make(&old, &new);
    assert_eq!(repacked.reproduced, repacked.changed, "{repacked:?}");
    assert!(repacked.changed >= 5, "{repacked:?}");
    for first in 0..=new.len() / 4096 {
        let made = apply(&blob, &mut old.as_slice(), first as u64).unwrap();
        assert!(made == new[first * 4096..], "from segment {first} on");
    }
    assert!(blob.len() < 1000, "{}", blob.len());
}

/// What was published once can be read for ever. `UPDATE_CORPUS=1` writes it anew.
#[test]
fn the_format_is_what_it_was() {
    let (old, new) = squash_pair(1);
    let (old, new) = (old.image(), new.image());
    let (blob, _) = make(&old, &new);
    let path = format!("{}/corpus/delta_raw/blocks-1", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        std::fs::write(&path, &blob).unwrap();
    }
    let kept = std::fs::read(path).unwrap();
    assert!(apply(&kept, &mut old.as_slice(), 0).unwrap() == new);
    assert!(kept == blob, "the encoder makes another delta");
}
