//! What people and programs ask for.

use std::sync::Arc;

use switchback_boot_env::contract::BootChange;
use switchback_types::{SlotName, Version};
use switchback_update_core::{Event, Override, Phase, roll_back_target};

use super::poll::refuse;
use super::{Command, Driver, DriverError, JobId, JobKind, Refused, Wish};
use crate::boot::BootError;
use crate::report::chain;
use crate::worker::Job;

impl Driver {
    pub(super) fn command(&mut self, command: Command) -> Result<Result<(), Refused>, DriverError> {
        match command {
            Command::Check(job) => {
                self.jobs.begin(job, JobKind::Check);
                self.poll_now();
            }
            Command::Install { job, wish } => {
                if let Some(refused) = self.busy() {
                    return Ok(Err(refused));
                }
                self.begin_install(job, wish)?;
                self.poll_now();
            }
            Command::InstallBundle { job, place, wish } => {
                if let Some(refused) = self.busy() {
                    return Ok(Err(refused));
                }
                if self.polling {
                    return Ok(refuse(
                        "Busy",
                        "the repository is being asked: try again in a moment",
                    ));
                }
                self.begin_install(job, wish)?;
                self.checks.push_aside();
                self.polling = true;
                let running = self.running();
                let gates = Arc::clone(&self.parts.settings.gates);
                let _ = self.parts.worker.send(Job::Open {
                    place,
                    running,
                    gates,
                });
            }
            Command::RollBack { job, reason } => return self.roll_back(job, reason),
            Command::Repair(job) => return self.repair(job),
            Command::Cancel => return self.cancel(),
            Command::CancelJob(job) => return self.cancel_job(job),
            Command::Hold { reason, until } => {
                if until.is_some_and(|until| until <= self.facts().now) {
                    return Ok(refuse("Failed", "the hold would end in the past"));
                }
                self.event(Event::HoldRequested { reason, until })?;
            }
            Command::Release => self.event(Event::HoldReleased)?,
            Command::Pin { version, reason } => {
                let running = || self.running().map(|image| image.version);
                let Some(version) = version.or_else(running) else {
                    return Ok(refuse(
                        "Failed",
                        "it is not known what runs: name the version",
                    ));
                };
                self.event(Event::PinRequested { version, reason })?;
            }
            Command::Unpin => self.event(Event::PinReleased)?,
            Command::Approve { version } => return self.approve(version),
            Command::MarkGood => {
                let tries = self.facts().tries;
                let slot = self.parts.layout.booted;
                return Ok(self.mark(&BootChange::MarkGood { slot, tries }));
            }
            Command::MarkBad => return Ok(self.mark_bad()),
            Command::Restart => {
                let armed = matches!(&self.state.phase, Phase::OnTrial { attempt, .. }
                    if attempt.target != self.parts.layout.booted);
                if !armed {
                    let text = "no slot is armed: `switchback update` or `switchback rollback`";
                    return Ok(refuse("NothingToDo", text));
                }
                self.event(Event::RestartRequested)?;
            }
        }
        Ok(Ok(()))
    }

    fn cancel(&mut self) -> Result<Result<(), Refused>, DriverError> {
        let idle = matches!(self.state.phase, Phase::Idle | Phase::Reporting { .. });
        if idle && self.state.interrupted.is_none() {
            return Ok(refuse(
                "NothingToDo",
                "nothing is under way to be cancelled",
            ));
        }
        self.event(Event::CancelRequested)?;
        Ok(Ok(()))
    }

    /// While the repository is asked nothing is under way yet: what it answers is then as if nobody had
    /// asked.
    fn cancel_job(&mut self, job: JobId) -> Result<Result<(), Refused>, DriverError> {
        let Some(kind) = self.jobs.kind(job) else {
            return Ok(refuse("NothingToDo", "this job has ended"));
        };
        let idle = matches!(self.state.phase, Phase::Idle | Phase::Reporting { .. });
        if kind == JobKind::Check || idle {
            self.jobs.call_off(job, &self.parts.job_ends);
            self.gates.overridden = None;
            return Ok(Ok(()));
        }
        self.cancel()
    }

