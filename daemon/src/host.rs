//! The machine around the daemon: time, chance, health, restarts.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use switchback_types::Timestamp;
use switchback_update_core::{Attempt, Gate, Outcome};

use crate::gates::Roots;
use crate::health::{CheckState, HealthPassed, Reached};
use crate::report::chain;
use crate::settings::{GateSettings, HealthSettings};
use crate::system_bus::SystemBus;
use crate::{command, gates, health};

/// systemd takes the request and returns.
const RESTART_LIMIT: Duration = Duration::from_secs(60);

/// Receives what the health checks say.
pub struct HealthReports {
    /// Called whenever a check says something else than before, with all of them.
    pub said: Box<dyn FnMut(Vec<CheckState>) + Send>,
    /// Called once, at the end.
    pub end: Box<dyn FnOnce(Result<HealthPassed, String>) + Send>,
}

impl fmt::Debug for HealthReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthReports").finish_non_exhaustive()
    }
}

/// Everything that the driver and the worker need of the machine, besides storage and network.
pub trait Host: fmt::Debug + Send + Sync {
    /// The clock's time, unchecked.
    fn now(&self) -> Timestamp;

    /// Time since some moment before the daemon started; never goes back.
    fn uptime(&self) -> Duration;

    /// Waits.
    fn pause(&self, time: Duration);

    /// Fills `bytes` with chance; `false` if there is none to be had.
    fn random(&self, bytes: &mut [u8]) -> bool;

    /// Runs the health checks beside everything else.
    fn check_health(&self, settings: &HealthSettings, reached: &Reached, reports: HealthReports);

    /// Reads the gates that are set; may wait for programs and services.
    fn read_gates(&self, settings: &GateSettings, now: Timestamp) -> Vec<Gate>;

    /// Asks for a restart of the device, and returns.
    fn restart(&self, command: &[String]);

    /// Whether the whole system is going down, not only this program.
    fn is_stopping(&self) -> bool;

    /// Tells those who must know how an action ended; it may be told more than once.
    ///
    /// # Errors
    /// They could not be told; to be tried again.
    fn tell(&self, attempt: &Attempt, outcome: &Outcome) -> Result<(), String>;

    /// What the running image says about itself, in the format of os-release(5).
    fn os_release(&self) -> String;

    /// What was kept under `name` in this boot.
    fn recall(&self, name: &str) -> Option<String>;

    /// Keeps `text` under `name` until the next boot.
    fn keep(&self, name: &str, text: &str);
}

/// The real machine.
#[derive(Debug)]
pub struct Machine {
    started: Instant,
    runtime_directory: PathBuf,
    bus: Arc<SystemBus>,
}

impl Machine {
    /// `runtime_directory` lasts as long as this boot; `bus` is asked by gates and health checks.
    #[must_use]
    pub fn new(runtime_directory: PathBuf, bus: SystemBus) -> Self {
        Self {
            started: Instant::now(),
            runtime_directory,
            bus: Arc::new(bus),
        }
    }
}

/// Bytes as people write them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The clock's time, unchecked.
pub(crate) fn clock() -> Timestamp {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    Timestamp::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX))
}

impl Host for Machine {
    fn now(&self) -> Timestamp {
        clock()
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn random(&self, bytes: &mut [u8]) -> bool {
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), bytes).is_ok()
    }

    fn check_health(&self, settings: &HealthSettings, reached: &Reached, reports: HealthReports) {
        let (settings, reached) = (settings.clone(), reached.clone());
        let bus = Arc::clone(&self.bus);
        let HealthReports { mut said, end } = reports;
        let checks = move || end(health::run(&settings, &reached, &bus, &mut *said));
        if let Err(error) = std::thread::Builder::new()
            .name("health".into())
            .spawn(checks)
        {
            // Without health nothing is committed, and the trial's own deadline ends it.
            tracing::error!("the health checks could not be started: {error}");
        }
    }

    fn read_gates(&self, settings: &GateSettings, now: Timestamp) -> Vec<Gate> {
        gates::read(settings, &Roots::default(), &self.bus, now)
    }

    fn restart(&self, program: &[String]) {
        let program = program.to_vec();
        let ask = move || {
            if let Err(error) = command::run(&program, RESTART_LIMIT) {
                tracing::error!(
                    "the restart failed: {}; `switchback restart` tries again",
                    chain(&error)
                );
            }
        };
        if let Err(error) = std::thread::Builder::new()
            .name("restart".into())
            .spawn(ask)
        {
            tracing::error!("the restart failed: {error}; `switchback restart` tries again");
        }
    }

    fn is_stopping(&self) -> bool {
        let command = ["systemctl", "is-system-running"].map(String::from);
        match command::run(&command, Duration::from_secs(5)) {
            // `stopping` comes with an exit status of 1.
            Err(command::CommandError::Failed { output, .. }) => output.contains("stopping"),
            _ => false,
        }
    }

    /// The journal and the history are whoever must know; a fleet server has its own record.
    fn tell(&self, _: &Attempt, _: &Outcome) -> Result<(), String> {
        Ok(())
    }

    fn os_release(&self) -> String {
        ["/etc/os-release", "/usr/lib/os-release"]
            .iter()
            .find_map(|path| std::fs::read_to_string(path).ok())
            .unwrap_or_default()
    }

    fn recall(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.runtime_directory.join(name)).ok()
    }

    fn keep(&self, name: &str, text: &str) {
        let path = self.runtime_directory.join(name);
        if let Err(error) = std::fs::write(&path, text) {
            tracing::warn!("{}: {error}", path.display());
        }
    }
}
