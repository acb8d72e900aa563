//! `/etc/fw_env.config`: where U-Boot's environment is, in the text format of libubootenv.
//!
//! One line per copy: device, offset, size, then the sector size and the number of sectors for
//! flash. As in the tools, the offset is decimal, octal (`0…`) or hexadecimal (`0x…`), and the
//! sizes are hexadecimal **with or without `0x`**: `4000` and `0x4000` are the same size.

use alloc::string::String;
use alloc::vec::Vec;

/// One copy of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The device or file.
    pub device: String,
    /// Where the copy begins, in bytes.
    pub offset: u64,
    /// Its length in bytes, header included.
    pub size: usize,
    /// Length of an erase block in bytes, on flash.
    pub sector_size: Option<u64>,
    /// Number of erase blocks, on flash.
    pub sectors: Option<u64>,
}

/// The places of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FwEnvConfig {
    /// One copy.
    Single(Place),
    /// Two copies that take turns.
    Redundant([Place; 2]),
}

/// Why the configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no entry in it.
    #[error(
        "no entry: write a line with device, offset and size, e.g. `/dev/mmcblk0 0x100000 0x4000`"
    )]
    Empty,
    /// There are more entries than an environment has copies.
    #[error("line {line}: a third entry: an environment has one or two copies")]
    TooMany {
        /// The line, from 1.
        line: usize,
    },
    /// A line has too few fields.
    #[error("line {line}: {text:?} is not a device, an offset and a size")]
    Fields {
        /// The line, from 1.
        line: usize,
        /// What it says.
        text: String,
    },
    /// A number is none.
    #[error(
        "line {line}: {value:?} is no {field}: write it in hexadecimal with 0x in front, e.g. 0x4000"
    )]
    Number {
        /// The line, from 1.
        line: usize,
        /// What it should be.
        field: &'static str,
        /// What it is.
        value: String,
    },
    /// A size is impossible.
    #[error(
        "line {line}: a size of {size:#x} is outside of {SMALLEST_SIZE:#x} to {LARGEST_SIZE:#x} (a \
         size without 0x is hexadecimal, too)"
    )]
    Size {
        /// The line, from 1.
        line: usize,
        /// What it says.
        size: u64,
    },
    /// Two copies of different sizes.
    #[error("the two copies have the sizes {first:#x} and {second:#x}: make them equal")]
    SizesDiffer {
        /// Of the first entry.
        first: usize,
        /// Of the second entry.
        second: usize,
    },
    /// Both copies in one place.
    #[error("the two copies overlap on {device} at {first:#x} and {second:#x}")]
    Overlap {
        /// The device.
        device: String,
        /// Offset of the first entry.
        first: u64,
        /// Offset of the second entry.
        second: u64,
    },
}

/// No environment is smaller: less than a header and a few variables.
pub const SMALLEST_SIZE: u64 = 0x80;
/// No environment is larger; a slip of a digit must not make the daemon read a whole disk.
pub const LARGEST_SIZE: u64 = 0x10_0000;

impl FwEnvConfig {
    /// Reads the text of a configuration. Bytes that are no UTF-8 can only be in comments.
    ///
    /// # Errors
    /// Names the line and what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let text = String::from_utf8_lossy(text);
        let mut places = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index.saturating_add(1);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if places.len() == 2 {
                return Err(ConfigError::TooMany { line: line_number });
            }
            places.push(place(line_number, line)?);
        }
        let mut places = places.into_iter();
        match (places.next(), places.next()) {
            (None, _) => Err(ConfigError::Empty),
            (Some(only), None) => Ok(Self::Single(only)),
            (Some(first), Some(second)) => redundant(first, second),
        }
    }

    /// All places, one or two.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        match self {
            Self::Single(place) => core::slice::from_ref(place),
            Self::Redundant(places) => places,
        }
    }
}

fn redundant(first: Place, second: Place) -> Result<FwEnvConfig, ConfigError> {
    if first.size != second.size {
        return Err(ConfigError::SizesDiffer {
            first: first.size,
            second: second.size,
        });
    }
    let distance = first.offset.abs_diff(second.offset);
    if first.device == second.device && distance < first.size as u64 {
        return Err(ConfigError::Overlap {
            device: first.device,
            first: first.offset,
            second: second.offset,
        });
    }
    Ok(FwEnvConfig::Redundant([first, second]))
}

