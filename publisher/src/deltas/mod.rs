//! Deltas: which ones to cut for a new release, and cutting them.

mod choose;
mod field;

use std::fs;
use std::path::Path;

use serde::Serialize;
use switchback_delta::limits::{MAX_SEGMENT_LOG, MIN_SEGMENT_LOG};
use switchback_delta::{Options, Outcome, Task, encode};
use switchback_manifest::{Delta, DeltaFormat, ImageFormat, Release};
use switchback_types::{ByteCount, Digest, Version};

use crate::advice;
use crate::content::put_blob;
use crate::error::{RepoError, io};
use crate::repository::digest;
use crate::store::Store;
use crate::unpack;

pub(crate) use choose::{Base, Goal, Unfit, Wish, choose, named};
pub(crate) use field::Field;

/// A delta is left out unless it has fewer bytes than this part of the full pack.
const WORTH: (u64, u64) = (4, 5);

/// What the encoder holds beside both images and its index: frames in work, in bytes.
const WORKING_BYTES: u64 = 100 << 20;

/// A squashfs image of programs has about so many times its length when it is unpacked.
const UNPACKED: u64 = 4;
/// The same for an erofs image, whose clusters are small: 1.8 for LZ4, 2.3 and more for zstd.
const UNPACKED_EROFS: u64 = 3;

/// Which deltas `publish` is asked for.
#[derive(Debug, Clone)]
pub struct DeltaRequest {
    /// How many older releases get a delta without being named.
    pub last: usize,
    /// Releases that get one in any case.
    pub from: Vec<Version>,
    /// A file that says how many devices run which version.
    pub field: Option<std::path::PathBuf>,
    /// A delta that takes more memory is left out. In bytes.
    pub memory: u64,
}

impl DeltaRequest {
    /// None at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            last: 0,
            from: Vec::new(),
            field: None,
            memory: u64::MAX,
        }
    }
}

/// What became of one delta.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeltaReport {
    /// The release that it leads from.
    pub from: Version,
    /// The image of that release.
    pub from_sha256: Digest,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What became of one delta.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "fate", rename_all = "kebab-case")]
pub enum Fate {
    /// It is part of the release.
    Cut {
        /// Its length in bytes.
        length: u64,
    },
    /// It is not worth its place.
    TooLarge {
        /// About so many bytes it would have.
        estimate: u64,
        /// It must not have more.
        limit: u64,
    },
    /// It takes too much memory.
    TooMuchMemory {
        /// So much it would take, in bytes.
        needed: u64,
        /// So much was allowed, in bytes.
        allowed: u64,
    },
    /// The segments of the release are of a size that deltas do not have.
    SegmentSize {
        /// The size in bytes.
        segment_size: u32,
    },
    /// The old image cannot be brought out of its pack.
    BaseUnusable {
        /// Why.
        reason: String,
    },
}

/// How far `publish` is.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// So many bytes of the image are compressed.
    Packed(u64),
    /// So many bytes of the image are cut into chunks.
    Chunked(u64),
    /// A delta is cut.
    Delta {
        /// The release that it leads from.
        from: &'a Version,
        /// What the encoder is doing.
        task: Task,
        /// Parts of the task that are done.
        done: usize,
        /// All parts of the task.
        whole: usize,
    },
}

/// Whoever is told how far it is; from any thread.
pub type Watch<'a> = dyn Fn(Progress<'_>) + Sync + 'a;

/// The deltas of a release.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    pub(crate) deltas: Vec<Delta>,
    pub(crate) reports: Vec<DeltaReport>,
    pub(crate) warnings: Vec<String>,
    advised: bool,
}

