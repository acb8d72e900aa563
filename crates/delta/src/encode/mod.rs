//! From two images to a delta. For the publisher: both images are in memory, and trusted.
#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::expect_used,
    reason = "works on the publisher's own images, and every delta is decoded before it is given out"
)]

mod elf;
pub(crate) mod ext4;
mod frame;
mod gaps;
mod index;
mod plan;
mod scan;
mod work;

use sha2::{Digest as _, Sha256};
use switchback_types::Digest;

use crate::coding::bits::BitWriter;
use crate::container::{Group, HEADER_LEN, Header, Images, Part, Table, limit};
use crate::decoder::Decoder;
use crate::error::DeltaError;
use crate::limits::{
    MAX_FRAME, MAX_FRAMES, MAX_GROUPS, MAX_IMAGE, MAX_MAP, MAX_SEGMENT_LOG, MIN_SEGMENT_LOG,
};
use crate::map::write_runs;
use crate::space::write_spaces;

use ext4::Free;
pub use frame::Tally;
use frame::{Bench, Way};
use gaps::Neighbourhoods;
use index::Index;
use plan::Planned;
use scan::{Match, Scanner};
use work::{Work, each};

/// How to encode.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Size of a segment of the new image as a power of two; by default 20, 1 MiB.
    pub segment_log: u8,
    /// A frame is closed when so many bytes of it are sent or differ from the old ones. Larger
    /// frames are coded better; a broken download fetches the last one again. By default 512 KiB,
    /// some 150 KiB of the delta.
    pub frame_bytes: u64,
    /// Most bytes of memory for the index of the old image; by default 256 MiB.
    pub index_bytes: usize,
    /// Threads; the delta does not depend on it. By default 2.
    pub threads: usize,
    /// Up to so many literal bytes in all they are coded one by one, which takes the device a few
    /// hundred nanoseconds for each; more of them are left to zstd. By default 8 MiB.
    pub written_literals: u64,
    /// A larger delta is of no use: the encoder stops as soon as it sees that. In bytes.
    pub give_up_above: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_log: 20,
            frame_bytes: 512 << 10,
            index_bytes: 256 << 20,
            threads: 2,
            written_literals: 8 << 20,
            give_up_above: u64::MAX,
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), DeltaError> {
        let wrong = |option, value, expected| {
            Err(DeltaError::Option {
                option,
                value,
                expected,
            })
        };
        if !(MIN_SEGMENT_LOG..=MAX_SEGMENT_LOG).contains(&self.segment_log) {
            return wrong("segment_log", self.segment_log.into(), "12 to 20");
        }
        if !(1..=1 << 20).contains(&self.frame_bytes) {
            return wrong("frame_bytes", self.frame_bytes, "1 to 1,048,576");
        }
        if self.index_bytes < 1 << 10 {
            return wrong("index_bytes", self.index_bytes as u64, "at least 1,024");
        }
        if self.threads == 0 {
            return wrong("threads", 0, "at least 1");
        }
        Ok(())
    }
}

/// What the encoder is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Hashing and indexing the old image.
    Index,
    /// Looking for old bytes in the new image.
    Match,
    /// Coding frames.
    Code,
    /// Decoding what was coded.
    Prove,
}

/// How far the encoder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub task: Task,
    /// Parts of the task that are done.
    pub done: usize,
    /// All parts of the task.
    pub whole: usize,
}

/// What an encoder run came to.
#[derive(Debug)]
pub enum Outcome {
    /// A delta, which was decoded once.
    Delta {
        /// The blob.
        blob: Vec<u8>,
        /// What it is made of.
        tally: Tally,
        /// How many bytes the maps of all groups take in the blob.
        maps: u64,
        /// How many frames it has.
        frames: usize,
    },
    /// The images have too little in common.
    NotWorthIt {
        /// About so many bytes the delta would have, or has.
        estimate: u64,
    },
}

/// A new image is searched in parts of this size, each by one thread.
const PART: usize = 8 << 20;
/// So many bytes are compared with care for each part; then the search gets coarse.
const COMPARED: usize = 1 << 30;
/// So many old bytes are indexed for the gaps of each part; then gaps stay as they are.
const INDEXED: usize = 512 << 20;
/// The same for images that have little in common, where it would take too long and bring little.
const INDEXED_WHEN_FAR: usize = 48 << 20;
/// Images have little in common when more than one byte in so many is without a match.
const FAR: usize = 12;
/// Literals shrink to a quarter at best, as a rule.
const LITERAL_RATIO: u64 = 4;
/// zstd's level for literals.
const LEVEL: i32 = 19;

