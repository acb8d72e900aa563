//! Chunks: that they are stored, named, listed, kept as long as their release, and give the image.

use std::fs;

use switchback_chunks::make_image;
use switchback_manifest::{Chunks, ImageFormat};

use crate::gc::{GcRequest, gc};

use super::deltas::image;
use super::world::{World, noise};

/// Publishes image `number` in chunks.
fn publish(world: &World, number: u64, format: ImageFormat) -> Chunks {
    let mut request = world.request(&number.to_string(), &image(number));
    request.packing.chunk_level = Some(5);
    request.format = Some(format);
    request.deltas.last = 0;
    let published = world.publish(&request).unwrap();
    published.release.chunks.unwrap()
}

/// Makes the image from a slot that holds `old`; gives it and how many bytes of the data were read.
fn fetch(world: &World, chunks: &Chunks, old: &[u8], length: usize) -> (Vec<u8>, usize) {
    let read = |path: String| fs::read(world.path("repo").join(path)).unwrap();
    let data = read(chunks.data.path());
    assert_eq!(data.len() as u64, chunks.data.length);
    let index = read(chunks.index.path());
    let made = make_image(&index, &data, old, length as u64).unwrap();
    (
        made.image,
        usize::try_from(made.lists + made.chunks).unwrap(),
    )
}

#[test]
fn the_image_comes_out_of_its_chunks_and_whatever_a_slot_holds() {
    let world = World::new();
    for (number, format) in [(3, ImageFormat::Raw), (5, ImageFormat::Squashfs)] {
        let chunks = publish(&world, number, format);
        let wanted = image(number);
        let whole = usize::try_from(chunks.data.length).unwrap();
        let other = noise(77, 100_000);
        // Where chunks are blocks, an insertion would make all later ones new.
        let near = match format {
            ImageFormat::Squashfs => image(1),
            _ => [&wanted[..100_000], &other[..50_000], &wanted[150_000..]].concat(),
        };
        for (old, most) in [(&near[..], whole / 2), (&wanted, 0), (&other, whole)] {
            let (made, fetched) = fetch(&world, &chunks, old, wanted.len());
            assert!(made == wanted);
            assert!(
                fetched <= most,
                "{format}: {fetched} of {whole}, at most {most}"
            );
        }
    }
}

#[test]
fn chunks_are_checked_listed_and_go_with_their_release() {
    let world = World::new();
    let old = publish(&world, 1, ImageFormat::Raw);
    let new = publish(&world, 2, ImageFormat::Raw);
    assert_eq!(world.inspect().problems, Vec::<String>::new());
    let there = |chunks: &Chunks| {
        let blobs = [chunks.index.path(), chunks.data.path()];
        blobs.map(|path| world.path("repo").join(path).exists())
    };
    let request = GcRequest {
        keep: 1,
        dry_run: false,
    };
    gc(&world.place(), &request).unwrap();
    assert_eq!((there(&old), there(&new)), ([false; 2], [true; 2]));

    let path = world.path("repo").join(new.data.path());
    fs::write(&path, b"short").unwrap();
    let problems = world.inspect().problems;
    let name = new.data.sha256.to_string();
    assert!(
        problems.iter().any(|problem| problem.contains(&name)),
        "{problems:?}"
    );
}

#[test]
fn the_same_image_gives_the_same_chunks_and_none_are_stored_when_not_wanted() {
    let [one, other] = [World::new(), World::new()];
    assert_eq!(
        publish(&one, 4, ImageFormat::Ext4),
        publish(&other, 4, ImageFormat::Ext4)
    );
    let published = one.publish(&one.request("5", &image(5))).unwrap();
    assert_eq!(published.release.chunks, None);
}
