//! Documents of the repository, by their paths.

use std::collections::BTreeMap;

use switchback_manifest::{TrustedRelease, release_path};
use switchback_tuf::{Refreshed, VerifiedTarget};
use switchback_types::{ProductName, TargetPath};

use super::answer::Failure;
use super::drive;
use crate::fetch::Files;
use crate::report::chain;

/// So many releases may have to come before another.
const MAX_STEPS: u32 = 32;

/// A signed document longer than this is not one of ours.
const MAX_DOCUMENT: u64 = 256 * 1024;

/// The channel and release documents as fetched last, by path: an idle poll need not fetch them
/// again. Only a memory of bytes; each use verifies them anew.
#[derive(Debug, Default)]
pub(super) struct Documents {
    known: BTreeMap<TargetPath, Vec<u8>>,
    /// Those that the present question needed; the others are of no more use.
    needed: BTreeMap<TargetPath, Vec<u8>>,
}

impl Documents {
    /// What the next question may need.
    pub(super) fn kept(self) -> Self {
        Self {
            known: self.needed,
            needed: BTreeMap::new(),
        }
    }
}

/// The first release on the way to one that a device with this one running may install. The release role alone
/// says which those are: whoever paces releases cannot leave one out.
pub(super) fn first_on_the_way(
    refreshed: &mut Refreshed,
    source: &dyn Files,
    product: &ProductName,
    named: TrustedRelease,
    running: u64,
    documents: &mut Documents,
) -> Result<TrustedRelease, Failure> {
    let mut release = named;
    for _ in 0..=MAX_STEPS {
        let requires = match &release.requires {
            Some(requires) if running < requires.sequence => requires.clone(),
            _ => return Ok(release),
        };
        let path = release_path(product, &requires.version);
        let said = format!(
            "version {} requires version {} before it",
            release.version, requires.version
        );
        let Some(found) = find(refreshed, source, path.clone(), documents)? else {
            let url = source.url("metadata");
            return Err(Failure::Content(format!(
                "{said}, and {url} lists no {path}"
            )));
        };
        let before = TrustedRelease::from_verified(&found)
            .map_err(|error| Failure::Content(chain(&error)))?;
        // The numbers go down with each step: there is no going round in circles.
        if before.sequence != requires.sequence {
            return Err(Failure::Content(format!(
                "{said}, as number {}, which has number {}",
                requires.sequence, before.sequence
            )));
        }
        release = before;
    }
    Err(Failure::Content(format!(
        "more than {MAX_STEPS} releases come before the one that the channel names"
    )))
}

/// Finds an artifact through the delegations, fetches it and checks it.
pub(super) fn find(
    refreshed: &mut Refreshed,
    source: &dyn Files,
    path: TargetPath,
    documents: &mut Documents,
) -> Result<Option<VerifiedTarget>, Failure> {
    let mut lookup = refreshed.lookup(path.clone())?;
    drive(&mut lookup, source)?;
    let Some(info) = lookup.finish()? else {
        return Ok(None);
    };
    let known = documents.known.remove(&path);
    if let Some(verified) = known.and_then(|known| info.verify(known).ok()) {
        documents.needed.insert(path, verified.bytes().to_vec());
        return Ok(Some(verified));
    }
    let url_path = format!("targets/{}", info.url_path()?);
    if info.length() > MAX_DOCUMENT {
        let url = source.url(&url_path);
        let length = info.length();
        return Err(Failure::Content(format!(
            "{url}: {length} bytes, at most {MAX_DOCUMENT}"
        )));
    }
    let bytes = source
        .file(&url_path, info.length())
        .map_err(Failure::Fetch)?;
    let verified = info.verify(bytes)?;
    documents.needed.insert(path, verified.bytes().to_vec());
    Ok(Some(verified))
}
