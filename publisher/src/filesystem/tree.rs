//! Which file of an ext4 image each block belongs to.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use sha2::{Digest as _, Sha256};
use switchback_types::Digest;

use super::ext4::{Inode, Reader, Stretch, slice};

/// The root directory.
const ROOT: u32 = 2;
/// The journal.
const JOURNAL: u32 = 8;
/// Deeper directories stay unexplained.
const MAX_DEPTH: usize = 128;
/// Longer paths stay unexplained, in bytes.
const MAX_PATH: usize = 4096;
/// What belongs to nothing that was found.
const ELSEWHERE: &str = "(free space and backups of metadata)";
/// All regular files together are read once at most, and what hard links and damage make of that.
const MAX_READ: u64 = 4;

/// A stretch of the image and whose it is, as a place in [`Tree::names`].
#[derive(Debug, Clone, PartialEq, Eq)]
struct Region {
    range: Range<u64>,
    owner: u32,
}

/// A regular file.
#[derive(Debug, Clone)]
struct File {
    size: u64,
    times: [u32; 3],
    stretches: Vec<Stretch>,
}

/// An ext4 image, explained.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    names: Vec<String>,
    /// In the order of the image.
    regions: Vec<Region>,
    files: BTreeMap<String, File>,
}

/// How the files of two images differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Differences {
    /// Regular files of the new image.
    pub(crate) files: usize,
    /// Those of them that are new or have other content.
    pub(crate) changed: usize,
    /// The length of those, in bytes.
    pub(crate) bytes: u64,
    /// Files that have the same content and other times.
    pub(crate) retimed: usize,
}

impl Tree {
    /// Reads the tree; `None` when the image holds no ext4 that can be explained.
    pub(crate) fn read(image: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(image)?;
        let mut tree = Self::default();
        for (name, range) in reader.metadata() {
            tree.add(name, [range]);
        }
        if let Some(journal) = reader.inode(JOURNAL) {
            tree.add_inode(&mut reader, &journal, "(journal)");
        }
        tree.walk(&mut reader);
        tree.regions
            .sort_by_key(|region| (region.range.start, region.range.end));
        Some(tree)
    }

    fn walk(&mut self, reader: &mut Reader<'_>) {
        let mut seen = HashSet::from([ROOT]);
        let mut open = vec![(ROOT, String::new(), 0_usize)];
        while let Some((number, path, depth)) = open.pop() {
            let Some(inode) = reader.inode(number) else {
                continue;
            };
            let name = if path.is_empty() { "/" } else { &path };
            let stretches = self.add_inode(reader, &inode, name);
            if inode.is_file() {
                let file = File {
                    size: inode.size,
                    times: inode.times,
                    stretches,
                };
                self.files.insert(path, file);
            } else if inode.is_directory() && depth < MAX_DEPTH {
                for entry in reader.entries(&stretches) {
                    let path = format!("{path}/{}", entry.name);
                    // A hard link is explained once.
                    if path.len() <= MAX_PATH && seen.insert(entry.inode) {
                        open.push((entry.inode, path, depth + 1));
                    }
                }
            }
        }
    }

    fn add_inode(&mut self, reader: &mut Reader<'_>, inode: &Inode, name: &str) -> Vec<Stretch> {
        let mut map = Vec::new();
        let stretches = reader.stretches(inode, &mut map);
        let content = stretches.iter().map(|stretch| stretch.image.clone());
        self.add(name, content.chain(map));
        if let Some(attributes) = reader.attributes(inode) {
            self.add("(extended attributes)", [attributes]);
        }
        stretches
    }

    fn add(&mut self, name: &str, ranges: impl IntoIterator<Item = Range<u64>>) {
        let owner = match self.names.last() {
            Some(last) if last == name => self.names.len() - 1,
            _ => {
                self.names.push(name.to_owned());
                self.names.len() - 1
            }
        };
        // At most as many names as the reader's budget has units.
        let owner = u32::try_from(owner).unwrap_or(u32::MAX);
        let regions = ranges.into_iter().map(|range| Region { range, owner });
        self.regions.extend(regions);
    }

    /// Whose the bytes of `range` are: names and how many bytes.
    pub(crate) fn owners(&self, range: &Range<u64>, mut tell: impl FnMut(&str, u64)) {
        let mut at = range.start;
        let next = self.regions.partition_point(|r| r.range.start <= at);
        let mut regions = self.regions.iter().skip(next.saturating_sub(1)).peekable();
        while at < range.end {
            while regions.next_if(|region| region.range.end <= at).is_some() {}
            let (name, end) = match regions.peek() {
                Some(region) if region.range.start <= at => (self.name(region), region.range.end),
                Some(region) => (ELSEWHERE, region.range.start),
                None => (ELSEWHERE, range.end),
            };
            let end = end.min(range.end);
            tell(name, end - at);
            at = end;
        }
    }

    fn name(&self, region: &Region) -> &str {
        let owner = usize::try_from(region.owner).unwrap_or(usize::MAX);
        self.names.get(owner).map_or(ELSEWHERE, String::as_str)
    }

    /// How the files of `new` differ from those of this tree; the images are those that the
    /// trees were read from. `None` when their content is more than images of this size hold.
    pub(crate) fn differences(&self, old: &[u8], new: &Self, image: &[u8]) -> Option<Differences> {
        let mut left = (old.len() as u64 + image.len() as u64).saturating_mul(MAX_READ);
        let mut found = Differences {
            files: new.files.len(),
            changed: 0,
            bytes: 0,
            retimed: 0,
        };
        for (path, file) in &new.files {
            let before = self.files.get(path);
            match before.filter(|before| before.size == file.size) {
                Some(before)
                    if content(old, before, &mut left)? == content(image, file, &mut left)? =>
                {
                    found.retimed += usize::from(before.times != file.times);
                }
                _ => {
                    found.changed += 1;
                    found.bytes = found.bytes.saturating_add(file.size);
                }
            }
        }
        Some(found)
    }
}

/// The digest of a file's content and of where it has holes. `None` when nothing may be read
/// any more.
fn content(image: &[u8], file: &File, left: &mut u64) -> Option<Digest> {
    let mut hasher = Sha256::new();
    let mut end = 0;
    for stretch in &file.stretches {
        let bytes = slice(image, &stretch.image);
        *left = left.checked_sub(bytes.len() as u64 + 1)?;
        if stretch.at != end {
            hasher.update(stretch.at.to_le_bytes());
        }
        end = stretch.at.saturating_add(bytes.len() as u64);
        hasher.update(bytes);
    }
    Some(Digest::from_bytes(hasher.finalize().into()))
}
