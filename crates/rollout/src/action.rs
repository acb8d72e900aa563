//! What the planner looks at, and what it says.

use serde::{Deserialize, Serialize};
use switchback_types::Timestamp;

use crate::filter::Labels;
use crate::gates::BrokenGate;
use crate::waiting::Waiting;

/// Most offers of one turn: what a store writes in one go.
pub const MAX_OFFERS_PER_TURN: usize = 5000;

/// What is known of one device.
#[derive(Debug, Clone, Copy)]
pub struct DeviceFacts<'a> {
    /// Its name.
    pub id: &'a str,
    /// What filters look at.
    pub labels: &'a dyn Labels,
    /// What it says that it runs.
    pub identity: Option<&'a str>,
    /// When it was heard of last.
    pub heard_at: Timestamp,
    /// It is at something else, or belongs to a newer rollout: it is offered nothing.
    pub busy: bool,
}

/// The time, and since when anybody listened.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Now.
    pub now: Timestamp,
    /// Since when devices could be heard without a gap: no device is silent because the server
    /// was away.
    pub listening_since: Timestamp,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Action {
    /// Begin: the first wave is open.
    Start,
    /// Offer the release to a device.
    Offer {
        /// Whom.
        device: String,
        /// In which wave.
        wave: u32,
        /// Which try.
        number: u32,
        /// What it runs.
        previous: Option<String>,
    },
    /// Take back an offer that the device has not taken. When it took it meanwhile, the store's
    /// compare-and-set refuses this, and that is right.
    Withdraw {
        /// From whom.
        device: String,
    },
    /// Ask a device that is at it to stop.
    Cancel {
        /// Whom.
        device: String,
    },
    /// The device counts as silent.
    Silent {
        /// Who.
        device: String,
    },
    /// Open a wave.
    OpenWave {
        /// Which.
        wave: u32,
    },
    /// Stop here.
    Pause {
        /// Why.
        gate: BrokenGate,
    },
    /// Bring back those who have it.
    BeginRevert {
        /// Why.
        gate: BrokenGate,
    },
    /// Offer a device what it ran before.
    Revert {
        /// Whom.
        device: String,
    },
    /// Everybody is back.
    FinishRevert,
    /// Everybody has it.
    Finish,
}

/// What to do, and what is waited for afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// In this order.
    pub actions: Vec<Action>,
    /// Why no more than that.
    pub waiting: Option<Waiting>,
}

impl Action {
    /// The device that it is about.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        match self {
            Self::Offer { device, .. }
            | Self::Withdraw { device }
            | Self::Cancel { device }
            | Self::Silent { device }
            | Self::Revert { device } => Some(device),
            Self::Start
            | Self::OpenWave { .. }
            | Self::Pause { .. }
            | Self::BeginRevert { .. }
            | Self::FinishRevert
            | Self::Finish => None,
        }
    }
}
