//! What a device makes of the server's words: the way of `daemon/src/driver/fleet.rs`, in short.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use switchback_ddi::{ATTRIBUTE_IMAGE, ATTRIBUTE_SLOT, ATTRIBUTE_VERSION, Feedback, Meaning};
use switchback_update_core::{Candidate, DecisionInputs, Event, Phase, RepositoryAnswer, decide};
use switchbackd::fetch::FetchError;
use switchbackd::fleet::{
    About, Report, Stop, Turn, Wanted, Word, action_of, answers, refusal, undecided,
};

use super::device::{Around, Device, Health};
use super::{FIRST, NEXT, PRODUCT, REVISIONS, image};

/// Until an answer is told, and until a server is asked again that did not answer: the driver's, in milliseconds.
const SOON: u64 = 5_000;
const FIRST_RETRY: u64 = 5_000;

fn hash(attributes: &BTreeMap<String, String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    attributes.hash(&mut hasher);
    hasher.finish()
}

impl Device {
    /// What is told and asked now.
    pub(super) fn turn(&mut self) -> Turn {
        let attributes = self.attributes();
        let mut reports = self.reports.clone();
        reports.append(&mut self.notes);
        let new = |attributes: &BTreeMap<String, String>| Some(hash(attributes)) != self.said;
        Turn {
            attributes_new: attributes.as_ref().is_some_and(new),
            attributes,
            reports,
        }
    }

    /// What it runs is not settled while it is on trial.
    fn attributes(&self) -> Option<BTreeMap<String, String>> {
        if self.is_on_trial() {
            return None;
        }
        let mut attributes = self.answers.clone();
        let mut say = |name: &str, value: String| attributes.insert(name.into(), value);
        say("hw", format!("rev{}", self.number % REVISIONS));
        say("switchback.product", PRODUCT.into());
        say(ATTRIBUTE_SLOT, self.booted.to_string());
        if let Some(image) = self.state.slot(self.booted).image() {
            say(ATTRIBUTE_VERSION, image.version.to_string());
            say(ATTRIBUTE_IMAGE, image.sha256.to_string());
        }
        Some(attributes)
    }

    /// Then, give or take a tenth.
    fn in_about(&mut self, pause: u64, around: &Around<'_>) {
        let tenths = around.chance.borrow_mut().below(21) as u64;
        let moved = pause * (90 + tenths) / 100;
        self.next_poll = around.now + moved.max(1);
    }

    pub(super) fn heard(&mut self, turn: &Turn, word: Word, around: &Around<'_>) {
        let seen = around.seen;
        self.failed_polls = 0;
        if let Some(seconds) = word.sleep {
            self.sleep = u64::from(seconds) * 1000;
        }
        self.in_about(self.sleep, around);
        if word.attributes_told {
            self.said = turn.attributes.as_ref().map(hash);
            if !std::mem::replace(&mut self.described, true) {
                seen.described.one();
            }
        }
        for told in turn.reports.iter().take(word.told) {
            seen.told.one();
            self.reports.retain(|report| report != told);
        }
        if word.token.is_some() {
            self.token.clone_from(&word.token);
        }
        if !std::mem::replace(&mut self.answered_once, true) {
            seen.there.one();
        }
        seen.polls.one();
        if let Some(stop) = &word.stop {
            self.stop(stop, around);
        }
        if self.wanted != word.wanted {
            self.answered
                .retain(|(_, about, _)| *about == About::Cancellation);
            self.wanted = word.wanted;
        }
        if !self.is_busy() {
            self.follow(around);
        }
        self.tell_soon(around);
    }

    pub(super) fn unheard(&mut self, turn: Turn, why: &FetchError, around: &Around<'_>) {
        let seen = around.seen;
        let kept = &self.reports;
        let notes = turn
            .reports
            .into_iter()
            .filter(|report| !kept.contains(report));
        self.notes = notes.chain(std::mem::take(&mut self.notes)).collect();
        let doubled = FIRST_RETRY.saturating_mul(1 << self.failed_polls.min(16));
        self.failed_polls = self.failed_polls.saturating_add(1);
        self.in_about(doubled.min(self.sleep), around);
        match why {
            FetchError::Status {
                status: 429 | 503,
                retry_after,
                ..
            } => {
                seen.put_off.one();
                let pause =
                    retry_after.map_or(0, |pause| u64::try_from(pause.as_millis()).unwrap_or(0));
                self.next_poll = self.next_poll.max(around.now + pause);
            }
            FetchError::Status { .. } | FetchError::Missing { .. } => seen.refused.one(),
            _ => seen.broken.one(),
        }
    }

