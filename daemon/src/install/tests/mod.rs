//! Whole installs from memory into a file that stands for a slot.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use switchback_manifest::{
    BlobRef, Delta, DeltaFormat, FrameTable, Image, ImageFormat, Pack, Release,
};
use switchback_types::Timestamp;
use switchback_update_core::InstallFailure;

use super::*;
use crate::fetch::{FetchError, Files, Source};
use crate::slot::testing;

mod chunks;
mod delta;

const SEGMENT: usize = 65_536;

/// A repository in memory, whose connections break as told.
#[derive(Default)]
struct Memory {
    files: HashMap<String, Vec<u8>>,
    /// Each stream ends early after this many bytes, as long as there are entries.
    breaks: Mutex<Vec<usize>>,
    streams: Mutex<Vec<(String, u64)>>,
}

impl Memory {
    fn add(&mut self, bytes: Vec<u8>) -> BlobRef {
        let blob = BlobRef {
            sha256: sha256(&bytes),
            length: bytes.len() as u64,
        };
        self.files.insert(blob.path(), bytes);
        blob
    }

    fn missing(path: &str) -> FetchError {
        FetchError::Missing {
            url: path.into(),
            status: 404,
        }
    }
}

impl Files for Memory {
    fn file(&self, path: &str, _limit: u64) -> Result<Vec<u8>, FetchError> {
        self.files
            .get(path)
            .cloned()
            .ok_or_else(|| Self::missing(path))
    }

    fn url(&self, path: &str) -> String {
        format!("memory:{path}")
    }
}

impl Source for Memory {
    fn stream(&self, path: &str, offset: u64) -> Result<Box<dyn Read + Send>, FetchError> {
        self.streams.lock().unwrap().push((path.into(), offset));
        let bytes = self.files.get(path).ok_or_else(|| Self::missing(path))?;
        let mut rest = bytes.get(offset as usize..).unwrap_or_default().to_vec();
        if let Some(end) = self.breaks.lock().unwrap().pop() {
            rest.truncate(end);
        }
        Ok(Box::new(std::io::Cursor::new(rest)))
    }
}

fn picture(length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at / 7) ^ (at >> 9)) as u8).collect()
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Publishes an image; gives the repository and the release.
fn publish(image: &[u8]) -> (Memory, Release) {
    let mut memory = Memory::default();
    let digests: Vec<u8> = image
        .chunks(SEGMENT)
        .flat_map(|part| *sha256(part).as_bytes())
        .collect();
    let frames: Vec<Vec<u8>> = image
        .chunks(SEGMENT)
        .map(|part| {
            let mut out = vec![0; zstd_safe::compress_bound(part.len())];
            let length = zstd_safe::compress(&mut out[..], part, 3).unwrap();
            out.truncate(length);
            out
        })
        .collect();
    let lengths: Vec<u32> = frames.iter().map(|frame| frame.len() as u32).collect();
    let release = Release {
        schema: 1,
        product: "kiosk".parse().unwrap(),
        compatible: vec!["board".parse().unwrap()],
        version: "2".parse().unwrap(),
        sequence: 2,
        security_epoch: 0,
        requires: None,
        sbom: None,
        provenance: None,
        created: Timestamp::from_unix(1),
        image: Image {
            format: ImageFormat::Raw,
            size: image.len() as u64,
            sha256: sha256(image),
            segment_size: SEGMENT as u32,
            segments: memory.add(digests),
            kernel_id: None,
        },
        full: Pack {
            blob: memory.add(frames.concat()),
            frames: memory.add(FrameTable::encode(&lengths)),
        },
        chunks: None,
        deltas: Vec::new(),
        notes: None,
    };
    (memory, release)
}

/// Adds the delta between two images to the release of the second.
fn add_delta(memory: &mut Memory, release: &mut Release, old: &[u8], new: &[u8]) {
    let mut options = switchback_delta::Options::default();
    options.segment_log = 16;
    // Each change has a frame of its own.
    options.frame_bytes = 64;
    let outcome = switchback_delta::encode(old, new, &options, &|_| true).unwrap();
    let switchback_delta::Outcome::Delta { blob, .. } = outcome else {
        panic!("{outcome:?}");
    };
    release.deltas.push(Delta {
        from: sha256(old),
        from_size: old.len() as u64,
        format: DeltaFormat::sbd1(),
        blob: memory.add(blob),
    });
}

