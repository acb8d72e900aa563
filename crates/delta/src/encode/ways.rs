//! Which settings of a compressor make the new image's blocks again.

use crate::blocks::Way;
use crate::codec::{AHEAD, Codec, Codecs, Family, Tail};
use crate::error::DeltaError;
use crate::filesystem::{Found, Layout};
use crate::limits::MAX_CODECS;

use super::Task;
use super::work::{Work, each};

/// So many blocks are tried with each codec, to find the one that made them.
const TRIED: usize = 12;
/// At most so many of a family's settings are tried with every block.
const FITTING: usize = 4;

/// The new image, as far as it is packed.
pub(super) struct Blocks<'a> {
    pub(super) image: &'a [u8],
    pub(super) layout: &'a Layout,
    /// Which of the layout's blocks are not in the old image.
    pub(super) changed: &'a [usize],
    /// What is in each block, for those that can be unpacked.
    pub(super) contents: Vec<Option<&'a [u8]>>,
}

/// How the changed blocks are made: the codecs, and for each block its way, if there is one.
pub(super) type Ways = (Vec<Codec>, Vec<Option<Way>>);

impl Blocks<'_> {
    /// Packs all changed blocks.
    pub(super) fn ways(&self, work: &Work<'_>) -> Result<Ways, DeltaError> {
        let codecs = self.codecs();
        let fills = codecs.iter().any(|codec| codec.fills());
        let mut ways = each(
            work,
            Task::Unpack,
            self.changed.len(),
            Codecs::default,
            |packers, n| {
                let number = self.changed[n];
                let next = if fills {
                    self.behind(number, |_| true)
                } else {
                    Vec::new()
                };
                Ok(self.way(packers, &codecs, number, &next))
            },
        )?;
        if fills {
            self.settle(&codecs, &mut ways);
        }
        let codecs = prune(&codecs, &mut ways);
        Ok((codecs, ways))
    }

    /// A block that is not listed changes what the one before it sees.
    fn settle(&self, codecs: &[Codec], ways: &mut [Option<Way>]) {
        let mut listed = vec![true; self.contents.len()];
        let mut packers = Codecs::default();
        for (way, number) in ways.iter_mut().zip(self.changed).rev() {
            let thought = self.behind(*number, |_| true);
            let next = self.behind(*number, |other| listed[other]);
            if next != thought && way.is_some() {
                *way = self.way(&mut packers, codecs, *number, &next);
            }
            listed[*number] = way.is_some();
        }
    }

    /// The bytes behind a block in the unpacked image, where blocks that can be unpacked and are
    /// `listed` have the place of what is in them.
    fn behind(&self, number: usize, listed: impl Fn(usize) -> bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(AHEAD);
        let mut at = self.layout.blocks[number].end() as usize;
        let mut next = number + 1;
        while out.len() < AHEAD && at < self.image.len() {
            let block = self.layout.blocks.get(next);
            let start = block.map_or(self.image.len(), |block| block.offset as usize);
            let left = AHEAD - out.len();
            if at < start {
                let end = start.min(at + left);
                out.extend_from_slice(&self.image[at..end]);
                at = end;
                continue;
            }
            match self.contents[next].filter(|_| listed(next)) {
                Some(bytes) => {
                    out.extend_from_slice(&bytes[..left.min(bytes.len())]);
                    at = self.layout.blocks[next].end() as usize;
                }
                None => {
                    let end = self.layout.blocks[next].end() as usize;
                    out.extend_from_slice(&self.image[at..end.min(at + left)]);
                    at = end;
                }
            }
            next += 1;
        }
        out
    }

    fn way(
        &self,
        packers: &mut Codecs,
        codecs: &[Codec],
        number: usize,
        next: &[u8],
    ) -> Option<Way> {
        let found = &self.layout.blocks[number];
        let content = self.contents[number]?;
        let mut source = content.to_vec();
        source.extend_from_slice(next);
        let mut out = Vec::new();
        for (number, codec) in (0..).zip(codecs) {
            for tail in tails(*codec, found) {
                let wanted = packed(self.image, found);
                let source = (&source[..], content.len());
                let done = packers.pack(*codec, source, tail, wanted.len(), &mut out);
                if done.is_ok() && out == wanted {
                    let codec = number;
                    return Some(Way { codec, tail });
                }
            }
        }
        None
    }

    /// The codecs that make the blocks. Where each block says how it was made, all of them; else
    /// those that make most of some blocks.
    fn codecs(&self) -> Vec<Codec> {
        let mut codecs = match self.layout.family {
            Family::Xz => self.layout.codecs.clone(),
            Family::Zstd => self.best().into_iter().collect(),
            _ => self.most_fitting(),
        };
        codecs.truncate(MAX_CODECS);
        codecs
    }

    /// Some of the blocks that can be unpacked.
    fn sample(&self) -> Vec<usize> {
        let usable = |number: &usize| self.contents[*number].is_some();
        let mut tried: Vec<usize> = self.changed.iter().copied().filter(usable).collect();
        // Large ones tell more; the smallest come out alike on many levels.
        tried.sort_by_key(|number| core::cmp::Reverse(self.layout.blocks[*number].packed));
        tried.truncate((tried.len() / 2).max(TRIED));
        let step = tried.len().div_ceil(TRIED).max(1);
        tried.into_iter().step_by(step).collect()
    }

    /// Which blocks of the sample the codec makes.
    fn made(&self, packers: &mut Codecs, codec: Codec, sample: &[usize]) -> Vec<bool> {
        let made = sample.iter().map(|number| {
            let next = self.behind(*number, |_| true);
            self.way(packers, &[codec], *number, &next).is_some()
        });
        made.collect()
    }

    /// The one codec that makes most of the sample.
    fn best(&self) -> Option<Codec> {
        let sample = self.sample();
        let all = sample.len();
        let mut packers = Codecs::default();
        let mut best = (0, None);
        for codec in &self.layout.codecs {
            let made = self.made(&mut packers, *codec, &sample);
            let made = made.iter().filter(|made| **made).count();
            if made > best.0 {
                best = (made, Some(*codec));
            }
            // What the image says itself needs no more than to be right as a rule.
            let said = best.1 == self.layout.codecs.first().copied();
            if best.0 == all || (said && 2 * best.0 > all) {
                break;
            }
        }
        best.1
    }

    /// The codecs that make as much of the sample as the best one: many a block comes out alike
    /// on several levels, and then the sample does not tell them apart.
    fn most_fitting(&self) -> Vec<Codec> {
        let sample = self.sample();
        let mut packers = Codecs::default();
        let counts = self.layout.codecs.iter().map(|codec| {
            let made = self.made(&mut packers, *codec, &sample);
            (made.iter().filter(|made| **made).count(), *codec)
        });
        let counts: Vec<(usize, Codec)> = counts.collect();
        let most = counts.iter().map(|(count, _)| *count).max().unwrap_or(0);
        let fitting = counts
            .iter()
            .filter(|(count, _)| *count == most && most > 0);
        fitting.map(|(_, codec)| *codec).take(FITTING).collect()
    }
}

