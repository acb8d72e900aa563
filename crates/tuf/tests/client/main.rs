//! The client against a signing repository in memory: every attack of the public conformance
//! suite that can be said without a network, and those that it leaves out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    reason = "test code: a panic is the failure"
)]

mod delegations;
mod device;
mod expiry;
mod fixtures;
mod foreign_signers;
mod integrity;
mod key_changes;
mod keys;
mod random_input;
mod repository;
mod requests;
mod rollback;
mod root_rotation;
mod signer;
mod stored_state;