/// Cuts a delta from each of `bases` to `release`, whose image lies at `path`, and stores them.
/// One old image is in memory at a time.
///
/// # Errors
/// When the new image changed meanwhile, a base that was named cannot be used, or the encoder
/// fails. Nothing was published then.
pub(crate) fn cut(
    store: &Store,
    release: &Release,
    path: &Path,
    bases: &[Base<'_>],
    memory: u64,
    watch: &Watch<'_>,
) -> Result<Cuts, RepoError> {
    let mut cuts = Cuts::default();
    if bases.is_empty() {
        return Ok(cuts);
    }
    let mut new = None;
    for base in bases {
        let before = hindrance(release, base.release, memory);
        let fate = match before {
            Some(fate) => fate,
            None => {
                let new = match &new {
                    Some(new) => new,
                    None => new.insert(read_image(path, release)?),
                };
                cut_one(store, release, new, base, &mut cuts, watch)?
            }
        };
        // One that is not worth it is no mistake: the next release may be closer again.
        let mistake = base.named && !matches!(fate, Fate::TooLarge { .. });
        if let (true, Some(reason)) = (mistake, fate.why_not()) {
            return Err(RepoError::NoDelta {
                from: base.release.version.clone(),
                to: release.version.clone(),
                reason,
            });
        }
        cuts.reports.push(DeltaReport {
            from: base.release.version.clone(),
            from_sha256: base.release.image.sha256,
            fate,
        });
    }
    Ok(cuts)
}

/// What keeps a delta from being cut, as far as it is known without the images.
fn hindrance(release: &Release, base: &Release, allowed: u64) -> Option<Fate> {
    let segment_size = release.image.segment_size;
    if !(MIN_SEGMENT_LOG..=MAX_SEGMENT_LOG).contains(&segment_log(segment_size)) {
        return Some(Fate::SegmentSize { segment_size });
    }
    let index = Options::default().index_bytes as u64;
    // A compressed image is held as it is and unpacked.
    let times = match release.image.format {
        ImageFormat::Squashfs => 1 + UNPACKED,
        ImageFormat::Erofs => 1 + UNPACKED_EROFS,
        ImageFormat::Ext4 | ImageFormat::Raw => 1,
    };
    let needed = release
        .image
        .size
        .saturating_add(base.image.size)
        .saturating_mul(times)
        .saturating_add(index + WORKING_BYTES);
    (needed > allowed).then_some(Fate::TooMuchMemory { needed, allowed })
}

/// A segment has 22 bits at most.
#[allow(clippy::cast_possible_truncation, reason = "at most 31")]
fn segment_log(segment_size: u32) -> u8 {
    segment_size.ilog2() as u8
}

fn read_image(path: &Path, release: &Release) -> Result<Vec<u8>, RepoError> {
    let new = fs::read(path).map_err(io("read", path))?;
    if digest(&new) != release.image.sha256 {
        return Err(RepoError::ImageChanged {
            path: path.into(),
            expected: release.image.size,
            found: new.len() as u64,
        });
    }
    Ok(new)
}

fn cut_one(
    store: &Store,
    release: &Release,
    new: &[u8],
    base: &Base<'_>,
    cuts: &mut Cuts,
    watch: &Watch<'_>,
) -> Result<Fate, RepoError> {
    let from = &base.release.version;
    let old = match unpack::image(store.root(), base.release) {
        Ok(old) => old,
        Err(error @ (RepoError::Missing { .. } | RepoError::Damaged { .. })) => {
            return Ok(Fate::BaseUnusable {
                reason: error.to_string(),
            });
        }
        Err(error) => return Err(error),
    };
    let limit = most_worth_it(release.full.blob.length);
    let mut options = Options::default();
    options.segment_log = segment_log(release.image.segment_size);
    options.threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    options.give_up_above = limit;
    let outcome = encode(&old, new, &options, &|progress| {
        watch(Progress::Delta {
            from,
            task: progress.task,
            done: progress.done,
            whole: progress.whole,
        });
        true
    })
    .map_err(|source| RepoError::Delta {
        from: from.clone(),
        to: release.version.clone(),
        source,
    })?;
    let fate = match outcome {
        Outcome::Delta { blob, repacked, .. } => {
            if !cuts.advised {
                let found = advice::on_blocks(new, &repacked).into_iter();
                cuts.warnings
                    .extend(found.map(|advice| format!("compared with {from}: {advice}")));
            }
            let stored = put_blob(store, &blob)?;
            cuts.deltas.push(Delta {
                from: base.release.image.sha256,
                from_size: base.release.image.size,
                format: DeltaFormat::sbd1(),
                blob: stored,
            });
            Fate::Cut {
                length: stored.length,
            }
        }
        Outcome::NotWorthIt { estimate } => Fate::TooLarge { estimate, limit },
    };
    // One pair tells how images are built: the others would say the same again.
    if !cuts.advised {
        cuts.advised = true;
        let cost = match &fate {
            Fate::Cut { length } => *length,
            Fate::TooLarge { estimate, .. } => *estimate,
            _ => 0,
        };
        let found = advice::on(&old, new, cost).into_iter();
        cuts.warnings
            .extend(found.map(|advice| format!("compared with {from}: {advice}")));
    }
    Ok(fate)
}

/// Most bytes that a delta may have to be worth it.
fn most_worth_it(pack: u64) -> u64 {
    let (part, whole) = WORTH;
    (pack.saturating_mul(part)).saturating_sub(1) / whole
}

impl Fate {
    /// Why there is no delta, for people; `None` when there is one.
    #[must_use]
    pub fn why_not(&self) -> Option<String> {
        match self {
            Self::Cut { .. } => None,
            Self::TooLarge { estimate, limit } => Some(format!(
                "it would have about {}, and is worth its place up to {}",
                ByteCount(*estimate),
                ByteCount(*limit)
            )),
            Self::TooMuchMemory { needed, allowed } => Some(format!(
                "it takes {} of memory, {} are allowed: raise --delta-memory",
                ByteCount(*needed),
                ByteCount(*allowed)
            )),
            Self::SegmentSize { segment_size } => Some(format!(
                "segments of {} are too large for deltas: publish with --segment-size {}",
                ByteCount(u64::from(*segment_size)),
                1_u32 << MAX_SEGMENT_LOG
            )),
            Self::BaseUnusable { reason } => Some(reason.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worth_it_means_less_than_four_fifths() {
        for (pack, most) in [(0, 0), (1, 0), (5, 3), (6, 4), (100, 79), (101, 80)] {
            assert_eq!(most_worth_it(pack), most, "{pack}");
            assert!(most * 5 < pack * 4 || pack == 0);
        }
    }
}
