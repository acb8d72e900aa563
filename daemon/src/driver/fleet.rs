//! What the fleet server wants, and what it is told.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::Duration;

use switchback_ddi::{
    ATTRIBUTE_IMAGE, ATTRIBUTE_SLOT, ATTRIBUTE_VERSION, Feedback, MAX_SLEEP_SECONDS,
    MIN_SLEEP_SECONDS, Meaning,
};
use switchback_update_core::{Attempt, Decision, Event, Outcome, Phase};

use super::{Driver, DriverError};
use crate::fleet::{
    About, Memory, Report, Secret, Stop, Trouble, Turn, Wanted, Word, action_of, answers, ended,
    refusal, undecided,
};
use crate::report::chain;
use crate::trust::Asked;

/// Until an answer is told.
const SOON: Duration = Duration::from_secs(5);
/// Answers that are remembered.
const MOST_ANSWERED: usize = 8;
const NOTHING: &str = "the fleet server has no update for this device";

/// The fleet server, for a driver.
#[derive(Debug)]
pub struct FleetParts {
    /// Makes turns; their words come to the driver's queue.
    pub turns: Sender<Turn>,
    /// What must outlast a restart.
    pub memory: Memory,
}

/// What the repository is asked for on the fleet server's account.
#[derive(Debug, Default)]
enum Asks {
    /// Nothing: it is asked for something else, or not at all.
    #[default]
    Nothing,
    /// The release that is wanted.
    Wanted,
    /// The release that runs, to know which it is.
    Running,
}

/// What is remembered between two words.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    /// What the server wants.
    wanted: Option<Wanted>,
    /// What the repository is asked for on its account.
    asks: Asks,
    /// Whether the repository has said which release it is that came from the factory.
    identified: bool,
    /// When it wants to be asked again.
    sleep: Option<Duration>,
    /// What is told once, if the server is there.
    notes: Vec<Report>,
    /// What the device said of itself.
    said: Option<BTreeMap<String, String>>,
    /// The words of the answers that are among the attributes, and those attributes.
    answers: (Vec<String>, BTreeMap<String, String>),
    /// What was answered to what, and told already.
    answered: Vec<(String, About, String)>,
}

impl Driver {
    /// How long until the next poll.
    pub(super) fn poll_interval(&self) -> Duration {
        let settings = &self.parts.settings;
        match &settings.fleet {
            Some(fleet) => self.fleet.sleep.unwrap_or(fleet.poll_interval),
            None => settings.repository.poll_interval,
        }
    }

    /// One turn, also while an install is under way.
    pub(super) fn ask_fleet(&mut self) {
        self.note_answers();
        let attributes = self.attributes();
        let Some(fleet) = &self.parts.fleet else {
            return;
        };
        self.polling = true;
        let mut reports = fleet.memory.reports().to_vec();
        reports.append(&mut self.fleet.notes);
        let turn = Turn {
            attributes_new: attributes.is_some() && attributes != self.fleet.said,
            attributes,
            reports,
        };
        // The thread ends only with the program.
        let _ = fleet.turns.send(turn);
    }

    /// What this device says of itself. What it runs is not settled while it is on trial: a server takes the image for the
    /// end of the update.
    fn attributes(&self) -> Option<BTreeMap<String, String>> {
        let booted = self.parts.layout.booted;
        let settings = self.parts.settings.fleet.as_ref()?;
        if self.is_on_trial() {
            return None;
        }
        let mut attributes = settings.attributes.clone();
        attributes.extend(self.fleet.answers.1.clone());
        let mut say = |name: &str, value: String| attributes.insert(name.into(), value);
        let device = &self.parts.settings.device;
        say("switchback.product", device.product.to_string());
        say("switchback.compatible", device.compatible.to_string());
        say(ATTRIBUTE_SLOT, booted.to_string());
        if let Some(image) = self.running() {
            say(ATTRIBUTE_VERSION, image.version.to_string());
            say(ATTRIBUTE_IMAGE, image.sha256.to_string());
        }
        Some(attributes)
    }

    /// What an answer says may change each time (a load, a temperature): only another word makes it another answer.
    fn note_answers(&mut self) {
        let Some(decision) = &self.decision else {
            return;
        };
        let words = decision
            .questions()
            .map(|(_, verdict)| verdict.code.clone());
        if self.fleet.answers.0 != words {
            self.fleet.answers = (words.into(), answers(decision));
        }
    }