fn known(image: &[u8], sequence: u64) -> ImageIdentity {
    ImageIdentity {
        version: "1".parse().unwrap(),
        sequence,
        security_epoch: 0,
        sha256: sha256(image),
        size: image.len() as u64,
    }
}

/// Installs into a slot that begins with `before`; gives the result and the slot's bytes.
fn install(
    memory: &Memory,
    release: &Release,
    before: &[u8],
) -> (Result<Fetched, InstallFailure>, Vec<u8>, Vec<Duration>) {
    install_beside(&[], None, true, memory, release, before)
}

/// The same on a device that runs an image.
fn install_beside(
    running: &[u8],
    known_as: Option<&ImageIdentity>,
    begun: bool,
    memory: &Memory,
    release: &Release,
    before: &[u8],
) -> (Result<Fetched, InstallFailure>, Vec<u8>, Vec<Duration>) {
    let ([_a, b], layout) = testing::layout(running, before, 1 << 20);
    let pauses = RefCell::new(Vec::new());
    let result = Installer {
        source: memory,
        cancel: &Cancel::default(),
        chosen: &mut |choice| assert!(!choice.reason.is_empty()),
        progress: &mut |_| {},
        pause: &mut |time| pauses.borrow_mut().push(time),
        layout: &layout,
        running: known_as,
        begun,
        lost: None,
        prove: &mut |synced, image, progress| {
            synced.verify(image, &Cancel::default(), progress).map(drop)
        },
    }
    .run(release);
    let bytes = std::fs::read(b.path()).unwrap();
    (result, bytes, pauses.into_inner())
}

#[test]
fn writes_and_proves_images_of_any_size() {
    for length in [1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 10 * SEGMENT + 123] {
        let image = picture(length);
        let (memory, release) = publish(&image);
        let (result, slot, _) = install(&memory, &release, &[]);
        result.unwrap();
        assert_eq!(&slot[..length], image);
    }
}

#[test]
fn connection_that_breaks_is_taken_up_where_it_broke() {
    let image = picture(10 * SEGMENT);
    let (memory, release) = publish(&image);
    let pack = memory.files[&release.full.blob.path()].len();
    *memory.breaks.lock().unwrap() = vec![pack / 5, pack / 3, pack / 4];
    let (result, slot, pauses) = install(&memory, &release, &[]);
    result.unwrap();
    assert_eq!(&slot[..image.len()], image);
    let streams = memory.streams.lock().unwrap();
    assert_eq!(streams.len(), 4);
    assert!(
        streams.windows(2).all(|pair| pair[0].1 <= pair[1].1),
        "{streams:?}"
    );
    assert!(!pauses.is_empty());
}

#[test]
fn server_that_always_breaks_is_given_up_on() {
    let image = picture(10 * SEGMENT);
    let (memory, release) = publish(&image);
    *memory.breaks.lock().unwrap() = vec![10; 100];
    let (result, ..) = install(&memory, &release, &[]);
    let error = result.unwrap_err();
    assert!(matches!(&error, InstallFailure::Network { detail } if detail.contains("truncated")));
    assert_eq!(memory.streams.lock().unwrap().len(), 5);
}

/// Which segments of an image of `count` are fetched when those in `wrong` differ, and the first
/// frame of each connection.
fn fetched(count: usize, wrong: &[usize]) -> (Fetched, Vec<u64>) {
    let image = noise(count * SEGMENT);
    let (memory, release) = publish(&image);
    let mut before = image.clone();
    for index in wrong {
        before[index * SEGMENT + 1] ^= 1;
    }
    let (result, slot, _) = install(&memory, &release, &before);
    assert_eq!(&slot[..image.len()], image);
    let frames = FrameTable::parse(
        &memory.files[&release.full.frames.path()],
        &release.image,
        &release.full,
    )
    .unwrap();
    let streams = memory.streams.lock().unwrap();
    let starts = streams.iter().map(|(_, offset)| {
        (0..count as u64)
            .find(|index| frames.range(*index).unwrap().0 == *offset)
            .unwrap()
    });
    (result.unwrap(), starts.collect())
}

