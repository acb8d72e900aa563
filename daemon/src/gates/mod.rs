//! Reads the gates: what must hold of the machine around before an update begins, or before the
//! restart into it. Each module reads one kind of thing; what follows from it is decided by
//! `update-core`.
//!
//! A gate that is set and cannot be read is closed and says why: a device that may update only
//! with a full battery does not update because its battery could not be asked. A gate about
//! something that the machine does not have (no battery, no NetworkManager) is open.

mod command;
mod machine;
mod network;
mod sessions;
mod window;

use switchback_types::Timestamp;
use switchback_update_core::{Before, Gate, GateState, Question};

pub use self::machine::Roots;
use crate::settings::GateSettings;
use crate::system_bus::SystemBus;

/// Reads all gates that are set.
#[must_use]
pub fn read(settings: &GateSettings, roots: &Roots, bus: &SystemBus, now: Timestamp) -> Vec<Gate> {
    let mut gates: Vec<Gate> = window::read(settings, now).into_iter().collect();
    gates.extend(machine::read(settings, roots));
    gates.extend(network::read(settings, bus));
    gates.extend(sessions::read(settings, bus));
    gates.extend(settings.commands.iter().map(command::read));
    gates
}

fn open(name: impl Into<String>, before: Before, detail: impl Into<String>) -> Gate {
    Gate {
        name: name.into(),
        question: Question::Risk,
        before,
        state: GateState::Open {
            detail: detail.into(),
        },
    }
}

fn closed(
    name: impl Into<String>,
    before: Before,
    code: &str,
    detail: impl Into<String>,
    way_out: impl Into<String>,
) -> Gate {
    Gate {
        name: name.into(),
        question: Question::Risk,
        before,
        state: GateState::Closed {
            code: code.into(),
            detail: detail.into(),
            way_out: way_out.into(),
            opens: None,
        },
    }
}
