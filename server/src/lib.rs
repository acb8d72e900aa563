//! The fleet server: speaks DDI with devices, runs rollouts, shows the fleet.
//!
//! Decisions are `switchback-rollout`'s; documents on the wire `switchback-ddi`'s. Here is what
//! acts: requests, the database, the clock. Every device is in memory, so a poll with nothing to
//! do asks no database; everything that changes is durable before anybody is answered.
//!
//! The server chooses among releases that were signed elsewhere. It holds no key, and a device
//! checks what it is offered for itself.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![allow(
    unreachable_pub,
    reason = "the modules are private: what is public is so within the crate"
)]

mod access;
mod api;
mod app;
pub mod backup;
mod book;
mod control;
mod dashboard;
mod ddi;
mod drift;
mod fleet;
mod metrics;
mod planner;
mod proxy;
mod ranges;
mod releases;
mod replicas;
mod report;
mod repository;
mod secret;
mod serve;
pub mod start;
mod store;
mod tls;
mod webhooks;

pub use api::document as openapi;
pub use webhooks::signature as webhook_signature;
