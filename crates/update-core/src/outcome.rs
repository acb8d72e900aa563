//! How an action ended, and why.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

/// Why a trial ended in the old slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum RollbackReason {
    /// The health checks said no.
    Unhealthy {
        /// What they said.
        detail: String,
    },
    /// The bootloader started it as often as it was allowed to; health was never proven.
    TriesExhausted {
        /// How many tries there were.
        tries: u8,
        /// Whether this daemon ever ran in it.
        daemon_ran: bool,
    },
    /// The bootloader never started it: it does not read the environment that we write.
    NeverStarted,
    /// It was started, yet the device is back in the old slot with tries left: the bootloader
    /// could not load it, or a person chose the other slot in the boot menu.
    LeftWithTries {
        /// Tries that were left.
        left: u8,
    },
    /// A person did not want it.
    Requested,
}

impl fmt::Display for RollbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unhealthy { detail } => write!(f, "health checks failed: {detail}"),
            Self::TriesExhausted {
                tries,
                daemon_ran: true,
            } => {
                write!(
                    f,
                    "started {tries} times, died each time before health was proven"
                )
            }
            Self::TriesExhausted {
                tries,
                daemon_ran: false,
            } => {
                write!(
                    f,
                    "started {tries} times, died each time before the daemon ran"
                )
            }
            Self::NeverStarted => f.write_str(
                "the bootloader never started it: it does not read the environment written here",
            ),
            Self::LeftWithTries { left } => write!(
                f,
                "left with {left} tries unused: not loadable, or another slot was chosen by hand"
            ),
            Self::Requested => f.write_str("refused by a person"),
        }
    }
}

/// Why nothing was armed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum InstallFailure {
    /// The content could not be fetched for now; trying again later makes sense.
    Network {
        /// What happened, naming the URL.
        detail: String,
    },
    /// The content is not what was signed.
    Content {
        /// What differs, naming the URL.
        detail: String,
    },
    /// The slot could not be written, or reads back differently.
    Slot {
        /// What happened, naming the device.
        detail: String,
    },
    /// The slot no longer holds what it held.
    SlotChanged {
        /// What differs, naming the device.
        detail: String,
    },
    /// The boot environment could not be written.
    BootEnvironment {
        /// What happened, naming the file.
        detail: String,
    },
    /// A restart cut it short, and it was not taken up again: another image is wanted now, or
    /// only a person would ask for it again.
    Interrupted,
    /// A person called it off.
    Cancelled,
}

impl InstallFailure {
    /// A stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Network { .. } => "network",
            Self::Content { .. } => "content",
            Self::Slot { .. } => "slot",
            Self::SlotChanged { .. } => "slot-changed",
            Self::BootEnvironment { .. } => "boot-environment",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for InstallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { detail }
            | Self::Content { detail }
            | Self::Slot { detail }
            | Self::SlotChanged { detail }
            | Self::BootEnvironment { detail } => f.write_str(detail),
            Self::Interrupted => f.write_str("cut short by a restart and not taken up again"),
            Self::Cancelled => f.write_str("called off"),
        }
    }
}

/// How an action ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Health was proven and the slot marked good.
    Committed,
    /// The old slot runs again.
    RolledBack(RollbackReason),
    /// It was never started.
    Failed(InstallFailure),
    /// The damaged slot holds its image again, whole; nothing was to be started.
    Repaired,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committed => f.write_str("committed"),
            Self::Repaired => f.write_str("repaired"),
            Self::RolledBack(reason) => write!(f, "rolled back: {reason}"),
            Self::Failed(InstallFailure::Cancelled) => f.write_str("cancelled"),
            Self::Failed(failure) => write!(f, "failed: {failure}"),
        }
    }
}
