//! The health checks that are configured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::SettingsError;
use super::fragment::{Command, Health, Http};
use super::validate::{DAY, duration, invalid};

/// So many failures of what held are overlooked at most: more would hide everything.
const MOST_RETRIES: u32 = 100;
/// More checks than this are a mistake.
const MOST_CHECKS: usize = 1000;

/// What must hold before a slot is committed.
#[derive(Debug, Clone, Default)]
pub struct HealthSettings {
    /// Time after which a trial that is not healthy is lost.
    pub deadline: Duration,
    /// How long everything must hold without a break.
    pub settle: Duration,
    /// What is asked, in this order.
    pub checks: Vec<CheckSettings>,
    /// Scripts that run once in each boot.
    pub scripts: ScriptSettings,
}

/// One check.
#[derive(Debug, Clone)]
pub struct CheckSettings {
    /// For people.
    pub name: String,
    /// Whether it decides; else it only advises.
    pub required: bool,
    /// Failures in a row that are overlooked once it held.
    pub retries: u32,
    /// How long one answer may take.
    pub timeout: Duration,
    /// What it asks.
    pub kind: CheckKind,
}

/// What a check asks.
#[derive(Debug, Clone)]
pub enum CheckKind {
    /// A unit must be active.
    Unit(String),
    /// A command must exit with 0: program and arguments.
    Command(Vec<String>),
    /// A web server on this device must answer.
    Http(HttpSettings),
    /// A name must have an owner on the system bus.
    BusName(String),
    /// The repository must have been reached since the boot.
    Repository,
    /// systemd must have reached `boot-complete.target`.
    BootComplete,
}

impl CheckKind {
    /// Its name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unit(_) => "unit",
            Self::Command(_) => "command",
            Self::Http(_) => "http",
            Self::BusName(_) => "bus-name",
            Self::Repository => "repository",
            Self::BootComplete => "boot-complete",
        }
    }
}

/// What a web server on this device must answer.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// `http://` or `https://`, an address of this device.
    pub url: String,
    /// The status that it must answer with.
    pub status: u16,
    /// A text that must be in the first 64 KiB of the answer.
    pub body: Option<String>,
    /// Certificates that the server is checked against (PEM); of `https://` only.
    pub ca_file: Option<PathBuf>,
}

/// Scripts in directories, as greenboot has them.
#[derive(Debug, Clone, Default)]
pub struct ScriptSettings {
    /// Directories with `required.d` and `wanted.d` in them.
    pub directories: Vec<PathBuf>,
    /// Names of files that are not run.
    pub skip: Vec<String>,
    /// How long each may take.
    pub timeout: Duration,
    /// How often one that failed is run again.
    pub retries: u32,
}

pub(super) fn health(table: Health, ca_file: &Path) -> Result<HealthSettings, SettingsError> {
    let minutes = |count: u64| Duration::from_secs(count * 60);
    let deadline = duration("health.deadline", table.deadline.as_ref(), minutes(5), DAY)?;
    let settle = duration(
        "health.settle",
        table.settle.as_ref(),
        Duration::from_secs(5),
        DAY,
    )?;
    if settle >= deadline {
        let text = table.settle.unwrap_or_default();
        return Err(invalid(
            "health.settle",
            &text,
            "must be shorter than health.deadline",
        ));
    }
    let retries = retries("health.retries", table.retries, 0)?;
    let script_timeout = duration(
        "health.script-timeout",
        table.script_timeout.as_ref(),
        minutes(1),
        DAY,
    )?;
    let directories = table.script_directories.unwrap_or_else(|| {
        ["/usr/lib/greenboot/check", "/etc/greenboot/check"]
            .map(String::from)
            .into()
    });
    for directory in &directories {
        if !directory.starts_with('/') {
            let way_out = "write a whole path, such as /etc/greenboot/check";
            return Err(invalid("health.script-directories", directory, way_out));
        }
    }
    let plain = |name: &str, required, kind| CheckSettings {
        name: name.into(),
        required,
        retries,
        timeout: Duration::from_secs(10),
        kind,
    };
    let mut checks = Vec::new();
    for (key, units, required) in [
        ("health.units", table.units, true),
        ("health.wanted-units", table.wanted_units, false),
    ] {
        for name in units.unwrap_or_default() {
            unit(key, &name)?;
            checks.push(plain(&name, required, CheckKind::Unit(name.clone())));
        }
    }
    for (key, names, required) in [
        ("health.bus-names", table.bus_names, true),
        ("health.wanted-bus-names", table.wanted_bus_names, false),
    ] {
        for name in names.unwrap_or_default() {
            bus_name(key, &name)?;
            checks.push(plain(&name, required, CheckKind::BusName(name.clone())));
        }
    }
    for table in table.http.unwrap_or_default() {
        checks.push(http(table, retries, ca_file)?);
    }
    for table in table.command.unwrap_or_default() {
        checks.push(command(table, retries)?);
    }
    if table.repository.unwrap_or(true) {
        checks.push(plain("repository", true, CheckKind::Repository));
    }
    if table.boot_complete.unwrap_or(true) {
        checks.push(plain("boot-complete.target", true, CheckKind::BootComplete));
    }
    if checks.len() > MOST_CHECKS {
        let count = checks.len().to_string();
        let message = format!("at most {MOST_CHECKS} checks are possible");
        return Err(invalid("health", &count, message));
    }
    Ok(HealthSettings {
        deadline,
        settle,
        checks,
        scripts: ScriptSettings {
            directories: directories.into_iter().map(PathBuf::from).collect(),
            skip: table.skip_scripts.unwrap_or_default(),
            timeout: script_timeout,
            retries,
        },
    })
}

