//! Many ranges of one file, read one after another.

use std::io::Read;
use std::ops::Range;

use super::{FetchError, Source};
use crate::report::chain;

/// The bytes of the ranges that were asked for, in the order in which they were asked for, and
/// nothing between them.
pub trait Parts {
    /// Some of the next bytes; 0 only after the last byte of the last range, or for no room.
    ///
    /// # Errors
    /// [`FetchError`] names the URL. What was read before it is right as far as the connection goes;
    /// the rest can be asked for again.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FetchError>;

    /// Bytes of content that came so far: also those between the ranges, and what the server writes
    /// around each of them. Without the heads of answers and what encryption adds.
    fn received(&self) -> u64;

    /// The file's URL, for messages.
    fn url(&self) -> &str;

    /// Exactly as many bytes as `buffer` has.
    ///
    /// # Errors
    /// As [`Parts::read`]; [`FetchError::EndedEarly`] if the ranges hold less.
    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), FetchError> {
        while !buffer.is_empty() {
            let count = self.read(buffer)?;
            if count == 0 {
                let url = self.url().to_owned();
                return Err(FetchError::EndedEarly { url });
            }
            buffer = buffer.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The ranges of a file that are still to be read.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The last of them comes next.
    left: Vec<Range<u64>>,
}

impl Wanted {
    /// Ranges without any byte are left out.
    pub(super) fn new(ranges: &[Range<u64>]) -> Self {
        let some = ranges.iter().rev().filter(|range| !range.is_empty());
        Self {
            left: some.cloned().collect(),
        }
    }

    /// What comes next.
    pub(super) fn next(&self) -> Option<Range<u64>> {
        self.left.last().cloned()
    }

    /// So many bytes of the next range were read.
    pub(super) fn read(&mut self, count: usize) {
        let Some(next) = self.left.last_mut() else {
            return;
        };
        next.start = next.start.saturating_add(length(count)).min(next.end);
        if next.is_empty() {
            self.left.pop();
        }
    }

    /// What to ask for next: at most `most` spans in ascending order. Ranges with no more than `gap`
    /// bytes between them are one span.
    pub(super) fn spans(&self, most: usize, gap: u64) -> Vec<Range<u64>> {
        let mut spans: Vec<Range<u64>> = Vec::new();
        for range in self.left.iter().rev() {
            let full = spans.len() == most;
            match spans.last_mut() {
                // Not behind the one before: for another question.
                Some(last) if range.start < last.end => break,
                Some(last) if range.start - last.end <= gap => last.end = range.end,
                _ if full => break,
                _ => spans.push(range.clone()),
            }
        }
        spans
    }

    /// How many bytes of what is wanted next lie in `spans`, which [`Self::spans`] gave.
    pub(super) fn bytes_in(&self, spans: &[Range<u64>]) -> u64 {
        let (Some(first), Some(last)) = (spans.first(), spans.last()) else {
            return 0;
        };
        let mut at = first.start;
        let mut bytes = 0_u64;
        for range in self.left.iter().rev() {
            if range.start < at || range.end > last.end {
                break;
            }
            at = range.end;
            bytes = bytes.saturating_add(range.end - range.start);
        }
        bytes
    }
}

/// A count as the protocols have it.
pub(super) fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Each range by a stream of its own, from a source that knows no better way.
pub(super) struct ByStream<'a, S: ?Sized> {
    source: &'a S,
    path: String,
    url: String,
    wanted: Wanted,
    /// Where the open stream stands.
    open: Option<(u64, Box<dyn Read + Send>)>,
    received: u64,
}

impl<'a, S: Source + ?Sized> ByStream<'a, S> {
    /// So many bytes are rather read over than asked around.
    const GAP: u64 = 4096;

    pub(super) fn new(
        source: &'a S,
        path: &str,
        ranges: &[Range<u64>],
    ) -> Result<Self, FetchError> {
        let mut parts = Self {
            source,
            path: path.into(),
            url: source.url(path),
            wanted: Wanted::new(ranges),
            open: None,
            received: 0,
        };
        // A file that is not there is told at once.
        if let Some(next) = parts.wanted.next() {
            let stream = source.stream(path, next.start)?;
            parts.open = Some((next.start, stream));
        }
        Ok(parts)
    }

    /// A stream that stands at `start`.
    fn stream_at(&mut self, start: u64) -> Result<Box<dyn Read + Send>, FetchError> {
        if let Some((at, mut stream)) = self.open.take()
            && let Some(gap) = start.checked_sub(at)
            && gap <= Self::GAP
        {
            let passed = std::io::copy(&mut (&mut stream).take(gap), &mut std::io::sink());
            let passed = passed.map_err(|error| self.transport(&error))?;
            self.received = self.received.saturating_add(passed);
            // Else it ended here, and a new one says why.
            if passed == gap {
                return Ok(stream);
            }
        }
        self.source.stream(&self.path, start)
    }