/// Makes the delta from `old` to `new`.
///
/// `progress` is called now and then, from any thread; the work stops when it returns `false`.
/// About both images, `index_bytes` and 100 MiB are held.
///
/// # Errors
/// When an option or an image cannot work, `progress` asks to stop, or the finished delta does
/// not decode to the new image.
pub fn encode(
    old: &[u8],
    new: &[u8],
    options: &Options,
    progress: &(dyn Fn(Progress) -> bool + Sync),
) -> Result<Outcome, DeltaError> {
    options.check()?;
    limit(
        "bytes of an image",
        old.len().max(new.len()) as u64,
        MAX_IMAGE,
    )?;
    let work = Work {
        threads: options.threads,
        progress,
    };
    let images = images(old, new, &work)?;
    let matches = match_images(old, new, options, &work)?;
    let runs = plan::runs(&matches);
    drop(matches);
    let matched: u64 = runs.iter().map(|run| run.len).sum();
    let sent = literals(new, &runs, new.len() as u64 - matched);
    let estimate = sent / LITERAL_RATIO;
    if estimate > options.give_up_above {
        return Ok(Outcome::NotWorthIt { estimate });
    }
    let block_log = block_log(old);
    let programs = plan::programs(old);
    let seals = ext4::find(new, options.segment_log);
    let segment = 1 << options.segment_log;
    let groups = plan::groups(&runs, new.len() as u64, segment);
    drop(runs);
    limit("groups", groups.len() as u64, MAX_GROUPS as u64)?;
    let sizes = (options.segment_log, block_log, options.frame_bytes);
    let planned: Vec<Planned> = groups
        .into_iter()
        .map(|(makes, runs)| plan::plan(old, new, makes, runs, &programs, &seals, sizes))
        .collect();
    let way = if sent <= options.written_literals {
        Way::Written
    } else {
        Way::Packed(LEVEL)
    };
    let coded = code(old, new, &planned, &seals.1, way, &work)?;
    let (blob, tally, maps, frames) = assemble(images, sizes, &planned, coded)?;
    if blob.len() as u64 > options.give_up_above {
        return Ok(Outcome::NotWorthIt {
            estimate: blob.len() as u64,
        });
    }
    prove(&blob, images, old, new, options.segment_log, &work)?;
    Ok(Outcome::Delta {
        blob,
        tally,
        maps,
        frames,
    })
}

fn images(old: &[u8], new: &[u8], work: &Work<'_>) -> Result<Images, DeltaError> {
    let digests = each(
        work,
        Task::Index,
        2,
        || (),
        |(), which| {
            let image = if which == 0 { old } else { new };
            Ok(Digest::from_bytes(Sha256::digest(image).into()))
        },
    )?;
    Ok(Images {
        old_len: old.len() as u64,
        new_len: new.len() as u64,
        old_sha256: digests[0],
        new_sha256: digests[1],
    })
}

fn match_images(
    old: &[u8],
    new: &[u8],
    options: &Options,
    work: &Work<'_>,
) -> Result<Vec<Match>, DeltaError> {
    let index = Index::whole(old, options.index_bytes);
    let count = new.len().div_ceil(PART);
    let parts = each(
        work,
        Task::Match,
        count,
        || (),
        |(), part| {
            let (start, end) = (part * PART, (part * PART + PART).min(new.len()));
            let mut out = Vec::new();
            let mut scanner = Scanner {
                old,
                new,
                index: &index,
                margin: 16,
                budget: COMPARED,
            };
            scanner.scan(start, end, Some(0), &mut out);
            Ok(out)
        },
    )?;
    drop(index);
    let matched: usize = parts.iter().flatten().map(|m| m.len).sum();
    let far = (new.len() - matched) * FAR > new.len();
    let budget = if far { INDEXED_WHEN_FAR } else { INDEXED };
    let parts = each(
        work,
        Task::Match,
        count,
        Neighbourhoods::default,
        |local, part| {
            // The gap between two parts belongs to the second.
            let last = part.checked_sub(1).and_then(|before| parts[before].last());
            let mut own: Vec<Match> = last.into_iter().copied().collect();
            own.extend_from_slice(&parts[part]);
            let mut filled = gaps::fill(old, new, &own, local, budget);
            if let (Some(last), Some(first)) = (last, filled.first_mut()) {
                // The last match of the part before stands there already; the first one of this part
                // may have prolonged it.
                first.new += last.len;
                first.len -= last.len;
            }
            Ok(filled)
        },
    )?;
    let mut matches = Vec::new();
    for part in parts.into_iter().flatten().filter(|part| part.len > 0) {
        scan::push(&mut matches, part);
    }
    Ok(gaps::extend(old, new, &matches))
}

