//! What is decided about: a release, as this device sees it.

use switchback_manifest::{Release, TrustedChannel, TrustedRelease};
use switchback_types::{Compatible, Version};
use switchback_update_core::{Candidate, Requires};

use crate::install::identity;
use crate::settings::{DeviceSettings, Paper};

/// A release that was offered: by a channel, perhaps on the way to another one, or in a bundle.
pub(super) fn candidate(
    device: &DeviceSettings,
    release: &TrustedRelease,
    channel: Option<&TrustedChannel>,
    toward: Option<Version>,
    runs_already: bool,
) -> Candidate {
    Candidate {
        image: identity(release),
        allow_downgrade: channel.is_none_or(|channel| channel.allow_downgrade),
        halted: channel.is_some_and(|channel| channel.halted),
        compatible: compatible(&release.compatible, &device.compatible),
        runs_already,
        toward,
        requires: release.requires.as_ref().map(|requires| Requires {
            version: requires.version.clone(),
            sequence: requires.sequence,
        }),
        lacks: lacking(&device.require, release),
    }
}

/// The first paper that must be there and is not.
fn lacking(required: &[Paper], release: &Release) -> Option<&'static str> {
    let carries = |paper: Paper| match paper {
        Paper::Sbom => release.sbom.is_some(),
        Paper::Provenance => release.provenance.is_some(),
    };
    let missing = required.iter().find(|paper| !carries(**paper));
    missing.map(|paper| paper.as_str())
}

/// The device's kind if the release lists it, else what it lists.
fn compatible(listed: &[Compatible], device: &Compatible) -> Result<String, String> {
    if listed.contains(device) {
        return Ok(device.to_string());
    }
    let listed: Vec<String> = listed
        .iter()
        .map(|name| format!("{:?}", name.as_str()))
        .collect();
    Err(format!(
        "the release is made for {}, this device is {:?}",
        listed.join(", "),
        device.as_str()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_hardware_is_named_on_both_sides() {
        let listed = ["board-1".parse().unwrap(), "board-2".parse().unwrap()];
        let device: Compatible = "board-3".parse().unwrap();
        let text = compatible(&listed, &device).unwrap_err();
        assert_eq!(
            text,
            "the release is made for \"board-1\", \"board-2\", this device is \"board-3\""
        );
        assert!(compatible(&listed, &listed[1]).is_ok());
    }
}
