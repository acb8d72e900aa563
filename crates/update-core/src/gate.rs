//! Gates: conditions outside of the updater that must hold before it acts, read by adapters at the
//! moment of the decision.
//!
//! A gate belongs to one of two questions: whether the update is *wanted* (a maintenance window) or
//! whether the *risk* is acceptable right now (power, temperature, network, an application that
//! must not be interrupted). A closed gate is asked again until it opens.

use alloc::string::String;

use serde::{Deserialize, Serialize};
use switchback_types::Timestamp;

use crate::Question;

/// Seconds between two looks at a closed gate that does not say when it opens.
pub const GATE_INTERVAL: u32 = 30;

/// One gate, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// What it is called: `window`, `battery`, `command kiosk-idle`, …
    pub name: String,
    /// The question that it belongs to.
    pub question: Question,
    /// What it stands before.
    pub before: Before,
    /// Whether it is open.
    pub state: GateState,
}

/// What a gate stands before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Before {
    /// The begin of an update.
    Update,
    /// The restart into an armed slot.
    Restart,
    /// Both.
    Both,
}

impl Before {
    /// Its word on D-Bus and in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Restart => "restart",
            Self::Both => "both",
        }
    }
}

/// Whether a gate is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum GateState {
    /// It does not stand in the way.
    Open {
        /// What was found, in words.
        detail: String,
    },
    /// It does.
    Closed {
        /// A stable word for programs (`outside-window`, `battery-low`, …).
        code: String,
        /// What was found, in words.
        detail: String,
        /// What would open it.
        way_out: String,
        /// When it opens by itself, if that is known.
        opens: Option<Timestamp>,
    },
}

impl Gate {
    /// Whether it stands before an update begins.
    #[must_use]
    pub const fn before_update(&self) -> bool {
        matches!(self.before, Before::Update | Before::Both)
    }

    /// Whether it stands before the restart.
    #[must_use]
    pub const fn before_restart(&self) -> bool {
        matches!(self.before, Before::Restart | Before::Both)
    }

    /// Whether it is closed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, GateState::Closed { .. })
    }
}

/// Closed gates, told as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) code: String,
    pub(crate) detail: String,
    pub(crate) way_out: String,
    /// When the last of those opens that say so; nothing if any does not say so.
    pub(crate) opens: Option<Timestamp>,
}

/// The closed ones among `gates`: the word of the first, the words of all.
pub(crate) fn closed<'a>(gates: impl Iterator<Item = &'a Gate>) -> Option<Closed> {
    let mut all: Option<Closed> = None;
    for gate in gates {
        let GateState::Closed {
            code,
            detail,
            way_out,
            opens,
        } = &gate.state
        else {
            continue;
        };
        match &mut all {
            None => {
                all = Some(Closed {
                    code: code.clone(),
                    detail: detail.clone(),
                    way_out: way_out.clone(),
                    opens: *opens,
                });
            }
            Some(all) => {
                all.detail.push_str("; ");
                all.detail.push_str(detail);
                all.way_out.push_str("; ");
                all.way_out.push_str(way_out);
                all.opens = match (all.opens, *opens) {
                    (Some(one), Some(other)) => Some(one.max(other)),
                    _ => None,
                };
            }
        }
    }
    all
}

/// Why the restart into an armed slot waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartWait {
    /// In words, all closed gates.
    pub detail: String,
    /// What would end it.
    pub way_out: String,
    /// When the gates are asked again.
    pub again: Timestamp,
}

/// Whether the device may restart into its armed slot now, as far as gates are concerned.
///
/// # Errors
/// At least one gate before the restart is closed.
pub fn may_restart(gates: &[Gate], now: Timestamp) -> Result<(), RestartWait> {
    match closed(gates.iter().filter(|gate| gate.before_restart())) {
        None => Ok(()),
        Some(closed) => Err(RestartWait {
            detail: closed.detail,
            way_out: closed.way_out,
            again: asked_again(now, closed.opens),
        }),
    }
}

/// When closed gates are asked again. Never much later than a person would expect who just opened
/// one: a window is known to the second, all else is looked at every [`GATE_INTERVAL`].
pub(crate) fn asked_again(now: Timestamp, opens: Option<Timestamp>) -> Timestamp {
    match opens {
        Some(opens) if opens > now => opens,
        _ => now.plus_seconds(i64::from(GATE_INTERVAL)),
    }
}

/// The closed gates before an update that belong to `question`, told as one.
pub(crate) fn closed_before_update(gates: &[Gate], question: Question) -> Option<Closed> {
    let asked = |gate: &&Gate| gate.before_update() && gate.question == question;
    closed(gates.iter().filter(asked))
}