    fn is_on_trial(&self) -> bool {
        let booted = self.parts.layout.booted;
        matches!(&self.state.phase, Phase::OnTrial { attempt, .. } if attempt.target == booted)
    }

    pub(super) fn fleet_word(
        &mut self,
        turn: Turn,
        word: Result<Word, Trouble>,
    ) -> Result<(), DriverError> {
        self.polling = false;
        self.now = self.now.max(self.parts.host.now());
        let word = match word {
            Ok(word) => word,
            Err(trouble) => return self.fleet_silent(trouble, turn.reports),
        };
        self.failed_polls = 0;
        self.fleet.sleep = word.sleep.map(|seconds| {
            let seconds = seconds.clamp(MIN_SLEEP_SECONDS, MAX_SLEEP_SECONDS);
            Duration::from_secs(seconds.into())
        });
        self.next_poll = self.in_about(self.poll_interval());
        if word.attributes_told {
            self.fleet.said = turn.attributes;
        }
        self.heard(&word, &turn.reports);
        if let Some(stop) = &word.stop {
            self.stop_for_fleet(stop)?;
        }
        if self.fleet.wanted != word.wanted {
            let answered = &mut self.fleet.answered;
            answered.retain(|(_, about, _)| *about == About::Cancellation);
            self.fleet.wanted = word.wanted;
        }
        if !self.worker_is_busy() {
            self.follow_fleet()?;
        }
        self.tell_soon();
        Ok(())
    }

    /// Not at once: a server that asks something else each time must not keep a device busy.
    fn tell_soon(&mut self) {
        if !self.fleet.notes.is_empty() {
            self.next_poll = self.next_poll.min(self.parts.host.uptime() + SOON);
        }
    }

    /// What was told is told; a token that was given is kept.
    fn heard(&mut self, word: &Word, telling: &[Report]) {
        let Some(fleet) = &mut self.parts.fleet else {
            return;
        };
        let told = telling.get(..word.told).unwrap_or(telling);
        let mut kept = fleet.memory.told(told);
        if let Some(Secret(token)) = &word.token {
            tracing::info!(
                "the fleet server let this device in as {}",
                fleet.memory.id()
            );
            kept = kept.and(fleet.memory.keep_token(token.clone()));
        }
        if let Err(error) = kept {
            tracing::warn!("{}", chain(&error));
        }
    }

    fn fleet_silent(&mut self, trouble: Trouble, telling: Vec<Report>) -> Result<(), DriverError> {
        if let Some(fleet) = &self.parts.fleet {
            let kept = fleet.memory.reports();
            let notes = telling.into_iter().filter(|report| !kept.contains(report));
            self.fleet.notes = notes.chain(std::mem::take(&mut self.fleet.notes)).collect();
        }
        let Trouble {
            detail,
            retry_after,
        } = trouble;
        if self.worker_is_busy() {
            let pause = self.next_pause().min(self.poll_interval());
            self.next_poll = self.in_about(pause);
        } else {
            self.no_offer(Asked::Unreachable(detail))?;
        }
        if let Some(pause) = retry_after {
            self.next_poll = self.next_poll.max(self.parts.host.uptime() + pause);
        }
        Ok(())
    }

    /// Asks the repository for what is wanted, if it is anything.
    fn follow_fleet(&mut self) -> Result<(), DriverError> {
        let Some(wanted) = &self.fleet.wanted else {
            // Of an image from the factory only its bytes are known. The server should hear which release it is.
            let unknown = self.running().filter(|running| running.sequence == 0);
            return match unknown.filter(|_| !self.fleet.identified) {
                Some(running) => {
                    self.fleet.asks = Asks::Running;
                    self.ask_repository(Some(running.version));
                    Ok(())
                }
                None => self.no_offer(Asked::Nothing(NOTHING.into())),
            };
        };
        let product = &self.parts.settings.device.product;
        let why = match (&wanted.release, &wanted.later) {
            (Err(why), _) => why.clone(),
            (Ok((named, version)), _) if named != product => format!(
                "the fleet server wants version {version} of {named}, this device is a {product}"
            ),
            (Ok(_), Some(later)) => return self.no_offer(Asked::Nothing(later.clone())),
            (Ok((_, version)), None) => {
                let version = version.clone();
                self.fleet.asks = Asks::Wanted;
                self.ask_repository(Some(version));
                return Ok(());
            }
        };
        self.answer(refusal(&wanted.action, &why), "impossible".into());
        self.no_offer(Asked::Nothing(why))
    }

