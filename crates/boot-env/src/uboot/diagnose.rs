//! Looking for an environment where the configuration says there is none, to explain, never to use.

use alloc::vec::Vec;
use core::fmt;

use super::CRC_LENGTH;

/// Sizes below the ordinary ones that boards use, too.
const SMALL_SIZES: [usize; 4] = [0x200, 0x400, 0x800, 0xc00];

/// Environments are multiples of this.
const STEP: usize = 0x1000;

/// No environment found in the field is larger.
const LARGEST: usize = 0x4_0000;

/// Enough to explain; a pathological device must not make a list without end.
const MOST_FINDINGS: usize = 8;

/// A valid copy of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// Where it begins.
    pub offset: u64,
    /// Its length in bytes, header included.
    pub size: usize,
    /// Bytes in front of the data: 4 for a single, 5 for a redundant environment.
    pub header: usize,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.header == CRC_LENGTH {
            "single"
        } else {
            "redundant"
        };
        write!(
            f,
            "valid at offset {:#x}, size {:#x}, header {} ({kind})",
            self.offset, self.size, self.header
        )
    }
}

/// Copies of an environment in `window`, a piece of a device that begins at offset `base`.
///
/// Every offset that is a multiple of 0x1000 within the window is tried, and the first byte of the
/// window, with both kinds of header and all usual sizes. At most eight are returned.
#[must_use]
pub fn diagnose(window: &[u8], base: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    for start in (0..window.len()).step_by(STEP) {
        let Some(bytes) = window.get(start..) else {
            break;
        };
        for header in [CRC_LENGTH, CRC_LENGTH + 1] {
            if findings.len() == MOST_FINDINGS {
                return findings;
            }
            let size = valid_size(bytes, header);
            findings.extend(size.map(|size| Finding {
                offset: base.saturating_add(start as u64),
                size,
                header,
            }));
        }
    }
    findings
}

/// The size at which the checksum fits, if `bytes` begin with an environment.
fn valid_size(bytes: &[u8], header: usize) -> Option<usize> {
    let stored = u32::from_le_bytes(*bytes.first_chunk()?);
    if !begins_like_strings(bytes.get(header..)?) {
        return None;
    }
    // One pass: the checksum of a longer piece continues that of a shorter one.
    let mut checksum = crc32fast::Hasher::new();
    let mut end = header;
    let sizes = SMALL_SIZES
        .into_iter()
        .chain((STEP..=LARGEST).step_by(STEP));
    for size in sizes {
        checksum.update(bytes.get(end..size)?);
        end = size;
        if checksum.clone().finalize() == stored {
            return Some(size);
        }
    }
    None
}

/// Whether the first string looks like `name=value`: saves checksums over what is no environment.
fn begins_like_strings(data: &[u8]) -> bool {
    let name = data
        .iter()
        .take(64)
        .take_while(|byte| byte.is_ascii_graphic() && **byte != b'=');
    let length = name.count();
    length > 0 && data.get(length) == Some(&b'=')
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::super::{encode_redundant, encode_single};
    use super::*;

    #[test]
    fn finds_the_true_size_header_and_offset() {
        let vars = [("BOOT_ORDER", "A B")].into_iter().collect();
        for size in [
            0x400, 0x1000, 0x2000, 0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000,
        ] {
            for (header, copy) in [
                (4, encode_single(&vars, size).unwrap()),
                (5, encode_redundant(&vars, 3, size).unwrap()),
            ] {
                for before in [0, 0x1000, 0x3000] {
                    let window = [vec![0xff; before], copy.clone(), vec![0; 0x800]].concat();
                    let offset = 0x10_0000 + before as u64;
                    let expected = Finding {
                        offset,
                        size,
                        header,
                    };
                    assert_eq!(diagnose(&window, 0x10_0000), [expected]);
                }
            }
        }
    }

    #[test]
    fn finds_nothing_where_there_is_nothing() {
        for window in [
            vec![],
            vec![0u8; 0x8000],
            vec![0xff; 0x8000],
            b"a=1\0b=2".repeat(0x800),
        ] {
            assert_eq!(diagnose(&window, 0), []);
        }
    }

    #[test]
    fn says_it_in_one_line() {
        let finding = Finding {
            offset: 0x2000,
            size: 0x4000,
            header: 5,
        };
        assert_eq!(
            finding.to_string(),
            "valid at offset 0x2000, size 0x4000, header 5 (redundant)"
        );
    }

    #[test]
    fn stops_after_a_few() {
        let copy = encode_single(&[("a", "1")].into_iter().collect(), STEP).unwrap();
        assert_eq!(diagnose(&copy.repeat(20), 0).len(), MOST_FINDINGS);
    }
}
