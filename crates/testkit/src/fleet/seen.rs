//! What is counted, by all threads together.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU32);

impl Count {
    pub(super) fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What devices did, as they know it themselves.
#[derive(Debug, Default)]
pub struct Seen {
    /// Devices that were answered at least once.
    pub there: Count,
    /// Devices whose attributes were taken.
    pub described: Count,
    /// Devices that began to install the new release.
    pub took: Count,
    /// Devices that began once more with what they had begun already.
    pub twice: Count,
    /// Starts of the new release.
    pub starts: Count,
    /// Devices that marked it good.
    pub committed: Count,
    /// Devices that came back to the release before, by the bootloader or by a trial that was lost.
    pub went_back: Count,
    /// Devices that were sent back, and are.
    pub reverted: Count,
    /// Devices of which nothing is heard any more.
    pub bricked: Count,
    /// Devices that have no slot left to start: the model of the bootloader says so, and it must not be.
    pub stuck: Count,
    /// Devices whose processor is busy all the time.
    pub busy: Count,
    /// Reports that were told.
    pub told: Count,
    /// Reports whose answer did not come, so that they are told again.
    pub told_again: Count,
    /// Turns that came to nothing: no connection, no answer.
    pub broken: Count,
    /// Turns that the server put off: 429, 503.
    pub put_off: Count,
    /// Turns that the server refused in another way.
    pub refused: Count,
    /// Polls that were answered.
    pub polls: Count,
    /// When the new release was begun last, in milliseconds of the crowd.
    pub took_last: AtomicU64,
    /// When it was marked good last.
    pub committed_last: AtomicU64,
}

/// Times in microseconds, in steps of a sixteenth.
#[derive(Debug, Clone)]
pub(super) struct Histogram(Vec<u32>);

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0; 64 * 16])
    }
}

impl Histogram {
    pub(super) fn note(&mut self, value: u64) {
        let value = value.max(16);
        let power = value.ilog2();
        let part = (value >> (power - 4)) & 15;
        let place = usize::try_from(u64::from(power) * 16 + part).unwrap_or(0);
        if let Some(count) = self.0.get_mut(place) {
            *count += 1;
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(&other.0) {
            *count += more;
        }
    }

    /// The value that so many hundredths are below.
    pub(super) fn at(&self, hundredths: u64) -> u64 {
        let all: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        let mut left = all * hundredths / 100;
        for (place, count) in self.0.iter().enumerate() {
            if u64::from(*count) > left {
                let (power, part) = (place as u64 / 16, place as u64 % 16);
                return (16 + part) << (power.saturating_sub(4));
            }
            left -= u64::from(*count);
        }
        0
    }
}

/// How it was to be a device.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// From the crowd's begin to its end, in seconds.
    pub seconds: f64,
    /// Polls that were answered.
    pub polls: u32,
    /// Of a poll alone, in microseconds.
    pub p50_us: u64,
    pub p99_us: u64,
    /// How late 99 of 100 turns began, in milliseconds: more than a little says that the crowd, not the
    /// server, is at its limit.
    pub late_p99_ms: u64,
}
