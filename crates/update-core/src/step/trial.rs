//! The target slot is armed, or runs on trial.

use alloc::string::ToString;

use super::{
    Draft, check, look_around, ordinary_health_failed, ordinary_health_passed, refuse, settle,
};
use crate::effect::{Effect, HealthPurpose, Notice, RestartCause};
use crate::event::{BootObservation, Event, Facts, SlotBoot};
use crate::outcome::{InstallFailure, Outcome, RollbackReason};
use crate::state::{Attempt, AttemptKind, BootId, FailedImage, Hold, Phase};

/// Orderly restarts during one trial that do not cost a try: enough for a person who restarts
/// the device, too few for a program that does so for ever.
const GIVE_BACK_LIMIT: u8 = 3;

/// The fields of [`Phase::OnTrial`].
pub(super) struct Trial {
    pub(super) attempt: Attempt,
    pub(super) armed_in: Option<BootId>,
    pub(super) daemon_ran: bool,
    pub(super) given_back: u8,
    pub(super) verdict: Option<RollbackReason>,
}

impl Trial {
    fn phase(self) -> Phase {
        let Self {
            attempt,
            armed_in,
            daemon_ran,
            given_back,
            verdict,
        } = self;
        Phase::OnTrial {
            attempt,
            armed_in,
            daemon_ran,
            given_back,
            verdict,
        }
    }

    /// Whether the target slot runs.
    fn runs(&self, facts: &Facts) -> bool {
        facts.booted == self.attempt.target
    }

    /// Whether a person called it off before anybody saw the target slot run: that says nothing
    /// about the image.
    fn is_called_off(&self) -> bool {
        !self.daemon_ran && matches!(self.verdict, Some(RollbackReason::Requested))
    }
}

pub(super) fn step(draft: Draft, trial: Trial, event: &Event, facts: &Facts) -> Draft {
    match event {
        Event::Started(observation) => started(draft, trial, observation, facts),
        Event::HealthPassed if !trial.runs(facts) => ordinary_health_passed(draft, facts),
        Event::HealthFailed { detail } if !trial.runs(facts) => {
            ordinary_health_failed(draft, detail)
        }
        Event::HealthPassed if trial.verdict.is_none() => {
            draft.then(Effect::MarkGood(trial.attempt.target))
        }
        Event::HealthFailed { detail } if trial.verdict.is_none() => lose(
            draft,
            trial,
            RollbackReason::Unhealthy {
                detail: detail.clone(),
            },
        ),
        Event::MarkedGood if trial.runs(facts) && trial.verdict.is_none() => {
            committed(draft, trial, facts)
        }
        Event::FellBack if trial.runs(facts) => draft.then(Effect::Restart(RestartCause::Back)),
        Event::FellBack => match trial.verdict.clone() {
            Some(reason) => back(draft, trial, reason, facts),
            None => draft,
        },
        Event::BootWriteFailed { detail } => {
            let draft = draft.say(Notice::BootWriteFailed {
                detail: detail.clone(),
            });
            // What cannot be written cannot be taken back either: the tries run out, and the
            // bootloader falls back by itself.
            match trial.verdict.clone() {
                _ if trial.runs(facts) => draft.then(Effect::Restart(RestartCause::Back)),
                Some(reason) if !trial.is_called_off() => back(draft, trial, reason, facts),
                _ => draft,
            }
        }
        Event::CancelRequested => cancel(draft, trial, facts),
        Event::RollBackRequested { reason, .. } => {
            let mut draft = draft;
            draft.state.hold = Some(Hold {
                reason: reason.clone(),
                since: facts.now,
                until: None,
            });
            cancel(draft, trial, facts)
        }
        Event::RestartRequested if !trial.runs(facts) && trial.verdict.is_none() => {
            draft.then(Effect::Restart(RestartCause::Requested))
        }
        Event::RestartRequested => refuse(
            draft,
            if trial.runs(facts) {
                "this boot is a trial: its health decides; `switchback rollback` ends it"
            } else {
                "the update was called off, and its slot is still armed: `switchback cancel` tries again"
            }
            .to_string(),
        ),
        Event::ShuttingDown => give_back(draft, trial, facts),
        other => check::refuse_repair(draft, other),
    }
}

pub(super) fn started(
    draft: Draft,
    mut trial: Trial,
    observation: &BootObservation,
    facts: &Facts,
) -> Draft {
    match trial.verdict.clone() {
        // The way back was decided, and its write may be lost: write it again.
        Some(reason) if trial.runs(facts) => fall_back(draft, trial, reason),
        Some(reason) => look_around(fall_back(draft, trial, reason), facts),
        None if trial.runs(facts) => {
            trial.daemon_ran = true;
            let left = match observation.slot(trial.attempt.target) {
                SlotBoot::Ready { left } => left,
                SlotBoot::Bad | SlotBoot::Exhausted => 0,
            };
            let notice = Notice::TrialStarted {
                attempt: trial.attempt.clone(),
                left,
            };
            draft
                .to(trial.phase())
                .say(notice)
                .then(Effect::RunHealthChecks(HealthPurpose::Trial))
        }
        None if trial.armed_in.as_ref() == Some(&facts.boot_id) => {
            // Only the daemon restarted; the device has not.
            let cause = RestartCause::of(&trial.attempt);
            let draft = look_around(draft.to(trial.phase()), facts);
            if facts.restart_automatically {
                draft.then(Effect::Restart(cause))
            } else {
                draft
            }
        }
        None => {
            let reason = reason_of(&trial, observation);
            look_around(fall_back(draft, trial, reason), facts)
        }
    }
}

