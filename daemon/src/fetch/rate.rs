//! A stream that is read no faster than it is allowed to be.

use std::io::{self, Read};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// At most so much is read at once, in time at the allowed rate: a pause must not keep a cancel
/// waiting.
const SLICE: Duration = Duration::from_millis(200);

/// A stream with a limit.
pub(super) struct Throttled<R> {
    reader: R,
    /// Bytes in a second.
    rate: NonZeroU64,
    /// When the next byte may be read.
    free: Instant,
}

impl<R> Throttled<R> {
    pub(super) fn new(reader: R, rate: NonZeroU64) -> Self {
        Self {
            reader,
            rate,
            free: Instant::now(),
        }
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

impl<R: Read> Read for Throttled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let now = Instant::now();
        std::thread::sleep(self.free.saturating_duration_since(now));
        let room = buffer.len().min(self.most());
        let count = self
            .reader
            .read(buffer.get_mut(..room).unwrap_or_default())?;
        // Time in which nothing came is not made up for.
        self.free = self.free.max(now) + self.time(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_as_long_as_its_rate_says_and_changes_nothing() {
        let bytes: Vec<u8> = (0..50_000_u32).map(|at| at as u8).collect();
        let rate = NonZeroU64::new(100_000).unwrap();
        let begun = Instant::now();
        let mut read = Vec::new();
        Throttled::new(&bytes[..], rate)
            .read_to_end(&mut read)
            .unwrap();
        assert_eq!(read, bytes);
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
            let mut stream = Throttled::new(&b"ab"[..], NonZeroU64::new(rate).unwrap());
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1);
        }
    }
}
