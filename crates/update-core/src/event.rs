//! What can happen.

use alloc::string::String;

use switchback_types::{ActionId, Digest, SlotName, Timestamp, TraceId, Version};

use crate::outcome::InstallFailure;
use crate::slot::ImageIdentity;
use crate::state::BootId;

/// How the bootloader sees a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotBoot {
    /// It will not be started.
    Bad,
    /// It may be started `left` more times.
    Ready {
        /// Tries left.
        left: u8,
    },
    /// It is in the order, and its tries are used up.
    Exhausted,
}

/// What the boot environment and the kernel command line said when the daemon started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootObservation {
    /// The slot that the bootloader would start next.
    pub primary: Option<SlotName>,
    /// Slot a.
    pub a: SlotBoot,
    /// Slot b.
    pub b: SlotBoot,
}

impl BootObservation {
    /// How the bootloader sees `slot`.
    #[must_use]
    pub const fn slot(&self, slot: SlotName) -> SlotBoot {
        match slot {
            SlotName::A => self.a,
            SlotName::B => self.b,
        }
    }
}

/// Circumstances of the moment, handed in with each event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The time, never below the floor of trusted time.
    pub now: Timestamp,
    /// The slot that runs.
    pub booted: SlotName,
    /// This boot.
    pub boot_id: BootId,
    /// Tries that a trial is given.
    pub tries: u8,
    /// Whether the daemon restarts the device by itself once a slot is armed.
    pub restart_automatically: bool,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The daemon started and looked around.
    Started(BootObservation),
    /// An unknown slot was hashed.
    Identified {
        /// The slot.
        slot: SlotName,
        /// What it holds.
        image: ImageIdentity,
    },
    /// It is time to read the inactive slot back.
    VerifyDue,
    /// The inactive slot was read back, and nothing else done with it.
    SlotChecked {
        /// The slot.
        slot: SlotName,
        /// Digest of the image it was compared with.
        sha256: Digest,
        /// Whether it holds that image; `Err` says what differs, naming the device.
        result: Result<(), String>,
    },
    /// A person wants the damaged slot made whole, and a trusted release has its image.
    RepairRequested {
        /// The new action.
        action: ActionId,
        /// The image.
        image: ImageIdentity,
    },
    /// All five answers are yes.
    Offered {
        /// The new action.
        action: ActionId,
        /// The image to bring the device to.
        image: ImageIdentity,
        /// The trace of the release.
        trace: Option<TraceId>,
    },
    /// The target slot holds the attempt's image: synced, read back, compared.
    SlotVerified,
    /// The slot was not made ready.
    InstallFailed(InstallFailure),
    /// The boot environment is armed.
    Armed,
    /// The health checks of this boot passed.
    HealthPassed,
    /// The health checks of this boot failed.
    HealthFailed {
        /// What they said.
        detail: String,
    },
    /// The boot environment says that the booted slot is good.
    MarkedGood,
    /// The boot environment points back to the old slot.
    FellBack,
    /// The boot environment could not be written.
    BootWriteFailed {
        /// What happened, naming the file.
        detail: String,
    },
    /// Everyone who must know the outcome knows it.
    Reported,
    /// A person wants the other slot.
    RollBackRequested {
        /// The new action.
        action: ActionId,
        /// Why, for the hold that goes with it.
        reason: String,
    },
    /// A person wants the device to stay on what it runs.
    HoldRequested {
        /// Why.
        reason: String,
        /// When it ends by itself, if it does.
        until: Option<Timestamp>,
    },
    /// The hold is over.
    HoldReleased,
    /// A person wants no other version than this one.
    PinRequested {
        /// The version.
        version: Version,
        /// Why.
        reason: String,
    },
    /// Any version may come again.
    PinReleased,
    /// A person gives consent to an image.
    Approved {
        /// The image.
        sha256: Digest,
    },
    /// A person allows an image that failed here to be tried once more.
    RetryAllowed {
        /// The image.
        sha256: Digest,
    },
    /// A person calls off what is under way.
    CancelRequested,
    /// A person wants the armed slot started now.
    RestartRequested,
    /// The system is going down in an orderly way.
    ShuttingDown,
}

/// The names of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is the event of the same name")]
pub enum EventKind {
    Started,
    Identified,
    VerifyDue,
    SlotChecked,
    RepairRequested,
    Offered,
    SlotVerified,
    InstallFailed,
    Armed,
    HealthPassed,
    HealthFailed,
    MarkedGood,
    FellBack,
    BootWriteFailed,
    Reported,
    RollBackRequested,
    HoldRequested,
    HoldReleased,
    PinRequested,
    PinReleased,
    Approved,
    RetryAllowed,
    CancelRequested,
    RestartRequested,
    ShuttingDown,
}

impl Event {
    /// Its name.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Started(_) => EventKind::Started,
            Self::Identified { .. } => EventKind::Identified,
            Self::VerifyDue => EventKind::VerifyDue,
            Self::SlotChecked { .. } => EventKind::SlotChecked,
            Self::RepairRequested { .. } => EventKind::RepairRequested,
            Self::Offered { .. } => EventKind::Offered,
            Self::SlotVerified => EventKind::SlotVerified,
            Self::InstallFailed(_) => EventKind::InstallFailed,
            Self::Armed => EventKind::Armed,
            Self::HealthPassed => EventKind::HealthPassed,
            Self::HealthFailed { .. } => EventKind::HealthFailed,
            Self::MarkedGood => EventKind::MarkedGood,
            Self::FellBack => EventKind::FellBack,
            Self::BootWriteFailed { .. } => EventKind::BootWriteFailed,
            Self::Reported => EventKind::Reported,
            Self::RollBackRequested { .. } => EventKind::RollBackRequested,
            Self::HoldRequested { .. } => EventKind::HoldRequested,
            Self::HoldReleased => EventKind::HoldReleased,
            Self::PinRequested { .. } => EventKind::PinRequested,
            Self::PinReleased => EventKind::PinReleased,
            Self::Approved { .. } => EventKind::Approved,
            Self::RetryAllowed { .. } => EventKind::RetryAllowed,
            Self::CancelRequested => EventKind::CancelRequested,
            Self::RestartRequested => EventKind::RestartRequested,
            Self::ShuttingDown => EventKind::ShuttingDown,
        }
    }
}
