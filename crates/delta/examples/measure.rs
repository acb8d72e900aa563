//! Encodes a pair of images and applies the delta, and prints what it took.
//!
//!     cargo run --release -p switchback-delta --example measure -- OLD NEW [KEEP]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a tool for people"
)]
#![allow(clippy::cast_possible_truncation, reason = "64-bit hosts")]

use std::time::Instant;

use switchback_delta::{Decoder, HEADER_LEN, Header, Options, Outcome, encode};

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

struct Slot(std::fs::File);

impl switchback_delta::Source for Slot {
    fn read_at(&mut self, at: u64, out: &mut [u8]) -> Result<(), switchback_delta::SourceError> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, out, at)
            .map_err(|e| switchback_delta::SourceError::Unreadable(Box::new(e)))
    }
}

fn apply(old: &str, new: &str, blob: &str) {
    use std::io::Read;
    let mut blob_file = std::fs::File::open(blob).unwrap();
    let mut head = [0; HEADER_LEN];
    blob_file.read_exact(&mut head).unwrap();
    let header = Header::parse(&head).unwrap();
    let mut slot = Slot(std::fs::File::open(old).unwrap());
    let wanted = std::fs::File::open(new).unwrap();
    let mut decoder = Decoder::new(header.images);
    let start = Instant::now();
    let mut same = vec![0; 1 << 20];
    let mut buffer = vec![0; 64 << 10];
    while !decoder.is_done() {
        while let Some(needed) = decoder.needs() {
            let len = buffer.len().min((needed.end - needed.start) as usize);
            std::os::unix::fs::FileExt::read_exact_at(&blob_file, &mut buffer[..len], needed.start)
                .unwrap();
            decoder.feed(needed.start, &buffer[..len]).unwrap();
        }
        while let Some(segment) = decoder.segment(&mut slot).unwrap() {
            let at = segment.index << header.segment_log;
            let same = &mut same[..segment.bytes.len()];
            std::os::unix::fs::FileExt::read_exact_at(&wanted, same, at).unwrap();
            assert!(same == segment.bytes, "segment {}", segment.index);
        }
    }
    let seconds = start.elapsed().as_secs_f32();
    println!(
        "apply {seconds:.1} s, peak {} KiB with 1 MiB to compare",
        peak_kib()
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments[1] == "--apply" {
        return apply(&arguments[2], &arguments[3], &arguments[4]);
    }
    let old = std::fs::read(&arguments[1]).unwrap();
    let new = std::fs::read(&arguments[2]).unwrap();
    let mut options = Options::default();
    if let Ok(frame) = std::env::var("FRAME") {
        options.frame_bytes = frame.parse().unwrap();
    }
    let start = Instant::now();
    let last = std::sync::Mutex::new(None);
    let outcome = encode(&old, &new, &options, &|progress| {
        let mut last = last.lock().unwrap();
        if *last != Some(progress.task) {
            eprintln!(
                "{:6.1} s {:?}",
                start.elapsed().as_secs_f32(),
                progress.task
            );
            *last = Some(progress.task);
        }
        true
    })
    .unwrap();
    let seconds = start.elapsed().as_secs_f32();
    match outcome {
        Outcome::Delta {
            blob,
            tally,
            maps,
            frames,
            repacked,
        } => {
            println!(
                "delta {} bytes: {frames} frames, maps {maps}, {tally:?}, {repacked:?}",
                blob.len()
            );
            println!("encode {seconds:.1} s, peak {} KiB", peak_kib());
            let keep = arguments.get(3).map_or("/tmp/measure.sbd", |s| s);
            std::fs::write(keep, blob).unwrap();
            let own = std::env::current_exe().unwrap();
            let (old, new) = (&arguments[1], &arguments[2]);
            let status = std::process::Command::new(own)
                .args(["--apply", old, new, keep])
                .status();
            assert!(status.unwrap().success());
        }
        Outcome::NotWorthIt { estimate } => println!("not worth it: about {estimate}"),
    }
}
