//! Whole deltas between small images: made, applied, cut, damaged, resumed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use switchback_delta::{
    Decoder, DeltaError, HEADER_LEN, Header, Images, Options, Outcome, Source, SourceError, encode,
    matches,
};
use switchback_types::Digest;

const SEGMENT: usize = 4096;

fn options() -> Options {
    let mut options = Options::default();
    options.segment_log = 12;
    options.frame_bytes = 100;
    options
}

fn make(old: &[u8], new: &[u8], options: &Options) -> Vec<u8> {
    match encode(old, new, options, &|_| true).unwrap() {
        Outcome::Delta { blob, .. } => blob,
        Outcome::NotWorthIt { estimate } => panic!("not worth it: {estimate}"),
    }
}

fn images(blob: &[u8]) -> Images {
    Header::parse(blob.first_chunk::<HEADER_LEN>().unwrap())
        .unwrap()
        .images
}

/// What a daemon does: compares each segment with the list, and stops at the first wrong one.
fn apply(
    blob: &[u8],
    images: Images,
    source: &mut dyn Source,
    list: &[Digest],
    first: u64,
) -> Result<Vec<u8>, String> {
    let mut decoder = Decoder::from_segment(images, first);
    let mut made = Vec::new();
    while !decoder.is_done() {
        while let Some(needed) = decoder.needs() {
            let from = usize::try_from(needed.start).unwrap();
            let to = usize::try_from(needed.end).unwrap().min(blob.len());
            if from >= to {
                return Err("more is needed".into());
            }
            decoder
                .feed(needed.start, &blob[from..to])
                .map_err(|error| error.to_string())?;
        }
        while let Some(segment) = decoder.segment(source).map_err(|error| error.to_string())? {
            let wanted = &list[usize::try_from(segment.index).unwrap()];
            if !matches(segment.bytes, wanted) {
                return Err(format!("segment {}", segment.index));
            }
            made.extend_from_slice(segment.bytes);
        }
    }
    Ok(made)
}

fn list(image: &[u8]) -> Vec<Digest> {
    image
        .chunks(SEGMENT)
        .map(|segment| Digest::from_bytes(Sha256::digest(segment).into()))
        .collect()
}

