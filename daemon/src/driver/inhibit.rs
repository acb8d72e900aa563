//! Applications that ask not to be interrupted.

use std::time::Duration;

use switchback_dbus_api as api;
use switchback_update_core::{Before, Gate, GateState, Question};

use crate::settings::GateSettings;

/// Number of an inhibitor since the daemon started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InhibitorId(pub u32);

/// How much an application asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InhibitMode {
    /// Nothing may happen while it holds on.
    Block,
    /// The restart waits a moment while it gets ready; it cannot keep it from coming.
    Delay,
}

impl InhibitMode {
    /// Its word on D-Bus.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Delay => "delay",
        }
    }
}

/// An application that asks not to be interrupted, for as long as it holds its end of a pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibitor {
    /// Which.
    pub id: InhibitorId,
    /// Its own name.
    pub who: String,
    /// Why.
    pub why: String,
    /// What it stands before.
    pub before: Before,
    /// How much it asks for.
    pub mode: InhibitMode,
    /// Its user.
    pub uid: u32,
}

/// Those that hold on.
#[derive(Debug, Default)]
pub(super) struct Inhibitors {
    /// Each with the uptime at which it came.
    held: Vec<(Duration, Inhibitor)>,
}

impl Inhibitors {
    pub(super) fn take(&mut self, inhibitor: Inhibitor, uptime: Duration) {
        self.held.push((uptime, inhibitor));
    }

    pub(super) fn let_go(&mut self, id: InhibitorId) {
        self.held.retain(|(_, inhibitor)| inhibitor.id != id);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Inhibitor> {
        self.held.iter().map(|(_, inhibitor)| inhibitor)
    }

    /// For the bus.
    pub(super) fn view(&self) -> Vec<api::Inhibitor> {
        self.iter()
            .map(|inhibitor| api::Inhibitor {
                who: inhibitor.who.clone(),
                why: inhibitor.why.clone(),
                what: match inhibitor.before {
                    Before::Update => "update",
                    Before::Restart => "restart",
                    Before::Both => "update:restart",
                }
                .into(),
                mode: inhibitor.mode.as_str().into(),
                uid: inhibitor.uid,
            })
            .collect()
    }

    /// Those that wait for the restart to tell them.
    pub(super) fn delaying(&self) -> impl Iterator<Item = &Inhibitor> {
        self.iter()
            .filter(|inhibitor| inhibitor.mode == InhibitMode::Delay)
    }

    /// Those that block, as gates; one that holds on for too long is shown and does not count.
    pub(super) fn gates(&self, settings: &GateSettings, uptime: Duration) -> Vec<Gate> {
        self.held
            .iter()
            .filter(|(_, inhibitor)| inhibitor.mode == InhibitMode::Block)
            .map(|(since, inhibitor)| gate(inhibitor, *since, settings, uptime))
            .collect()
    }
}

fn gate(inhibitor: &Inhibitor, since: Duration, settings: &GateSettings, uptime: Duration) -> Gate {
    let held = uptime.saturating_sub(since);
    let (who, why) = (&inhibitor.who, &inhibitor.why);
    let over = settings.inhibit_at_most.filter(|most| held >= *most);
    let state = match over {
        Some(most) => GateState::Open {
            detail: format!(
                "{who} asks not to be interrupted ({why}), and did so for more than {} s",
                most.as_secs()
            ),
        },
        None => GateState::Closed {
            code: "inhibited".into(),
            detail: format!("{who} asks not to be interrupted: {why}"),
            way_out: match settings.inhibit_at_most {
                Some(most) => format!(
                    "it ends when {who} lets go, at the latest in {} s",
                    most.saturating_sub(held).as_secs()
                ),
                None => format!("it ends when {who} lets go"),
            },
            opens: None,
        },
    };
    Gate {
        name: format!("inhibitor {who}"),
        question: Question::Risk,
        before: inhibitor.before,
        state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inhibitor(id: u32, mode: InhibitMode) -> Inhibitor {
        Inhibitor {
            id: InhibitorId(id),
            who: "player".into(),
            why: "a film".into(),
            before: Before::Both,
            mode,
            uid: 0,
        }
    }

    #[test]
    fn blocks_for_as_long_as_it_may_and_no_longer() {
        let settings = GateSettings {
            inhibit_at_most: Some(Duration::from_secs(100)),
            ..GateSettings::default()
        };
        let mut inhibitors = Inhibitors::default();
        let came = Duration::from_secs(10);
        inhibitors.take(inhibitor(1, InhibitMode::Block), came);
        inhibitors.take(inhibitor(2, InhibitMode::Delay), came);
        let gates = inhibitors.gates(&settings, Duration::from_secs(109));
        assert_eq!(gates.len(), 1, "who only delays closes no gate");
        assert!(gates[0].is_closed());
        let later = Duration::from_secs(110);
        assert!(!inhibitors.gates(&settings, later)[0].is_closed());
        inhibitors.let_go(InhibitorId(1));
        assert!(inhibitors.gates(&settings, later).is_empty());
        assert_eq!(inhibitors.delaying().count(), 1);
    }
}