/// Literal bytes between the runs, without long stretches of zeros.
fn literals(new: &[u8], runs: &[crate::map::Run], most: u64) -> u64 {
    let mut sum = 0;
    let mut at = 0;
    for run in runs {
        frame::gap_parts(&new[at..run.new as usize], |literal, _| {
            sum += literal as u64;
        });
        at = run.new_end() as usize;
    }
    frame::gap_parts(&new[at..], |literal, _| sum += literal as u64);
    sum.min(most)
}

/// The block size of an ext4 image, as a power of two; 0 for other images.
fn block_log(image: &[u8]) -> u8 {
    match (image.get(1080..1082), image.get(1048..1052)) {
        (Some([0x53, 0xEF]), Some([log @ 0..=6, 0, 0, 0])) => 10 + log,
        _ => 0,
    }
}

type Coded = (Vec<u8>, Tally);

fn code(
    old: &[u8],
    new: &[u8],
    planned: &[Planned],
    free: &Free,
    way: Way,
    work: &Work<'_>,
) -> Result<Vec<Coded>, DeltaError> {
    let all: Vec<_> = planned
        .iter()
        .flat_map(|group| group.frames.iter().map(move |frame| (group, frame)))
        .collect();
    limit("frames", all.len() as u64, MAX_FRAMES as u64)?;
    each(work, Task::Code, all.len(), Bench::new, |bench, number| {
        let (group, makes) = all[number];
        frame::encode(old, new, makes, &group.shared, free, bench, way)
    })
}

fn assemble(
    images: Images,
    (segment_log, block_log, _): (u8, u8, u64),
    planned: &[Planned],
    coded: Vec<Coded>,
) -> Result<(Vec<u8>, Tally, u64, usize), DeltaError> {
    let mut body = Vec::new();
    let mut tally = Tally::default();
    let mut maps = 0;
    let frames = coded.len();
    let mut coded = coded.into_iter();
    let mut table = Table::default();
    for group in planned {
        let mut bits = BitWriter::new();
        write_runs(&mut bits, group.shared.map.runs(), group.makes.start);
        write_spaces(&mut bits, &group.shared.spaces);
        group.shared.seals.code(&mut bits)?;
        let map = bits.finish();
        limit("bytes of a map", map.len() as u64, MAX_MAP as u64)?;
        maps += map.len() as u64;
        let map = part(&mut body, &map, &group.makes);
        let mut frames = Vec::new();
        for (makes, (bytes, own)) in group.frames.iter().zip(&mut coded) {
            limit("bytes of a frame", bytes.len() as u64, MAX_FRAME as u64)?;
            tally.add(&own);
            frames.push(part(&mut body, &bytes, makes));
        }
        table.groups.push(Group { map, frames });
    }
    let table_bytes = table.to_bytes(segment_log);
    let header = Header {
        images,
        segment_log,
        block_log,
        groups: planned.len() as u32,
        table_len: table_bytes.len() as u32,
        table_crc: crc32fast::hash(&table_bytes),
    };
    let mut blob = Vec::with_capacity(HEADER_LEN + table_bytes.len() + body.len());
    blob.extend_from_slice(&header.to_bytes());
    blob.extend_from_slice(&table_bytes);
    blob.append(&mut body);
    Ok((blob, tally, maps, frames))
}

/// Appends a part. Its place counts from the first one here: the table needs lengths only.
fn part(body: &mut Vec<u8>, bytes: &[u8], makes: &core::ops::Range<u64>) -> Part {
    let start = body.len() as u64;
    body.extend_from_slice(bytes);
    Part {
        blob: start..body.len() as u64,
        crc: crc32fast::hash(bytes),
        makes: makes.clone(),
    }
}

/// Decodes the finished delta and compares.
fn prove(
    blob: &[u8],
    images: Images,
    mut old: &[u8],
    new: &[u8],
    segment_log: u8,
    work: &Work<'_>,
) -> Result<(), DeltaError> {
    let mut decoder = Decoder::new(images);
    let whole = new.len().div_ceil(1 << segment_log);
    while !decoder.is_done() {
        while let Some(needed) = decoder.needs() {
            let part = &blob[needed.start as usize..needed.end as usize];
            decoder.feed(needed.start, part)?;
        }
        while let Some(segment) = decoder.segment(&mut old)? {
            let start = (segment.index as usize) << segment_log;
            if new.get(start..start + segment.bytes.len()) != Some(segment.bytes) {
                return Err(DeltaError::NotReproduced {
                    segment: segment.index,
                });
            }
            work.report(Task::Prove, segment.index as usize + 1, whole)?;
        }
    }
    Ok(())
}
