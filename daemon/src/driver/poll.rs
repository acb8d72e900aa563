//! Asking the repository, and what follows from its answer.

use std::sync::Arc;
use std::time::Duration;

use switchback_manifest::{TrustedChannel, TrustedRelease};
use switchback_types::{ActionId, Digest, Timestamp, Version};
use switchback_update_core::{
    Answer, Decision, DecisionInputs, Event, Gate, ImageIdentity, InstallFailure, Pause,
    RepositoryAnswer, decide,
};

use super::candidate::candidate;
use super::{Contact, Driver, DriverError, Refused};
use crate::install::identity;
use crate::notice;
use crate::report::chain;
use crate::trust::Asked;
use crate::worker::Job;

/// First pause after a poll that got no answer; doubled with each, up to the poll interval.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// Seconds to the second try of an install that failed; doubled with each failure of the image.
const FIRST_PAUSE: i64 = 30;
/// And no more than this.
const LONGEST_PAUSE: i64 = 6 * 60 * 60;

/// Installs of one image that failed, and when the next is made: a server with broken content must
/// not be asked for it with every poll by a whole fleet.
#[derive(Debug, Default)]
pub(super) struct FailedInstalls {
    image: Option<Digest>,
    count: u32,
    pause: Option<Pause>,
}

impl FailedInstalls {
    /// An install failed.
    pub(super) fn note(
        &mut self,
        release: Option<&TrustedRelease>,
        failure: &InstallFailure,
        now: Timestamp,
    ) {
        let image = release.map(|release| release.image.sha256);
        // What a person called off, or what is fetched anew at once, is no failure to wait after.
        if matches!(
            failure,
            InstallFailure::Cancelled | InstallFailure::SlotChanged { .. }
        ) {
            return;
        }
        if self.image != image {
            *self = Self {
                image,
                ..Self::default()
            };
        }
        let seconds = FIRST_PAUSE
            .saturating_mul(1 << self.count.min(16))
            .min(LONGEST_PAUSE);
        self.count = self.count.saturating_add(1);
        let until = now.plus_seconds(seconds);
        self.pause = Some(Pause {
            until,
            detail: failure.to_string(),
        });
    }

    /// The pause, if it is about this image.
    fn pause(&self, image: &Digest) -> Option<Pause> {
        self.pause
            .clone()
            .filter(|_| self.image.as_ref() == Some(image))
    }

    /// How many in a row.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// A person wants it now.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Driver {
    /// Then, give or take a tenth.
    pub(super) fn in_about(&self, pause: Duration) -> Duration {
        let mut random = [0_u8; 2];
        // Without chance everything is at the same time, which is no reason not to do it.
        self.parts.host.random(&mut random);
        self.parts.host.uptime() + jitter(pause, random)
    }

    pub(super) fn poll(&mut self) {
        if self.polling {
            return;
        }
        if self.parts.fleet.is_some() {
            self.ask_fleet();
        } else if self.worker_is_busy() {
            // Asked again when the work is done.
            self.next_poll = self.parts.host.uptime() + FIRST_RETRY;
        } else {
            self.ask_repository(None);
        }
    }

    /// Whether the worker has something to do that no poll pushes aside.
    pub(super) fn worker_is_busy(&self) -> bool {
        self.working || self.checks.keeps_busy()
    }

    /// Asks for what the channel names, or for this version.
    pub(super) fn ask_repository(&mut self, version: Option<Version>) {
        self.polling = true;
        let running = self.running();
        let gates = Arc::clone(&self.parts.settings.gates);
        let _ = self.parts.worker.send(Job::Poll {
            version,
            running,
            gates,
        });
    }

    /// What runs, as far as is known.
    pub(super) fn running(&self) -> Option<ImageIdentity> {
        let booted = self.parts.layout.booted;
        self.state.slot(booted).image().cloned()
    }

