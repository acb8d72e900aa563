//! Power, temperature, load and space, as the kernel tells them.

use std::path::{Path, PathBuf};

use switchback_types::ByteCount;
use switchback_update_core::{Before, Gate};

use super::{closed, open};
use crate::settings::GateSettings;

/// Where the kernel tells them; elsewhere in tests.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/sys/class`.
    pub class: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            class: "/sys/class".into(),
            proc: "/proc".into(),
        }
    }
}

pub(super) fn read(settings: &GateSettings, roots: &Roots) -> Vec<Gate> {
    let mut gates = Vec::new();
    if settings.battery_at_least.is_some() || settings.mains {
        let supplies = Supplies::read(&roots.class.join("power_supply"));
        if let Some(least) = settings.battery_at_least {
            gates.push(battery(&supplies, least));
        }
        if settings.mains {
            gates.push(mains(&supplies));
        }
    }
    if let Some(most) = settings.temperature_at_most {
        gates.push(temperature(&roots.class.join("thermal"), most));
    }
    if let Some(most) = settings.load_at_most {
        gates.push(load(&roots.proc.join("loadavg"), processors(), most));
    }
    if let Some(least) = settings.free_space_at_least {
        gates.push(space(&settings.state_directory, least.get()));
    }
    gates
}

/// What feeds the machine.
#[derive(Debug, Default)]
struct Supplies {
    /// Charge of the emptiest battery, in percent; nothing if there is no battery, or none that
    /// tells.
    charge: Option<u8>,
    batteries: usize,
    /// Whether a supply that is no battery is there, and whether one of them is on.
    mains: Option<bool>,
}

impl Supplies {
    fn read(directory: &Path) -> Self {
        let mut found = Self::default();
        for supply in entries(directory) {
            let word = |name: &str| {
                let text = std::fs::read_to_string(supply.join(name)).ok()?;
                Some(text.trim().to_owned())
            };
            // A mouse has a battery, too.
            if word("scope").as_deref() == Some("Device") {
                continue;
            }
            match word("type").as_deref() {
                Some("Battery") if word("present").as_deref() != Some("0") => {
                    found.batteries += 1;
                    let charge: Option<u8> = word("capacity").and_then(|text| text.parse().ok());
                    found.charge = match (found.charge, charge) {
                        (Some(one), Some(other)) => Some(one.min(other)),
                        (one, other) => one.or(other),
                    };
                }
                Some("Mains" | "USB" | "Wireless") => {
                    let online = word("online").is_some_and(|text| text != "0");
                    found.mains = Some(online || found.mains == Some(true));
                }
                _ => {}
            }
        }
        found
    }
}

fn battery(supplies: &Supplies, least: u8) -> Gate {
    const NAME: &str = "battery";
    match supplies.charge {
        Some(charge) if charge < least => closed(
            NAME,
            Before::Update,
            "battery-low",
            format!("the battery has {charge} %, at least {least} % are wanted"),
            "charge it",
        ),
        Some(charge) => open(NAME, Before::Update, format!("the battery has {charge} %")),
        None if supplies.batteries > 0 => closed(
            NAME,
            Before::Update,
            "battery-unknown",
            "the battery does not tell its charge",
            "set `gates.battery-at-least` to 0 on this hardware",
        ),
        None => open(NAME, Before::Update, "there is no battery"),
    }
}

fn mains(supplies: &Supplies) -> Gate {
    const NAME: &str = "mains";
    match supplies.mains {
        Some(true) => open(NAME, Before::Both, "mains power is on"),
        // A board without a battery that runs has power.
        _ if supplies.batteries == 0 => open(NAME, Before::Both, "there is no battery"),
        _ => closed(
            NAME,
            Before::Both,
            "no-mains",
            "it runs from its battery, mains power is wanted",
            "connect it to mains power",
        ),
    }
}

fn temperature(directory: &Path, most: u8) -> Gate {
    const NAME: &str = "temperature";
    let zones = entries(directory).into_iter().filter_map(|zone| {
        let text = std::fs::read_to_string(zone.join("temp")).ok()?;
        // Thousandths of a degree Celsius.
        text.trim().parse::<i64>().ok()
    });
    match zones.max() {
        Some(hottest) if hottest > i64::from(most) * 1000 => closed(
            NAME,
            Before::Update,
            "too-hot",
            format!("it has {} °C, at most {most} °C are wanted", hottest / 1000),
            "let it cool down",
        ),
        Some(hottest) => open(
            NAME,
            Before::Update,
            format!("it has {} °C", hottest / 1000),
        ),
        None => open(NAME, Before::Update, "no thermal zone tells"),
    }
}

