//! xz, one stream for each block, as liblzma's call for one buffer makes it.
//!
//! The library that is linked gives what is inside of a block; what surrounds it is made here.
//! The format is that of "The .xz File Format", version 1.2.1.

use liblzma::stream::{Action, Filters, LzmaOptions, Status, Stream};

/// What may be done to the bytes of programs before they are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Filter {
    None,
    X86,
    PowerPc,
    Ia64,
    Arm,
    ArmThumb,
    Sparc,
}

impl Filter {
    /// All that mksquashfs knows, in its order.
    pub(crate) const ALL: [Self; 7] = [
        Self::None,
        Self::X86,
        Self::PowerPc,
        Self::Ia64,
        Self::Arm,
        Self::ArmThumb,
        Self::Sparc,
    ];

    /// Its number in the format; 0 for none.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::X86 => 4,
            Self::PowerPc => 5,
            Self::Ia64 => 6,
            Self::Arm => 7,
            Self::ArmThumb => 8,
            Self::Sparc => 9,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|filter| filter.number() == number)
    }
}

/// How many bytes a dictionary has, as a block's header says it; `None` for those that are larger
/// than 16 MiB, which nothing here needs.
pub(crate) fn dictionary_len(bits: u8) -> Option<usize> {
    (bits <= 24).then(|| (2 | usize::from(bits & 1)) << (bits / 2 + 11))
}

const MAGIC: [u8; 6] = [0xFD, b'7', b'z', b'X', b'Z', 0];
/// A CRC-32 follows each block.
const FLAGS: [u8; 2] = [0, 1];
/// Both lengths stand in the header of a block.
const HAS_LENGTHS: u8 = 0xC0;
const LZMA2: u8 = 0x21;
/// The preset that mksquashfs takes.
const PRESET: u32 = 6;
/// Most memory for unpacking: a dictionary of 1 MiB, and what belongs to it.
const MEMORY: u64 = 2 << 20;
/// A stream has fewer bytes than that beside what is in its block.
const SPARE: usize = 128;

/// The dictionary and the filter that the header of a stream's first block names.
pub(crate) fn said(packed: &[u8]) -> Option<(u8, Filter)> {
    let header = packed.strip_prefix(&MAGIC)?.get(6..)?;
    let mut rest = header.get(2..)?;
    let flags = *header.get(1)?;
    for flag in [0x40, 0x80] {
        if flags & flag != 0 {
            let len = rest.iter().position(|byte| byte & 0x80 == 0)?;
            rest = rest.get(len + 1..)?;
        }
    }
    let mut filter = Filter::None;
    if let [number @ 4..=9, 0, behind @ ..] = rest {
        filter = Filter::from_number(*number)?;
        rest = behind;
    }
    match rest {
        [LZMA2, 1, dictionary, ..] => Some((*dictionary, filter)),
        _ => None,
    }
}

/// Fills at most the capacity of `out`, which is empty.
pub(super) fn unpack(packed: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut stream =
        Stream::new_stream_decoder(MEMORY, 0).map_err(|_| "there is no memory for it")?;
    match stream.process_vec(packed, out, Action::Finish) {
        Ok(Status::StreamEnd) if stream.total_in() == packed.len() as u64 => Ok(()),
        Ok(Status::StreamEnd) => Err("something follows its stream"),
        Ok(_) => Err("its stream does not end"),
        Err(_) => Err("it is no stream of xz"),
    }
}

pub(super) fn pack(
    dictionary: u8,
    filter: Filter,
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let size = dictionary_len(dictionary).and_then(|len| u32::try_from(len).ok());
    let size = size.ok_or("there is no such dictionary")?;
    let mut options = LzmaOptions::new_preset(PRESET).map_err(|_| "there is no such preset")?;
    options.dict_size(size);
    let mut filters = Filters::new();
    match filter {
        Filter::None => &mut filters,
        Filter::X86 => filters.x86(),
        Filter::PowerPc => filters.powerpc(),
        Filter::Ia64 => filters.ia64(),
        Filter::Arm => filters.arm(),
        Filter::ArmThumb => filters.arm_thumb(),
        Filter::Sparc => filters.sparc(),
    };
    filters.lzma2(&options);
    out.reserve_exact(plain.len() + SPARE);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&FLAGS);
    sum(out, MAGIC.len());
    let block = out.len();
    let mut header = Header::new(dictionary, filter, plain.len());
    out.resize(block + header.len, 0);
    let start = out.len();
    let mut stream = Stream::new_raw_encoder(&filters).map_err(|_| "there is no memory for it")?;
    match stream.process_vec(plain, out, Action::Finish) {
        Ok(Status::StreamEnd) => {}
        Ok(_) => return Err("it grows"),
        Err(_) => return Err("xz does not take it"),
    }
    drop(stream);
    let packed = out.len() - start;
    header.finish(packed);
    out.get_mut(block..start)
        .ok_or("its header has no room")?
        .copy_from_slice(&header.bytes);
    pad(out, 0);
    out.extend_from_slice(&crc32fast::hash(plain).to_le_bytes());
    // The index: a zero, how many blocks, and both lengths of this one.
    let index = out.len();
    out.extend_from_slice(&[0, 1]);
    number(out, header.len + packed + 4);
    number(out, plain.len());
    pad(out, index);
    sum(out, index);
    let words = u32::try_from((out.len() - index) / 4 - 1).map_err(|_| "its index is too long")?;
    let mut footer = words.to_le_bytes().to_vec();
    footer.extend_from_slice(&FLAGS);
    out.extend_from_slice(&crc32fast::hash(&footer).to_le_bytes());
    out.extend_from_slice(&footer);
    out.extend_from_slice(b"YZ");
    Ok(())
}

/// The header of a block.
struct Header {
    bytes: Vec<u8>,
    /// All its bytes.
    len: usize,
    filters: Vec<u8>,
    plain: usize,
}

impl Header {
    /// Its length is known before the block is packed: there is room for a block that is not
    /// compressed at all.
    fn new(dictionary: u8, filter: Filter, plain: usize) -> Self {
        let mut filters = Vec::new();
        if filter != Filter::None {
            filters.extend_from_slice(&[filter.number(), 0]);
        }
        filters.extend_from_slice(&[LZMA2, 1, dictionary]);
        // Three bytes for each part of 64 KiB, and one for the end.
        let most = plain + 3 * plain.div_ceil(1 << 16) + 1;
        let mut lengths = Vec::new();
        number(&mut lengths, most);
        number(&mut lengths, plain);
        let len = 2 + lengths.len() + filters.len();
        Self {
            bytes: Vec::new(),
            len: len.next_multiple_of(4) + 4,
            filters,
            plain,
        }
    }

    fn finish(&mut self, packed: usize) {
        let words = u8::try_from(self.len / 4 - 1).unwrap_or(0);
        let count = u8::from(self.filters.len() > 3);
        self.bytes = vec![words, HAS_LENGTHS | count];
        number(&mut self.bytes, packed);
        number(&mut self.bytes, self.plain);
        self.bytes.extend_from_slice(&self.filters);
        self.bytes.resize(self.len - 4, 0);
        sum(&mut self.bytes, 0);
    }
}

/// A number, seven bits in a byte, the lowest first.
fn number(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Zeros up to a multiple of four bytes from `start` on.
fn pad(out: &mut Vec<u8>, start: usize) {
    let len = (out.len() - start).next_multiple_of(4);
    out.resize(start + len, 0);
}

/// The checksum of all that follows `start`.
fn sum(out: &mut Vec<u8>, start: usize) {
    let sum = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&sum.to_le_bytes());
}
