//! A simulated device for tests: the real daemon over storage that loses, tears and reorders what
//! was not made durable.
//!
//! - [`storage`]: disks and a file system with a live and a durable side
//! - [`bootloader`]: models of the boot scripts
//! - [`repository`]: signed releases, made once by the real publisher
//! - [`machine`]: a machine without power, and how it lost it
//! - [`board`]: the device as it leaves the factory
//! - [`world`]: a machine that is on
//! - [`postgres`]: a database for the fleet server
//! - [`ports`]: what the daemon sees of it
//! - [`device`]: boots, one after another, until the device has settled
//! - [`scenario`]: what befalls a device, as data
//! - [`fleet`]: a hundred thousand lighter devices that speak with a real fleet server
//! - [`invariants`]: what must hold after every step
//! - [`explore`]: every step, every kind of cut
//! - [`log`]: a failure as a file, to be played again
//! - [`torture`]: many stories, on all processors
//! - [`planted`]: mistakes, to prove that they would be found
#![forbid(unsafe_code)]

pub mod board;
pub mod bootloader;
pub mod device;
pub mod explore;
pub mod fleet;
pub mod invariants;
pub mod log;
pub mod machine;
pub mod planted;
pub mod ports;
pub mod postgres;
pub mod repository;
pub mod scenario;
pub mod storage;
pub mod torture;
pub mod world;
