//! What the worker is told to do, and what it reports.

use std::sync::Arc;

use switchback_manifest::TrustedRelease;
use switchback_types::{Digest, SlotName, Timestamp, Version};
use switchback_update_core::{Attempt, Gate, ImageIdentity, InstallFailure};

use crate::cancel::Cancel;
use crate::fetch::BundlePlace;
use crate::fetcher::Fetcher;
use crate::install::{Choice, InstallProgress, Installed};
use crate::settings::{DeviceSettings, GateSettings};
use crate::trust::Asked;

/// Something to do.
pub enum Job {
    /// Ask the repository.
    Poll {
        /// The version that a fleet server wants; nothing: what the channel names.
        version: Option<Version>,
        /// What runs, as far as is known.
        running: Option<ImageIdentity>,
        /// The gates to read after it.
        gates: Arc<GateSettings>,
    },
    /// Read the gates.
    Gates(Arc<GateSettings>),
    /// Open a bundle and look at what it brings.
    Open {
        /// The bundle.
        place: BundlePlace,
        /// What runs, as far as is known.
        running: Option<ImageIdentity>,
        /// The gates to read after it.
        gates: Arc<GateSettings>,
    },
    /// Write a release into the inactive slot.
    Install {
        /// The release.
        release: Box<TrustedRelease>,
        /// What runs, as far as is known.
        running: Option<ImageIdentity>,
        /// Whether the slot is known to hold parts of the image.
        begun: bool,
        /// Whether its content is in the bundle that was opened last.
        bundled: bool,
    },
    /// Read the inactive slot back.
    Verify(Attempt),
    /// Hash a slot of unknown content.
    Identify(SlotName),
    /// Read the inactive slot back, and do nothing else with it.
    Check {
        /// What it is thought to hold.
        image: ImageIdentity,
        /// Of its own, so that other work can push it aside.
        cancel: Cancel,
    },
    /// Work by other settings from now on.
    Settings {
        /// What this device is.
        device: DeviceSettings,
        /// Who fetches.
        fetcher: Box<dyn Fetcher>,
    },
    /// Find the release that a damaged slot held.
    Find {
        /// What it held.
        image: ImageIdentity,
    },
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Poll { .. } => "Poll",
            Self::Gates(_) => "Gates",
            Self::Open { .. } => "Open",
            Self::Install { .. } => "Install",
            Self::Verify(_) => "Verify",
            Self::Identify(_) => "Identify",
            Self::Check { .. } => "Check",
            Self::Settings { .. } => "Settings",
            Self::Find { .. } => "Find",
        })
    }
}

/// What came of it.
#[derive(Debug)]
pub enum Report {
    /// The repository was asked.
    Polled {
        /// What it said.
        asked: Asked,
        /// The time to act by.
        now: Timestamp,
        /// Whether the running slot, of unknown origin, holds the very image that is offered.
        runs_already: bool,
        /// The gates, if there is something that they stand before.
        gates: Vec<Gate>,
    },
    /// The gates were read.
    Gates {
        /// The time to act by.
        now: Timestamp,
        /// As they were found.
        gates: Vec<Gate>,
    },
    /// An install takes this way.
    Chosen(Choice),
    /// An install goes on.
    Progress(InstallProgress),
    /// The inactive slot was written or read back.
    SlotDone(Result<Installed, InstallFailure>),
    /// A slot was hashed.
    Identified(SlotName, ImageIdentity),
    /// The inactive slot was looked at.
    SlotChecked {
        /// The slot.
        slot: SlotName,
        /// Digest of the image that it was compared with.
        sha256: Digest,
        /// Whether it holds it, if that could be found out; `Err` says what differs.
        result: Option<Result<(), String>>,
    },
    /// The release for a repair was looked for; `Err` says why there is none.
    Found(Result<Box<TrustedRelease>, String>),
}