    fn no_offer(&mut self, asked: Asked) -> Result<(), DriverError> {
        let now = self.now;
        self.polled(asked, now, false, Vec::new())
    }

    /// The repository has answered: what it says, if it was not only asked which release runs; and by which wish of the
    /// server it was asked, if by one.
    pub(super) fn followed(&mut self, asked: Asked) -> (Asked, Option<Wanted>) {
        match std::mem::take(&mut self.fleet.asks) {
            Asks::Nothing => (asked, None),
            Asks::Wanted => (asked, self.fleet.wanted.clone()),
            Asks::Running => {
                self.fleet.identified = matches!(asked, Asked::Offer { .. } | Asked::Nothing(_));
                (Asked::Nothing(NOTHING.into()), None)
            }
        }
    }

    /// Whether an update that the server wants may begin by this decision; the server is told what keeps it.
    pub(super) fn fleet_decided(&mut self, wanted: &Wanted, decision: &Decision) -> bool {
        if self.state.phase != Phase::Idle {
            return true;
        }
        let (action, confirm) = (wanted.action.clone(), wanted.confirm);
        if decision.is_go() {
            if confirm {
                let agreed = Report {
                    action,
                    about: About::Confirmation,
                    body: r#"{"confirmation":"confirmed"}"#.into(),
                };
                self.answer(agreed, "confirmed".into());
            }
            return !confirm;
        }
        // Who waits for a word here is not told that it is on its way.
        if let Some((code, report)) = undecided(&action, decision).filter(|_| !confirm) {
            self.answer(report, code);
        }
        true
    }

    /// Tells an answer once, soon.
    fn answer(&mut self, report: Report, code: String) {
        let answer = (report.action.clone(), report.about, code);
        let answered = &mut self.fleet.answered;
        if answered.contains(&answer) {
            return;
        }
        answered.retain(|(action, about, _)| (action, about) != (&answer.0, &answer.1));
        let surplus = (answered.len() + 1).saturating_sub(MOST_ANSWERED);
        answered.drain(..surplus);
        answered.push(answer);
        self.fleet.notes.push(report);
        self.tell_soon();
    }

    pub(super) fn fleet_wants_consent(&self) -> bool {
        let wanted = self.fleet.wanted.as_ref();
        !self.bundled && wanted.is_some_and(|wanted| wanted.confirm)
    }

    /// Keeps how an update ended until the server has heard it.
    pub(super) fn keep_for_fleet(
        &mut self,
        attempt: &Attempt,
        outcome: &Outcome,
    ) -> Result<(), String> {
        let Some(fleet) = &mut self.parts.fleet else {
            return Ok(());
        };
        let Some(report) = ended(attempt, outcome, self.failed_installs.count()) else {
            return Ok(());
        };
        let kept = fleet.memory.keep(report);
        self.next_poll = self.parts.host.uptime();
        kept.map_err(|error| chain(&error))
    }

    /// Calls off what the server does not want any more, where that is possible.
    fn stop_for_fleet(&mut self, stop: &Stop) -> Result<(), DriverError> {
        let under_way = self.state.phase.attempt().is_some_and(|attempt| {
            action_of(&attempt.action).is_some_and(|(action, _)| action == stop.action)
        });
        let settled = self.is_on_trial() || matches!(self.state.phase, Phase::Reporting { .. });
        if under_way && !settled {
            self.event(Event::CancelRequested)?;
        }
        let report = |meaning, text: &str| Report {
            action: stop.cancellation.clone(),
            about: About::Cancellation,
            body: Feedback::new(meaning, vec![text.into()]).to_json(),
        };
        let (meaning, text) = match self.state.phase {
            _ if under_way && settled => (Meaning::Failed, "it runs already; its health decides"),
            Phase::Staged { .. } if under_way => (Meaning::Proceeding, "the slot is being armed"),
            _ if under_way => (Meaning::Succeeded, "called off"),
            _ => (Meaning::Succeeded, "it was not under way"),
        };
        let code = format!("stop {meaning:?}");
        self.answer(report(meaning, text), code);
        Ok(())
    }
}
