//! `measure OLD NEW [LEVEL [content]]`: what a device that runs OLD fetches for NEW.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a program for developers"
)]

use std::time::Instant;

use switchback_chunks::{
    Builder, Cutting, From, Held, Index, Packer, Scan, Where, list_range, missing, plan, unpack,
};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [old, new] = [0, 1].map(|at: usize| std::fs::read(&words[at]).unwrap());
    let level = words.get(2).map_or(12, |level| level.parse().unwrap());
    let cutting = match words.get(3) {
        Some(_) => Cutting::content(new.len() as u64),
        None => Cutting::blocks(new.len() as u64),
    };
    let begun = Instant::now();
    let mut builder = Builder::new(cutting);
    let mut packer = Packer::new(&new, level).unwrap();
    let (mut at, mut pack) = (0, Vec::new());
    while let Some(len) = cutting.chunk(&new[at..], true) {
        let packed = packer.pack(at, len, &mut pack).unwrap();
        builder.push(&new[at..at + len], packed);
        at += len;
    }
    let blobs = builder.finish().unwrap();
    println!(
        "{cutting:?}, level {level}: packed in {:.1} s by one thread",
        begun.elapsed().as_secs_f64()
    );
    println!(
        "index {}, lists {}, pack {}",
        blobs.index.len(),
        blobs.lists.len(),
        pack.len()
    );

    let index = Index::parse(&blobs.index, new.len() as u64).unwrap();
    let begun = Instant::now();
    let mut held = Held::with_room(cutting, old.len() as u64);
    Scan::new(cutting, Where::Running).take(&mut held, &old, true);
    held.sort();
    println!(
        "old image looked through in {:.2} s",
        begun.elapsed().as_secs_f64()
    );
    let missing = missing(&index, &held, 0).unwrap();
    let ranges = missing
        .iter()
        .filter_map(|number| list_range(&index, *number));
    let lists: Vec<u8> = ranges
        .flat_map(|range| blobs.lists[range.start as usize..range.end as usize].to_vec())
        .collect();
    let begun = Instant::now();
    let plan = plan(&index, &held, 0, &missing, &lists).unwrap();
    let mut made: Vec<u8> = Vec::with_capacity(new.len());
    for part in &plan.parts {
        let len = part.len as usize;
        match part.from {
            From::Zeros => made.resize(made.len() + len, 0),
            From::Slot(place) => made.extend_from_slice(&old[place.offset as usize..][..len]),
            From::Pack {
                offset,
                len: packed,
            } => {
                let start = (offset - index.pack_start()) as usize;
                let mut chunk = Vec::new();
                unpack(
                    &made,
                    &pack[start..start + packed as usize],
                    len,
                    &mut chunk,
                )
                .unwrap();
                made.extend_from_slice(&chunk);
            }
        }
    }
    assert!(made == new, "another image was made");
    println!("made in {:.2} s", begun.elapsed().as_secs_f64());
    println!(
        "fetched: index {} + lists {} + chunks {} = {}, in {} ranges",
        blobs.index.len(),
        lists.len(),
        plan.fetched,
        (blobs.index.len() + lists.len()) as u64 + plan.fetched,
        plan.ranges(0).len()
    );
}
