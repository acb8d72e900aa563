//! The HTTP client against servers on loopback, good ones and bad ones.
#![allow(
    clippy::cast_possible_truncation,
    clippy::single_range_in_vec_init,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod apart;
mod http2;
mod identity;
mod idle;
mod mirror;
mod network;
mod probe;
mod proxies;
mod proxy;
#[path = "../publisher/mod.rs"]
mod publisher;
mod ranges;
mod real;
mod server;
mod token;

/// Bytes that differ from place to place.
fn file(length: u32) -> Vec<u8> {
    (0..length)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// The bytes of ranges, one after another.
fn joined(content: &[u8], ranges: &[std::ops::Range<u64>]) -> Vec<u8> {
    ranges
        .iter()
        .flat_map(|range| &content[range.start as usize..range.end as usize])
        .copied()
        .collect()
}
