//! U-Boot's environment: `name=value` strings behind a checksum, in one copy or in two.
//!
//! A single copy is a CRC-32 (little-endian, over all that follows) and data. A redundant copy has
//! a flags byte between the two, which the CRC does not cover. The data is strings that end with a
//! NUL, closed by an empty one; what follows is padding.
//!
//! Which of two valid copies counts is U-Boot's rule exactly ([`newer`]). Writing goes to the
//! other copy, so that a write that was cut off costs nothing but itself.

mod diagnose;

use alloc::string::String;
use alloc::vec::Vec;

pub use self::diagnose::{Finding, diagnose};
use crate::Copy;
use crate::vars::{Entry, Vars};

/// Bytes of the checksum.
const CRC_LENGTH: usize = 4;

/// What fills a copy behind the variables: what erased flash holds, and what the tools write.
const PADDING: u8 = 0xff;

/// The flags byte of the copy that counts, on NOR flash.
const ACTIVE: u8 = 1;

/// The flags byte of the copy that does not count, on NOR flash.
pub const OBSOLETE: u8 = 0;

/// What the flags bytes of a redundant environment mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagScheme {
    /// A counter that wraps from 255 to 0: files, block devices, NAND, UBI.
    Incremental,
    /// 1 for the copy that counts, 0 for the other: NOR flash.
    Boolean,
}

/// Why a copy cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CopyFault {
    /// All bytes are 0x00 or all are 0xff: no environment was ever saved here.
    #[error("blank (every byte is {byte:#04x})")]
    Blank {
        /// The byte.
        byte: u8,
    },
    /// The checksum does not fit.
    #[error("its checksum is {stored:#010x} and should be {computed:#010x}")]
    Checksum {
        /// In the header.
        stored: u32,
        /// Of the data.
        computed: u32,
    },
    /// Not even a header fits.
    #[error("only {size} bytes long")]
    TooShort {
        /// Bytes in the copy.
        size: usize,
    },
}

/// No copy of the environment can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No environment was ever saved: a state of its own, not damage.
    #[error("the environment is blank: it was never saved")]
    Blank,
    /// There is something, and it is not an environment of this size and kind.
    #[error("the environment is corrupt (first copy: {first}{}{})",
        if second.is_some() { "; second copy: " } else { "" },
        second.map_or_else(String::new, |fault| alloc::format!("{fault}")))]
    Corrupt {
        /// What is wrong with the first copy.
        first: CopyFault,
        /// What is wrong with the second one, where there is one.
        second: Option<CopyFault>,
    },
}

/// Why variables cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// They are too many.
    #[error(
        "the variables need {needed:#x} bytes and a copy of the environment has {size:#x}: remove \
         some, or make the environment larger here and in U-Boot"
    )]
    TooLong {
        /// Bytes needed, with header.
        needed: usize,
        /// Bytes in a copy.
        size: usize,
    },
    /// An entry would be read back as something else.
    #[error("{entry:?} cannot be written to a U-Boot environment")]
    Entry {
        /// The name of the variable, or the whole entry.
        entry: String,
    },
}

/// An environment that was read: the variables that count, and where they came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The variables; to be changed and written with [`Environment::successor`].
    pub vars: Vars,
    size: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Redundant {
        current: Copy,
        flags: u8,
        scheme: FlagScheme,
        other_fault: Option<CopyFault>,
    },
}

/// What to write next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// Over which copy; the first one, if there is only one.
    pub copy: Copy,
    /// The new copy, as long as the old one.
    pub bytes: Vec<u8>,
    /// The copy whose flags byte is to be set to [`OBSOLETE`] once `bytes` is durable: NOR flash
    /// only. Until then both are active and the first one counts; both are whole.
    pub then_obsolete: Option<Copy>,
}

impl Environment {
    /// Reads an environment of one copy.
    ///
    /// # Errors
    /// It was never saved, or is damaged, or is not of this size and kind.
    pub fn single(copy: &[u8]) -> Result<Self, Unusable> {
        let vars = decode_single(copy).map_err(|fault| unusable(fault, None))?;
        Ok(Self {
            vars,
            size: copy.len(),
            kind: Kind::Single,
        })
    }

