//! The server from outside, over HTTP: as devices, people and attackers see it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod alerts;
mod authority;
mod backup;
mod browser;
mod clients;
mod crowd;
mod dashboard;
mod database;
mod devices;
mod full;
mod harness;
mod hostile;
mod people;
mod rollouts;
mod signed;
mod tls;
mod unit;
