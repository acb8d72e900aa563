//! Gates that ask other services on the system bus.

use std::path::PathBuf;

use switchback_types::Timestamp;
use switchback_update_core::{Gate, GateState};
use switchbackd::gates::{self, Roots};
use switchbackd::settings::GateSettings;
use switchbackd::system_bus::SystemBus;

use super::rig::PrivateBus;

/// As NetworkManager says it.
struct Network(u32);

#[zbus::interface(name = "org.freedesktop.NetworkManager")]
impl Network {
    #[zbus(property)]
    fn metered(&self) -> u32 {
        self.0
    }
}

/// As logind says it.
struct Sessions(bool);

type Inhibitor = (String, String, String, String, u32, u32);

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Sessions {
    fn list_inhibitors(&self) -> Vec<Inhibitor> {
        let held = self.0.then(|| {
            let text = ["shutdown", "backup", "it runs", "block"].map(String::from);
            let [what, who, why, mode] = text;
            (what, who, why, mode, 0, 1)
        });
        held.into_iter().collect()
    }
}

async fn ask(bus: &PrivateBus) -> Vec<(String, String)> {
    let settings = GateSettings {
        metered: false,
        logind: true,
        ..GateSettings::default()
    };
    let nowhere = Roots {
        class: PathBuf::from("/nonexistent"),
        proc: PathBuf::from("/nonexistent"),
    };
    let bus = SystemBus::at(tokio::runtime::Handle::current(), &bus.address);
    let read = move || gates::read(&settings, &nowhere, &bus, Timestamp::EPOCH);
    let read = tokio::task::spawn_blocking(read).await.unwrap();
    read.into_iter().map(told).collect()
}

fn told(gate: Gate) -> (String, String) {
    match gate.state {
        GateState::Open { detail } => (gate.name, detail),
        GateState::Closed { code, detail, .. } => (gate.name, format!("{code}: {detail}")),
    }
}

fn both(network: &str, sessions: &str) -> Vec<(String, String)> {
    vec![
        ("metered network".into(), network.into()),
        ("logind".into(), sessions.into()),
    ]
}

#[tokio::test]
async fn services_that_do_not_run_close_no_gate_and_others_say_what_they_say() {
    let bus = PrivateBus::start();
    let absent = both("NetworkManager does not run", "logind does not run");
    assert_eq!(ask(&bus).await, absent);

    let services = |metered: u32, held: bool| {
        zbus::connection::Builder::address(bus.address.as_str())
            .serve_at("/org/freedesktop/NetworkManager", Network(metered))
            .serve_at("/org/freedesktop/login1", Sessions(held))
            .name("org.freedesktop.NetworkManager")
            .name("org.freedesktop.login1")
            .build()
    };
    for metered in [1, 3] {
        let served = services(metered, true).await.unwrap();
        let closed = both(
            "metered: the network is metered",
            "inhibited: a shutdown is held up by backup: it runs",
        );
        assert_eq!(ask(&bus).await, closed);
        served.close().await.unwrap();
    }
    for metered in [2, 4] {
        let served = services(metered, false).await.unwrap();
        let open = both("the network is not metered", "nobody holds up a shutdown");
        assert_eq!(ask(&bus).await, open);
        served.close().await.unwrap();
    }
}
