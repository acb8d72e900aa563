//! What stands before an update, and before the restart into it.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use switchback_calendar::{Calendar, Window, Zones};
use switchback_update_core::Before;

use super::SettingsError;
use super::fragment::{GateCommand as Entry, Gates, Update, WindowEntry};
use super::validate::{DAY, duration, invalid};

/// Most programs, and most windows.
const MOST_ENTRIES: usize = 16;

/// What stands before an update, and before the restart into it.
#[derive(Debug, Clone, Default)]
pub struct GateSettings {
    /// When updates may come; nothing: at any time.
    pub windows: Vec<Window>,
    /// What may be done outside of them.
    pub outside: Outside,
    /// Least charge of a battery, in percent; nothing if it is not asked.
    pub battery_at_least: Option<u8>,
    /// Whether mains power is needed.
    pub mains: bool,
    /// Highest temperature of any thermal zone, in degrees Celsius; nothing if it is not asked.
    pub temperature_at_most: Option<u8>,
    /// Whether an update may come over a metered network.
    pub metered: bool,
    /// Least free bytes in the state directory; nothing if it is not asked.
    pub free_space_at_least: Option<NonZeroU64>,
    /// Where that is.
    pub state_directory: PathBuf,
    /// Highest load of the last minute for each processor, in hundredths; nothing if it is not
    /// asked.
    pub load_at_most: Option<u32>,
    /// Whether logind's inhibitors of a shutdown count.
    pub logind: bool,
    /// How long an application's inhibitor counts; nothing: for as long as it is held.
    pub inhibit_at_most: Option<Duration>,
    /// Programs that are asked.
    pub commands: Vec<GateCommand>,
}

/// What may be done outside of the maintenance windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outside {
    /// No update begins, and nothing restarts.
    #[default]
    Nothing,
    /// An update is written into the other slot and armed; the restart waits.
    Download,
}

/// A program that says whether now is a good time.
#[derive(Debug, Clone)]
pub struct GateCommand {
    /// For people.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// What it stands before.
    pub before: Before,
}

/// Whether an update is wanted at all.
#[derive(Debug, Clone, Default)]
pub struct UpdateSettings {
    /// Whether each image waits for a person's consent.
    pub consent: bool,
}

pub(super) fn update(table: &Update) -> UpdateSettings {
    UpdateSettings {
        consent: table.consent.unwrap_or(false),
    }
}

/// Windows may be of the local time, whose rules the machine has.
fn windows(entries: &[WindowEntry], zones: &dyn Zones) -> Result<Vec<Window>, SettingsError> {
    const START: &str = "update.window.start";
    const LENGTH: &str = "update.window.length";
    if entries.len() > MOST_ENTRIES {
        let text = entries.len().to_string();
        let way_out = format!("at most {MOST_ENTRIES}: one start may name many times");
        return Err(invalid("update.window", &text, way_out));
    }
    let window = |entry: &WindowEntry| {
        let start = Calendar::parse(&entry.start, zones)
            .map_err(|error| invalid(START, &entry.start, error.to_string()))?;
        let length = duration(LENGTH, Some(&entry.length), DAY, 366 * DAY)?;
        Window::new(start, length)
            .map_err(|error| invalid(LENGTH, &entry.length, error.to_string()))
    };
    entries.iter().map(window).collect()
}

fn outside(text: Option<&str>) -> Result<Outside, SettingsError> {
    match text {
        None | Some("nothing") => Ok(Outside::Nothing),
        Some("download") => Ok(Outside::Download),
        Some(other) => {
            let way_out = "write \"nothing\" or \"download\"";
            Err(invalid("update.outside-window", other, way_out))
        }
    }
}

pub(super) fn gates(
    table: Gates,
    update: &Update,
    state_directory: PathBuf,
    zones: &dyn Zones,
) -> Result<GateSettings, SettingsError> {
    let percent = table.battery_at_least.unwrap_or(0);
    if percent > 100 {
        let text = percent.to_string();
        return Err(invalid(
            "gates.battery-at-least",
            &text,
            "write 0 to 100 percent",
        ));
    }
    let inhibit = duration(
        "gates.inhibit-at-most",
        table.inhibit_at_most.as_ref(),
        DAY,
        366 * DAY,
    )?;
    let entries = table.command.unwrap_or_default();
    if entries.len() > MOST_ENTRIES {
        let text = entries.len().to_string();
        let way_out = format!("at most {MOST_ENTRIES} programs are asked: put them into one");
        return Err(invalid("gates.command", &text, way_out));
    }
    Ok(GateSettings {
        windows: windows(update.window.as_deref().unwrap_or_default(), zones)?,
        outside: outside(update.outside_window.as_deref())?,
        battery_at_least: Some(percent).filter(|percent| *percent > 0),
        mains: table.mains.unwrap_or(false),
        temperature_at_most: table.temperature_at_most.filter(|degrees| *degrees > 0),
        metered: table.metered.unwrap_or(true),
        free_space_at_least: match &table.free_space_at_least {
            Some(text) => bytes("gates.free-space-at-least", text)?,
            None => None,
        },
        state_directory,
        load_at_most: match table.load_at_most {
            Some(load) => hundredths(load)?,
            None => None,
        },
        logind: table.logind.unwrap_or(true),
        inhibit_at_most: Some(inhibit).filter(|limit| !limit.is_zero()),
        commands: entries.into_iter().map(command).collect::<Result<_, _>>()?,
    })
}

fn command(table: Entry) -> Result<GateCommand, SettingsError> {
    if table.command.is_empty() {
        let message = "write the program and its arguments: [\"/usr/bin/kiosk-idle\"]";
        return Err(invalid("gates.command", &table.name, message));
    }
    Ok(GateCommand {
        timeout: duration(
            "gates.command.timeout",
            table.timeout.as_ref(),
            Duration::from_secs(10),
            Duration::from_secs(5 * 60),
        )?,
        before: match table.before.as_deref() {
            None | Some("both") => Before::Both,
            Some("update") => Before::Update,
            Some("restart") => Before::Restart,
            Some(other) => {
                let way_out = "write \"update\", \"restart\" or \"both\"";
                return Err(invalid("gates.command.before", other, way_out));
            }
        },
        name: table.name,
        command: table.command,
    })
}

/// `0` for none.
fn bytes(key: &'static str, text: &str) -> Result<Option<NonZeroU64>, SettingsError> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K')) => (text.get(..at), 10),
        Some((at, 'M')) => (text.get(..at), 20),
        Some((at, 'G')) => (text.get(..at), 30),
        _ => (Some(text), 0),
    };
    let number: Option<u64> = digits.and_then(|digits| digits.trim().parse().ok());
    number
        .and_then(|number| number.checked_mul(1_u64 << shift))
        .map(NonZeroU64::new)
        .ok_or_else(|| {
            invalid(
                key,
                text,
                "write bytes, such as 512K, 64M or 2G; 0: not asked",
            )
        })
}

fn hundredths(load: f64) -> Result<Option<u32>, SettingsError> {
    if !(0.0..=1000.0).contains(&load) {
        let way_out = "write the load of a minute for each processor, such as 0.8; 0: not asked";
        return Err(invalid("gates.load-at-most", &load.to_string(), way_out));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 100,000"
    )]
    let hundredths = (load * 100.0).round() as u32;
    Ok(Some(hundredths).filter(|load| *load > 0))
}
