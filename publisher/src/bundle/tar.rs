//! A tar file of regular files: the `ustar` format of POSIX.1-1988 and nothing beyond it.
//!
//! Written by hand instead of with the crate `tar`: what a bundle needs is one kind of header
//! with fixed owner, mode and time. Devices read it with as little, and every extension (pax
//! headers, GNU long names, sparse files) is where tar readers have disagreed about where an
//! entry ends, that crate among them.

use std::io::{self, Write};

/// Entries begin at multiples of this.
pub(crate) const BLOCK: u64 = 512;
/// Longest entry in bytes: eleven octal digits.
pub(crate) const MAX_LENGTH: u64 = (1 << 33) - 1;
const NAME: usize = 100;
const PREFIX: usize = 155;

/// Writes entries one after another.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    inner: W,
    written: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, written: 0 }
    }

    /// Begins an entry: `length` bytes must follow with [`write`](Self::write), then
    /// [`pad`](Self::pad).
    ///
    /// # Errors
    /// When the name or the length does not fit into a header, or writing fails.
    pub(crate) fn begin(&mut self, name: &str, length: u64) -> io::Result<()> {
        let header = header(name, length).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "no ustar header holds this entry",
            )
        })?;
        self.write(&header)
    }

    /// Writes bytes of the entry.
    ///
    /// # Errors
    /// When writing fails.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Fills the last block of the entry.
    ///
    /// # Errors
    /// When writing fails.
    pub(crate) fn pad(&mut self) -> io::Result<()> {
        let used = usize::try_from(self.written % BLOCK).unwrap_or(0);
        let zeros = [0; 512];
        let rest = zeros.get(used..).filter(|_| used > 0).unwrap_or_default();
        self.write(rest)
    }

    /// One whole entry.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub(crate) fn entry(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.begin(name, bytes.len() as u64)?;
        self.write(bytes)?;
        self.pad()
    }

    /// Two blocks of zeros: the end.
    ///
    /// # Errors
    /// When writing fails.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.write(&[0; 1024])?;
        self.inner.flush()?;
        Ok(self.inner)
    }
}

/// Whether a header holds the name.
pub(crate) fn fits(name: &str) -> bool {
    split(name).is_some()
}

/// The bytes that an entry takes in the file, its header and its padding counted.
pub(crate) fn space(length: u64) -> u64 {
    BLOCK.saturating_add(length.div_ceil(BLOCK).saturating_mul(BLOCK))
}

/// A long name is cut at a slash into a prefix and a name.
fn split(name: &str) -> Option<(&str, &str)> {
    if name.is_empty() {
        return None;
    }
    if name.len() <= NAME {
        return Some(("", name));
    }
    name.match_indices('/')
        .filter_map(|(at, _)| Some((name.get(..at)?, name.get(at + 1..)?)))
        .find(|(prefix, rest)| prefix.len() <= PREFIX && (1..=NAME).contains(&rest.len()))
}

fn header(name: &str, length: u64) -> Option<[u8; 512]> {
    let (prefix, name) = split(name)?;
    if length > MAX_LENGTH {
        return None;
    }
    let mut fields: Vec<u8> = Vec::with_capacity(512);
    let mut field = |text: &str, width: usize| {
        let end = fields.len() + width;
        fields.extend_from_slice(text.as_bytes());
        fields.resize(end, 0);
    };
    field(name, NAME);
    field("0000644", 8);
    field("0000000", 8);
    field("0000000", 8);
    field(&format!("{length:011o}"), 12);
    field("00000000000", 12);
    // The checksum counts its own place as spaces.
    field("        ", 8);
    field("0", 1);
    field("", 100);
    field("ustar\0", 6);
    field("00", 2);
    field("root", 32);
    field("root", 32);
    field("0000000", 8);
    field("0000000", 8);
    field(prefix, PREFIX);
    field("", 12);
    let sum: u32 = fields.iter().map(|byte| u32::from(*byte)).sum();
    let checksum = format!("{sum:06o}\0 ");
    fields.splice(148..156, checksum.bytes());
    fields.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_the_one_of_posix() {
        let header = header("content/ab/cdef", 0o1234).unwrap();
        assert_eq!(&header[..15], b"content/ab/cdef");
        assert_eq!(&header[100..108], b"0000644\0");
        assert_eq!(&header[124..136], b"00000001234\0");
        assert_eq!(header[156], b'0');
        assert_eq!(&header[257..265], b"ustar\x0000");
        let stored = std::str::from_utf8(&header[148..154]).unwrap();
        let mut counted = header;
        counted[148..156].fill(b' ');
        let sum: u32 = counted.iter().map(|byte| u32::from(*byte)).sum();
        assert_eq!(u32::from_str_radix(stored, 8).unwrap(), sum);
    }

    #[test]
    fn long_names_are_cut_at_a_slash_and_longer_ones_are_refused() {
        let digest = "d".repeat(64);
        let name = "n".repeat(64);
        let release = format!("targets/releases/{name}/{name}/{digest}.release.json");
        let (prefix, rest) = split(&release).unwrap();
        assert_eq!(format!("{prefix}/{rest}"), release);
        assert!(fits(&format!(
            "targets/channels/{name}/{digest}.{}.json",
            "c".repeat(30)
        )));
        assert!(!fits(&format!(
            "targets/channels/{name}/{digest}.{}.json",
            "c".repeat(31)
        )));
        assert!(!fits(""));
        assert!(header("a", MAX_LENGTH).is_some());
        assert!(header("a", MAX_LENGTH + 1).is_none());
    }

    #[test]
    fn entries_fill_whole_blocks() {
        let mut writer = Writer::new(Vec::new());
        for length in [0, 1, 511, 512, 513] {
            writer.entry("x", &vec![7; length]).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let entries: u64 = [0, 1, 511, 512, 513].into_iter().map(space).sum();
        assert_eq!(bytes.len() as u64, entries + 1024);
    }
}
