//! Runs effects. Each boot environment effect answers with an event at once; long work is handed
//! to a thread that answers later.

use switchback_boot_env::contract::BootChange;
use switchback_update_core::{Effect, Event, HealthPurpose, Notice};
use tokio::time::Instant;

use super::{Driver, Message};
use crate::boot::BootError;
use crate::report::chain;
use crate::worker::Job;
use crate::{command, health, notice};

/// systemd takes the request and returns.
const RESTART_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// What running an effect gave.
pub(super) struct Ran {
    /// The answer, if it is there already.
    pub(super) event: Option<Event>,
    /// Whether the effects after it must not run.
    pub(super) stop: bool,
}

const DONE: Ran = Ran {
    event: None,
    stop: false,
};

fn answered(event: Event) -> Ran {
    Ran {
        event: Some(event),
        stop: false,
    }
}

impl Driver {
    pub(super) fn run_effect(&mut self, effect: Effect) -> Ran {
        let tries = self.facts().tries;
        match effect {
            Effect::Emit(notice) => {
                self.note(&notice);
                DONE
            }
            Effect::Identify(slot) => self.work(Job::Identify(slot)),
            Effect::InvalidateSlot(slot) => self.boot_write(BootChange::Invalidate(slot), None),
            Effect::WriteSlot(attempt) => match self.offered.clone() {
                Some(release) if release.image.sha256 == attempt.image.sha256 => {
                    self.slot_work(Job::Install(release))
                }
                _ => {
                    let detail = "the release is not at hand any more; it is asked for again";
                    let failure = switchback_update_core::InstallFailure::Network {
                        detail: detail.into(),
                    };
                    answered(Event::InstallFailed(failure))
                }
            },
            Effect::VerifySlot(attempt) => self.slot_work(Job::Verify(attempt)),
            Effect::CancelWork => {
                self.parts.cancel.request();
                DONE
            }
            Effect::Arm { slot, tries } => self.arm(slot, tries),
            Effect::MarkGood(slot) => match self.health.take() {
                // Only proven health marks a slot good.
                Some(proof) => {
                    let ran = self.boot_write(
                        BootChange::MarkGood { slot, tries },
                        Some(Event::MarkedGood),
                    );
                    self.health = Some(proof);
                    ran
                }
                None => DONE,
            },
            Effect::FallBack { bad, to } => self.boot_write(
                BootChange::FallBack { bad, to, tries },
                Some(Event::FellBack),
            ),
            Effect::GiveBackTry(slot) => self.boot_write(BootChange::GiveBackTry { slot }, None),
            Effect::RunHealthChecks(purpose) => {
                self.run_health_checks(purpose);
                DONE
            }
            Effect::Restart => {
                self.restart();
                DONE
            }
            // Without a fleet server the journal and the history are whoever must know.
            Effect::Report { .. } => answered(Event::Reported),
            Effect::Poll => {
                self.next_poll = Instant::now();
                DONE
            }
        }
    }

    fn note(&mut self, said: &Notice) {
        notice::say(said);
        match said {
            Notice::InstallFailed { detail, .. }
            | Notice::Degraded { detail }
            | Notice::BootWriteFailed { detail } => self.last_error.clone_from(detail),
            Notice::TrialFailed { attempt, reason } | Notice::RolledBack { attempt, reason } => {
                self.last_error = format!("version {}: {reason}", attempt.image.version);
            }
            Notice::Committed(_) => self.last_error.clear(),
            _ => {}
        }
    }

    fn work(&mut self, job: Job) -> Ran {
        // The worker ends only with the program.
        let _ = self.parts.worker.send(job);
        DONE
    }

    fn slot_work(&mut self, job: Job) -> Ran {
        self.working = true;
        self.verified = None;
        self.parts.cancel.reset();
        self.work(job)
    }

    fn arm(&mut self, slot: switchback_types::SlotName, tries: u8) -> Ran {
        // The proof, not a flag, allows it.
        let proven = self
            .verified
            .take()
            .is_some_and(|verified| verified.slot() == slot);
        if !proven {
            let detail = format!("slot {slot} was not verified in this run of the daemon");
            return Ran {
                event: Some(Event::BootWriteFailed { detail }),
                stop: true,
            };
        }
        match contact_id() {
            Ok(id) => {
                let change = BootChange::Arm {
                    slot,
                    tries,
                    contact_id: &id,
                };
                self.boot_write(change, Some(Event::Armed))
            }
            Err(detail) => Ran {
                event: Some(Event::BootWriteFailed { detail }),
                stop: true,
            },
        }
    }

    fn boot_write(&mut self, change: BootChange<'_>, done: Option<Event>) -> Ran {
        let booted = self.parts.layout.booted;
        let result: Result<(), BootError> = self
            .parts
            .boot
            .apply(&change, booted)
            .and_then(|_| self.parts.boot.observe())
            .map(|view| {
                self.boot_view = Some(view);
            });
        match result {
            Ok(()) => Ran {
                event: done,
                stop: false,
            },
            Err(error) => {
                let detail = chain(&error);
                Ran {
                    event: Some(Event::BootWriteFailed { detail }),
                    stop: true,
                }
            }
        }
    }

    fn run_health_checks(&self, purpose: HealthPurpose) {
        let settings = self.parts.settings.health.clone();
        let reached = self.parts.reached.clone();
        let queue = self.parts.queue.clone();
        let trial = purpose == HealthPurpose::Trial;
        let checks = move || {
            let result = health::run(&settings, &reached);
            let _ = queue.send(Message::Health { trial, result });
        };
        if let Err(error) = std::thread::Builder::new()
            .name("health".into())
            .spawn(checks)
        {
            let result = Err(format!("the health checks could not be started: {error}"));
            let _ = self.parts.queue.send(Message::Health { trial, result });
        }
    }

    fn restart(&self) {
        tracing::info!("restarting the device");
        let program = self.parts.settings.restart.command.clone();
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
}

/// A fresh value for the environment: a boot that hands back an older one read another file.
fn contact_id() -> Result<String, String> {
    use std::fmt::Write as _;
    let mut bytes = [0_u8; 4];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut bytes)
        .map_err(|_| "the kernel gave no random numbers".to_owned())?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Whether the whole system is going down, not only this program.
pub(super) fn system_is_stopping() -> bool {
    let command = ["systemctl", "is-system-running"].map(String::from);
    match command::run(&command, std::time::Duration::from_secs(5)) {
        // `stopping` comes with an exit status of 1.
        Err(command::CommandError::Failed { output, .. }) => output.contains("stopping"),
        _ => false,
    }
}
