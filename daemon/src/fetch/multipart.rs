//! `multipart/byteranges` (RFC 9110, 14.6): several ranges of a file in one answer.
//!
//! Nothing of it is believed: each part says which bytes it has, and what it says has to follow what
//! came before. How much of it is read is decided by the reader.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;

use super::parts::length;

/// Longest boundary (RFC 2046, 5.1.1).
const MOST_BOUNDARY: usize = 70;
/// Most bytes of what comes before a part's content: line ends, the boundary, headers.
const MOST_HEAD: u64 = 4096;
/// Bytes that are read ahead.
const BUFFER: usize = 8 * 1024;

/// An answer with several parts.
#[derive(Debug)]
pub(crate) struct Multipart<R> {
    reader: BufReader<R>,
    /// `--` and the boundary.
    delimiter: Vec<u8>,
    /// What is left of the part that is open.
    open: Range<u64>,
    /// No more than so many parts may follow.
    parts: usize,
    ended: bool,
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<R: Read> Multipart<R> {
    /// An answer with at most `parts` parts.
    pub(crate) fn new(reader: R, boundary: &str, parts: usize) -> Self {
        let mut delimiter = b"--".to_vec();
        delimiter.extend_from_slice(boundary.as_bytes());
        Self {
            reader: BufReader::with_capacity(BUFFER, reader),
            delimiter,
            open: 0..0,
            parts,
            ended: false,
        }
    }

    /// Goes to the next part and says which bytes of the file it has; nothing at the end. The part
    /// before is read to its end first.
    pub(crate) fn next(&mut self) -> io::Result<Option<Range<u64>>> {
        let after = self.open.end;
        self.skip(self.open.end - self.open.start)?;
        if self.ended {
            return Ok(None);
        }
        let mut budget = MOST_HEAD;
        // What comes before the first boundary means nothing; later there is only the end of a line.
        loop {
            let line = self.line(&mut budget)?;
            match line.strip_prefix(self.delimiter.as_slice()) {
                Some(b"") => break,
                Some(b"--") => {
                    self.ended = true;
                    return Ok(None);
                }
                _ if line.is_empty() || after == 0 => {}
                _ => return Err(invalid("a part is longer than it says")),
            }
        }
        self.parts = self
            .parts
            .checked_sub(1)
            .ok_or_else(|| invalid("there are more parts than were asked for"))?;
        let mut range = None;
        loop {
            let line = self.line(&mut budget)?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = header(&line) else {
                return Err(invalid("a part's header is none"));
            };
            if name.eq_ignore_ascii_case("content-range")
                && range.replace(content_range(value)).is_some()
            {
                return Err(invalid("a part says twice which bytes it has"));
            }
        }
        let range = range
            .flatten()
            .ok_or_else(|| invalid("a part does not say which bytes it has"))?;
        if range.start < after {
            return Err(invalid("the parts are out of order"));
        }
        self.open = range.clone();
        Ok(Some(range))
    }

    /// Some bytes of the part; 0 at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.open.end - self.open.start;
        let room = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        if room == 0 {
            return Ok(0);
        }
        let count = self
            .reader
            .read(buffer.get_mut(..room).unwrap_or_default())?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.open.start += length(count);
        Ok(count)
    }

    /// Reads over bytes of the part.
    pub(crate) fn skip(&mut self, count: u64) -> io::Result<()> {
        let count = count.min(self.open.end - self.open.start);
        let skipped = io::copy(&mut (&mut self.reader).take(count), &mut io::sink())?;
        self.open.start += skipped;
        match skipped == count {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Reads what follows the last part: little, or the connection is not worth keeping.
    pub(crate) fn end(&mut self) {
        if self.open.is_empty() && matches!(self.next(), Ok(None)) {
            // What fails here is found out by the next question.
            let _ = io::copy(&mut (&mut self.reader).take(MOST_HEAD), &mut io::sink());
        }
    }

    /// What the parts are read from.
    pub(crate) fn get_ref(&self) -> &R {
        self.reader.get_ref()
    }

    /// The next line without its end.
    fn line(&mut self, budget: &mut u64) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.reader)
            .take(*budget)
            .read_until(b'\n', &mut line)?;
        *budget -= length(line.len());
        if line.pop() != Some(b'\n') {
            return Err(match *budget {
                0 => invalid("too much comes before a part"),
                _ => io::ErrorKind::UnexpectedEof.into(),
            });
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }
}

fn header(line: &[u8]) -> Option<(&str, &str)> {
    let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
    Some((name.trim(), value.trim()))
}

/// The boundary that a `Content-Type` names, if it is `multipart/byteranges`.
pub(crate) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/byteranges") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then_some(value.trim())
    })?;
    let quoted = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let boundary = quoted.unwrap_or(value);
    let plain = |byte: u8| byte == b' ' || (byte.is_ascii_graphic() && byte != b'"');
    (!boundary.is_empty() && boundary.len() <= MOST_BOUNDARY && boundary.bytes().all(plain))
        .then_some(boundary)
}

