//! A simulated device for tests: the real daemon over storage that loses, tears and reorders what
//! was not made durable, and bootloaders that behave as the real ones were seen to.
#![forbid(unsafe_code)]

pub mod bootloader;