    fn tell_soon(&mut self, around: &Around<'_>) {
        if !self.notes.is_empty() {
            self.next_poll = self.next_poll.min(around.now + SOON);
        }
    }

    /// Looks up what is wanted in the model repository, and begins if all five answers are yes.
    fn follow(&mut self, around: &Around<'_>) {
        let Some(wanted) = self.wanted.clone() else {
            self.answers.clear();
            return;
        };
        let version = match &wanted.release {
            Ok((product, version)) if product.as_str() == PRODUCT => version.clone(),
            Ok((product, _)) => {
                let why = format!("this device is a {PRODUCT}, no {product}");
                return self.answer(refusal(&wanted.action, &why), "impossible");
            }
            Err(why) => return self.answer(refusal(&wanted.action, why), "impossible"),
        };
        if wanted.later.is_some() {
            return;
        }
        let found = [FIRST, NEXT].map(image);
        let found = found.into_iter().find(|image| image.version == version);
        let repository = match found {
            Some(image) => RepositoryAnswer::Release(Candidate {
                image,
                allow_downgrade: true,
                halted: false,
                compatible: Ok("model".into()),
                runs_already: false,
                toward: None,
                requires: None,
                lacks: None,
            }),
            None => RepositoryAnswer::Nothing {
                detail: format!("the repository has no version {version}"),
            },
        };
        self.decide(&wanted, repository, around);
    }

    fn decide(&mut self, wanted: &Wanted, repository: RepositoryAnswer, around: &Around<'_>) {
        let decision = decide(&DecisionInputs {
            now: self.now(around),
            booted: self.booted,
            state: &self.state,
            repository,
            pause: None,
            health: match self.health {
                Health::Proven => Ok(()),
                Health::Unknown => Err("its health is not known yet".into()),
                Health::Bad => Err("the application does not answer".into()),
            },
            slot_size: Ok(2 << 30),
            boot_environment: Ok(()),
            gates: Vec::new(),
            consent_required: wanted.confirm,
            overridden: None,
            next_poll: self.now(around),
            before: None,
        });
        self.answers = answers(&decision);
        if self.state.phase != Phase::Idle {
            return;
        }
        match (decision.is_go(), &decision.version) {
            (true, Some(version)) => {
                let image = [FIRST, NEXT].map(image);
                let image = image.into_iter().find(|image| image.version == *version);
                if let (Some(action), Some(image)) = (wanted.action_id(version), image) {
                    self.event(
                        Event::Offered {
                            action,
                            image,
                            trace: None,
                        },
                        around,
                    );
                }
            }
            _ => {
                if let Some((code, report)) = undecided(&wanted.action, &decision) {
                    self.answer(report, &code);
                }
            }
        }
    }

    /// Tells an answer once, soon.
    fn answer(&mut self, report: Report, code: &str) {
        let answer = (report.action.clone(), report.about, code.to_owned());
        if self.answered.contains(&answer) {
            return;
        }
        self.answered
            .retain(|(action, about, _)| (action, about) != (&answer.0, &answer.1));
        self.answered.push(answer);
        self.notes.push(report);
    }

    /// Calls off what the server does not want any more, where that is possible.
    fn stop(&mut self, stop: &Stop, around: &Around<'_>) {
        let under_way = self.state.phase.attempt().is_some_and(|attempt| {
            action_of(&attempt.action).is_some_and(|(action, _)| action == stop.action)
        });
        let settled = self.is_on_trial() || matches!(self.state.phase, Phase::Reporting { .. });
        if under_way && !settled {
            self.event(Event::CancelRequested, around);
        }
        let (meaning, text) = match self.state.phase {
            _ if under_way && settled => (Meaning::Failed, "it runs already; its health decides"),
            Phase::Staged { .. } if under_way => (Meaning::Proceeding, "the slot is being armed"),
            _ if under_way => (Meaning::Succeeded, "called off"),
            _ => (Meaning::Succeeded, "it was not under way"),
        };
        let report = Report {
            action: stop.cancellation.clone(),
            about: About::Cancellation,
            body: Feedback::new(meaning, vec![text.into()]).to_json(),
        };
        self.answer(report, &format!("stop {meaning:?}"));
    }
}
