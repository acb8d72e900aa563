//! `channel`: says which release the devices following a channel should run.

use std::collections::HashMap;

use serde::Serialize;
use switchback_manifest::{Channel, Release, ReleasePointer, SCHEMA};
use switchback_types::{ChannelName, ProductName, Timestamp, Version};

use crate::edit::{Edit, Workplace};
use crate::error::RepoError;
use crate::role::Role;

/// What `channel set` is asked for.
#[derive(Debug, Clone)]
pub struct ChannelRequest {
    /// The product; the repository's only one unless given.
    pub product: Option<ProductName>,
    /// The channel.
    pub channel: ChannelName,
    /// The version that it should name; as it is unless given.
    pub version: Option<Version>,
    /// Whether devices may go back.
    pub allow_downgrade: bool,
    /// Whether updates stop or go on; as it is unless given.
    pub halted: Option<bool>,
    /// After this time devices no longer act on the document.
    pub expires: Option<Timestamp>,
}

/// What `channel set` did.
#[derive(Debug, Clone, Serialize)]
pub struct ChannelSet {
    /// The channel document.
    pub channel: Channel,
    /// Whether it was so already.
    pub unchanged: bool,
}

/// What changes in a channel; the rest stays.
#[derive(Debug, Default)]
pub(crate) struct ChannelChange<'a> {
    pub(crate) release: Option<&'a Release>,
    pub(crate) allow_downgrade: bool,
    pub(crate) halted: Option<bool>,
    pub(crate) expires: Option<Timestamp>,
}

/// Changes a channel, or makes it.
///
/// # Errors
/// [`RepoError::NoSuchRelease`], [`RepoError::NoSuchChannel`],
/// [`RepoError::ChannelDowngrade`], and what keys and files can fail with.
pub fn set(place: &Workplace<'_>, request: &ChannelRequest) -> Result<ChannelSet, RepoError> {
    let mut edit = Edit::begin(place)?;
    let product = edit.repository.product(request.product.as_ref())?;
    edit.check_ready(&[Role::Channels])?;
    let release = match &request.version {
        Some(version) => Some(edit.repository.release(&product, version)?),
        None => None,
    };
    let change = ChannelChange {
        release: release.as_ref(),
        allow_downgrade: request.allow_downgrade,
        halted: request.halted,
        expires: request.expires,
    };
    let set = apply(&mut edit, &product, &request.channel, &change)?;
    edit.commit()?;
    Ok(set)
}

/// Signs the changed document, unless nothing changes.
pub(crate) fn apply(
    edit: &mut Edit,
    product: &ProductName,
    name: &ChannelName,
    change: &ChannelChange<'_>,
) -> Result<ChannelSet, RepoError> {
    let before = edit.repository.channel(product, name)?;
    let channel = changed(before.as_ref(), product, name, change)?;
    let unchanged = before.as_ref() == Some(&channel);
    if !unchanged {
        let path = channel.path();
        let text = channel.to_json().map_err(|source| RepoError::Document {
            path: path.to_string(),
            source,
        })?;
        edit.sign_document(Role::Channels, &path, &text, HashMap::new())?;
    }
    Ok(ChannelSet { channel, unchanged })
}

fn changed(
    before: Option<&Channel>,
    product: &ProductName,
    name: &ChannelName,
    change: &ChannelChange<'_>,
) -> Result<Channel, RepoError> {
    let release = match (change.release, before) {
        (Some(release), Some(before)) if release.sequence < before.release.sequence => {
            if !change.allow_downgrade {
                return Err(RepoError::ChannelDowngrade {
                    channel: name.to_string(),
                    from: before.release.version.clone(),
                    from_sequence: before.release.sequence,
                    to: release.version.clone(),
                    to_sequence: release.sequence,
                });
            }
            ReleasePointer::to(release)
        }
        (Some(release), _) => ReleasePointer::to(release),
        (None, Some(before)) => before.release.clone(),
        (None, None) => {
            return Err(RepoError::NoSuchChannel {
                product: product.clone(),
                channel: name.to_string(),
            });
        }
    };
    // Leave to go back belongs to the release it was given with: the next one needs its own.
    let same_release = before.is_some_and(|before| before.release == release);
    let kept = before.is_some_and(|before| before.allow_downgrade && same_release);
    Ok(Channel {
        schema: SCHEMA,
        product: product.clone(),
        channel: name.clone(),
        release,
        allow_downgrade: change.allow_downgrade || kept,
        halted: change
            .halted
            .unwrap_or_else(|| before.is_some_and(|before| before.halted)),
        expires: change
            .expires
            .or_else(|| before.and_then(|before| before.expires)),
    })
}
