//! Who waits for what: each job ends exactly once.

use switchback_update_core::{AttemptKind, Decision, Outcome, Phase, State};
use tokio::sync::mpsc::UnboundedSender;

use crate::install::Fetched;

/// Number of a job, as in its object path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobId(pub u32);

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Asks the repository.
    Check,
    /// Asks the repository and installs.
    Install,
    /// Goes back to the other slot.
    RollBack,
    /// Makes the inactive slot whole.
    Repair,
}

/// A job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    /// Which.
    pub job: JobId,
    /// `done` or `failed`.
    pub result: &'static str,
    /// How, as a stable word.
    pub code: String,
    /// In words.
    pub message: String,
}

/// How one ends.
#[derive(Debug, Clone)]
struct End {
    result: &'static str,
    code: String,
    message: String,
}

/// The jobs that run.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    running: Vec<(JobId, JobKind)>,
}

impl Jobs {
    pub(super) fn begin(&mut self, job: JobId, kind: JobKind) {
        self.running.push((job, kind));
    }

    /// The repository was asked and the questions answered.
    pub(super) fn decided(&mut self, decision: &Decision, ends: &UnboundedSender<JobEnd>) {
        let message = super::poll::summary(decision);
        let go = decision.is_go();
        let code = decision
            .stopped_by()
            .map_or("going-ahead", |(_, verdict)| verdict.code.as_str());
        let up_to_date = code == "up-to-date";
        self.end_where(
            |kind| match kind {
                JobKind::Check => true,
                JobKind::Install => !go,
                JobKind::RollBack | JobKind::Repair => false,
            },
            |kind| {
                let fine = kind == JobKind::Check || up_to_date;
                End {
                    result: if fine { "done" } else { "failed" },
                    code: code.into(),
                    message: message.clone(),
                }
            },
            ends,
        );
    }

    /// A repair is over, or did not begin.
    pub(super) fn repair_ended(
        &mut self,
        result: Result<String, String>,
        ends: &UnboundedSender<JobEnd>,
    ) {
        let end = match result {
            Ok(message) => End {
                result: "done",
                code: "whole".into(),
                message,
            },
            Err(message) => End {
                result: "failed",
                code: "not-repaired".into(),
                message,
            },
        };
        self.end_where(|kind| kind == JobKind::Repair, |_| end.clone(), ends);
    }

    /// What a job does that has not ended.
    pub(super) fn kind(&self, job: JobId) -> Option<JobKind> {
        let found = self.running.iter().find(|(running, _)| *running == job);
        found.map(|(_, kind)| *kind)
    }

    /// A job is called off before anything was begun for it.
    pub(super) fn call_off(&mut self, job: JobId, ends: &UnboundedSender<JobEnd>) {
        self.running.retain(|(running, _)| *running != job);
        // Nobody listens when there is no bus.
        let _ = ends.send(JobEnd {
            job,
            result: "failed",
            code: "cancelled".into(),
            message: "called off".into(),
        });
    }

    /// The phase is another one than before. `fetched` is what the last write took.
    pub(super) fn phase_changed(
        &mut self,
        state: &State,
        fetched: Fetched,
        ends: &UnboundedSender<JobEnd>,
    ) {
        let (result, code, message) = match &state.phase {
            Phase::OnTrial {
                attempt,
                verdict: None,
                ..
            } => (
                "done",
                "armed",
                format!(
                    "version {} is armed; the next boot is its trial",
                    attempt.image.version
                ),
            ),
            Phase::Reporting {
                attempt,
                outcome: Outcome::Failed(failure),
            } => (
                "failed",
                failure.code(),
                format!("version {}: {failure}", attempt.image.version),
            ),
            Phase::Reporting {
                attempt,
                outcome: Outcome::Repaired,
            } => (
                "done",
                "repaired",
                format!(
                    "slot {} holds version {} again: {} of {} segments fetched",
                    attempt.target, attempt.image.version, fetched.segments, fetched.of
                ),
            ),
            Phase::OnTrial { .. }
            | Phase::Reporting { .. }
            | Phase::Idle
            | Phase::Installing { .. }
            | Phase::Staged { .. } => return,
        };
        let repair = state
            .phase
            .attempt()
            .is_some_and(|attempt| attempt.kind == AttemptKind::Repair);
        self.end_where(
            |kind| match kind {
                JobKind::Check => false,
                JobKind::Install | JobKind::RollBack => !repair,
                JobKind::Repair => repair,
            },
            |_| End {
                result,
                code: code.into(),
                message: message.clone(),
            },
            ends,
        );
    }

    fn end_where(
        &mut self,
        ended: impl Fn(JobKind) -> bool,
        how: impl Fn(JobKind) -> End,
        ends: &UnboundedSender<JobEnd>,
    ) {
        self.running.retain(|(job, kind)| {
            if !ended(*kind) {
                return true;
            }
            let End {
                result,
                code,
                message,
            } = how(*kind);
            // Nobody listens when there is no bus.
            let _ = ends.send(JobEnd {
                job: *job,
                result,
                code,
                message,
            });
            false
        });
    }
}