    /// Reads an environment of two copies and chooses.
    ///
    /// # Errors
    /// Neither was ever saved, or both are damaged or not of this size and kind.
    pub fn redundant(first: &[u8], second: &[u8], scheme: FlagScheme) -> Result<Self, Unusable> {
        let (copy, (flags, vars), other_fault, size) =
            match (decode_redundant(first), decode_redundant(second)) {
                (Err(first), Err(second)) => return Err(unusable(first, Some(second))),
                (Ok(found), Err(fault)) => (Copy::First, found, Some(fault), first.len()),
                (Err(fault), Ok(found)) => (Copy::Second, found, Some(fault), second.len()),
                (Ok(one), Ok(two)) => match newer(one.0, two.0, scheme) {
                    Copy::First => (Copy::First, one, None, first.len()),
                    Copy::Second => (Copy::Second, two, None, second.len()),
                },
            };
        let kind = Kind::Redundant {
            current: copy,
            flags,
            scheme,
            other_fault,
        };
        Ok(Self { vars, size, kind })
    }

    /// The copy that the variables come from.
    #[must_use]
    pub const fn current(&self) -> Copy {
        match self.kind {
            Kind::Single => Copy::First,
            Kind::Redundant { current, .. } => current,
        }
    }

    /// What is wrong with the other copy, if anything.
    #[must_use]
    pub const fn other_fault(&self) -> Option<CopyFault> {
        match self.kind {
            Kind::Single => None,
            Kind::Redundant { other_fault, .. } => other_fault,
        }
    }

    /// The variables as they are now, as the copy to be written.
    ///
    /// # Errors
    /// They do not fit or cannot be written.
    pub fn successor(&self) -> Result<Successor, EncodeError> {
        match self.kind {
            Kind::Single => Ok(Successor {
                copy: Copy::First,
                bytes: encode_single(&self.vars, self.size)?,
                then_obsolete: None,
            }),
            Kind::Redundant {
                current,
                flags,
                scheme,
                ..
            } => {
                let (flags, then_obsolete) = match scheme {
                    FlagScheme::Incremental => (flags.wrapping_add(1), None),
                    FlagScheme::Boolean => (ACTIVE, Some(current)),
                };
                Ok(Successor {
                    copy: current.other(),
                    bytes: encode_redundant(&self.vars, flags, self.size)?,
                    then_obsolete,
                })
            }
        }
    }
}

fn unusable(first: CopyFault, second: Option<CopyFault>) -> Unusable {
    let blank = |fault| matches!(fault, CopyFault::Blank { .. });
    if blank(first) && second.is_none_or(blank) {
        Unusable::Blank
    } else {
        Unusable::Corrupt { first, second }
    }
}

/// Which of two valid copies counts, by their flags bytes.
///
/// A counter: the larger one, except that 0 follows 255; the first one when equal. On NOR flash:
/// the active one; where that does not decide, one that was never marked (0xff), then the first.
#[must_use]
pub const fn newer(first: u8, second: u8, scheme: FlagScheme) -> Copy {
    match scheme {
        FlagScheme::Incremental => match (first, second) {
            (255, 0) => Copy::Second,
            (0, 255) => Copy::First,
            (first, second) if second > first => Copy::Second,
            _ => Copy::First,
        },
        FlagScheme::Boolean => match (first, second) {
            (OBSOLETE, ACTIVE) => Copy::Second,
            (ACTIVE, OBSOLETE) => Copy::First,
            (first, 0xff) if first != 0xff => Copy::Second,
            _ => Copy::First,
        },
    }
}

fn blank(copy: &[u8]) -> Option<CopyFault> {
    [0x00, 0xff]
        .into_iter()
        .find(|blank| copy.iter().all(|byte| byte == blank))
        .map(|byte| CopyFault::Blank { byte })
}

