//! What the health checks say, and how they ended.

use switchback_update_core::Event;

use super::{Driver, DriverError};
use crate::health::{HealthPassed, Standing};
use crate::notice;

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
                self.health = Some(proof);
                self.ordinary_health = Ok(());
                self.event(Event::HealthPassed)?;
                if waited && !trial {
                    // The decision may have been waiting for just this.
                    self.next_poll = self.parts.host.uptime();
                }
                Ok(())
            }
            Err(detail) => {
                self.ordinary_health = Err(detail.clone());
                self.event(Event::HealthFailed { detail })
            }
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
