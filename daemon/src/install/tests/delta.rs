//! The delta from the image that runs, and what follows where it does not fit.

use super::*;

/// An image, its successor with a few changes, and the delta between them in the repository.
fn successor() -> (Vec<u8>, Vec<u8>, Memory, Release) {
    let old = noise(10 * SEGMENT + 123);
    let mut new = old.clone();
    for at in [5, 3 * SEGMENT, 9 * SEGMENT + 7] {
        new[at..at + 100].fill(0x5a);
    }
    let (mut memory, mut release) = publish(&new);
    add_delta(&mut memory, &mut release, &old, &new);
    (old, new, memory, release)
}

#[test]
fn delta_from_what_runs_is_all_that_is_fetched() {
    let (old, new, memory, release) = successor();
    for (known_as, before) in [
        (known(&old, 1), &[][..]),
        // From the factory: the whole partition is known, and begins with the image.
        (known(&[&old[..], &[0; 4096]].concat(), 0), &new[..SEGMENT]),
    ] {
        memory.streams.lock().unwrap().clear();
        let (result, slot, _) =
            install_beside(&old, Some(&known_as), false, &memory, &release, before);
        let fetched = result.unwrap();
        assert_eq!(fetched.way, Way::Delta);
        assert_eq!(fetched.bytes, release.deltas[0].blob.length);
        assert_eq!(&slot[..new.len()], new);
        let skipped = u64::from(!before.is_empty());
        assert_eq!(
            fetched.segments,
            11 - skipped,
            "what is there is not written"
        );
        let streams = memory.streams.lock().unwrap();
        assert_eq!(*streams, [(release.deltas[0].blob.path(), 0)]);
    }
}

#[test]
fn delta_that_breaks_goes_on_at_the_very_byte() {
    let (old, new, memory, release) = successor();
    let length = release.deltas[0].blob.length as usize;
    *memory.breaks.lock().unwrap() = vec![1, length / 3, 1, 100, 50];
    let (result, slot, pauses) =
        install_beside(&old, Some(&known(&old, 1)), false, &memory, &release, &[]);
    let fetched = result.unwrap();
    assert_eq!((fetched.way, fetched.bytes), (Way::Delta, length as u64));
    assert_eq!(&slot[..new.len()], new);
    assert!(!pauses.is_empty());
}

#[test]
fn delta_that_a_cut_interrupted_goes_on_at_its_frame() {
    let (old, new, memory, release) = successor();
    let before = &new[..5 * SEGMENT];
    let (result, slot, _) =
        install_beside(&old, Some(&known(&old, 1)), true, &memory, &release, before);
    let fetched = result.unwrap();
    assert_eq!(fetched.way, Way::Delta);
    let lists = release.image.segments.length + release.full.frames.length;
    let delta = fetched.bytes - lists;
    assert!(delta < release.deltas[0].blob.length, "{fetched:?}");
    assert_eq!(&slot[..new.len()], new);
}

#[test]
fn other_way_is_taken_where_the_delta_does_not_fit() {
    let (old, new, mut memory, release) = successor();
    let path = release.deltas[0].blob.path();
    let whole = memory.files[&path].clone();
    let known_as = known(&old, 1);
    let mut rotten = old.clone();
    rotten[4 * SEGMENT] ^= 1;
    let mut cut_short = whole.clone();
    cut_short.truncate(whole.len() / 2);
    for (running, blob) in [
        // The old slot lost a bit.
        (&rotten, Some(whole.clone())),
        // The server lost the delta, or never had this one.
        (&old, None),
        (&old, Some(vec![7; whole.len()])),
    ] {
        memory.files.remove(&path);
        memory.files.extend(blob.map(|blob| (path.clone(), blob)));
        let (result, slot, _) =
            install_beside(running, Some(&known_as), false, &memory, &release, &[]);
        let fetched = result.unwrap();
        assert_eq!(fetched.way, Way::Full);
        assert_eq!(&slot[..new.len()], new);
        // Where only one segment was made wrong, only that one is fetched.
        let most = if running == &old { 11 } else { 12 };
        assert!(fetched.segments <= most, "{fetched:?}");
    }
    // A file that ends early may still be on its way to the server: the same way waits, and is left
    // only when no more of it comes.
    memory.files.insert(path.clone(), cut_short);
    let (result, slot, pauses) =
        install_beside(&old, Some(&known_as), false, &memory, &release, &[]);
    assert_eq!(result.unwrap().way, Way::Full);
    assert_eq!(&slot[..new.len()], new);
    assert!(!pauses.is_empty());
}

#[test]
fn every_corrupt_byte_of_a_delta_ends_in_the_right_image() {
    let (old, new, mut memory, release) = successor();
    let path = release.deltas[0].blob.path();
    let whole = memory.files[&path].clone();
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        memory.files.insert(path.clone(), bytes);
        let known_as = known(&old, 1);
        let (result, slot, _) =
            install_beside(&old, Some(&known_as), false, &memory, &release, &[]);
        assert_eq!(result.unwrap().way, Way::Full, "byte {at}");
        assert_eq!(&slot[..new.len()], new, "byte {at}");
    }
}

#[test]
fn delta_larger_than_everything_is_left() {
    let (old, new, mut memory, mut release) = successor();
    let blob = memory.files[&release.deltas[0].blob.path()].clone();
    let padded = [blob, vec![0; 2 << 20]].concat();
    release.deltas[0].blob = memory.add(padded);
    let known_as = known(&old, 1);
    let (result, slot, _) = install_beside(&old, Some(&known_as), false, &memory, &release, &[]);
    assert_eq!(result.unwrap().way, Way::Full);
    assert_eq!(&slot[..new.len()], new);
}