fn retries(key: &'static str, value: Option<u32>, default: u32) -> Result<u32, SettingsError> {
    match value.unwrap_or(default) {
        count if count <= MOST_RETRIES => Ok(count),
        count => Err(invalid(
            key,
            &count.to_string(),
            format!("at most {MOST_RETRIES} are possible"),
        )),
    }
}

fn unit(key: &'static str, name: &str) -> Result<(), SettingsError> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    if name.contains('.') && !name.starts_with('-') && name.bytes().all(known) {
        return Ok(());
    }
    let way_out = "write the whole name of a unit, such as kiosk.service";
    Err(invalid(key, name, way_out))
}

fn bus_name(key: &'static str, name: &str) -> Result<(), SettingsError> {
    if zbus::names::WellKnownName::try_from(name).is_ok() {
        return Ok(());
    }
    let way_out = "write a name on the system bus, such as org.example.Kiosk1";
    Err(invalid(key, name, way_out))
}

fn command(table: Command, default: u32) -> Result<CheckSettings, SettingsError> {
    if table.command.first().is_none_or(String::is_empty) {
        let message = "write the program and its arguments: [\"/usr/bin/check\", \"--now\"]";
        return Err(invalid("health.command", &table.name, message));
    }
    Ok(CheckSettings {
        timeout: timeout("health.command.timeout", table.timeout.as_ref(), 30)?,
        retries: retries("health.command.retries", table.retries, default)?,
        required: table.required.unwrap_or(true),
        name: table.name,
        kind: CheckKind::Command(table.command),
    })
}

fn http(table: Http, default: u32, ca_file: &Path) -> Result<CheckSettings, SettingsError> {
    let uri: Option<hyper::Uri> = table.url.parse().ok();
    let scheme = uri.as_ref().and_then(|uri| uri.scheme_str());
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
    if !matches!(scheme, Some("http" | "https")) || !is_this_device(host) {
        let way_out = "write http:// or https:// and an address of this device: localhost, 127.0.0.1 or [::1]";
        return Err(invalid("health.http.url", &table.url, way_out));
    }
    let encrypted = scheme == Some("https");
    let status = table.status.unwrap_or(200);
    if !(100..600).contains(&status) {
        let text = status.to_string();
        return Err(invalid("health.http.status", &text, "write 100 to 599"));
    }
    let ca_file = table.ca_file.map_or_else(|| ca_file.into(), PathBuf::from);
    Ok(CheckSettings {
        timeout: timeout("health.http.timeout", table.timeout.as_ref(), 10)?,
        retries: retries("health.http.retries", table.retries, default)?,
        required: table.required.unwrap_or(true),
        name: table.name,
        kind: CheckKind::Http(HttpSettings {
            url: table.url,
            status,
            body: table.body.filter(|text| !text.is_empty()),
            ca_file: encrypted.then_some(ca_file),
        }),
    })
}

fn timeout(
    key: &'static str,
    text: Option<&String>,
    seconds: u64,
) -> Result<Duration, SettingsError> {
    let time = duration(key, text, Duration::from_secs(seconds), DAY)?;
    if time.is_zero() {
        let text = text.map_or("", String::as_str);
        return Err(invalid(key, text, "nothing answers in no time"));
    }
    Ok(time)
}

fn is_this_device(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}
