//! Whether the network costs by the byte, as NetworkManager says.

use switchback_update_core::{Before, Gate};

use super::{closed, open};
use crate::settings::GateSettings;
use crate::system_bus::{BusError, SystemBus};

const NAME: &str = "metered network";
const SERVICE: &str = "org.freedesktop.NetworkManager";

pub(super) fn read(settings: &GateSettings, bus: &SystemBus) -> Option<Gate> {
    if settings.metered {
        return None;
    }
    let place = ("/org/freedesktop/NetworkManager", SERVICE);
    Some(
        match bus.property::<u32>(SERVICE, place.0, place.1, "Metered") {
            // NMMetered: 1 yes, 2 no, 3 it is guessed so, 4 it is guessed not.
            Ok(1 | 3) => closed(
                NAME,
                Before::Update,
                "metered",
                "the network is metered",
                "connect it to a network that is not, or set `gates.metered`",
            ),
            Ok(2 | 4) => open(NAME, Before::Update, "the network is not metered"),
            Ok(_) => open(NAME, Before::Update, "NetworkManager does not know"),
            Err(BusError::Absent) => open(NAME, Before::Update, "NetworkManager does not run"),
            Err(BusError::Failed(detail)) => closed(
                NAME,
                Before::Update,
                "metered-unknown",
                format!("NetworkManager: {detail}"),
                "it is asked again",
            ),
        },
    )
}
