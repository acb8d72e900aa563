//! `publish`: cuts a release out of an image and signs it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use switchback_manifest::{Image, ImageFormat, MAX_NOTES_BYTES, Release, Requires, SCHEMA};
use switchback_types::{ChannelName, Compatible, Digest, ProductName, Timestamp, Version};

use crate::channel::{self, ChannelChange};
use crate::chunks::store_chunks;
use crate::content::{self, Packing, digest_file};
use crate::deltas::{
    self, Cuts, DeltaReport, DeltaRequest, Field, Goal, Unfit, Watch, Wish, choose,
};
use crate::edit::{Edit, Workplace};
use crate::error::{RepoError, io};
use crate::format;
use crate::papers::Papers;
use crate::role::Role;

/// The field of an artifact's `custom` object that says why its number is out of line.
const FORCED: &str = "sequence_forced_because";

/// What `publish` is asked for.
#[derive(Debug, Clone)]
pub struct PublishRequest {
    /// The image.
    pub image: PathBuf,
    /// The product; the repository's only one unless given.
    pub product: Option<ProductName>,
    /// What people call the release.
    pub version: Version,
    /// The kinds of hardware that the image runs on.
    pub compatible: Vec<Compatible>,
    /// Its place in line; the next free number unless given.
    pub sequence: Option<u64>,
    /// Why the number may be below the highest so far.
    pub force_sequence: Option<String>,
    /// The newest release's unless given.
    pub security_epoch: Option<u32>,
    /// Recognised from the image unless given.
    pub format: Option<ImageFormat>,
    /// A file with the notes.
    pub notes: Option<PathBuf>,
    /// Names kernel, initramfs, device tree and command line together.
    pub kernel_id: Option<Digest>,
    /// What the image is made of: SPDX or CycloneDX as JSON.
    pub sbom: Option<PathBuf>,
    /// An in-toto statement about the image.
    pub provenance: Option<PathBuf>,
    /// A release that devices must have reached before.
    pub requires: Option<Version>,
    /// A channel to set to the release.
    pub channel: Option<ChannelName>,
    /// When the release was cut.
    pub created: Timestamp,
    /// How the image is cut and compressed.
    pub packing: Packing,
    /// Which deltas lead to it.
    pub deltas: DeltaRequest,
}

/// What `publish` did.
#[derive(Debug, Clone, Serialize)]
pub struct Published {
    /// The release document.
    pub release: Release,
    /// Names what happens to it: the journals of the fleet server and of devices have it as `TRACE_ID`.
    pub trace_id: Option<String>,
    /// Whether the same release was there already.
    pub unchanged: bool,
    /// The channel that names it now.
    pub channel: Option<ChannelName>,
    /// What became of each delta, in the order of the wish; empty when nothing was cut now.
    pub deltas: Vec<DeltaReport>,
    /// What makes deltas larger than they need be, for people.
    pub warnings: Vec<String>,
}

/// Publishes a release. Asking for the same release again changes nothing and succeeds, so an
/// interrupted `publish` is finished by running it again.
///
/// # Errors
/// [`RepoError::VersionTaken`], [`RepoError::SequenceTaken`],
/// [`RepoError::SequenceNotIncreasing`], [`RepoError::Expired`] and everything that images, keys
/// and files can fail with. Devices see the repository as it was then.
pub fn publish(
    place: &Workplace<'_>,
    request: &PublishRequest,
    watch: &Watch<'_>,
) -> Result<Published, RepoError> {
    let mut edit = Edit::begin(place)?;
    publish_in(&mut edit, request, watch)
}

