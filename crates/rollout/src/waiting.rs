//! Why nothing more happens at the moment.

use core::fmt;

use serde::{Deserialize, Serialize};
use switchback_types::Timestamp;

/// What a rollout waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "for")]
pub enum Waiting {
    /// A person.
    Approval,
    /// A person, to open the next wave.
    Trigger,
    /// A person, after a pause.
    Resume,
    /// Its time.
    Time {
        /// When.
        at: Timestamp,
    },
    /// A group that does not run yet what it should.
    Barrier {
        /// How many do not.
        behind: usize,
        /// Some of them.
        some: Vec<String>,
    },
    /// The end of a freeze window.
    Freeze,
    /// Devices that are at it.
    Outcomes {
        /// How many.
        pending: usize,
    },
    /// Enough devices that succeeded.
    Successes {
        /// How many did.
        succeeded: usize,
        /// Of how many reached in this wave.
        reached: usize,
    },
    /// The end of the soak time.
    Soak {
        /// When.
        until: Timestamp,
    },
    /// Devices that are not heard of at the moment.
    Devices {
        /// How many may still be offered it in this wave.
        room: usize,
    },
    /// A limit on how fast it goes.
    Rate,
    /// Devices on their way back.
    Reverts {
        /// How many.
        pending: usize,
    },
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approval => f.write_str("somebody else than the author must agree"),
            Self::Trigger => f.write_str("a person must open the next wave"),
            Self::Resume => f.write_str("a person must resume, revert or stop it"),
            Self::Time { at } => write!(f, "not before {at}"),
            Self::Barrier { behind, some } => {
                write!(
                    f,
                    "{behind} devices of the barrier's group are behind: {}",
                    some.join(", ")
                )
            }
            Self::Freeze => f.write_str("a freeze window"),
            Self::Outcomes { pending } => write!(f, "{pending} devices are at it"),
            Self::Successes { succeeded, reached } => {
                write!(
                    f,
                    "too few succeeded: {succeeded} of {reached} in this wave"
                )
            }
            Self::Soak { until } => write!(f, "soak time, until {until}"),
            Self::Devices { room } => {
                write!(f, "room for {room} more devices, none of which is heard of")
            }
            Self::Rate => f.write_str("the limit on how fast it goes"),
            Self::Reverts { pending } => write!(f, "{pending} devices are on their way back"),
        }
    }
}