/// Why the old slot runs although the target slot was armed.
fn reason_of(trial: &Trial, observation: &BootObservation) -> RollbackReason {
    let attempt = &trial.attempt;
    match observation.slot(attempt.target) {
        SlotBoot::Ready { left } if left >= attempt.tries => RollbackReason::NeverStarted,
        SlotBoot::Ready { left } => RollbackReason::LeftWithTries { left },
        SlotBoot::Bad | SlotBoot::Exhausted => RollbackReason::TriesExhausted {
            tries: attempt.tries,
            daemon_ran: trial.daemon_ran,
        },
    }
}

/// Why goes into the journal first, then the target slot is taken out of the boot environment, and
/// only then is the outcome settled: a daemon that dies in between must not leave a slot armed that
/// nobody waits for.
fn fall_back(draft: Draft, mut trial: Trial, reason: RollbackReason) -> Draft {
    let bad = trial.attempt.target;
    trial.verdict = Some(reason);
    draft.to(trial.phase()).then(Effect::FallBack {
        bad,
        to: bad.other(),
    })
}

/// The old slot runs, and the boot environment says so.
fn back(mut draft: Draft, trial: Trial, reason: RollbackReason, facts: &Facts) -> Draft {
    if trial.is_called_off() {
        let cancelled = Outcome::Failed(InstallFailure::Cancelled);
        return settle(draft, trial.attempt, cancelled, facts);
    }
    let attempt = trial.attempt;
    if speaks_against(attempt.kind, &reason) {
        draft.state.remember_failure(FailedImage {
            sha256: attempt.image.sha256,
            version: attempt.image.version.clone(),
            reason: reason.clone(),
            at: facts.now,
        });
    }
    draft.state.slot_mut(attempt.target).good = false;
    if attempt.kind == AttemptKind::Return {
        draft.state.primary = Some(facts.booted);
    }
    let notice = Notice::RolledBack {
        attempt: attempt.clone(),
        reason: reason.clone(),
    };
    settle(
        draft.say(notice),
        attempt,
        Outcome::RolledBack(reason),
        facts,
    )
}

/// Whether an image that did not stay is to be left alone from now on. One that was committed here
/// once, and whose tries are gone again, may have lost them to the same power cycles as before: it
/// is offered once more like any other, and then it counts.
const fn speaks_against(kind: AttemptKind, reason: &RollbackReason) -> bool {
    let judged = matches!(
        reason,
        RollbackReason::Unhealthy { .. } | RollbackReason::Requested
    );
    judged || !matches!(kind, AttemptKind::Return)
}

/// The trial is lost: the way back, then a restart.
fn lose(draft: Draft, trial: Trial, reason: RollbackReason) -> Draft {
    let notice = Notice::TrialFailed {
        attempt: trial.attempt.clone(),
        reason: reason.clone(),
    };
    fall_back(draft.say(notice), trial, reason)
}

fn committed(mut draft: Draft, trial: Trial, facts: &Facts) -> Draft {
    let attempt = trial.attempt;
    draft.state.slot_mut(attempt.target).good = true;
    draft.state.primary = Some(attempt.target);
    draft.state.floor = draft.state.floor.max(attempt.image.security_epoch);
    // It works here after all: a mark left by an earlier try is out of date.
    draft
        .state
        .failed
        .retain(|failed| failed.sha256 != attempt.image.sha256);
    settle(
        draft.say(Notice::Committed(attempt.clone())),
        attempt,
        Outcome::Committed,
        facts,
    )
}

fn cancel(draft: Draft, trial: Trial, facts: &Facts) -> Draft {
    match trial.verdict.clone() {
        None if trial.runs(facts) => lose(draft, trial, RollbackReason::Requested),
        Some(_) if trial.runs(facts) => draft,
        // Asked for again, because the boot environment could not be written.
        verdict => {
            let reason = verdict.unwrap_or(RollbackReason::Requested);
            fall_back(draft, trial, reason)
        }
    }
}

/// The restart is orderly and health is not known yet: it must not look like a failed try.
fn give_back(draft: Draft, mut trial: Trial, facts: &Facts) -> Draft {
    if !trial.runs(facts) || trial.verdict.is_some() || trial.given_back >= GIVE_BACK_LIMIT {
        return draft;
    }
    trial.given_back = trial.given_back.saturating_add(1);
    let slot = trial.attempt.target;
    draft.to(trial.phase()).then(Effect::GiveBackTry(slot))
}
