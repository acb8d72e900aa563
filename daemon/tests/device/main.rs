//! The whole daemon, but for the bus, over slots in memory and a repository that
//! `switchback-repo` really made.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod bundle;
mod fleet;
mod gates;
mod repository;
mod rig;
mod rot;
