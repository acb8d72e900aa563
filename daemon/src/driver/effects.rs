//! Runs effects. Each boot environment effect answers with an event at once; long work is handed
//! to a thread that answers later.

use super::Driver;
use crate::boot::BootError;
use crate::host::hex;
use crate::notice;
use crate::report::chain;
use crate::worker::Job;
use switchback_boot_env::contract::BootChange;
use switchback_update_core::{AttemptKind, Effect, Event, HealthPurpose, Notice};

/// Pause before the outcome is told again.
const TELL_AGAIN: std::time::Duration = std::time::Duration::from_secs(60);

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
            Effect::CheckSlot { image, .. } => {
                let cancel = self.checks.begin();
                self.work(Job::Check { image, cancel })
            }
            Effect::InvalidateSlot(slot) => self.boot_write(BootChange::Invalidate(slot), None),
            Effect::WriteSlot(attempt) => match self.offered.clone() {
                Some(release) if release.image.sha256 == attempt.image.sha256 => {
                    let sha256 = attempt.image.sha256;
                    let begun = attempt.kind == AttemptKind::Repair || self.begun == Some(sha256);
                    self.begun = Some(sha256);
                    let running = self.running();
                    self.slot_work(Job::Install {
                        release,
                        running,
                        begun,
                        bundled: self.bundled,
                    })
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
            Effect::Restart(cause) => {
                self.restart_for(cause);
                DONE
            }
            Effect::Report { attempt, outcome } => self.tell_outcome(attempt, outcome),
            Effect::Poll => {
                self.next_poll = self.parts.host.uptime();
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
            Notice::SlotDamaged {
                slot,
                version,
                detail,
            } => {
                self.last_error = format!(
                    "slot {slot} held version {version} and is damaged: {detail}; `switchback \
                     repair` fetches again only what is wrong"
                );
            }
            Notice::Committed(_) | Notice::Repaired(_) | Notice::SlotRightAgain { .. } => {
                self.last_error.clear();
            }
            _ => {}
        }
    }

    pub(super) fn work(&mut self, job: Job) -> Ran {
        // The worker ends only with the program.
        let _ = self.parts.worker.send(job);
        DONE
    }

    fn slot_work(&mut self, job: Job) -> Ran {
        self.working = true;
        self.checks.push_aside();
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
        match self.contact_id() {
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

    /// Tells the outcome; what could not be told is told again later.
    pub(super) fn tell_outcome(
        &mut self,
        attempt: switchback_update_core::Attempt,
        outcome: switchback_update_core::Outcome,
    ) -> Ran {
        let told = match self.keep_for_fleet(&attempt, &outcome) {
            Ok(()) => self.parts.host.tell(&attempt, &outcome),
            Err(detail) => Err(detail),
        };
        match told {
            Ok(()) => {
                self.untold = None;
                answered(Event::Reported)
            }
            Err(detail) => {
                tracing::warn!("action {}: {detail}; told again later", attempt.action);
                let due = self.parts.host.uptime() + TELL_AGAIN;
                self.untold = Some((due, Effect::Report { attempt, outcome }));
                DONE
            }
        }
    }

    fn run_health_checks(&self, purpose: HealthPurpose) {
        let trial = purpose == HealthPurpose::Trial;
        let reports = self.health_reports(trial);
        let (settings, reached) = (&self.parts.settings.health, &self.parts.reached);
        self.parts.host.check_health(settings, reached, reports);
    }

    pub(super) fn restart(&self) {
        notice::plain(
            notice::message_id::RESTARTING,
            "restarting the device",
            false,
        );
        self.parts
            .host
            .restart(&self.parts.settings.restart.command);
    }

    /// A fresh value for the environment: a boot that hands back an older one read another file.
    fn contact_id(&self) -> Result<String, String> {
        let mut bytes = [0_u8; 4];
        if !self.parts.host.random(&mut bytes) {
            return Err("the kernel gave no random numbers".to_owned());
        }
        Ok(hex(&bytes))
    }
}
