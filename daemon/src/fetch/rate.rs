//! Reading no faster than is allowed.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// At most so much is read at once, in time at the allowed rate: a pause must not keep a cancel
/// waiting.
const SLICE: Duration = Duration::from_millis(200);

/// A limit for everything that is read from one place together.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes in a second.
    rate: NonZeroU64,
    /// When the next byte may be read.
    free: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(rate: NonZeroU64) -> Self {
        Self {
            rate,
            free: Mutex::new(Instant::now()),
        }
    }

    /// Waits until something may be read, and says how much of `wanted`.
    pub(super) fn room(&self, wanted: usize) -> usize {
        let free = *self.free.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::sleep(free.saturating_duration_since(Instant::now()));
        wanted.min(self.most())
    }

    /// So much was read.
    pub(super) fn took(&self, count: usize) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        // Time in which nothing came is not made up for.
        *free = (*free).max(Instant::now()) + self.time(count);
    }

    /// How long so many bytes take.
    fn time(&self, bytes: usize) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.get());
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    fn most(&self) -> usize {
        let slices = 1000 / u64::try_from(SLICE.as_millis()).unwrap_or(1).max(1);
        usize::try_from(self.rate.get() / slices.max(1))
            .unwrap_or(usize::MAX)
            .max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_as_long_as_its_rate_says() {
        let pace = Pace::new(NonZeroU64::new(100_000).unwrap());
        let begun = Instant::now();
        let mut left = 50_000;
        while left > 0 {
            let count = pace.room(left);
            pace.took(count);
            left -= count;
        }
        // The last slice is not waited for.
        assert!(
            begun.elapsed() >= Duration::from_millis(250),
            "{:?}",
            begun.elapsed()
        );
    }

    #[test]
    fn no_rate_is_too_small_or_too_large() {
        for rate in [1, u64::MAX] {
            let pace = Pace::new(NonZeroU64::new(rate).unwrap());
            assert!((1..=2).contains(&pace.room(2)));
        }
    }
}