#[test]
fn only_the_segments_that_differ_are_fetched() {
    for (wrong, streams) in [
        (&[][..], &[][..]),
        (&[6], &[6]),
        // Neighbours come over one connection; what is far apart does not.
        (&[2, 3], &[2]),
        (&[0, 9], &[0, 9]),
        (&[1, 5, 6, 12], &[1, 5, 12]),
    ] {
        let (fetched, starts) = fetched(14, wrong);
        assert_eq!(fetched.segments, wrong.len() as u64, "{wrong:?}");
        assert_eq!(fetched.of, 14);
        assert_eq!(starts, streams, "{wrong:?}");
        let most = (wrong.len() * (SEGMENT + 1024) + 14 * 36) as u64;
        assert!(fetched.bytes <= most, "{wrong:?}: {fetched:?}");
    }
}

#[test]
fn small_gap_is_read_over_and_not_written() {
    // Frames of this picture are far smaller than a segment: both come over one connection.
    let image = picture(10 * SEGMENT);
    let (memory, release) = publish(&image);
    let mut before = image.clone();
    before[2 * SEGMENT] ^= 1;
    before[7 * SEGMENT] ^= 1;
    let (result, slot, _) = install(&memory, &release, &before);
    assert_eq!(result.unwrap().segments, 2);
    assert_eq!(&slot[..image.len()], image);
    assert_eq!(memory.streams.lock().unwrap().len(), 1);
}

#[test]
fn connection_that_breaks_in_a_gap_is_taken_up_at_the_next_wanted_frame() {
    let image = picture(10 * SEGMENT);
    let (memory, release) = publish(&image);
    let mut before = image.clone();
    before[2 * SEGMENT] ^= 1;
    before[7 * SEGMENT] ^= 1;
    let frames = &memory.files[&release.full.frames.path()];
    let frames = FrameTable::parse(frames, &release.image, &release.full).unwrap();
    let (start, length) = frames.range(2).unwrap();
    *memory.breaks.lock().unwrap() = vec![length as usize + 1];
    let (result, slot, _) = install(&memory, &release, &before);
    result.unwrap();
    assert_eq!(&slot[..image.len()], image);
    let starts: Vec<u64> = memory
        .streams
        .lock()
        .unwrap()
        .iter()
        .map(|(_, at)| *at)
        .collect();
    assert_eq!(starts, [start, frames.range(7).unwrap().0]);
}

#[test]
fn every_corrupt_byte_of_a_frame_is_refused() {
    let image = picture(2 * SEGMENT);
    let (memory, release) = publish(&image);
    let path = release.full.blob.path();
    let whole = memory.files[&path].clone();
    for at in (0..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        let files = memory.files.clone();
        let mut memory = Memory {
            files,
            ..Memory::default()
        };
        memory.files.insert(path.clone(), bytes);
        let (result, ..) = install(&memory, &release, &[]);
        let error = result.unwrap_err();
        assert!(
            matches!(&error, InstallFailure::Content { .. }),
            "byte {at}: {error}"
        );
        assert!(
            error.to_string().contains("memory:content/"),
            "names the file: {error}"
        );
    }
}

#[test]
fn small_blobs_are_checked_and_missing_ones_named() {
    let image = picture(2 * SEGMENT);
    for which in 0..3 {
        let (mut memory, release) = publish(&image);
        let blob = [
            &release.image.segments,
            &release.full.frames,
            &release.full.blob,
        ][which];
        memory.files.get_mut(&blob.path()).unwrap()[0] ^= 1;
        let (result, ..) = install(&memory, &release, &[]);
        assert!(
            matches!(result, Err(InstallFailure::Content { .. })),
            "{which}"
        );
        memory.files.remove(&blob.path());
        let (result, ..) = install(&memory, &release, &[]);
        let error = result.unwrap_err().to_string();
        assert!(error.contains("not there (status 404)"), "{error}");
    }
}

#[test]
fn image_larger_than_the_slot_is_refused_before_the_first_byte() {
    let image = picture((1 << 20) + 1);
    let (memory, release) = publish(&image);
    let (result, slot, _) = install(&memory, &release, &[]);
    assert!(matches!(result, Err(InstallFailure::Slot { .. })));
    assert!(slot.iter().all(|byte| *byte == 0));
}
