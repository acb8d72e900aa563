//! From two images to a delta. For the publisher: both images are in memory, and trusted.
#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::expect_used,
    reason = "works on the publisher's own images, and every delta is decoded before it is given out"
)]

mod assemble;
mod elf;
pub(crate) mod ext4;
mod frame;
mod gaps;
mod index;
mod matching;
mod needs;
mod plan;
mod scan;
mod unpack;
mod ways;
mod work;

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};
use switchback_types::Digest;

use crate::blocks::{Lists, NewBlocks};
use crate::container::{Images, limit};
use crate::decoder::Decoder;
use crate::error::DeltaError;
use crate::limits::{
    MAX_BLOCKS, MAX_FRAMES, MAX_GROUPS, MAX_IMAGE, MAX_LITERALS, MAX_SEGMENT_LOG, MIN_SEGMENT_LOG,
};

use assemble::assemble;
use ext4::Free;
pub use frame::Tally;
use frame::{Bench, Way};
use plan::{Plan, Planned};
use unpack::Ground;
pub use unpack::Repacked;
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
    /// Unpacking compressed blocks of both images, and packing those of the new one again.
    Unpack,
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
        /// What became of compressed blocks.
        repacked: Repacked,
    },
    /// The images have too little in common.
    NotWorthIt {
        /// About so many bytes the delta would have, or has.
        estimate: u64,
    },
}

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
    let (ground, repacked) = unpack::unpack(old, new, &work)?;
    let mut unpacked = None;
    if let Some(ground) = ground {
        let pair = Pair {
            images,
            real: (old, new),
            ground: &ground,
            repacked,
        };
        match pair.encode(options, &work) {
            // More blocks than a device takes, or too much in one of them.
            Err(DeltaError::TooMany { .. }) => {}
            Ok(outcome) if repacked.reproduced < repacked.changed => unpacked = Some(outcome),
            done => return done,
        }
    }
    // A block that a device cannot make is sent compressed, and nothing of the old image is like it, which is there
    // unpacked: where there are many, the images as they are may have more in common.
    let smaller = match &unpacked {
        Some(Outcome::Delta { blob, .. }) => options.give_up_above.min(blob.len() as u64 - 1),
        _ => options.give_up_above,
    };
    let options = &Options {
        give_up_above: smaller,
        ..options.clone()
    };
    let ground = Ground {
        old: Cow::Borrowed(old),
        new: Cow::Borrowed(new),
        lists: Lists::none(images.old_len, images.new_len),
        anchors: Vec::new(),
        programs: plan::programs(old),
    };
    let pair = Pair {
        images,
        real: (old, new),
        ground: &ground,
        repacked,
    };
    match (pair.encode(options, &work), unpacked) {
        (Ok(Outcome::NotWorthIt { .. }) | Err(DeltaError::TooMany { .. }), Some(unpacked)) => {
            Ok(unpacked)
        }
        (outcome, _) => outcome,
    }
}

/// What is encoded.
struct Pair<'a> {
    images: Images,
    /// The old and the new image as they are.
    real: (&'a [u8], &'a [u8]),
    ground: &'a Ground<'a>,
    repacked: Repacked,
}

impl Pair<'_> {
    fn encode(&self, options: &Options, work: &Work<'_>) -> Result<Outcome, DeltaError> {
        let Ground {
            old,
            new,
            lists,
            anchors,
            programs,
        } = self.ground;
        let blocks = &lists.new;
        limit("blocks", blocks.list.len() as u64, MAX_BLOCKS as u64)?;
        let matches = matching::match_images(old, new, anchors, options, work)?;
        let runs = plan::runs(&matches);
        drop(matches);
        let matched: u64 = runs.iter().map(|run| run.len).sum();
        let sent = matching::literals(new, &runs, new.len() as u64 - matched);
        let estimate = sent / LITERAL_RATIO;
        if estimate > options.give_up_above {
            return Ok(Outcome::NotWorthIt { estimate });
        }
        let block_log = block_log(self.real.0);
        let seals = ext4::find(self.real.1, options.segment_log);
        let segment = 1 << options.segment_log;
        let groups = plan::groups(&runs, blocks, segment);
        drop(runs);
        limit("groups", groups.len() as u64, MAX_GROUPS as u64)?;
        let plan = Plan {
            old,
            new,
            blocks,
            programs,
            seals: &seals,
            segment_log: options.segment_log,
            block_log,
            target: options.frame_bytes,
        };
        let planned: Vec<Planned> = groups
            .into_iter()
            .map(|(real, runs)| plan.group(real, runs))
            .collect();
        let way = if sent <= options.written_literals {
            Way::Written
        } else {
            Way::Packed(LEVEL)
        };
        let coded = code((old, new), blocks, &planned, &seals.1, way, work)?;
        let reduced = Lists {
            old: needs::reduce(&lists.old, blocks, &planned),
            new: blocks.clone(),
            codecs: lists.codecs.clone(),
            family: lists.family,
        };
        let sizes = (options.segment_log, block_log);
        let (blob, tally, maps, frames) = assemble(self.images, sizes, &reduced, &planned, coded)?;
        if blob.len() as u64 > options.give_up_above {
            return Ok(Outcome::NotWorthIt {
                estimate: blob.len() as u64,
            });
        }
        prove(&blob, self.images, self.real, options.segment_log, work)?;
        Ok(Outcome::Delta {
            blob,
            tally,
            maps,
            frames,
            repacked: self.repacked,
        })
    }
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

/// The block size of an ext4 image, as a power of two; 0 for other images.
fn block_log(image: &[u8]) -> u8 {
    match (image.get(1080..1082), image.get(1048..1052)) {
        (Some([0x53, 0xEF]), Some([log @ 0..=6, 0, 0, 0])) => 10 + log,
        _ => 0,
    }
}

type Coded = (Vec<u8>, Tally);

fn code(
    (old, new): (&[u8], &[u8]),
    blocks: &NewBlocks,
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
        let (group, real) = all[number];
        let makes = blocks.around(real);
        let coded = frame::encode(old, new, &makes, &group.shared, free, bench, way)?;
        if way == Way::Written || coded.1.literal <= MAX_LITERALS as u64 {
            return Ok(coded);
        }
        // A decoder holds so many literals at once, unless they are among the bits.
        let way = Way::Written;
        frame::encode(old, new, &makes, &group.shared, free, bench, way)
    })
}

/// Decodes the finished delta and compares.
fn prove(
    blob: &[u8],
    images: Images,
    (mut old, new): (&[u8], &[u8]),
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
