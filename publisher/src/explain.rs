//! `inspect --version`: what the deltas of a release are made of, and which files caused it.

use std::collections::HashMap;

use serde::Serialize;
use switchback_delta::{Cost, FrameParts, Header, explain};
use switchback_manifest::{Delta, Release};
use switchback_types::{Digest, ProductName, Version};

use crate::error::RepoError;
use crate::filesystem::tree::Tree;
use crate::repository::Repository;
use crate::unpack;

/// So many files are listed for each delta, the most expensive first.
pub const TOP_FILES: usize = 20;

/// Which deltas are explained.
#[derive(Debug, Clone)]
pub struct ExplainRequest {
    /// The product; the repository's only one unless given.
    pub product: Option<ProductName>,
    /// The release that the deltas lead to.
    pub version: Version,
    /// The version that the delta leads from; all deltas unless given.
    pub from: Option<Version>,
}

/// The deltas of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The product.
    pub product: ProductName,
    /// The release.
    pub version: Version,
    /// Its deltas, in the order of the document.
    pub deltas: Vec<DeltaExplained>,
}

/// One delta.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeltaExplained {
    /// The image that it leads from.
    pub from_sha256: Digest,
    /// The version of that image, while it is published.
    pub from: Option<Version>,
    /// Its length in bytes.
    pub length: u64,
    /// What it is made of; `None` when the old image is not in the repository any more, or when
    /// the format is not known.
    pub parts: Option<PartsExplained>,
}

/// What a delta is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PartsExplained {
    /// Bytes of the new image that are as in the old one, wherever they stood, or that the device
    /// makes itself: checksums of metadata.
    pub copied: u64,
    /// Bytes of the new image that resemble old ones and differ.
    pub changed: u64,
    /// Bytes of the new image that resemble nothing and are sent.
    pub sent: u64,
    /// Bytes of the new image that are zero and cost nothing.
    pub zeros: u64,
    /// Bytes of the delta: header and frame table.
    pub table: u64,
    /// Bytes of the delta: where old bytes went.
    pub maps: u64,
    /// Bytes of the delta: what is sent, and what changed.
    pub frames: u64,
    /// What a device packs from plain bytes; left out when it packs nothing. All bytes of the new
    /// image above are counted unpacked then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packed: Option<PackedExplained>,
    /// Of an ext4 image: what costs most, at most [`TOP_FILES`].
    pub files: Vec<FileCost>,
    /// How many more files cost something.
    pub more_files: usize,
}

/// Compressed blocks of the new image that a device makes from what is in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackedExplained {
    /// What packs them.
    pub by: String,
    /// How many there are.
    pub blocks: usize,
    /// Their bytes in the image.
    pub bytes: u64,
    /// The bytes in them.
    pub plain: u64,
}

/// What one file, or one part of the file system itself, costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileCost {
    /// Its path, or what it is, in parentheses.
    pub path: String,
    /// Its bytes that resemble old ones and differ.
    pub changed: u64,
    /// Its bytes that are sent.
    pub sent: u64,
    /// About so many bytes of the delta, each frame shared out evenly over the bytes that it
    /// changes or sends.
    pub cost: u64,
}

/// Explains the deltas of a release. New and old images come out of their packs, one pair at a
/// time.
///
/// # Errors
/// [`RepoError::NoSuchRelease`], [`RepoError::NotInRelease`], [`RepoError::DeltaUnreadable`],
/// [`RepoError::Missing`], [`RepoError::Damaged`].
pub fn explain_release(
    repository: &Repository,
    request: &ExplainRequest,
) -> Result<Explained, RepoError> {
    let product = repository.product(request.product.as_ref())?;
    let releases = repository.releases(&product)?;
    let release = repository.release(&product, &request.version)?;
    let only = match &request.from {
        Some(from) => Some(repository.release(&product, from)?.image.sha256),
        None => None,
    };
    let wanted: Vec<&Delta> = release
        .deltas
        .iter()
        .filter(|delta| only.is_none_or(|only| only == delta.from))
        .collect();
    if let (Some(from), true) = (&request.from, wanted.is_empty()) {
        return Err(RepoError::not_in_release(&release, from, &releases));
    }
    let mut explained = Explained {
        product,
        version: release.version.clone(),
        deltas: Vec::new(),
    };
    let mut new = None;
    for delta in wanted {
        let base = releases
            .iter()
            .rfind(|base| base.image.sha256 == delta.from);
        let parts = match base {
            Some(base) if delta.format.is_known() => {
                let new = match &new {
                    Some(new) => new,
                    None => new.insert(unpack::image(repository.path(), &release)?),
                };
                Some(parts(repository, base, delta, new)?)
            }
            _ => None,
        };
        explained.deltas.push(DeltaExplained {
            from_sha256: delta.from,
            from: base.map(|base| base.version.clone()),
            length: delta.blob.length,
            parts,
        });
    }
    Ok(explained)
}

