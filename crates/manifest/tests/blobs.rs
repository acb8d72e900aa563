//! The segment list and the frame table.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly outside of its #[test] function, too"
)]

use proptest::prelude::*;
use switchback_manifest::{
    BlobRef, FrameTable, Image, ImageFormat, ManifestError, Pack, SegmentList, max_frame_length,
};
use switchback_types::Digest;

const SEGMENT: u32 = 65_536;

fn blob(length: u64) -> BlobRef {
    BlobRef {
        sha256: Digest::from_bytes([7; 32]),
        length,
    }
}

fn image(size: u64) -> Image {
    Image {
        format: ImageFormat::Raw,
        size,
        sha256: Digest::from_bytes([0; 32]),
        segment_size: SEGMENT,
        segments: blob(size.div_ceil(u64::from(SEGMENT)) * 32),
        kernel_id: None,
    }
}

fn pack(lengths: &[u32]) -> Pack {
    Pack {
        blob: blob(lengths.iter().map(|length| u64::from(*length)).sum()),
        frames: blob(lengths.len() as u64 * 4),
    }
}

#[test]
fn the_last_segment_may_be_shorter() {
    let image = image(2 * u64::from(SEGMENT) + 5);
    assert_eq!(image.segment_count(), 3);
    assert_eq!(image.segment_range(0), Some((0, SEGMENT)));
    assert_eq!(image.segment_range(2), Some((131_072, 5)));
    assert_eq!(image.segment_range(3), None);
    assert_eq!(image.segment_range(u64::MAX), None);
    let whole = self::image(u64::from(SEGMENT));
    assert_eq!((whole.segment_count(), whole.segment_range(1)), (1, None));
}

#[test]
fn a_list_holds_one_digest_per_segment() {
    let image = image(2 * u64::from(SEGMENT));
    let bytes = [[1; 32], [2; 32]].concat();
    let list = SegmentList::parse(&bytes, &image).unwrap();
    assert_eq!(list.get(1), Some(&Digest::from_bytes([2; 32])));
    assert_eq!((list.count(), list.get(2), list.iter().len()), (2, None, 2));
    assert_eq!(list.to_bytes(), bytes);
    for wrong in [0, 1, 32, 63, 65, 96] {
        let error = SegmentList::parse(&vec![0; wrong], &image).unwrap_err();
        assert!(
            matches!(error, ManifestError::BlobLength { expected: 64, .. }),
            "{wrong}"
        );
    }
}

#[test]
fn a_list_longer_than_its_image_is_refused_even_if_the_reference_agrees() {
    let mut image = image(u64::from(SEGMENT));
    image.segments = blob(64);
    let error = SegmentList::parse(&[0; 64], &image).unwrap_err();
    assert!(matches!(
        error,
        ManifestError::BlobLength { expected: 32, .. }
    ));
}

#[test]
fn frames_follow_each_other() {
    let lengths = [10, 200, 3];
    let image = image(3 * u64::from(SEGMENT));
    let table = FrameTable::parse(&FrameTable::encode(&lengths), &image, &pack(&lengths)).unwrap();
    let ranges: Vec<_> = (0..4).map(|index| table.range(index)).collect();
    assert_eq!(
        ranges,
        [Some((0, 10)), Some((10, 200)), Some((210, 3)), None]
    );
    assert_eq!((table.count(), table.range(u64::MAX)), (3, None));
}

#[test]
fn impossible_frames_are_refused() {
    let image = image(2 * u64::from(SEGMENT));
    let limit = u32::try_from(max_frame_length(SEGMENT)).unwrap();
    let parse =
        |lengths: &[u32]| FrameTable::parse(&FrameTable::encode(lengths), &image, &pack(lengths));
    assert!(parse(&[limit, 1]).is_ok());
    for (lengths, wrong) in [([1, 0], 1), ([limit + 1, 1], 0), ([1, u32::MAX], 1)] {
        match parse(&lengths) {
            Err(ManifestError::FrameLength { index, .. }) => assert_eq!(index, wrong),
            other => panic!("{lengths:?}: {other:?}"),
        }
    }
    let mut short = pack(&[5, 5]);
    short.blob.length = 11;
    let error = FrameTable::parse(&FrameTable::encode(&[5, 5]), &image, &short).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the frames add up to 10 bytes, the pack has 11"
    );
    assert!(parse(&[5]).is_err() && parse(&[5, 5, 5]).is_err());
}

proptest! {
    #[test]
    fn segments_cover_an_image_without_gaps(size in 1_u64..5_000_000) {
        let image = image(size);
        let mut next = 0;
        for index in 0..image.segment_count() {
            let (offset, length) = image.segment_range(index).unwrap();
            prop_assert_eq!(offset, next);
            prop_assert!(length > 0 && length <= SEGMENT);
            next = offset + u64::from(length);
        }
        prop_assert_eq!(next, size);
    }

    #[test]
    fn a_table_gives_back_the_lengths_it_was_made_from(
        lengths in proptest::collection::vec(1_u32..66_000, 1..40)
    ) {
        let image = image(lengths.len() as u64 * u64::from(SEGMENT));
        let table = FrameTable::parse(&FrameTable::encode(&lengths), &image, &pack(&lengths));
        let table = table.unwrap();
        for (index, length) in (0_u64..).zip(&lengths) {
            prop_assert_eq!(table.range(index).unwrap().1, *length);
        }
    }
}