pub(crate) fn publish_in(
    edit: &mut Edit,
    request: &PublishRequest,
    watch: &Watch<'_>,
) -> Result<Published, RepoError> {
    let product = edit.repository.product(request.product.as_ref())?;
    match request.channel {
        Some(_) => edit.check_ready(&[Role::Releases, Role::Channels])?,
        None => edit.check_ready(&[Role::Releases])?,
    }
    let notes = request.notes.as_deref().map(read_notes).transpose()?;
    let existing = edit.repository.releases(&product)?;
    let taken = existing
        .iter()
        .find(|release| release.version == request.version);
    let (release, unchanged, cuts) = match taken {
        Some(taken) => {
            check_same(taken, request, notes.as_deref())?;
            (taken.clone(), true, Cuts::default())
        }
        None => {
            let line = Line::of(&existing);
            let sequence = line.sequence(request)?;
            let security_epoch = request.security_epoch.unwrap_or(line.security_epoch);
            let draft = Draft {
                product: &product,
                sequence,
                security_epoch,
                requires: required(request, &product, sequence, &existing)?,
                notes,
            };
            let (release, cuts) = cut(edit, request, draft, &existing, watch)?;
            (release, false, cuts)
        }
    };
    if let Some(channel) = &request.channel {
        let change = ChannelChange {
            release: Some(&release),
            ..ChannelChange::default()
        };
        channel::apply(edit, &product, channel, &change)?;
    }
    edit.commit()?;
    let trace = edit.repository.trace(&release);
    Ok(Published {
        trace_id: trace.map(|trace| trace.id().to_string()),
        release,
        unchanged,
        channel: request.channel.clone(),
        deltas: cuts.reports,
        warnings: cuts.warnings,
    })
}

/// What is known of a release before its image is read.
struct Draft<'a> {
    product: &'a ProductName,
    sequence: u64,
    security_epoch: u32,
    requires: Option<Requires>,
    notes: Option<String>,
}

/// The release that must come before, as the repository has it.
fn required(
    request: &PublishRequest,
    product: &ProductName,
    sequence: u64,
    existing: &[Release],
) -> Result<Option<Requires>, RepoError> {
    let Some(version) = &request.requires else {
        return Ok(None);
    };
    let found = existing.iter().find(|release| release.version == *version);
    let found =
        found.ok_or_else(|| RepoError::no_such_release(product, version.clone(), existing))?;
    if found.sequence >= sequence {
        return Err(RepoError::SequenceNotIncreasing {
            sequence,
            last: found.sequence,
            last_version: found.version.clone(),
        });
    }
    Ok(Some(Requires {
        version: version.clone(),
        sequence: found.sequence,
    }))
}

/// Stores the image and the deltas to it, then the document that names them.
fn cut(
    edit: &mut Edit,
    request: &PublishRequest,
    draft: Draft<'_>,
    existing: &[Release],
    watch: &Watch<'_>,
) -> Result<(Release, Cuts), RepoError> {
    // Before minutes of compression, not after.
    let field = request.deltas.field.as_deref().map(Field::read);
    let field = field.transpose()?;
    let named = named_bases(request, draft.product, existing)?;
    let format = match request.format {
        Some(format) => format,
        None => format::detect(&request.image)?,
    };
    let papers = Papers::read(request.sbom.as_deref(), request.provenance.as_deref())?;
    let stored = content::store_image(edit.store(), &request.image, request.packing, watch)?;
    let (sbom, provenance) = papers.store(edit.store(), &stored.sha256)?;
    let mut release = Release {
        schema: SCHEMA,
        product: draft.product.clone(),
        compatible: request.compatible.clone(),
        version: request.version.clone(),
        sequence: draft.sequence,
        security_epoch: draft.security_epoch,
        requires: draft.requires,
        created: request.created,
        image: Image {
            format,
            size: stored.size,
            sha256: stored.sha256,
            segment_size: request.packing.segment_size,
            segments: stored.segments,
            kernel_id: request.kernel_id,
        },
        full: stored.full,
        chunks: None,
        deltas: Vec::new(),
        sbom,
        provenance,
        notes: draft.notes,
    };
    if let Some(level) = request.packing.chunk_level {
        let image = &release.image;
        release.chunks = store_chunks(edit.store(), &request.image, image, level, watch)?;
    }
    let wish = Wish {
        last: request.deltas.last,
        named,
        field: field.as_ref(),
    };
    let goal = Goal {
        compatible: &release.compatible,
        sequence: release.sequence,
        image: release.image.sha256,
    };
    let bases = choose(existing, &goal, &wish);
    let memory = request.deltas.memory;
    let mut cuts = deltas::cut(
        edit.store(),
        &release,
        &request.image,
        &bases,
        memory,
        watch,
    )?;
    let lost = field.and_then(|field| field.lost(existing));
    cuts.warnings.extend(lost);
    release.deltas.clone_from(&cuts.deltas);
    let path = release.path();
    let text = release.to_json().map_err(|source| RepoError::Document {
        path: path.to_string(),
        source,
    })?;
    let custom = match &request.force_sequence {
        Some(reason) => HashMap::from([(FORCED.to_owned(), Value::from(reason.as_str()))]),
        None => HashMap::new(),
    };
    edit.sign_document(Role::Releases, &path, &text, custom)?;
    Ok((release, cuts))
}

