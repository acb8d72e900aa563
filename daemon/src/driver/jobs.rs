//! Who waits for what: each job ends exactly once.

use switchback_update_core::{Decision, Outcome, Phase, State};
use tokio::sync::mpsc::UnboundedSender;

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
}

/// A job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    /// Which.
    pub job: JobId,
    /// `done` or `failed`.
    pub result: &'static str,
    /// In words.
    pub message: String,
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
        let up_to_date = decision
            .stopped_by()
            .is_some_and(|(_, verdict)| verdict.code == "up-to-date");
        self.end_where(
            |kind| match kind {
                JobKind::Check => true,
                JobKind::Install => !go,
                JobKind::RollBack => false,
            },
            |kind| {
                let fine = kind == JobKind::Check || up_to_date;
                (if fine { "done" } else { "failed" }, message.clone())
            },
            ends,
        );
    }

    /// The phase is another one than before.
    pub(super) fn phase_changed(&mut self, state: &State, ends: &UnboundedSender<JobEnd>) {
        let (result, message) = match &state.phase {
            Phase::OnTrial {
                attempt,
                verdict: None,
                ..
            } => (
                "done",
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
                format!("version {}: {failure}", attempt.image.version),
            ),
            Phase::OnTrial { .. }
            | Phase::Reporting { .. }
            | Phase::Idle
            | Phase::Installing { .. }
            | Phase::Staged { .. } => return,
        };
        self.end_where(
            |kind| kind != JobKind::Check,
            |_| (result, message.clone()),
            ends,
        );
    }

    fn end_where(
        &mut self,
        ended: impl Fn(JobKind) -> bool,
        how: impl Fn(JobKind) -> (&'static str, String),
        ends: &UnboundedSender<JobEnd>,
    ) {
        self.running.retain(|(job, kind)| {
            if !ended(*kind) {
                return true;
            }
            let (result, message) = how(*kind);
            // Nobody listens when there is no bus.
            let _ = ends.send(JobEnd {
                job: *job,
                result,
                message,
            });
            false
        });
    }
}
