//! What came of offering a release to one device.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use switchback_types::Timestamp;

/// How an attempt ended, or that it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Not yet.
    Pending,
    /// The device says that it runs the release.
    Succeeded,
    /// The device gave up before it ran the release.
    Failed,
    /// The device ran the release, or tried to, and went back.
    RolledBack,
    /// The device took the offer, and the deadline passed without a word of how it ended; or it
    /// was well, and is not heard of any more.
    Silent,
    /// A person called it off.
    Cancelled,
}

impl Outcome {
    /// Whether it speaks against the release.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::RolledBack | Self::Silent)
    }

    /// The word in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RolledBack => "rolled-back",
            Self::Silent => "silent",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How far a device is on its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Revert {
    /// It was offered what it ran before.
    Offered,
    /// It runs that again, or said how else it ended.
    Done,
}

/// Whether a device that is at it was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cancel {
    /// It was asked.
    Asked,
    /// It could not: the attempt goes on.
    Refused,
}

/// One device's part in a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The wave in which it was offered, from 0.
    pub wave: u32,
    /// Which try this is, from 1.
    pub number: u32,
    /// When it was offered.
    pub offered_at: Timestamp,
    /// Whether somebody at the device agreed, where that is needed.
    #[serde(default)]
    pub confirmed: bool,
    /// When the device asked for what is in the offer: from then on it counts as reached.
    pub taken_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What the device said that it ran before: where it can be sent back to.
    pub previous: Option<String>,
    /// Whether it was asked to stop.
    pub cancel: Option<Cancel>,
    /// Whether it is sent back.
    pub revert: Option<Revert>,
}

/// All attempts of a rollout, by device.
pub type Attempts = BTreeMap<String, Attempt>;

impl Attempt {
    /// An offer made now.
    #[must_use]
    pub fn offered(wave: u32, number: u32, now: Timestamp, previous: Option<String>) -> Self {
        Self {
            wave,
            number,
            offered_at: now,
            confirmed: false,
            taken_at: None,
            outcome: Outcome::Pending,
            ended_at: None,
            previous,
            cancel: None,
            revert: None,
        }
    }

    /// Whether the device is at it, or may begin at any time.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        self.outcome == Outcome::Pending
    }

    /// Whether the device has the release, had it, or may begin to fetch it at any time. An offer
    /// that was withdrawn before the device took it does not count.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.taken_at.is_some() || self.is_in_flight()
    }

    pub(crate) fn end(&mut self, outcome: Outcome, now: Timestamp) {
        self.outcome = outcome;
        self.ended_at = Some(now);
        self.taken_at.get_or_insert(now);
    }
}
