//! The health checks: what must hold before a slot is committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::command::{self, CommandError};
use crate::report::chain;
use crate::settings::HealthSettings;

/// Pause between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// systemd answers at once, or something is very wrong.
const UNIT_LIMIT: Duration = Duration::from_secs(10);

/// Proof that every check held for the whole settling time. Only [`watch`] makes one.
#[derive(Debug)]
pub struct HealthPassed(());

/// Whether the repository has been reached since this boot.
#[derive(Debug, Clone, Default)]
pub struct Reached(Arc<AtomicBool>);

impl Reached {
    /// It was.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was.
    #[must_use]
    pub fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Looks until everything has held for the settling time, or the deadline is over.
///
/// # Errors
/// At the deadline: the first thing that did not hold.
pub fn run(settings: &HealthSettings, reached: &Reached) -> Result<HealthPassed, String> {
    let mut clock = Clock {
        start: Instant::now(),
    };
    watch(settings, &mut clock, &mut || look(settings, reached))
}

/// Time, as [`watch`] needs it.
pub trait Pace {
    /// Since the checks began.
    fn elapsed(&mut self) -> Duration;

    /// Waits.
    fn pause(&mut self, time: Duration);
}

struct Clock {
    start: Instant,
}

impl Pace for Clock {
    fn elapsed(&mut self) -> Duration {
        self.start.elapsed()
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Calls `look` until everything has held for the settling time, or the deadline is over.
///
/// # Errors
/// At the deadline: the first thing that did not hold.
pub fn watch(
    settings: &HealthSettings,
    pace: &mut dyn Pace,
    look: &mut dyn FnMut() -> Result<(), String>,
) -> Result<HealthPassed, String> {
    let mut healthy_since = None;
    loop {
        let verdict = look();
        let now = pace.elapsed();
        match verdict {
            Ok(()) => {
                let since = *healthy_since.get_or_insert(now);
                if now.saturating_sub(since) >= settings.settle {
                    return Ok(HealthPassed(()));
                }
            }
            Err(detail) => {
                healthy_since = None;
                if now >= settings.deadline {
                    let seconds = settings.deadline.as_secs();
                    return Err(format!("after {seconds} s: {detail}"));
                }
            }
        }
        pace.pause(INTERVAL);
    }
}

/// One look at everything; the first thing that does not hold.
fn look(settings: &HealthSettings, reached: &Reached) -> Result<(), String> {
    for unit in &settings.units {
        let command = ["systemctl", "is-active", unit.as_str()].map(String::from);
        match command::run(&command, UNIT_LIMIT) {
            Ok(_) => {}
            Err(CommandError::Failed { output, .. }) => {
                let state = output.trim_matches([' ', '(', ')']);
                return Err(format!(
                    "{unit} is {}",
                    if state.is_empty() { "unknown" } else { state }
                ));
            }
            Err(error) => return Err(format!("{unit}: {}", chain(&error))),
        }
    }
    for check in &settings.commands {
        command::run(&check.command, check.timeout)
            .map_err(|error| format!("check {:?}: {}", check.name, chain(&error)))?;
    }
    if settings.repository && !reached.is_noted() {
        return Err("the repository has not been reached since this boot".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::HealthCommand;

    #[derive(Default)]
    struct ManualClock(Duration);

    impl Pace for ManualClock {
        fn elapsed(&mut self) -> Duration {
            self.0
        }

        fn pause(&mut self, time: Duration) {
            self.0 += time;
        }
    }

    fn settings() -> HealthSettings {
        HealthSettings {
            deadline: Duration::from_secs(60),
            settle: Duration::from_secs(5),
            units: Vec::new(),
            commands: Vec::new(),
            repository: false,
        }
    }

    fn watched(verdicts: impl Fn(u64) -> bool) -> (Result<HealthPassed, String>, u64) {
        let mut looks = 0;
        let mut clock = ManualClock::default();
        let result = watch(&settings(), &mut clock, &mut || {
            looks += 1;
            if verdicts(looks - 1) {
                Ok(())
            } else {
                Err(format!("no at {}", looks - 1))
            }
        });
        (result, clock.0.as_secs())
    }

    #[test]
    fn must_hold_for_the_whole_settling_time() {
        let (result, seconds) = watched(|_| true);
        assert!(result.is_ok());
        assert_eq!(seconds, 5);
        // A break at second 3 starts the settling time again.
        let (result, seconds) = watched(|second| second != 3);
        assert!(result.is_ok());
        assert_eq!(seconds, 9);
    }

    #[test]
    fn fails_at_the_deadline_with_what_did_not_hold() {
        let (result, seconds) = watched(|_| false);
        assert_eq!(result.unwrap_err(), "after 60 s: no at 60");
        assert_eq!(seconds, 60);
        // Flapping never settles; the first bad look after the deadline ends it.
        let (result, seconds) = watched(|second| second % 4 != 0);
        assert!(result.is_err());
        assert_eq!(seconds, 60);
    }

    #[test]
    fn names_the_command_that_failed() {
        let mut settings = settings();
        settings.commands.push(HealthCommand {
            name: "kiosk".into(),
            command: vec!["false".into()],
            timeout: Duration::from_secs(30),
        });
        let detail = look(&settings, &Reached::default()).unwrap_err();
        assert!(
            detail.contains("check \"kiosk\": false: exit status: 1"),
            "{detail}"
        );
    }

    #[test]
    fn update_that_cuts_the_device_off_is_not_healthy() {
        let mut settings = settings();
        settings.repository = true;
        let reached = Reached::default();
        assert!(look(&settings, &reached).is_err());
        reached.note();
        assert!(look(&settings, &reached).is_ok());
    }
}
