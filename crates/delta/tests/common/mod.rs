//! What tests of images with compressed blocks share.
#![allow(unreachable_pub, reason = "each test is a crate of its own")]

use switchback_delta::{
    Decoder, DeltaError, HEADER_LEN, Header, Options, Outcome, Repacked, Source, encode,
};

fn options() -> Options {
    let mut options = Options::default();
    options.segment_log = 12;
    options.frame_bytes = 2000;
    options
}

/// The delta, and what became of compressed blocks.
pub fn make(old: &[u8], new: &[u8]) -> (Vec<u8>, Repacked) {
    match encode(old, new, &options(), &|_| true).unwrap() {
        Outcome::Delta { blob, repacked, .. } => (blob, repacked),
        Outcome::NotWorthIt { estimate } => panic!("not worth it: {estimate}"),
    }
}

/// The new image from a segment on.
pub fn apply(blob: &[u8], source: &mut dyn Source, first: u64) -> Result<Vec<u8>, DeltaError> {
    let header = Header::parse(blob.first_chunk::<HEADER_LEN>().unwrap()).unwrap();
    let mut decoder = Decoder::from_segment(header.images, first);
    let mut made = Vec::new();
    while !decoder.is_done() {
        while let Some(needed) = decoder.needs() {
            let from = usize::try_from(needed.start).unwrap();
            let to = usize::try_from(needed.end).unwrap();
            decoder.feed(needed.start, &blob[from..to])?;
        }
        while let Some(segment) = decoder.segment(source)? {
            made.extend_from_slice(segment.bytes);
        }
    }
    Ok(made)
}