/// Text-like bytes with repeats, and a new image made from them by a few edits.
fn edited() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let bytes = proptest::collection::vec(0..16_u8, 0..3000);
    let piece = (
        any::<prop::sample::Index>(),
        0..400_usize,
        0..6_u8,
        bytes.clone(),
    );
    (bytes, proptest::collection::vec(piece, 0..8), 1..8_usize).prop_map(|(seed, edits, times)| {
        let old: Vec<u8> = (0..times)
            .flat_map(|time| {
                seed.iter()
                    .map(move |byte| byte.wrapping_mul(time.to_le_bytes()[0]))
            })
            .collect();
        let mut new = old.clone();
        for (place, len, kind, bytes) in edits {
            let start = place.index(new.len() + 1);
            let end = (start + len).min(new.len());
            match kind {
                0 => drop(new.splice(start..end, bytes)),
                1 => new[start..end]
                    .iter_mut()
                    .step_by(9)
                    .for_each(|byte| *byte ^= 1),
                2 => drop(new.splice(start..start, vec![0; len])),
                3 => drop(new.drain(start..end)),
                4 => new.rotate_left(start),
                _ => new.extend_from_within(start..end),
            }
        }
        (old, new)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_pair_comes_back_from_every_segment_on((old, new) in edited(), written in any::<bool>()) {
        let mut options = options();
        options.written_literals = if written { u64::MAX } else { 0 };
        let blob = make(&old, &new, &options);
        let list = list(&new);
        for first in 0..=list.len() {
            let made = apply(&blob, images(&blob), &mut old.as_slice(), &list, first as u64);
            prop_assert_eq!(made.unwrap(), &new[(first * SEGMENT).min(new.len())..]);
        }
    }
}

#[test]
fn no_byte_can_change_unnoticed_and_none_can_be_missing() {
    let (old, new) = small_pair();
    let blob = make(&old, &new, &options());
    let list = list(&new);
    let wanted = images(&blob);
    for place in 0..blob.len() {
        let cut = apply(&blob[..place], wanted, &mut old.as_slice(), &list, 0);
        assert!(cut.is_err(), "cut at {place}");
        let mut damaged = blob.clone();
        damaged[place] ^= 1 << (place % 8);
        let damaged = apply(&damaged, wanted, &mut old.as_slice(), &list, 0);
        assert!(damaged.is_err(), "damaged at {place}");
    }
}

#[test]
fn frames_in_another_order_are_refused() {
    let (old, new) = small_pair();
    let blob = make(&old, &new, &options());
    let middle = (HEADER_LEN + blob.len()) / 2;
    let mut turned = blob.clone();
    turned[HEADER_LEN..].rotate_left(middle - HEADER_LEN);
    let outcome = apply(&turned, images(&blob), &mut old.as_slice(), &list(&new), 0);
    assert!(outcome.is_err());
}

#[test]
fn the_delta_does_not_depend_on_the_number_of_threads() {
    let (old, new) = small_pair();
    let mut options = options();
    let two = make(&old, &new, &options);
    for threads in [1, 5] {
        options.threads = threads;
        assert_eq!(make(&old, &new, &options), two);
    }
}

#[test]
fn a_resumed_delta_asks_for_no_frame_before_its_own() {
    let (old, new) = small_pair();
    let blob = make(&old, &new, &options());
    let asked = |first| {
        let mut decoder = Decoder::from_segment(images(&blob), first);
        let mut asked = BTreeSet::new();
        while !decoder.is_done() {
            while let Some(needed) = decoder.needs() {
                asked.insert((needed.start, needed.end));
                let (from, to) = (needed.start as usize, needed.end as usize);
                decoder.feed(needed.start, &blob[from..to]).unwrap();
            }
            while decoder.segment(&mut old.as_slice()).unwrap().is_some() {}
        }
        asked.iter().map(|(start, end)| end - start).sum::<u64>()
    };
    let sums: Vec<u64> = (0..=list(&new).len() as u64).map(asked).collect();
    assert_eq!(sums[0], blob.len() as u64);
    assert!(sums.is_sorted_by(|a, b| a >= b), "{sums:?}");
    assert!(sums[sums.len() - 2] < sums[0], "{sums:?}");
}

#[test]
fn bytes_from_elsewhere_are_not_taken() {
    let (old, new) = small_pair();
    let blob = make(&old, &new, &options());
    let mut decoder = Decoder::new(images(&blob));
    assert!(matches!(
        decoder.feed(5, &blob[5..]),
        Err(DeltaError::WrongInput {
            found: 5,
            wanted: 0
        })
    ));
}

#[test]
fn a_delta_for_another_image_is_refused() {
    let (old, new) = small_pair();
    let blob = make(&old, &new, &options());
    let mut wanted = images(&blob);
    wanted.old_sha256 = Digest::from_bytes([1; 32]);
    let outcome = apply(&blob, wanted, &mut old.as_slice(), &list(&new), 0);
    assert!(outcome.unwrap_err().contains("the delta is from"));
}

#[test]
fn what_the_old_image_says_is_passed_on() {
    struct Rotten;
    impl Source for Rotten {
        fn read_at(&mut self, offset: u64, _: &mut [u8]) -> Result<(), SourceError> {
            Err(SourceError::Altered {
                segment: offset >> 20,
            })
        }
    }
    let (old, new) = small_pair();
    let blob = make(&old, &new, &options());
    let mut decoder = Decoder::new(images(&blob));
    let error = loop {
        while let Some(needed) = decoder.needs() {
            let (from, to) = (needed.start as usize, needed.end as usize);
            decoder.feed(needed.start, &blob[from..to]).unwrap();
        }
        if let Err(error) = decoder.segment(&mut Rotten) {
            break error;
        }
    };
    assert!(matches!(
        error,
        DeltaError::Source {
            source: SourceError::Altered { segment: 0 },
            ..
        }
    ));
}

#[test]
fn the_encoder_stops_when_it_is_told_to_or_when_it_is_of_no_use() {
    let (old, new) = small_pair();
    let stopped = encode(&old, &new, &options(), &|_| false);
    assert!(matches!(stopped, Err(DeltaError::Stopped)));
    let mut options = options();
    options.give_up_above = 100;
    let outcome = encode(&old, &new, &options, &|_| true).unwrap();
    assert!(matches!(outcome, Outcome::NotWorthIt { .. }));
}

#[test]
fn images_without_bytes_and_of_odd_lengths_work() {
    let old = vec![7; 10_000];
    for (old, new) in [
        (&[][..], &[][..]),
        (&old[..], &[][..]),
        (&[][..], &old[..1]),
        (&old[..1], &old[..4097]),
        (&old[..9999], &old[..8191]),
    ] {
        let blob = make(old, new, &options());
        let made = apply(&blob, images(&blob), &mut &old[..], &list(new), 0);
        assert_eq!(made.unwrap(), new);
    }
}

/// A pair with moved, changed, new and empty parts.
fn small_pair() -> (Vec<u8>, Vec<u8>) {
    switchback_delta::fuzz::pair(3)
}

/// What was published once can be read for ever, and the publisher makes it again byte for byte.
/// `UPDATE_CORPUS=1` writes it anew.
#[test]
fn the_format_is_what_it_was() {
    for seed in [3, 8] {
        let (old, new) = switchback_delta::fuzz::pair(seed);
        let mut options = options();
        options.written_literals = (u64::from(seed) % 2) << 20;
        let blob = make(&old, &new, &options);
        let path = format!(
            "{}/corpus/delta_raw/pair-{seed}",
            env!("CARGO_MANIFEST_DIR")
        );
        if std::env::var_os("UPDATE_CORPUS").is_some() {
            std::fs::write(&path, &blob).unwrap();
        }
        let kept = std::fs::read(path).unwrap();
        let made = apply(&kept, images(&kept), &mut old.as_slice(), &list(&new), 0);
        assert_eq!(made.unwrap(), new);
        assert!(kept == blob, "the encoder makes another delta");
    }
}
