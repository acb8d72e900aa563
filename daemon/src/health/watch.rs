//! Looking until everything has held for long enough, or the time is over.

use std::time::{Duration, Instant};

use super::HealthPassed;
use crate::settings::HealthSettings;

/// Pause between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time, as [`watch`] needs it.
pub trait Pace {
    /// Since the checks began.
    fn elapsed(&mut self) -> Duration;

    /// Waits.
    fn pause(&mut self, time: Duration);
}

/// The machine's time.
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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

    fn watched(verdicts: impl Fn(u64) -> bool) -> (Result<HealthPassed, String>, u64) {
        let mut looks = 0;
        let mut clock = ManualClock::default();
        let settings = HealthSettings {
            deadline: Duration::from_secs(60),
            settle: Duration::from_secs(5),
            ..HealthSettings::default()
        };
        let result = watch(&settings, &mut clock, &mut || {
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
}