    /// A person wants it now, whatever failed before.
    fn begin_install(&mut self, job: JobId, wish: Wish) -> Result<(), DriverError> {
        self.failed_installs.forget();
        self.gates.overridden = wish.overriding.map(|reason| Override { reason });
        if wish.retry {
            self.allow_retry()?;
        }
        self.jobs.begin(job, JobKind::Install);
        Ok(())
    }

    /// Whether another update is under way.
    pub(super) fn busy(&self) -> Option<Refused> {
        let attempt = self.state.phase.attempt()?;
        let message = format!(
            "version {} is {}: wait for it, or `switchback cancel`",
            attempt.image.version,
            self.state.phase.kind()
        );
        Some(Refused {
            name: "Busy",
            message,
        })
    }

    /// Consent is to what was offered last; who names a version wants no other.
    fn approve(&mut self, version: Option<Version>) -> Result<Result<(), Refused>, DriverError> {
        let Some(offered) = self.offered.as_deref() else {
            let text = "no release was offered yet: `switchback check` asks for one";
            return Ok(refuse("NothingToDo", text));
        };
        if let Some(version) = version.filter(|version| *version != offered.version) {
            let text = format!("version {} is offered, not {version}", offered.version);
            return Ok(refuse("NothingToDo", &text));
        }
        let sha256 = offered.image.sha256;
        self.event(Event::Approved { sha256 })?;
        Ok(Ok(()))
    }

    fn poll_now(&mut self) {
        self.checks.push_aside();
        self.next_poll = self.parts.host.uptime();
        self.poll();
    }

    fn allow_retry(&mut self) -> Result<(), DriverError> {
        let failed: Vec<_> = self
            .state
            .failed
            .iter()
            .map(|failed| failed.sha256)
            .collect();
        for sha256 in failed {
            self.event(Event::RetryAllowed { sha256 })?;
        }
        Ok(())
    }

    fn roll_back(
        &mut self,
        job: JobId,
        reason: String,
    ) -> Result<Result<(), Refused>, DriverError> {
        let on_trial = matches!(self.state.phase, Phase::OnTrial { .. });
        if !on_trial {
            if let Some(refused) = self.busy() {
                return Ok(Err(refused));
            }
            if let Err(refusal) = roll_back_target(&self.state, self.parts.layout.booted) {
                return Ok(refuse("NothingToRollBackTo", &refusal.to_string()));
            }
            if let Err(detail) = self.boot_environment() {
                return Ok(refuse("BootEnvironment", &detail));
            }
        }
        let name = format!("person-{}-{}", self.parts.host.now().unix(), job.0);
        match name.parse() {
            Ok(action) => {
                self.jobs.begin(job, JobKind::RollBack);
                self.event(Event::RollBackRequested { action, reason })?;
                Ok(Ok(()))
            }
            Err(_) => Ok(refuse("Failed", "no name for the action")),
        }
    }

    fn mark(&mut self, change: &BootChange<'_>) -> Result<(), Refused> {
        let booted = self.parts.layout.booted;
        let result: Result<(), BootError> = self
            .parts
            .boot
            .verify_writable()
            .and_then(|()| self.parts.boot.apply(change, booted).map(drop))
            .and_then(|()| self.parts.boot.observe())
            .map(|view| self.boot_view = Some(view));
        result.map_err(|error| Refused {
            name: "BootEnvironment",
            message: chain(&error),
        })
    }

    fn mark_bad(&mut self) -> Result<(), Refused> {
        if let Some(refused) = self.busy() {
            return Err(refused);
        }
        let inactive: SlotName = self.parts.layout.booted.other();
        self.mark(&BootChange::Invalidate(inactive))
    }
}
