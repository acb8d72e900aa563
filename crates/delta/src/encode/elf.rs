//! Programs in the images, as far as pointers need them.

use crate::space::{MAX_PIECES, Machine, Piece};

/// What is known about a program from its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// Length of the file in bytes, as far as its headers reach.
    pub(super) len: u64,
    pub(super) machine: Machine,
    pub(super) pieces: Vec<Piece>,
    /// Address of the table that leads to the unwind information, or 0.
    pub(super) table: u64,
}

fn number(bytes: &[u8], at: u64, len: usize) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let part = bytes.get(at..at.checked_add(len)?)?;
    Some(
        part.iter()
            .rev()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
    )
}

const LOAD: u64 = 1;
const UNWIND: u64 = 0x6474_e550;
const X86_64: u64 = 62;
const AARCH64: u64 = 183;

/// Reads the headers of a 64-bit little-endian program that begins at `start`.
pub(super) fn parse(image: &[u8], start: u64) -> Option<Program> {
    let rest = image.get(usize::try_from(start).ok()?..)?;
    if !rest.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let machine = match number(rest, 18, 2)? {
        X86_64 => Machine::X86_64,
        AARCH64 => Machine::AArch64,
        _ => Machine::Other,
    };
    let (headers, sections) = (number(rest, 32, 8)?, number(rest, 40, 8)?);
    let (size, count) = (number(rest, 54, 2)?, number(rest, 56, 2)?);
    let section_bytes = number(rest, 58, 2)?.checked_mul(number(rest, 60, 2)?)?;
    let mut len = sections.checked_add(section_bytes)?;
    let mut pieces = Vec::new();
    let mut table = 0;
    for index in 0..count {
        let at = headers.checked_add(index.checked_mul(size)?)?;
        let field = |offset: u64| number(rest, at.checked_add(offset)?, 8);
        let kind = number(rest, at, 4)?;
        let (offset, address, in_file) = (field(8)?, field(16)?, field(32)?);
        let in_memory = field(40)?;
        if kind == LOAD && pieces.len() < MAX_PIECES {
            len = len.max(offset.checked_add(in_file)?);
            pieces.push(Piece {
                offset,
                len: in_file,
                zeros: in_memory.saturating_sub(in_file),
                address,
            });
        } else if kind == UNWIND {
            table = address;
        }
    }
    // A file that was cut short has no use for the rest.
    (len <= rest.len() as u64).then_some(Program {
        len,
        machine,
        pieces,
        table,
    })
}
