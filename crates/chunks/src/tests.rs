//! What the parts do together.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a broken promise fails the test"
)]

use proptest::prelude::*;

use crate::fuzz::{chunk_index, chunk_parts, chunk_round_trip, fetch, pair, publish};
use crate::{Blobs, ChunkError, Cutting, Held, Index, Scan, Where, list_range, missing, plan};

const BOTH: [Cutting; 2] = [Cutting::Blocks { log: 12 }, Cutting::Content { log: 12 }];

#[test]
fn only_what_is_new_is_fetched() {
    for cutting in BOTH {
        let (old, new) = pair(7);
        let (blobs, pack) = publish(&new, cutting);
        let (made, fetched) = fetch(&blobs, &pack, &old, new.len() as u64).unwrap();
        assert!(made == new);
        assert!(
            fetched < pack.len() as u64 / 2,
            "{fetched} of {}",
            pack.len()
        );
        let (made, fetched) = fetch(&blobs, &pack, &new, new.len() as u64).unwrap();
        assert!(made == new);
        assert_eq!(fetched, 0);
        let (made, fetched) = fetch(&blobs, &pack, &[], new.len() as u64).unwrap();
        assert!(made == new);
        assert!(fetched <= pack.len() as u64);
    }
}

#[test]
fn a_chunk_costs_less_behind_what_it_resembles() {
    let text: Vec<u8> = (0..3000_u32)
        .flat_map(|line| format!("line {} says {}\n", line, line % 100).into_bytes())
        .collect();
    let (_, pack) = publish(&text, Cutting::Blocks { log: 12 });
    let alone: usize = text
        .chunks(4096)
        .map(|chunk| publish(chunk, Cutting::Blocks { log: 12 }).1.len())
        .sum();
    assert!(pack.len() * 2 < alone, "{} and {alone}", pack.len());
}

#[test]
fn what_was_overwritten_is_no_source() {
    let cutting = Cutting::Blocks { log: 12 };
    let (old, _) = pair(3);
    // All of it lies 4096 bytes later in the new image: what is read was overwritten by then.
    let new = [vec![1; 4096], old.clone()].concat();
    let (blobs, _) = publish(&new, cutting);
    let index = Index::parse(&blobs.index, new.len() as u64).unwrap();
    for (slot, enough) in [(Where::Running, true), (Where::Inactive, false)] {
        let mut held = Held::default();
        let mut scan = Scan::new(cutting, slot);
        scan.take(&mut held, &old, true);
        held.sort();
        let found = index
            .groups()
            .iter()
            .skip(1)
            .filter(|group| group.packed > 0);
        let there = found.filter(|group| held.group(group.key, group.place).is_some());
        assert_eq!(there.count() > 0, enough);
    }
}

#[test]
fn every_length_that_lies_is_refused() {
    let (_, new) = pair(1);
    for cutting in BOTH {
        let (blobs, _) = publish(&new, cutting);
        let len = new.len() as u64;
        let other = Index::parse(&blobs.index, len + 1).unwrap_err();
        assert!(matches!(other, ChunkError::OtherImage { .. }), "{other}");
        for cut in 0..blobs.index.len() {
            assert!(Index::parse(&blobs.index[..cut], len).is_err(), "{cut}");
        }
        let mut many = blobs.index.clone();
        many[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = Index::parse(&many, len).unwrap_err();
        assert!(matches!(error, ChunkError::TooMany { .. }), "{error}");
    }
}

#[test]
fn a_list_of_another_group_is_refused() {
    let (_, new) = pair(1);
    let (blobs, _) = publish(&new, Cutting::Blocks { log: 12 });
    let index = Index::parse(&blobs.index, new.len() as u64).unwrap();
    let mut held = Held::default();
    held.sort();
    let groups = missing(&index, &held, 0).unwrap();
    assert!(groups.len() > 1);
    let sound = plan(&index, &held, 0, &groups, &blobs.lists);
    for (at, _) in blobs.lists.iter().enumerate() {
        let mut lists = blobs.lists.clone();
        lists[at] ^= 1;
        // The lists of groups that are all zeros are not read.
        let read = groups.iter().filter_map(|group| list_range(&index, *group));
        let mut read: Vec<u8> = read
            .flat_map(|range| lists[range.start as usize..range.end as usize].to_vec())
            .collect();
        let outcome = plan(&index, &held, 0, &groups, &read);
        assert!(outcome.is_err() || outcome == sound, "{at}");
        read.pop();
        assert!(plan(&index, &held, 0, &groups, &read).is_err());
    }
}

#[test]
fn a_bomb_makes_no_more_than_its_length() {
    let bomb = zstd_safe_frame(&vec![0; 10 << 20]);
    let mut out = Vec::new();
    let error = crate::unpack(&[], &bomb[4..], 4096, &mut out).unwrap_err();
    assert!(matches!(error, ChunkError::Unpack(_)), "{error}");
    assert!(out.is_empty());
    // An index that is one.
    let (_, new) = pair(1);
    let (Blobs { mut index, .. }, _) = publish(&new, BOTH[0]);
    index.truncate(24);
    index.extend_from_slice(&bomb);
    let error = Index::parse(&index, new.len() as u64).unwrap_err();
    assert!(matches!(error, ChunkError::Unpack(_)), "{error}");
}

fn zstd_safe_frame(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
    zstd_safe::compress(&mut out, bytes, 3).unwrap();
    out
}

proptest! {
    #[test]
    fn any_two_images(data in proptest::collection::vec(any::<u8>(), 0..60_000)) {
        chunk_round_trip(&data);
    }

    #[test]
    fn any_changes(data in proptest::collection::vec(any::<u8>(), 0..40)) {
        chunk_parts(&data);
    }

    #[test]
    fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
        chunk_index(&data);
    }
}
