//! A simulated device for tests: the real daemon over storage that loses, tears and reorders what
//! was not made durable.
//!
//! - [`storage`]: disks and a file system with a live and a durable side
//! - [`bootloader`]: models of the boot scripts
//! - [`repository`]: signed releases, made once by the real publisher
//! - [`machine`]: a machine without power, and how it lost it
//! - [`board`]: the device as it leaves the factory
//! - [`world`]: the daemon's ports over the storage
//! - [`device`]: boots, one after another, until the device has settled
//! - [`scenario`]: what befalls a device, as data
//! - [`invariants`]: what must hold after every step
//! - [`explore`]: every step, every kind of cut
#![forbid(unsafe_code)]

pub mod board;
pub mod bootloader;
pub mod device;
pub mod explore;
pub mod invariants;
pub mod machine;
pub mod repository;
pub mod scenario;
pub mod storage;
pub mod world;