fn parts(
    repository: &Repository,
    base: &Release,
    delta: &Delta,
    new: &[u8],
) -> Result<PartsExplained, RepoError> {
    let blob = unpack::blob(repository.path(), &delta.blob)?;
    let old = unpack::image(repository.path(), base)?;
    let tree = Tree::read(new);
    let mut found = PartsExplained::default();
    let mut costs = Costs::default();
    let lengths = explain(&blob, &old, new, &mut |frame| {
        found.copied += frame.copied;
        found.zeros += frame.zeros;
        for (range, cost) in &frame.costly {
            let bytes = range.end - range.start;
            match cost {
                Cost::Changed => found.changed += bytes,
                Cost::Sent => found.sent += bytes,
            }
        }
        if let Some(tree) = &tree {
            costs.add(tree, frame);
        }
    })
    .map_err(|source| RepoError::DeltaUnreadable {
        path: repository.path().join(delta.blob.path()),
        source,
    })?;
    found.table = lengths.table;
    found.maps = lengths.maps;
    found.frames = lengths.frames;
    found.packed = lengths.packed.map(|packed| PackedExplained {
        by: packed.by.into(),
        blocks: packed.blocks,
        bytes: packed.bytes,
        plain: packed.plain,
    });
    found.files = costs.finish();
    found.more_files = found.files.len().saturating_sub(TOP_FILES);
    found.files.truncate(TOP_FILES);
    Ok(found)
}

/// What files cost, in thousandths of a byte while frames are added.
#[derive(Debug, Default)]
struct Costs(HashMap<String, FileCost>);

impl Costs {
    fn add(&mut self, tree: &Tree, frame: &FrameParts) {
        let all: u64 = frame
            .costly
            .iter()
            .map(|(range, _)| range.end - range.start)
            .sum();
        for (range, cost) in &frame.costly {
            tree.owners(range, |path, bytes| {
                let share = u128::from(frame.length) * 1000 * u128::from(bytes);
                let share = u64::try_from(share / u128::from(all.max(1))).unwrap_or(u64::MAX);
                let file = match self.0.get_mut(path) {
                    Some(file) => file,
                    None => self.0.entry(path.to_owned()).or_insert(FileCost {
                        path: path.to_owned(),
                        changed: 0,
                        sent: 0,
                        cost: 0,
                    }),
                };
                file.cost = file.cost.saturating_add(share);
                match cost {
                    Cost::Changed => file.changed += bytes,
                    Cost::Sent => file.sent += bytes,
                }
            });
        }
    }

    /// The most expensive first, in whole bytes.
    fn finish(self) -> Vec<FileCost> {
        let mut files: Vec<FileCost> = self.0.into_values().collect();
        files.sort_by(|a, b| b.cost.cmp(&a.cost).then_with(|| a.path.cmp(&b.path)));
        for file in &mut files {
            file.cost = file.cost.div_ceil(1000);
        }
        files
    }
}

/// What the first bytes of a delta say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeltaHeader {
    /// The image that it leads from.
    pub from_sha256: Digest,
    /// Length of that image in bytes.
    pub from_size: u64,
    /// The image that it leads to.
    pub to_sha256: Digest,
    /// Length of that image in bytes.
    pub to_size: u64,
    /// Bytes per segment.
    pub segment_size: u64,
}

impl From<&Header> for DeltaHeader {
    fn from(header: &Header) -> Self {
        Self {
            from_sha256: header.images.old_sha256,
            from_size: header.images.old_len,
            to_sha256: header.images.new_sha256,
            to_size: header.images.new_len,
            segment_size: 1 << header.segment_log,
        }
    }
}