fn processors() -> u32 {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn load(file: &Path, processors: u32, most: u32) -> Gate {
    const NAME: &str = "load";
    let text = std::fs::read_to_string(file).unwrap_or_default();
    // `0.20 0.18 0.12 1/80 11206`: of one minute first.
    let load = text.split_whitespace().next().and_then(|word| {
        let (whole, part) = word.split_once('.')?;
        let (whole, part): (u32, u32) = (whole.parse().ok()?, part.parse().ok()?);
        whole.checked_mul(100)?.checked_add(part)
    });
    let told = |load: u32| format!("{}.{:02}", load / 100, load % 100);
    match load.map(|load| load / processors.max(1)) {
        Some(load) if load > most => closed(
            NAME,
            Before::Update,
            "busy-machine",
            format!(
                "the load is {} for each processor, at most {} is wanted",
                told(load),
                told(most)
            ),
            "it is asked again until it is low enough",
        ),
        Some(load) => {
            let text = format!("the load is {} for each processor", told(load));
            open(NAME, Before::Update, text)
        }
        None => closed(
            NAME,
            Before::Update,
            "load-unknown",
            format!("{}: tells no load", file.display()),
            "set `gates.load-at-most` to 0",
        ),
    }
}

fn space(directory: &Path, least: u64) -> Gate {
    const NAME: &str = "space";
    match nix::sys::statvfs::statvfs(directory) {
        Ok(found) => {
            let free = found
                .blocks_available()
                .saturating_mul(found.fragment_size());
            let told = format!("{} has {} free", directory.display(), ByteCount(free));
            if free < least {
                let text = format!("{told}, at least {} are wanted", ByteCount(least));
                closed(NAME, Before::Update, "no-space", text, "make space there")
            } else {
                open(NAME, Before::Update, told)
            }
        }
        Err(error) => closed(
            NAME,
            Before::Update,
            "space-unknown",
            format!("{}: {error}", directory.display()),
            "make the directory, or correct `state.directory`",
        ),
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(directory).into_iter().flatten();
    let mut found: Vec<_> = found.flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use switchback_update_core::GateState;

    use super::*;

    struct Class(tempfile::TempDir);

    impl Class {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn put(&self, device: &str, files: &[(&str, &str)]) {
            let path = self.0.path().join(device);
            std::fs::create_dir_all(&path).unwrap();
            for (name, text) in files {
                std::fs::write(path.join(name), format!("{text}\n")).unwrap();
            }
        }
    }

    fn code(gate: &Gate) -> &str {
        match &gate.state {
            GateState::Open { .. } => "open",
            GateState::Closed { code, .. } => code,
        }
    }

    #[test]
    fn power_is_that_of_the_machine_and_not_of_its_mouse() {
        let class = Class::new();
        let ask = |class: &Class| {
            let supplies = Supplies::read(class.0.path());
            let (battery, mains) = (battery(&supplies, 30), mains(&supplies));
            (code(&battery).to_owned(), code(&mains).to_owned())
        };
        let both = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(ask(&class), both("open", "open"), "a board without battery");
        let mouse = [("type", "Battery"), ("scope", "Device"), ("capacity", "5")];
        class.put("hid-mouse", &mouse);
        assert_eq!(ask(&class), both("open", "open"));
        class.put(
            "BAT0",
            &[("type", "Battery"), ("present", "1"), ("capacity", "29")],
        );
        assert_eq!(ask(&class), both("battery-low", "no-mains"));
        class.put("AC", &[("type", "Mains"), ("online", "1")]);
        class.put("BAT0", &[("capacity", "30")]);
        assert_eq!(ask(&class), both("open", "open"));
        class.put("BAT1", &[("type", "Battery"), ("capacity", "4")]);
        class.put("AC", &[("online", "0")]);
        assert_eq!(
            ask(&class),
            both("battery-low", "no-mains"),
            "the emptiest counts"
        );
        class.put("BAT0", &[("capacity", "?")]);
        class.put("BAT1", &[("capacity", "")]);
        assert_eq!(ask(&class).0, "battery-unknown");
    }

    #[test]
    fn hottest_zone_counts() {
        let class = Class::new();
        assert_eq!(code(&temperature(class.0.path(), 70)), "open");
        class.put("thermal_zone0", &[("temp", "41000")]);
        class.put("thermal_zone1", &[("temp", "71500")]);
        assert_eq!(code(&temperature(class.0.path(), 70)), "too-hot");
        assert_eq!(code(&temperature(class.0.path(), 72)), "open");
    }

    #[test]
    fn load_is_shared_among_processors() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("loadavg");
        std::fs::write(&file, "3.20 0.18 0.12 1/80 11206\n").unwrap();
        assert_eq!(code(&load(&file, 4, 80)), "open");
        assert_eq!(code(&load(&file, 2, 80)), "busy-machine");
        std::fs::write(&file, "high\n").unwrap();
        assert_eq!(code(&load(&file, 2, 80)), "load-unknown");
    }

    #[test]
    fn space_is_that_of_the_state_directory() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(code(&space(directory.path(), 1)), "open");
        assert_eq!(code(&space(directory.path(), u64::MAX)), "no-space");
        assert_eq!(
            code(&space(&directory.path().join("absent"), 1)),
            "space-unknown"
        );
    }
}