/// Codecs that nothing needs are left out.
fn prune(codecs: &[Codec], ways: &mut [Option<Way>]) -> Vec<Codec> {
    let used = |number: usize| {
        let mut numbers = ways.iter().flatten().map(|way| usize::from(way.codec));
        numbers.any(|other| other == number)
    };
    let kept: Vec<usize> = (0..codecs.len()).filter(|number| used(*number)).collect();
    for way in ways.iter_mut().flatten() {
        let place = kept.iter().position(|kept| *kept == usize::from(way.codec));
        way.codec = place.unwrap_or(0) as u8;
    }
    kept.into_iter().map(|number| codecs[number]).collect()
}

/// What a codec may have seen behind the block, the likeliest first.
fn tails(codec: Codec, found: &Found) -> Vec<Tail> {
    if !codec.fills() {
        return vec![Tail::Exactly(0)];
    }
    let left = found.left.min(AHEAD as u32) as u8;
    if left < AHEAD as u8 {
        return vec![
            Tail::Exactly(left),
            Tail::Short,
            Tail::Long,
            Tail::Exactly(0),
        ];
    }
    vec![Tail::Short, Tail::Long, Tail::Exactly(0)]
}

pub(super) fn packed<'a>(image: &'a [u8], found: &Found) -> &'a [u8] {
    &image[found.offset as usize..found.end() as usize]
}
