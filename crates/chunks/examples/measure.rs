//! `measure OLD NEW [LEVEL [content]]`: what a device that runs OLD fetches for NEW.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a program for developers"
)]

use std::time::Instant;

use switchback_chunks::{Cutting, make_image, pack_image};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [old, new] = [0, 1].map(|at: usize| std::fs::read(&words[at]).unwrap());
    let level = words.get(2).map_or(9, |level| level.parse().unwrap());
    let len = new.len() as u64;
    let cutting = match words.get(3) {
        Some(_) => Cutting::content(len),
        None => Cutting::blocks(len),
    };
    let begun = Instant::now();
    let (blobs, pack) = pack_image(&new, cutting, level).unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    println!("{cutting:?}, level {level}: packed in {seconds:.1} s by one thread");
    let index = blobs.index.len();
    println!(
        "index {index}, lists {}, pack {}",
        blobs.lists.len(),
        pack.len()
    );

    let data = [blobs.lists, pack].concat();
    let begun = Instant::now();
    let made = make_image(&blobs.index, &data, &old, len).unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    assert!(made.image == new, "another image was made");
    println!("old image looked through and the new one made in {seconds:.2} s");
    println!(
        "fetched: index {index} + lists {} + chunks {} = {}, in {} ranges",
        made.lists,
        made.chunks,
        index as u64 + made.lists + made.chunks,
        made.ranges
    );
}