/// The releases that deltas must lead from.
fn named_bases<'a>(
    request: &PublishRequest,
    product: &ProductName,
    existing: &'a [Release],
) -> Result<Vec<&'a Release>, RepoError> {
    deltas::named(existing, &request.compatible, &request.deltas.from).map_err(
        |unfit| match unfit {
            Unfit::Unknown(version) => RepoError::no_such_release(product, version, existing),
            Unfit::Incompatible(from) => RepoError::DeltaIncompatible {
                from,
                to: request.version.clone(),
            },
        },
    )
}

/// Where a product's line of releases stands.
struct Line<'a> {
    releases: &'a [Release],
    security_epoch: u32,
}

impl<'a> Line<'a> {
    /// `releases` are in order of their sequence numbers.
    fn of(releases: &'a [Release]) -> Self {
        Self {
            releases,
            security_epoch: releases.last().map_or(0, |newest| newest.security_epoch),
        }
    }

    /// The new release's number: the one asked for if it may be had, or the next.
    fn sequence(&self, request: &PublishRequest) -> Result<u64, RepoError> {
        let Some(newest) = self.releases.last() else {
            return Ok(request.sequence.unwrap_or(1));
        };
        let Some(sequence) = request.sequence else {
            return Ok(newest.sequence.saturating_add(1));
        };
        if let Some(same) = self
            .releases
            .iter()
            .find(|release| release.sequence == sequence)
        {
            return Err(RepoError::SequenceTaken {
                sequence,
                taken_by: same.version.clone(),
            });
        }
        if sequence < newest.sequence && request.force_sequence.is_none() {
            return Err(RepoError::SequenceNotIncreasing {
                sequence,
                last: newest.sequence,
                last_version: newest.version.clone(),
            });
        }
        Ok(sequence)
    }
}

/// A version names one release for ever. What the request leaves open is as it was.
fn check_same(
    taken: &Release,
    request: &PublishRequest,
    notes: Option<&str>,
) -> Result<(), RepoError> {
    let image = digest_file(&request.image)
        .map_err(io("read", &request.image))?
        .sha256;
    let pairs = [
        (
            "image",
            taken.image.sha256.to_string(),
            Some(image.to_string()),
        ),
        (
            "sequence",
            taken.sequence.to_string(),
            request.sequence.map(|n| n.to_string()),
        ),
        (
            "security epoch",
            taken.security_epoch.to_string(),
            request.security_epoch.map(|n| n.to_string()),
        ),
        (
            "requires",
            taken
                .requires
                .as_ref()
                .map_or_else(|| "nothing".into(), |before| before.version.to_string()),
            request.requires.as_ref().map(Version::to_string),
        ),
        (
            "format",
            taken.image.format.to_string(),
            request.format.map(|f| f.to_string()),
        ),
        (
            "compatible",
            join(&taken.compatible),
            Some(join(&request.compatible)),
        ),
        (
            "kernel id",
            taken
                .image
                .kernel_id
                .map_or_else(|| "none".into(), |id| id.to_string()),
            request.kernel_id.map(|id| id.to_string()),
        ),
        (
            "notes",
            taken.notes.clone().unwrap_or_default(),
            notes.map(ToOwned::to_owned),
        ),
    ];
    for (field, published, offered) in pairs {
        if let Some(offered) = offered.filter(|offered| *offered != published) {
            return Err(RepoError::VersionTaken {
                product: taken.product.clone(),
                version: taken.version.clone(),
                difference: format!("its {field} is {published:?}, this one's {offered:?}"),
            });
        }
    }
    Ok(())
}

fn join(names: &[Compatible]) -> String {
    names
        .iter()
        .map(Compatible::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Reads the notes, without the white space at their end.
fn read_notes(path: &Path) -> Result<String, RepoError> {
    let reading = "read the notes in";
    let length = fs::metadata(path).map_err(io(reading, path))?.len();
    if length > MAX_NOTES_BYTES as u64 {
        return Err(RepoError::NotesTooLong {
            path: path.into(),
            length,
            limit: MAX_NOTES_BYTES,
        });
    }
    let text = fs::read_to_string(path).map_err(io(reading, path))?;
    Ok(text.trim_end().to_owned())
}
