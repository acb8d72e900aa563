//! What is to be done.

use alloc::string::String;
use alloc::vec::Vec;

use switchback_types::{Digest, SlotName, Version};

use crate::outcome::{Outcome, RollbackReason};
use crate::slot::ImageIdentity;
use crate::state::{Attempt, AttemptKind, State};

/// What a run of the health checks decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthPurpose {
    /// Whether the slot on trial is committed.
    Trial,
    /// Whether the committed slot is marked good for this boot.
    Ordinary,
}

/// Why the device restarts: it says whether gates stand before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartCause {
    /// A slot was armed: gates stand before the restart into it.
    Armed,
    /// A person asked for it: no gate stands before it.
    Requested,
    /// A trial is lost, and the way back is not kept waiting.
    Back,
}

impl RestartCause {
    /// Why the device restarts once this attempt is armed: a person who goes back wants it now.
    pub(crate) const fn of(attempt: &Attempt) -> Self {
        match attempt.kind {
            AttemptKind::RollBack => Self::Requested,
            AttemptKind::Update | AttemptKind::Return | AttemptKind::Repair => Self::Armed,
        }
    }
}

/// One thing to do, after the next state is durable. Each can be repeated without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Hash a slot of unknown content; answers [`crate::Event::Identified`].
    Identify(SlotName),
    /// Read the slot back, beside everything else and whenever there is time; answers
    /// `SlotChecked`, unless it could not be found out.
    CheckSlot {
        /// The slot.
        slot: SlotName,
        /// What it is thought to hold.
        image: ImageIdentity,
    },
    /// Make sure that the bootloader never starts this slot.
    InvalidateSlot(SlotName),
    /// Download, decode, write, sync, read back; answers `SlotVerified` or `InstallFailed`.
    WriteSlot(Attempt),
    /// Read back only; answers `SlotVerified` or `InstallFailed`.
    VerifySlot(Attempt),
    /// Stop the work that `WriteSlot` or `VerifySlot` began.
    CancelWork,
    /// Let the bootloader try this slot; answers `Armed` or `BootWriteFailed`.
    Arm {
        /// The slot.
        slot: SlotName,
        /// How many times.
        tries: u8,
    },
    /// Mark the booted slot good; answers `MarkedGood` or `BootWriteFailed`.
    MarkGood(SlotName),
    /// Take the bad slot out and put the other first; answers `FellBack` or `BootWriteFailed`.
    FallBack {
        /// The slot not to be started again.
        bad: SlotName,
        /// The slot to start from now on.
        to: SlotName,
    },
    /// Give one try back to the booted slot, because this restart is orderly.
    GiveBackTry(SlotName),
    /// Run the health checks; answers `HealthPassed` or `HealthFailed`.
    RunHealthChecks(HealthPurpose),
    /// Restart the device.
    Restart(RestartCause),
    /// Tell those who must know; answers `Reported`.
    Report {
        /// The attempt.
        attempt: Attempt,
        /// How it ended.
        outcome: Outcome,
    },
    /// Ask the repository now.
    Poll,
    /// Say something to the journal and the bus.
    Emit(Notice),
}

/// Something worth saying, at the moment it became true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The target slot is about to be written.
    InstallStarted(Attempt),
    /// The image is already in the inactive slot: it is flipped to, not downloaded.
    FlipOnly(Attempt),
    /// A write was cut short by a restart; it resumes with the next poll.
    InstallInterrupted(Attempt),
    /// The target slot is verified.
    Staged(Attempt),
    /// The next boot is a trial of the target slot.
    Armed(Attempt),
    /// This boot is a trial.
    TrialStarted {
        /// The attempt.
        attempt: Attempt,
        /// Tries left to the bootloader after this boot.
        left: u8,
    },
    /// The slot on trial is not healthy.
    TrialFailed {
        /// The attempt.
        attempt: Attempt,
        /// Why.
        reason: RollbackReason,
    },
    /// The slot on trial was marked good.
    Committed(Attempt),
    /// The old slot runs again.
    RolledBack {
        /// The attempt.
        attempt: Attempt,
        /// Why.
        reason: RollbackReason,
    },
    /// Nothing was armed.
    InstallFailed {
        /// The attempt.
        attempt: Attempt,
        /// Why.
        detail: String,
    },
    /// The committed slot's health checks failed; the device stays up.
    Degraded {
        /// What they said.
        detail: String,
    },
    /// The device came up in the other slot although no trial was under way.
    UnexpectedSlot {
        /// The slot that was meant to run.
        expected: SlotName,
        /// The slot that runs.
        booted: SlotName,
        /// What the expected slot holds.
        version: Option<Version>,
    },
    /// The boot environment could not be written.
    BootWriteFailed {
        /// What happened.
        detail: String,
    },
    /// The inactive slot does not read back as what it held.
    SlotDamaged {
        /// The slot.
        slot: SlotName,
        /// What it held.
        version: Version,
        /// What differs, naming the device.
        detail: String,
    },
    /// The inactive slot reads back right, after it did not.
    SlotRightAgain {
        /// The slot.
        slot: SlotName,
        /// What it holds.
        version: Version,
    },
    /// What differs in the damaged slot is about to be fetched and written.
    RepairStarted(Attempt),
    /// The damaged slot holds its image again.
    Repaired(Attempt),
    /// A request was refused.
    Refused {
        /// Why, and the way out.
        detail: String,
    },
    /// The device is held where it is.
    Held {
        /// Why.
        reason: String,
    },
    /// The hold is over.
    HoldReleased,
    /// Only one version may come to the device.
    Pinned {
        /// The version.
        version: Version,
        /// Why.
        reason: String,
    },
    /// Any version may come to the device again.
    Unpinned,
    /// A person gave consent to an image.
    Approved {
        /// The image.
        sha256: Digest,
    },
}

/// The answer of [`crate::step`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// To be made durable first.
    pub next: State,
    /// To be run after that, in this order; when a write of the boot environment fails, those
    /// after it are dropped.
    pub effects: Vec<Effect>,
}