/// Header of `header` bytes and the data behind it, once the checksum was found to fit.
fn split(copy: &[u8], header: usize) -> Result<(&[u8], &[u8]), CopyFault> {
    let too_short = CopyFault::TooShort { size: copy.len() };
    let (head, data) = copy.split_at_checked(header).ok_or(too_short)?;
    let stored = head.first_chunk::<CRC_LENGTH>().ok_or(too_short)?;
    if let Some(fault) = blank(copy) {
        return Err(fault);
    }
    let stored = u32::from_le_bytes(*stored);
    let computed = crc32fast::hash(data);
    if stored != computed {
        return Err(CopyFault::Checksum { stored, computed });
    }
    Ok((head, data))
}

/// Reads a copy of a single environment.
///
/// # Errors
/// It is blank, or its checksum does not fit.
pub fn decode_single(copy: &[u8]) -> Result<Vars, CopyFault> {
    split(copy, CRC_LENGTH).map(|(_, data)| strings(data))
}

/// Reads a copy of a redundant environment: its flags byte and its variables.
///
/// # Errors
/// It is blank, or its checksum does not fit.
pub fn decode_redundant(copy: &[u8]) -> Result<(u8, Vars), CopyFault> {
    let (head, data) = split(copy, CRC_LENGTH + 1)?;
    let flags = head.last().copied().unwrap_or_default();
    Ok((flags, strings(data)))
}

/// All entries up to the first empty one.
fn strings(data: &[u8]) -> Vars {
    let mut vars = Vars::new();
    for string in data.split(|byte| *byte == 0) {
        if string.is_empty() {
            break;
        }
        let equals = string.iter().position(|byte| *byte == b'=');
        let parts = equals.and_then(|place| string.split_at_checked(place));
        vars.push(match parts {
            Some((name, [_, value @ ..])) if !name.is_empty() => Entry::Variable {
                name: name.into(),
                value: value.into(),
            },
            _ => Entry::Verbatim(string.into()),
        });
    }
    vars
}

/// Writes a copy of `size` bytes of a single environment.
///
/// # Errors
/// The variables do not fit or cannot be written.
pub fn encode_single(vars: &Vars, size: usize) -> Result<Vec<u8>, EncodeError> {
    encode(vars, &[], size)
}

/// Writes a copy of `size` bytes of a redundant environment.
///
/// # Errors
/// The variables do not fit or cannot be written.
pub fn encode_redundant(vars: &Vars, flags: u8, size: usize) -> Result<Vec<u8>, EncodeError> {
    encode(vars, &[flags], size)
}

fn encode(vars: &Vars, flags: &[u8], size: usize) -> Result<Vec<u8>, EncodeError> {
    let mut data = Vec::with_capacity(size);
    for entry in vars.entries() {
        match entry {
            Entry::Variable { name, value } => {
                let clean = !name.is_empty() && !name.contains(&b'=');
                if !clean || name.contains(&0) || value.contains(&0) {
                    return Err(not_writable(name));
                }
                data.extend_from_slice(name);
                data.push(b'=');
                data.extend_from_slice(value);
            }
            Entry::Verbatim(string) => {
                if string.is_empty() || string.contains(&0) {
                    return Err(not_writable(string));
                }
                data.extend_from_slice(string);
            }
        }
        data.push(0);
    }
    if vars.entries().is_empty() {
        // The end is an empty string after a string that ended.
        data.push(0);
    }
    data.push(0);
    let header = CRC_LENGTH.saturating_add(flags.len());
    let needed = header.saturating_add(data.len());
    let Some(room) = size.checked_sub(header).filter(|_| needed <= size) else {
        return Err(EncodeError::TooLong { needed, size });
    };
    data.resize(room, PADDING);
    Ok([&crc32fast::hash(&data).to_le_bytes(), flags, &data].concat())
}

fn not_writable(entry: &[u8]) -> EncodeError {
    EncodeError::Entry {
        entry: String::from_utf8_lossy(entry).into_owned(),
    }
}

#[cfg(test)]
mod tests;
