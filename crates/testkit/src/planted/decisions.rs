//! Decisions that err: the right one, and something taken away from it or added.

use switchback_update_core::{
    Effect, Event, Facts, HealthPurpose, Outcome, Phase, State, Step, step,
};
use switchbackd::driver::Decide;

use super::Mistake;

/// The state machine with a mistake in it.
pub(super) fn with(mistake: Mistake) -> Decide {
    match mistake {
        Mistake::SlotNotInvalidated => {
            |state, event, facts| without(step(state, event, facts), is_invalidation)
        }
        Mistake::SlotRecordKept => slot_record_kept,
        Mistake::OutcomeBeforeAct => outcome_before_act,
        Mistake::NeverReports => never_reports,
        Mistake::ReportsSuccess => reports_success,
        Mistake::FallBackForgotten => fall_back_forgotten,
        Mistake::FailureForgotten => |state, event, facts| {
            let mut step = step(state, event, facts);
            step.next.failed.clear();
            step
        },
        Mistake::FloorNotRaised => |state, event, facts| {
            let mut step = step(state, event, facts);
            step.next.floor = state.floor;
            step
        },
        Mistake::PrimaryNotSwitched => |state, event, facts| {
            let mut step = step(state, event, facts);
            step.next.primary = state.primary.or(step.next.primary);
            step
        },
        Mistake::PrimarySwitchedEarly => primary_switched_early,
        Mistake::TrialTakenForOrdinary => trial_taken_for_ordinary,
        Mistake::CancelKeepsSlotArmed => cancel_keeps_slot_armed,
        Mistake::RollBackWithoutHold => |state, event, facts| {
            let mut step = step(state, event, facts);
            if matches!(event, Event::RollBackRequested { .. }) {
                step.next.hold = None;
            }
            step
        },
        Mistake::DamageIgnored => damage_ignored,
        Mistake::ReasonLost => |state, event, facts| {
            let mut step = step(state, event, facts);
            if let Phase::OnTrial { verdict, .. } = &mut step.next.phase {
                *verdict = None;
            }
            step
        },
        Mistake::TrialForgotten => trial_forgotten,
        Mistake::AlwaysGivesBack => always_gives_back,
        Mistake::CommitNotTold => |state, event, facts| {
            without(outcome_before_act(state, event, facts), |effect| {
                matches!(effect, Effect::MarkGood(_))
            })
        },
        Mistake::InterruptedForgotten => |state, event, facts| {
            let mut step = step(state, event, facts);
            step.next.interrupted = None;
            step
        },
        _ => step,
    }
}

fn without(mut step: Step, unwanted: impl Fn(&Effect) -> bool) -> Step {
    step.effects.retain(|effect| !unwanted(effect));
    step
}

const fn is_invalidation(effect: &Effect) -> bool {
    matches!(effect, Effect::InvalidateSlot(_))
}

fn slot_record_kept(state: &State, event: &Event, facts: &Facts) -> Step {
    let mut step = step(state, event, facts);
    if matches!(event, Event::Offered { .. }) {
        step.next.a = state.a.clone();
        step.next.b = state.b.clone();
    }
    step
}

fn outcome_before_act(state: &State, event: &Event, facts: &Facts) -> Step {
    match (&state.phase, event) {
        (Phase::OnTrial { attempt, .. }, Event::HealthPassed) if attempt.target == facts.booted => {
            let mut settled = step(state, &Event::MarkedGood, facts);
            settled.effects.insert(0, Effect::MarkGood(attempt.target));
            settled
        }
        _ => step(state, event, facts),
    }
}

fn never_reports(state: &State, event: &Event, facts: &Facts) -> Step {
    let mut step = step(state, event, facts);
    if matches!(
        (&state.phase, event),
        (Phase::Reporting { .. }, Event::Started(_))
    ) {
        step.next.phase = Phase::Idle;
        step = without(step, |effect| matches!(effect, Effect::Report { .. }));
    }
    step
}

fn reports_success(state: &State, event: &Event, facts: &Facts) -> Step {
    let mut step = step(state, event, facts);
    for effect in &mut step.effects {
        if let Effect::Report { outcome, .. } = effect
            && matches!(outcome, Outcome::RolledBack(_))
        {
            *outcome = Outcome::Committed;
        }
    }
    step
}

fn fall_back_forgotten(state: &State, event: &Event, facts: &Facts) -> Step {
    match event {
        Event::HealthFailed { .. } => without(step(state, event, facts), |effect| {
            matches!(effect, Effect::FallBack { .. })
        }),
        _ => step(state, event, facts),
    }
}

fn primary_switched_early(state: &State, event: &Event, facts: &Facts) -> Step {
    let mut step = step(state, event, facts);
    if let (Phase::OnTrial { attempt, .. }, Event::Armed) = (&step.next.phase, event) {
        step.next.primary = Some(attempt.target);
    }
    step
}

fn trial_taken_for_ordinary(state: &State, event: &Event, facts: &Facts) -> Step {
    let mut step = step(state, event, facts);
    let runs = state
        .phase
        .attempt()
        .is_some_and(|attempt| attempt.target == facts.booted);
    if runs && matches!(event, Event::Started(_)) {
        step.next.phase = Phase::Idle;
        step.effects = vec![Effect::RunHealthChecks(HealthPurpose::Ordinary)];
    }
    step
}

fn cancel_keeps_slot_armed(state: &State, event: &Event, facts: &Facts) -> Step {
    match event {
        Event::CancelRequested => without(step(state, event, facts), |effect| {
            matches!(effect, Effect::FallBack { .. })
        }),
        _ => step(state, event, facts),
    }
}

fn damage_ignored(state: &State, event: &Event, facts: &Facts) -> Step {
    match event {
        Event::SlotChecked { .. } => Step {
            next: state.clone(),
            effects: Vec::new(),
        },
        _ => step(state, event, facts),
    }
}

fn trial_forgotten(state: &State, event: &Event, facts: &Facts) -> Step {
    match (&state.phase, event) {
        (
            Phase::OnTrial {
                attempt, armed_in, ..
            },
            Event::Started(_),
        ) if attempt.target != facts.booted && armed_in.as_ref() != Some(&facts.boot_id) => {
            let idle = State {
                phase: Phase::Idle,
                ..state.clone()
            };
            step(&idle, event, facts)
        }
        _ => step(state, event, facts),
    }
}

fn always_gives_back(state: &State, event: &Event, facts: &Facts) -> Step {
    match (&state.phase, event) {
        (Phase::OnTrial { attempt, .. }, Event::ShuttingDown) if attempt.target == facts.booted => {
            Step {
                next: state.clone(),
                effects: vec![Effect::GiveBackTry(attempt.target)],
            }
        }
        _ => step(state, event, facts),
    }
}