fn place(line: usize, text: &str) -> Result<Place, ConfigError> {
    let mut fields = text.split_whitespace();
    let (Some(device), Some(offset), Some(size)) = (fields.next(), fields.next(), fields.next())
    else {
        return Err(ConfigError::Fields {
            line,
            text: text.into(),
        });
    };
    let wrong = |field, value: &str| ConfigError::Number {
        line,
        field,
        value: value.into(),
    };
    let offset = c_number(offset).ok_or_else(|| wrong("offset", offset))?;
    let bytes = hexadecimal(size).ok_or_else(|| wrong("size", size))?;
    let size = usize::try_from(bytes)
        .ok()
        .filter(|_| (SMALLEST_SIZE..=LARGEST_SIZE).contains(&bytes))
        .ok_or(ConfigError::Size { line, size: bytes })?;
    // A comment may follow: what is no number ends the line.
    let sector_size = fields.next().and_then(hexadecimal);
    let sectors = fields.next().and_then(hexadecimal);
    Ok(Place {
        device: device.into(),
        offset,
        size,
        sector_size,
        sectors: sector_size.and(sectors),
    })
}

/// A number as C writes it.
fn c_number(text: &str) -> Option<u64> {
    match text.strip_prefix('0') {
        Some(rest) if rest.starts_with(['x', 'X']) => hexadecimal(text),
        Some(rest) if !rest.is_empty() => digits(rest, 8),
        _ => digits(text, 10),
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    let bare = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    digits(bare.unwrap_or(text), 16)
}

/// Digits only: no sign, as `from_str_radix` would allow.
fn digits(text: &str, radix: u32) -> Option<u64> {
    let clean = text.chars().all(|c| c.is_digit(radix));
    clean.then(|| u64::from_str_radix(text, radix).ok())?
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn at(device: &str, offset: u64, size: usize) -> Place {
        Place {
            device: device.into(),
            offset,
            size,
            sector_size: None,
            sectors: None,
        }
    }

    #[test]
    fn finds_two_entries_among_comments_blank_lines_and_carriage_returns() {
        let text = b"# head \xff\n\n/dev/mtd4 0x0000 0x1000 0x10000\n \t \n\
                     /dev/mtd6\t0x0000\t0x1000\t0x10000\r\n\n# end";
        let flash = |device: &str| Place {
            sector_size: Some(0x10000),
            ..at(device, 0, 0x1000)
        };
        let expected = FwEnvConfig::Redundant([flash("/dev/mtd4"), flash("/dev/mtd6")]);
        assert_eq!(FwEnvConfig::parse(text), Ok(expected));
    }

    #[test]
    fn reads_numbers_as_the_tools_do() {
        let cases = [
            ("f 0x1000 0x4000", at("f", 0x1000, 0x4000)),
            ("f 4096 4000", at("f", 4096, 0x4000)),
            ("f 010000 0X4000", at("f", 0o10000, 0x4000)),
            ("f 0 4000 # a comment", at("f", 0, 0x4000)),
            (
                "f 0 4000 200 2",
                Place {
                    sector_size: Some(0x200),
                    sectors: Some(2),
                    ..at("f", 0, 0x4000)
                },
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(
                FwEnvConfig::parse(line.as_bytes()),
                Ok(FwEnvConfig::Single(expected)),
                "{line}"
            );
        }
    }

    #[test]
    fn says_which_line_is_wrong() {
        let cases = [
            ("", "no entry"),
            ("# only\n\n#comments\n", "no entry"),
            (
                "f 0\n",
                "line 1: \"f 0\" is not a device, an offset and a size",
            ),
            ("\n\nf zero 0x4000\n", "line 3: \"zero\" is no offset"),
            ("f -16384 0x4000\n", "line 1: \"-16384\" is no offset"),
            ("f 0 +4000\n", "line 1: \"+4000\" is no size"),
            ("f 0 0x4000x\n", "line 1: \"0x4000x\" is no size"),
            ("f 0 0x10\n", "line 1: a size of 0x10 is outside of 0x80"),
            (
                "f 0 0xffffffffffffffff\n",
                "line 1: a size of 0xffffffffffffffff",
            ),
            (
                "f 0 0x1ffffffffffffffff\n",
                "line 1: \"0x1ffffffffffffffff\" is no size",
            ),
            (
                "f 0 4000\nf 4000 4000\n# c\ng 0 4000\n",
                "line 4: a third entry",
            ),
            (
                "f 0 0x4000\nf 0x4000 0x2000\n",
                "the sizes 0x4000 and 0x2000",
            ),
            (
                "f 0 0x4000\nf 0x2000 0x4000\n",
                "overlap on f at 0x0 and 0x2000",
            ),
        ];
        for (text, message) in cases {
            let error = FwEnvConfig::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }
}