/// The bytes that `bytes FIRST-LAST/LENGTH` speaks of; the length may be `*`.
pub(crate) fn content_range(value: &str) -> Option<Range<u64>> {
    let (unit, rest) = value.trim().split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (range, whole) = rest.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let first = number(first)?;
    let end = number(last)?.checked_add(1)?;
    let fits = match whole.trim() {
        "*" => true,
        whole => end <= number(whole)?,
    };
    (first < end && fits).then_some(first..end)
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    // `parse` takes a plus as well.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\r\n--b0\r\nContent-Type: text/plain\r\nContent-Range: bytes 2-4/100\r\n\r\n\
        cde\r\n--b0\r\ncontent-range: bytes 10-10/100\r\n\r\nk\r\n--b0--\r\n";

    fn all(text: &str) -> io::Result<Vec<(Range<u64>, Vec<u8>)>> {
        let mut multipart = Multipart::new(text.as_bytes(), "b0", 2);
        let mut parts = Vec::new();
        while let Some(range) = multipart.next()? {
            let mut bytes = Vec::new();
            let mut buffer = [0; 2];
            loop {
                match multipart.read(&mut buffer)? {
                    0 => break,
                    count => bytes.extend_from_slice(&buffer[..count]),
                }
            }
            parts.push((range, bytes));
        }
        assert!(multipart.next()?.is_none());
        Ok(parts)
    }

    #[test]
    fn parts_are_read_as_servers_write_them() {
        let parts = [(2..5, b"cde".to_vec()), (10..11, b"k".to_vec())];
        assert_eq!(all(GOOD).unwrap(), parts);
        // Without the first line end, with a preamble, with bare line ends.
        assert_eq!(all(GOOD.trim_start()).unwrap(), parts);
        assert_eq!(all(&format!("hello{GOOD}")).unwrap(), parts);
        assert_eq!(all(&GOOD.replace("\r\n", "\n")).unwrap(), parts);
        assert_eq!(all("--b0--\r\n").unwrap(), []);
    }

    #[test]
    fn a_part_that_is_not_read_is_passed() {
        let mut multipart = Multipart::new(GOOD.as_bytes(), "b0", 2);
        assert_eq!(multipart.next().unwrap(), Some(2..5));
        multipart.skip(1).unwrap();
        assert_eq!(multipart.next().unwrap(), Some(10..11));
    }

    #[test]
    fn what_does_not_hold_is_refused() {
        let three = GOOD.replace(
            "--b0--",
            "--b0\r\nContent-Range: bytes 20-20/100\r\n\r\nu\r\n--b0--",
        );
        let long = format!("\r\n--b0\r\nX: {}\r\n\r\n", "x".repeat(5000));
        let preamble = "x".repeat(5000);
        for (text, part) in [
            (GOOD.replace("2-4", "2-3"), "longer than it says"),
            (GOOD.replace("10-10", "4-4"), "out of order"),
            (GOOD.replace("10-10", "0-0"), "out of order"),
            (GOOD.replace("2-4/100", "2-4/4"), "does not say which"),
            (GOOD.replace("2-4", "4-2"), "does not say which"),
            (GOOD.replace("bytes", "lines"), "does not say which"),
            (
                GOOD.replace("2-4", "2-18446744073709551615"),
                "does not say which",
            ),
            (
                GOOD.replace("Content-Type: text/plain", "Content-Range: bytes 2-4/100"),
                "twice",
            ),
            (
                GOOD.replace("Content-Type:", "Content-Type"),
                "header is none",
            ),
            (three, "more parts"),
            (long, "too much"),
            (preamble, "too much"),
        ] {
            let error = all(&text).unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn every_cut_is_an_error() {
        for end in 0..GOOD.len() - 2 {
            let error = all(&GOOD[..end]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end}");
        }
    }

    #[test]
    fn reads_a_boundary() {
        for (text, expected) in [
            ("multipart/byteranges; boundary=00123", Some("00123")),
            ("Multipart/ByteRanges;x=y; Boundary=\"a b\"", Some("a b")),
            ("multipart/byteranges", None),
            ("multipart/byteranges; boundary=", None),
            ("multipart/mixed; boundary=x", None),
            ("text/plain; boundary=x", None),
            ("multipart/byteranges; boundary=a\"b", None),
        ] {
            assert_eq!(boundary(text), expected, "{text}");
        }
        let long = format!("multipart/byteranges; boundary={}", "x".repeat(71));
        assert_eq!(boundary(&long), None);
    }

    #[test]
    fn reads_a_content_range() {
        assert_eq!(content_range("bytes 5-9/10"), Some(5..10));
        assert_eq!(content_range("bytes 0-0/*"), Some(0..1));
        for bad in [
            "",
            "bytes */10",
            "items 5-9/10",
            "bytes x-9/10",
            "bytes 5-9",
            "bytes 5-9/9",
            "bytes +5-9/10",
            "bytes 9-5/10",
            "bytes 5-/10",
            "bytes -5/10",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
