//! Looking after the inactive slot: it is read back when that is due, and repaired when a person
//! asks.

use std::time::Duration;

use switchback_manifest::TrustedRelease;
use switchback_types::{Digest, SlotName};
use switchback_update_core::{Event, Phase, repair_target};

use super::poll::{jitter, refuse};
use super::{Driver, DriverError, JobId, JobKind, Parts, Refused};
use crate::cancel::Cancel;
use crate::install::{Fetched, identity};
use crate::worker::Job;

/// The device has better things to do right after its start; and what was pushed aside is not
/// taken up again at once.
const REST: Duration = Duration::from_secs(10 * 60);

/// What is remembered between two looks.
#[derive(Debug)]
pub(super) struct Checks {
    /// Time between two looks, moved by up to a tenth once for each start: a fleet spreads out.
    interval: Option<Duration>,
    /// No look before this, on the scale of [`crate::host::Host::uptime`].
    not_before: Duration,
    /// Set while the worker looks.
    running: Option<Cancel>,
    /// Whether a repair waits for what the look finds.
    repair_waits: bool,
    /// What the last write of the slot took.
    fetched: Fetched,
}

impl Checks {
    pub(super) fn new(parts: &Parts) -> Self {
        let mut random = [0_u8; 2];
        // Without chance everything is at the same time, which is no reason not to do it.
        parts.host.random(&mut random);
        let interval = parts.settings.slots.verify_interval;
        let mut checks = Self {
            interval: interval.map(|interval| jitter(interval, random)),
            not_before: Duration::ZERO,
            running: None,
            repair_waits: false,
            fetched: Fetched::default(),
        };
        checks.rest(parts.host.uptime());
        checks
    }

    fn rest(&mut self, now: Duration) {
        self.not_before = now + self.interval.unwrap_or(REST).min(REST);
    }

    /// A look begins.
    pub(super) fn begin(&mut self) -> Cancel {
        let cancel = Cancel::default();
        self.running = Some(cancel.clone());
        cancel
    }

    pub(super) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the worker looks, and nobody has pushed that aside.
    pub(super) fn keeps_busy(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|cancel| !cancel.is_requested())
    }

    /// Something more urgent wants the worker: the look ends early and is made later.
    pub(super) fn push_aside(&self) {
        if let Some(cancel) = &self.running {
            cancel.request();
        }
    }

    pub(super) const fn fetched(&mut self, fetched: Fetched) {
        self.fetched = fetched;
    }

    pub(super) const fn last_fetched(&self) -> Fetched {
        self.fetched
    }
}

impl Driver {
    /// When the inactive slot is to be looked at, on the scale of [`crate::host::Host::uptime`];
    /// nothing while something else is under way, or there is nothing to compare it with.
    pub(super) fn check_due(&self) -> Option<Duration> {
        let quiet = self.state.phase == Phase::Idle
            && !self.polling
            && !self.working
            && !self.checks.is_running()
            && self.ordinary_health.is_ok();
        let interval = self.checks.interval.filter(|_| quiet)?;
        let record = self.state.slot(self.parts.layout.booted.other());
        record.verified_image()?;
        let now = self.facts().now.unix();
        // A time that is still to come was noted by a clock that was wrong.
        let left = record
            .checked
            .and_then(|checked| u64::try_from(now.saturating_sub(checked.unix())).ok())
            .map_or(Duration::ZERO, |since| {
                interval.saturating_sub(Duration::from_secs(since))
            });
        Some((self.parts.host.uptime() + left).max(self.checks.not_before))
    }

    pub(super) fn slot_checked(
        &mut self,
        slot: SlotName,
        sha256: Digest,
        result: Option<Result<(), String>>,
    ) -> Result<(), DriverError> {
        self.checks.running = None;
        self.checks.rest(self.parts.host.uptime());
        let whole = result.as_ref().map(Result::is_ok);
        if let Some(result) = result {
            self.event(Event::SlotChecked {
                slot,
                sha256,
                result,
            })?;
        }
        if !std::mem::take(&mut self.checks.repair_waits) {
            return Ok(());
        }
        match whole {
            Some(true) => {
                let text = format!("slot {slot} was read back and is whole: nothing to repair");
                self.jobs.repair_ended(Ok(text), &self.parts.job_ends);
            }
            Some(false) => self.find_for_repair(),
            None => {
                let text = format!("slot {slot} could not be looked at just now: ask again");
                self.jobs.repair_ended(Err(text), &self.parts.job_ends);
            }
        }
        Ok(())
    }

    /// A person wants the inactive slot whole. Where no damage is known, it is looked for first.
    pub(super) fn repair(&mut self, job: JobId) -> Result<Result<(), Refused>, DriverError> {
        if let Some(refused) = self.busy() {
            return Ok(Err(refused));
        }
        let booted = self.parts.layout.booted;
        if let Err(refusal) = repair_target(&self.state, booted) {
            return Ok(refuse("NothingToRepair", &refusal.to_string()));
        }
        if let Err(detail) = self.boot_environment() {
            return Ok(refuse("BootEnvironment", &detail));
        }
        self.jobs.begin(job, JobKind::Repair);
        if self.state.slot(booted.other()).damaged_image().is_some() {
            self.checks.push_aside();
            self.find_for_repair();
            return Ok(Ok(()));
        }
        self.checks.repair_waits = true;
        if !self.checks.is_running() {
            self.event(Event::VerifyDue)?;
        }
        Ok(Ok(()))
    }

    fn find_for_repair(&mut self) {
        match repair_target(&self.state, self.parts.layout.booted) {
            Ok(image) => {
                self.work(Job::Find { image });
            }
            Err(refusal) => {
                let text = refusal.to_string();
                self.jobs.repair_ended(Err(text), &self.parts.job_ends);
            }
        }
    }

    /// The release for the repair was looked for.
    pub(super) fn found(
        &mut self,
        found: Result<Box<TrustedRelease>, String>,
    ) -> Result<(), DriverError> {
        let slot = self.parts.layout.booted.other();
        // Meanwhile an update may have begun, or a look may have found the slot whole.
        let stopped = match (&found, self.busy()) {
            (Err(detail), _) => Some(format!(
                "the release for the repair of slot {slot} cannot be had: {detail}; publish it \
                 again, or let the next update write the slot"
            )),
            (Ok(_), Some(refused)) => Some(refused.message),
            (Ok(_), None) => None,
        };
        let (Ok(release), None) = (found, &stopped) else {
            let text = stopped.unwrap_or_default();
            tracing::warn!("{text}");
            self.jobs.repair_ended(Err(text), &self.parts.job_ends);
            return Ok(());
        };
        let image = identity(&release);
        let now = self.parts.host.now().unix();
        let Ok(action) = format!("repair-{}-{now}", image.sha256.short()).parse() else {
            return Ok(());
        };
        self.offered = Some(release);
        self.bundled = false;
        self.event(Event::RepairRequested { action, image })?;
        if self.state.phase == Phase::Idle {
            let text = format!("slot {slot} needs no repair any more");
            self.jobs.repair_ended(Ok(text), &self.parts.job_ends);
        }
        Ok(())
    }
}
