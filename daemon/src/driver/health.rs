//! What the health checks say, and how they ended.

use std::time::Duration;

use switchback_update_core::Event;

use super::{Driver, DriverError, Message};
use crate::health::{HealthPassed, Standing};
use crate::host::HealthReports;
use crate::notice;

/// A system that was not healthy in time may become so later: its network came late, a person mended
/// it. Without a new verdict no update would ever come to it.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

impl Driver {
    pub(super) fn health_known(
        &mut self,
        trial: bool,
        result: Result<HealthPassed, String>,
    ) -> Result<(), DriverError> {
        let waited = self.ordinary_health.is_err();
        self.tell_advice();
        match result {
            Ok(proof) => {
                if self.health_again.take().is_some() {
                    tracing::info!("the running system is healthy now");
                    if self.ordinary_health.as_ref().err() == Some(&self.last_error) {
                        self.last_error.clear();
                    }
                }
                self.health = Some(proof);
                self.ordinary_health = Ok(());
                self.event(Event::HealthPassed)?;
                if waited && !trial {
                    // The decision may have been waiting for just this.
                    self.next_poll = self.parts.host.uptime();
                }
                Ok(())
            }
            // Looked at again: nothing is new.
            Err(_) if self.health_again.is_some() => {
                self.health_again = Some(self.parts.host.uptime() + LOOK_AGAIN);
                Ok(())
            }
            Err(detail) => {
                if !trial {
                    self.health_again = Some(self.parts.host.uptime() + LOOK_AGAIN);
                }
                self.ordinary_health = Err(detail.clone());
                self.event(Event::HealthFailed { detail })
            }
        }
    }

    /// One look at everything; if all holds, it must hold for the settling time as ever.
    pub(super) fn look_at_health_again(&mut self) {
        // Until it ends.
        self.health_again = Some(Duration::MAX);
        let mut settings = self.parts.settings.health.clone();
        settings.deadline = Duration::ZERO;
        let reports = self.health_reports(false);
        self.parts
            .host
            .check_health(&settings, &self.parts.reached, reports);
    }

    pub(super) fn health_reports(&self, trial: bool) -> HealthReports {
        // If the driver is gone the program is ending.
        let (said, end) = (self.parts.queue.clone(), self.parts.queue.clone());
        HealthReports {
            said: Box::new(move |states| {
                let _ = said.send(Message::Checks(states));
            }),
            end: Box::new(move |result| {
                let _ = end.send(Message::Health { trial, result });
            }),
        }
    }

    /// Says which checks fail that decide nothing.
    fn tell_advice(&self) {
        let failing = self.health_checks.iter().filter(|check| !check.required);
        for check in failing.filter(|check| check.standing == Standing::Failing) {
            notice::advice(check);
        }
    }
}
