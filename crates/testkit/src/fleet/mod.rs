//! A fleet of model devices that speak DDI with a real server, over loopback and in real time.
//!
//! Of each device these are the real thing: the update state machine with its durable state
//! (`switchback-update-core`: `step` and `decide`), what it says to the server (`switchbackd::fleet`:
//! `Client`, `Turn`, `Word`, the words of every outcome), and the HTTP client that it says it with. These
//! are modelled: the bootloader is two counts of tries, an image is its digest, an install and a
//! restart are a time that passes, a repository is a list of versions (nothing is signed), and the
//! driver's way from a word of the server to an event is repeated here in short.
//!
//! An hour of a device is as many seconds as [`Options::hour`] says; everything a device does is
//! that much faster. The server is as it is, and so is its clock.
#![allow(
    missing_docs,
    reason = "the names say it, and only tests and `cargo xtask fleet` use them"
)]

mod crowd;
mod device;
mod loader;
mod network;
mod person;
mod seen;
mod speech;

use std::time::Duration;

use switchback_types::{Digest, Version};
use switchback_update_core::ImageIdentity;

pub use crowd::{Crowd, Options};
pub use network::Network;
pub use person::{Person, text};
pub use seen::{Count, Figures, Seen};
pub use switchbackd::fleet::Secret;

/// The line of releases.
pub const PRODUCT: &str = "gateway";
/// What all devices run at first.
pub const FIRST: u8 = 1;
/// What is rolled out.
pub const NEXT: u8 = 2;
/// Kinds of hardware: `rev0`, `rev1`, `rev2`.
pub const REVISIONS: u32 = 3;

/// What the release does to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It runs.
    Well,
    /// It never comes as far as the daemon.
    DiesAtBoot,
    /// It runs and is not healthy.
    Unhealthy,
    /// It is healthy for so many of the device's seconds, and then does not start any more.
    FailsAfter(u32),
    /// It is healthy and polls, and costs all of the processor.
    BusyProcessor,
    /// The device is never heard of again.
    Bricks,
    /// It is healthy, and the device is never heard of again after so many of its seconds.
    BricksAfter(u32),
}

/// Whom it happens to; the others run well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    All,
    Revision(u32),
}

/// What clocks devices have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clocks {
    Right,
    /// Hours and years off, before and after.
    Wrong,
}

impl Clocks {
    /// Seconds that a device's clock is off.
    #[must_use]
    pub fn skew(self, device: u32) -> i64 {
        const OFF: [i64; 6] = [
            0,
            -5 * 3600,
            11 * 3600,
            -3 * 365 * 86_400,
            20 * 365 * 86_400,
            -50 * 365 * 86_400,
        ];
        match self {
            Self::Right => 0,
            Self::Wrong => OFF.get(device as usize % OFF.len()).copied().unwrap_or(0),
        }
    }
}

/// A version as its image.
///
/// # Panics
/// Never: a number is a version.
#[must_use]
#[allow(clippy::expect_used, reason = "a number is a version")]
pub fn image(version: u8) -> ImageIdentity {
    ImageIdentity {
        version: version.to_string().parse::<Version>().expect("a version"),
        sequence: version.into(),
        security_epoch: 0,
        sha256: Digest::from_bytes([version; 32]),
        size: 1 << 30,
    }
}

/// A device's name.
#[must_use]
pub fn name(device: u32) -> String {
    format!("device-{device}")
}

/// The device's seconds, as they pass here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) hour: Duration,
}

impl Pace {
    /// Milliseconds here.
    pub(crate) fn of(self, seconds: u32) -> u64 {
        let hour = u64::try_from(self.hour.as_millis()).unwrap_or(u64::MAX);
        (hour.saturating_mul(u64::from(seconds)) / 3600).max(1)
    }
}
