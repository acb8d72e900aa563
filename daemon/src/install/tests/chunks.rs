//! Chunks from either slot, and what follows where they do not fit.

use switchback_chunks::{Cutting, pack_image};
use switchback_manifest::Chunks;

use super::*;

const BLOCKS: Cutting = Cutting::Blocks { log: 12 };
const CONTENT: Cutting = Cutting::Content { log: 12 };

/// The repository with an image, also in chunks.
fn publish_in(image: &[u8], cutting: Cutting) -> (Memory, Release) {
    let (mut memory, mut release) = publish(image);
    let (blobs, pack) = pack_image(image, cutting, 3).unwrap();
    release.chunks = Some(Chunks {
        index: memory.add(blobs.index),
        data: memory.add([blobs.lists, pack].concat()),
    });
    (memory, release)
}

/// An image and a newer one: something changed, something new, zeros.
fn pair(cutting: Cutting) -> (Vec<u8>, Vec<u8>) {
    let old = noise(10 * SEGMENT + 123);
    let mut new = old.clone();
    for at in [5, 3 * SEGMENT, 9 * SEGMENT + 7] {
        new[at..at + 100].fill(0x5a);
    }
    new[6 * SEGMENT..7 * SEGMENT + 5000].fill(0);
    if cutting == CONTENT {
        new.splice(SEGMENT..SEGMENT, picture(1234));
    }
    (old, new)
}

fn lists(release: &Release) -> u64 {
    release.image.segments.length + release.full.frames.length
}

#[test]
fn only_what_neither_slot_holds_is_fetched() {
    for cutting in [BLOCKS, CONTENT] {
        let (old, new) = pair(cutting);
        let (memory, release) = publish_in(&new, cutting);
        let half = 5 * SEGMENT;
        let moved = [&[0; 3 * 4096][..], &new[half..]].concat();
        for (running, before) in [
            (&old[..], &[][..]),
            // Nothing is known of what runs; the other slot holds an image that was there once.
            (&[][..], &old[..]),
            // Each holds a part.
            (&old[..half], &old[..]),
            // A part that lies elsewhere, and is overwritten before it is needed: the one that runs has it.
            (&old[..], &moved[..]),
        ] {
            let known_as = known(running, 1);
            let known_as = Some(&known_as).filter(|_| !running.is_empty());
            let (result, slot, _) =
                install_beside(running, known_as, false, &memory, &release, before);
            let fetched = result.unwrap();
            assert!(slot[..new.len()] == new);
            if cutting == CONTENT && running != old {
                // In the other slot all lies earlier than it is needed: it is overwritten by then.
                continue;
            }
            assert_eq!(fetched.way, Way::Chunks);
            let pack = fetched.bytes - lists(&release);
            assert!(
                pack < release.full.blob.length / 6,
                "{cutting:?}: {fetched:?}"
            );
        }
    }
}

#[test]
fn chunks_go_on_where_the_connection_broke() {
    for cutting in [BLOCKS, CONTENT] {
        let (old, new) = pair(cutting);
        let (memory, release) = publish_in(&new, cutting);
        *memory.breaks.lock().unwrap() = vec![10_000, 5000, 4000, 1, 5000, 20];
        let (result, slot, pauses) =
            install_beside(&old, Some(&known(&old, 1)), false, &memory, &release, &[]);
        assert_eq!(result.unwrap().way, Way::Chunks);
        assert!(slot[..new.len()] == new);
        assert!(!pauses.is_empty());
        // A server that always breaks is no reason to take more bytes from it.
        *memory.breaks.lock().unwrap() = vec![1; 100];
        let (result, ..) =
            install_beside(&old, Some(&known(&old, 1)), false, &memory, &release, &[]);
        let error = result.unwrap_err();
        assert!(matches!(error, InstallFailure::Network { .. }), "{error:?}");
    }
}

