//! What must survive a power cut.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};
use switchback_types::{ActionId, Digest, SlotName, Timestamp, TraceId, Version};

use crate::outcome::{Outcome, RollbackReason};
use crate::slot::{ImageIdentity, SlotRecord};

/// Newest entries kept of the history.
const HISTORY_LIMIT: usize = 64;
/// Newest entries kept of the list of failed images.
const FAILED_LIMIT: usize = 32;

/// The kernel's identifier of one boot (`/proc/sys/kernel/random/boot_id`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(String);

impl BootId {
    /// Wraps the kernel's text, cut at 64 bytes.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().chars().take(64).collect())
    }
}

/// Why a slot is being switched to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptKind {
    /// A release was offered and wanted.
    Update,
    /// A person asked for the other slot.
    RollBack,
    /// The committed slot had lost its tries to power cycles and is given them back.
    Return,
    /// The inactive slot went bad and is made whole again; nothing is armed.
    Repair,
}

impl fmt::Display for AttemptKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Update => "update",
            Self::RollBack => "rollback",
            Self::Return => "return",
            Self::Repair => "repair",
        })
    }
}

/// One attempt to bring the device to one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The action it belongs to.
    pub action: ActionId,
    /// Why.
    pub kind: AttemptKind,
    /// The image wanted.
    pub image: ImageIdentity,
    /// The version that ran when it began, if known.
    pub from: Option<Version>,
    /// The slot that is to run it.
    pub target: SlotName,
    /// Boots that the bootloader will give it.
    pub tries: u8,
    /// When it began.
    pub started: Timestamp,
    /// Whether the image was already there: flipped only, nothing downloaded.
    pub flip_only: bool,
    /// The trace of the release that was offered: its name in everybody's logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceId>,
}

/// Where the device stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing under way.
    #[default]
    Idle,
    /// The target slot is being written, or what it holds is being verified.
    Installing {
        /// The attempt.
        attempt: Attempt,
    },
    /// The target slot is verified; the boot environment is about to be written.
    Staged {
        /// The attempt.
        attempt: Attempt,
    },
    /// The boot environment is armed: the next boot, or this one, is a trial of the target slot.
    OnTrial {
        /// The attempt.
        attempt: Attempt,
        /// The boot in which it was armed, if the daemon lived to note it.
        armed_in: Option<BootId>,
        /// Whether the daemon has run in the target slot.
        daemon_ran: bool,
        /// Tries given back to orderly restarts.
        given_back: u8,
        /// Set once the trial is lost: from here on only the way back is left.
        verdict: Option<RollbackReason>,
    },
    /// The outcome is settled; who must be told has not been told yet.
    Reporting {
        /// The attempt.
        attempt: Attempt,
        /// How it ended.
        outcome: Outcome,
    },
}

/// The names of the phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PhaseKind {
    /// [`Phase::Idle`].
    Idle,
    /// [`Phase::Installing`].
    Installing,
    /// [`Phase::Staged`].
    Staged,
    /// [`Phase::OnTrial`].
    OnTrial,
    /// [`Phase::Reporting`].
    Reporting,
}

impl PhaseKind {
    /// All phases, in the order in which an update passes them.
    pub const ALL: [Self; 5] = [
        Self::Idle,
        Self::Installing,
        Self::Staged,
        Self::OnTrial,
        Self::Reporting,
    ];

    /// The name on D-Bus, in the journal and in `--json` output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Installing => "installing",
            Self::Staged => "staged",
            Self::OnTrial => "on-trial",
            Self::Reporting => "reporting",
        }
    }
}

impl fmt::Display for PhaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Phase {
    /// Its name.
    #[must_use]
    pub const fn kind(&self) -> PhaseKind {
        match self {
            Self::Idle => PhaseKind::Idle,
            Self::Installing { .. } => PhaseKind::Installing,
            Self::Staged { .. } => PhaseKind::Staged,
            Self::OnTrial { .. } => PhaseKind::OnTrial,
            Self::Reporting { .. } => PhaseKind::Reporting,
        }
    }