    pub(super) fn polled(
        &mut self,
        asked: Asked,
        now: Timestamp,
        runs_already: bool,
        gates: Vec<Gate>,
    ) -> Result<(), DriverError> {
        self.polling = false;
        self.now = now;
        let (asked, wanted) = self.followed(asked);
        self.end_hold()?;
        let interval = self.poll_interval();
        if matches!(asked, Asked::Unreachable(_)) {
            let pause = self.next_pause();
            self.next_poll = self.in_about(pause.min(interval));
        } else {
            self.failed_polls = 0;
            self.next_poll = self.in_about(interval);
        }
        let repository = self.repository_answer(asked, runs_already);
        self.gates.read(repository.clone(), gates);
        let decision = self.decide(repository);
        // A person's word counts once.
        self.gates.overridden = None;
        self.tell(&decision);
        let go = decision.is_go();
        self.jobs.decided(&decision, &self.parts.job_ends);
        self.watch_gates(&decision);
        let version = decision.version.clone();
        let goes_on = match &wanted {
            Some(wanted) => self.fleet_decided(wanted, &decision),
            None => true,
        };
        self.decision = Some(decision);
        match (&self.offered, version) {
            (Some(release), Some(version)) if go && goes_on => {
                let image = identity(release);
                let name = format!("poll-{}-{version}", self.now.unix());
                // A version may hold characters that an action's name may not.
                let by_digest = || format!("poll-{}-{}", self.now.unix(), image.sha256.short());
                let own = || name.parse().or_else(|_| by_digest().parse::<ActionId>());
                let of_fleet = wanted.and_then(|wanted| wanted.action_id(&version));
                match of_fleet.map_or_else(own, Ok) {
                    Ok(action) => {
                        let trace = release.trace_id();
                        self.event(Event::Offered {
                            action,
                            image,
                            trace,
                        })
                    }
                    Err(_) => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Until there is an answer: longer with each time that there was none.
    pub(super) fn next_pause(&mut self) -> Duration {
        let doubled = FIRST_RETRY.saturating_mul(1 << self.failed_polls.min(16));
        self.failed_polls = self.failed_polls.saturating_add(1);
        doubled
    }

    fn repository_answer(&mut self, asked: Asked, runs_already: bool) -> RepositoryAnswer {
        match asked {
            Asked::Offer {
                channel,
                release,
                toward,
            } => {
                self.bundled = false;
                self.take_offer(release, channel.as_ref(), toward, runs_already)
            }
            Asked::Bundled(release) => {
                self.bundled = true;
                self.take_offer(release, None, None, runs_already)
            }
            Asked::Nothing(detail) => RepositoryAnswer::Nothing { detail },
            Asked::Unreachable(detail) => RepositoryAnswer::Unreachable { detail },
            Asked::Untrusted(detail) => RepositoryAnswer::Untrusted { detail },
            Asked::Stale(detail) => RepositoryAnswer::Stale { detail },
        }
    }

    /// Whoever brings a bundle, or a server that names a version, wants just that one; the floor holds all
    /// the same.
    fn take_offer(
        &mut self,
        release: Box<TrustedRelease>,
        channel: Option<&TrustedChannel>,
        toward: Option<Version>,
        runs_already: bool,
    ) -> RepositoryAnswer {
        let device = &self.parts.settings.device;
        let candidate = candidate(device, &release, channel, toward, runs_already);
        self.offered = Some(release);
        RepositoryAnswer::Release(candidate)
    }

    pub(super) fn decide(&self, repository: RepositoryAnswer) -> Decision {
        let slot_size = self.parts.layout.inactive().size();
        let slot_size = slot_size.map_err(|error| chain(&error));
        decide(&DecisionInputs {
            now: self.now,
            booted: self.parts.layout.booted,
            state: &self.state,
            pause: match &repository {
                RepositoryAnswer::Release(candidate) => {
                    self.failed_installs.pause(&candidate.image.sha256)
                }
                _ => None,
            },
            repository,
            health: self.ordinary_health.clone(),
            slot_size,
            boot_environment: self.boot_environment(),
            gates: self
                .gates
                .all(&self.parts.settings.gates, self.parts.host.uptime()),
            consent_required: self.parts.settings.update.consent || self.fleet_wants_consent(),
            overridden: self.gates.overridden.clone(),
            next_poll: self.wall_time(self.next_poll),
            before: self.decision.as_ref(),
        })
    }

    /// Whether the boot environment can be written, and is the one that the bootloader reads.
    pub(super) fn boot_environment(&self) -> Result<(), String> {
        if let Contact::Broken(why) = &self.contact {
            return Err(why.clone());
        }
        self.parts
            .boot
            .verify_writable()
            .map_err(|error| chain(&error))
    }

    /// Says the decision when it is another one than before.
    pub(super) fn tell(&mut self, decision: &Decision) {
        let summary = summary(decision);
        let said = self.decision.as_ref().map(self::summary);
        if said.as_ref() == Some(&summary) {
            return;
        }
        let trouble = [
            "untrusted",
            "stale",
            "unreachable",
            "boot-environment",
            "slot-too-small",
        ];
        let warning = decision
            .stopped_by()
            .is_some_and(|(_, verdict)| trouble.contains(&verdict.code.as_str()));
        notice::decision(decision, &summary, warning);
        if warning {
            self.last_error = summary;
        }
    }
}

pub(super) fn refuse(name: &'static str, message: &str) -> Result<(), Refused> {
    Err(Refused {
        name,
        message: message.into(),
    })
}

/// The decision in one line.
pub(super) fn summary(decision: &Decision) -> String {
    match decision.stopped_by() {
        None => format!(
            "going ahead with version {}: all five answers are yes",
            decision
                .version
                .as_ref()
                .map_or("?", |version| version.as_str())
        ),
        Some((question, verdict)) => {
            let question = match question {
                switchback_update_core::Question::Available => "no update",
                switchback_update_core::Question::Wanted => "not wanted",
                switchback_update_core::Question::Risk => "not now",
                switchback_update_core::Question::Trusted => "not trusted",
                switchback_update_core::Question::Verifiable => "not verifiable",
            };
            debug_assert_eq!(verdict.answer, Answer::No);
            format!("{question}: {}", verdict.reason)
        }
    }
}

/// Moves a pause by up to a tenth of it, so that a fleet switched on together spreads out.
pub(super) fn jitter(pause: Duration, random: [u8; 2]) -> Duration {
    let part = f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX);
    pause.mul_f64(0.9 + part * 0.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth() {
        for random in 0..=255 {
            let moved = jitter(Duration::from_secs(100), [random, random]).as_secs_f64();
            assert!((90.0..=110.0).contains(&moved), "{moved}");
        }
    }

    #[test]
    fn pause_doubles_with_each_failure_and_ends_somewhere() {
        let mut failed = FailedInstalls::default();
        let failure = InstallFailure::Content {
            detail: "corrupt".into(),
        };
        let now = Timestamp::from_unix(4_000_000_000);
        let mut pauses = Vec::new();
        for _ in 0..20 {
            failed.note(None, &failure, now);
            pauses.push(
                failed
                    .pause
                    .as_ref()
                    .map(|pause| pause.until.unix() - now.unix()),
            );
        }
        assert_eq!(pauses[..3], [Some(30), Some(60), Some(120)]);
        assert_eq!(pauses.last(), Some(&Some(LONGEST_PAUSE)));
        failed.note(None, &InstallFailure::Cancelled, now);
        assert_eq!(failed.count, 20);
    }
}