#[test]
fn chunks_go_on_where_a_cut_interrupted_them() {
    for cutting in [BLOCKS, CONTENT] {
        let (old, new) = pair(cutting);
        let (memory, release) = publish_in(&new, cutting);
        for segments in 0..=11 {
            // In the middle of the next segment.
            let before = &new[..new.len().min(segments * SEGMENT + 30_000)];
            let (result, slot, _) =
                install_beside(&old, Some(&known(&old, 1)), true, &memory, &release, before);
            let fetched = result.unwrap();
            assert!(slot[..new.len()] == new, "{cutting:?}, after {segments}");
            if segments < 9 {
                assert_eq!(fetched.way, Way::Chunks);
            }
        }
    }
}

#[test]
fn a_segment_that_comes_out_wrong_is_fetched_alone() {
    let (old, new) = pair(BLOCKS);
    let (mut memory, release) = publish_in(&new, BLOCKS);
    let data = release.chunks.unwrap().data.path();
    let pack = memory.files[&data].len();
    // The first chunk of the pack is that of byte 5: it is damaged on the server.
    let index = &memory.files[&release.chunks.unwrap().index.path()];
    let index = switchback_chunks::Index::parse(index, new.len() as u64).unwrap();
    let first = usize::try_from(index.pack_start()).unwrap() + 20;
    assert!(first < pack);
    memory.files.get_mut(&data).unwrap()[first] ^= 1;
    let (result, slot, _) =
        install_beside(&old, Some(&known(&old, 1)), false, &memory, &release, &[]);
    let fetched = result.unwrap();
    assert_eq!(fetched.way, Way::Chunks);
    assert!(slot[..new.len()] == new);
    let frames = release.full.blob.path();
    let streams = memory.streams.lock().unwrap();
    let of_frames = streams.iter().filter(|(path, _)| *path == frames);
    assert_eq!(of_frames.count(), 1);
}

#[test]
fn the_whole_image_comes_where_chunks_do_not_fit() {
    let (old, new) = pair(BLOCKS);
    let (memory, release) = publish_in(&new, BLOCKS);
    let chunks = release.chunks.unwrap();
    let [index, data] = [chunks.index.path(), chunks.data.path()];
    let sound = memory.files;
    let changed = |path: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut files = sound.clone();
        change(files.get_mut(path).unwrap());
        files
    };
    let without = |path: &str| {
        let mut files = sound.clone();
        files.remove(path);
        files
    };
    for files in [
        without(&index),
        without(&data),
        changed(&index, &|bytes| bytes[30] ^= 1),
        changed(&data, &|bytes| bytes.fill(0)),
        changed(&data, &|bytes| bytes.truncate(10)),
        changed(&data, &|bytes| bytes.truncate(bytes.len() / 3)),
    ] {
        let memory = Memory {
            files,
            ..Memory::default()
        };
        let (result, slot, _) =
            install_beside(&old, Some(&known(&old, 1)), false, &memory, &release, &[]);
        assert_eq!(result.unwrap().way, Way::Full);
        assert!(slot[..new.len()] == new);
    }
}

#[test]
fn the_whole_image_comes_where_the_slots_hold_nothing_of_it() {
    let (_, new) = pair(BLOCKS);
    let (memory, release) = publish_in(&new, BLOCKS);
    let other = picture(new.len());
    let (result, slot, _) = install_beside(
        &other,
        Some(&known(&other, 1)),
        false,
        &memory,
        &release,
        &other,
    );
    let fetched = result.unwrap();
    assert_eq!(fetched.way, Way::Full);
    assert!(slot[..new.len()] == new);
    let looking = fetched.bytes - release.full.blob.length - lists(&release);
    assert!(looking < release.full.blob.length / 50, "{fetched:?}");
}

#[test]
fn chunks_mend_what_a_delta_from_a_damaged_slot_made() {
    let (old, new) = pair(BLOCKS);
    let (mut memory, mut release) = publish_in(&new, BLOCKS);
    add_delta(&mut memory, &mut release, &old, &new);
    let mut rotten = old.clone();
    rotten[4 * SEGMENT + 9] ^= 1;
    let (result, slot, _) = install_beside(
        &rotten,
        Some(&known(&old, 1)),
        false,
        &memory,
        &release,
        &[],
    );
    let fetched = result.unwrap();
    assert_eq!(fetched.way, Way::Chunks);
    assert!(slot[..new.len()] == new);
    let most = release.full.blob.length / 10 + lists(&release);
    assert!(fetched.bytes < most, "{fetched:?}");
}