    fn transport(&self, error: &std::io::Error) -> FetchError {
        FetchError::Transport {
            url: self.url.clone(),
            detail: chain(error),
        }
    }
}

impl<S: Source + ?Sized> Parts for ByStream<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FetchError> {
        let Some(next) = self.wanted.next().filter(|_| !buffer.is_empty()) else {
            return Ok(0);
        };
        let mut stream = self.stream_at(next.start)?;
        let most = usize::try_from(next.end - next.start).unwrap_or(usize::MAX);
        let room = buffer.len().min(most);
        let count = stream
            .read(buffer.get_mut(..room).unwrap_or_default())
            .map_err(|error| self.transport(&error))?;
        if count == 0 {
            let url = self.url.clone();
            return Err(FetchError::EndedEarly { url });
        }
        self.received = self.received.saturating_add(length(count));
        self.wanted.read(count);
        self.open = Some((next.start.saturating_add(length(count)), stream));
        Ok(count)
    }

    fn received(&self) -> u64 {
        self.received
    }

    fn url(&self) -> &str {
        &self.url
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Cursor;

    use super::super::Files;
    use super::*;

    /// A file, and from where on it was asked for.
    struct Counted(Vec<u8>, std::sync::Mutex<RefCell<Vec<u64>>>);

    impl Files for Counted {
        fn file(&self, path: &str, _: u64) -> Result<Vec<u8>, FetchError> {
            Err(FetchError::Missing {
                url: path.into(),
                status: 404,
            })
        }

        fn url(&self, path: &str) -> String {
            path.into()
        }
    }

    impl Source for Counted {
        fn stream(&self, _: &str, offset: u64) -> Result<Box<dyn Read + Send>, FetchError> {
            self.1.lock().unwrap().borrow_mut().push(offset);
            let start = usize::try_from(offset).unwrap().min(self.0.len());
            Ok(Box::new(Cursor::new(self.0[start..].to_vec())))
        }
    }

    fn counted() -> Counted {
        let bytes = (0..100_000_u32).map(|at| (at / 7) as u8).collect();
        Counted(bytes, std::sync::Mutex::default())
    }

    fn read(source: &Counted, ranges: &[Range<u64>]) -> Result<(Vec<u8>, u64), FetchError> {
        let source: &dyn Source = source;
        let mut parts = source.ranges("x", ranges)?;
        let mut all = Vec::new();
        let mut buffer = [0; 1000];
        loop {
            match parts.read(&mut buffer)? {
                0 => return Ok((all, parts.received())),
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn any_source_gives_ranges_in_the_order_asked_for() {
        let source = counted();
        let ranges = [10..20, 20..20, 500..2600, 90_000..90_010, 3..7, 3..7];
        let (bytes, received) = read(&source, &ranges).unwrap();
        let expected: Vec<u8> = ranges
            .iter()
            .flat_map(|range| &source.0[range.start as usize..range.end as usize])
            .copied()
            .collect();
        assert_eq!(bytes, expected);
        // The 480 bytes after the first range are read over.
        assert_eq!(received, 480 + bytes.len() as u64);
        let asked = source.1.into_inner().unwrap().into_inner();
        assert_eq!(asked, [10, 90_000, 3, 3]);
    }

    #[test]
    fn ranges_past_the_end_are_an_error() {
        let source = counted();
        let over_the_end = 99_990..100_001;
        for ranges in [vec![over_the_end], vec![0..10, 100_000..100_001]] {
            let error = read(&source, &ranges).unwrap_err();
            assert!(matches!(error, FetchError::EndedEarly { .. }), "{error}");
        }
        assert_eq!(read(&source, &[]).unwrap(), (Vec::new(), 0));
    }

    #[test]
    fn near_ranges_are_one_span_and_far_ones_are_not() {
        let wanted = Wanted::new(&[0..10, 10..20, 120..130, 231..240, 400..410, 5..6]);
        assert_eq!(wanted.spans(64, 100), [0..130, 231..240, 400..410]);
        assert_eq!(wanted.spans(64, 0), [0..20, 120..130, 231..240, 400..410]);
        assert_eq!(wanted.spans(2, 0), [0..20, 120..130]);
        assert_eq!(wanted.bytes_in(&wanted.spans(64, 100)), 49);
        assert_eq!(wanted.bytes_in(&wanted.spans(2, 0)), 30);
        let nothing = 5..5;
        assert_eq!(Wanted::new(&[nothing]).spans(64, 0), []);
    }

    #[test]
    fn what_was_read_is_not_asked_for_again() {
        let mut wanted = Wanted::new(&[0..10, 50..60]);
        wanted.read(4);
        assert_eq!(wanted.spans(64, 0), [4..10, 50..60]);
        wanted.read(6);
        assert_eq!(wanted.next(), Some(50..60));
        wanted.read(10);
        assert_eq!(wanted.next(), None);
    }
}