    /// The attempt under way, if any.
    #[must_use]
    pub const fn attempt(&self) -> Option<&Attempt> {
        match self {
            Self::Idle => None,
            Self::Installing { attempt }
            | Self::Staged { attempt }
            | Self::OnTrial { attempt, .. }
            | Self::Reporting { attempt, .. } => Some(attempt),
        }
    }
}

/// An image that failed on this device and is not tried again by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedImage {
    /// The image.
    pub sha256: Digest,
    /// Its version, for people.
    pub version: Version,
    /// What went wrong.
    pub reason: RollbackReason,
    /// When.
    pub at: Timestamp,
}

/// A person's word that this device stays on what it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Hold {
    /// Whether it is in force at `now`.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A person's word that only one version may come to this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The version.
    pub version: Version,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// One line of the device's own history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The action.
    pub action: ActionId,
    /// Why it was begun.
    pub kind: AttemptKind,
    /// The version before, if known.
    pub from: Option<Version>,
    /// The version wanted.
    pub version: Version,
    /// Its image.
    pub sha256: Digest,
    /// The slot it was for.
    pub slot: SlotName,
    /// Whether nothing had to be downloaded.
    pub flip_only: bool,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The whole durable state of the updater.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where the device stands.
    pub phase: Phase,
    /// An update that a restart cut short while its slot was being written. It goes on under the
    /// same action when its image is offered again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<Attempt>,
    /// Slot a.
    pub a: SlotRecord,
    /// Slot b.
    pub b: SlotRecord,
    /// The slot last committed: the one that is meant to run.
    pub primary: Option<SlotName>,
    /// Lowest `security_epoch` that may be installed.
    pub floor: u32,
    /// Images that failed here, oldest first.
    pub failed: Vec<FailedImage>,
    /// Whether a person holds the device where it is.
    pub hold: Option<Hold>,
    /// The only version that may come to this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// The image that a person gave consent to last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Digest>,
    /// What happened, oldest first.
    pub history: Vec<HistoryEntry>,
}

impl State {
    /// The record of a slot.
    #[must_use]
    pub const fn slot(&self, slot: SlotName) -> &SlotRecord {
        match slot {
            SlotName::A => &self.a,
            SlotName::B => &self.b,
        }
    }

    pub(crate) const fn slot_mut(&mut self, slot: SlotName) -> &mut SlotRecord {
        match slot {
            SlotName::A => &mut self.a,
            SlotName::B => &mut self.b,
        }
    }

    /// Whether, and why, an image is known to have failed here.
    #[must_use]
    pub fn failure_of(&self, sha256: &Digest) -> Option<&FailedImage> {
        self.failed
            .iter()
            .rev()
            .find(|failed| failed.sha256 == *sha256)
    }

    pub(crate) fn remember_failure(&mut self, failed: FailedImage) {
        self.failed.retain(|known| known.sha256 != failed.sha256);
        self.failed.push(failed);
        let excess = self.failed.len().saturating_sub(FAILED_LIMIT);
        self.failed.drain(..excess);
    }

    pub(crate) fn write_history(&mut self, attempt: &Attempt, outcome: &Outcome, now: Timestamp) {
        // A server that is down for a week must not push everything else out of the history: the
        // same failure of the same image again is one line, with the time of the last try.
        let again = self.history.last().is_some_and(|last| {
            last.sha256 == attempt.image.sha256
                && last.outcome == *outcome
                && matches!(outcome, Outcome::Failed(_))
        });
        if again && let Some(last) = self.history.last_mut() {
            last.ended = now;
            return;
        }
        self.history.push(HistoryEntry {
            action: attempt.action.clone(),
            kind: attempt.kind,
            from: attempt.from.clone(),
            version: attempt.image.version.clone(),
            sha256: attempt.image.sha256,
            slot: attempt.target,
            flip_only: attempt.flip_only,
            started: attempt.started,
            ended: now,
            outcome: outcome.clone(),
        });
        let excess = self.history.len().saturating_sub(HISTORY_LIMIT);
        self.history.drain(..excess);
    }
}
