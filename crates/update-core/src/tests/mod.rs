//! Behaviour of the transition table, and the table itself as a snapshot.

mod behaviour;
mod check;
mod cuts;
mod decision;
mod table;

use alloc::string::String;
use alloc::vec::Vec;

use switchback_types::{Digest, SlotName, Timestamp};

use crate::{
    Attempt, AttemptKind, BootId, BootObservation, Effect, Event, Facts, ImageIdentity, Phase,
    SlotBoot, SlotContent, SlotRecord, State, step,
};

pub(crate) fn image(number: u8) -> ImageIdentity {
    ImageIdentity {
        version: std::format!("{number}").parse().unwrap(),
        sequence: u64::from(number),
        security_epoch: 0,
        sha256: Digest::from_bytes([number; 32]),
        size: 4096,
    }
}

pub(crate) fn facts(booted: SlotName, boot: &str) -> Facts {
    Facts {
        now: Timestamp::from_unix(1_000_000),
        booted,
        boot_id: BootId::new(boot),
        tries: 3,
        restart_automatically: true,
    }
}

/// Version 1 committed in slot a, nothing known of slot b.
pub(crate) fn device() -> State {
    State {
        a: SlotRecord {
            content: SlotContent::Holds { image: image(1) },
            good: true,
            checked: None,
        },
        primary: Some(SlotName::A),
        ..State::default()
    }
}

pub(crate) fn attempt(kind: AttemptKind) -> Attempt {
    Attempt {
        action: "poll-1".parse().unwrap(),
        kind,
        image: image(2),
        from: Some(image(1).version),
        target: SlotName::B,
        tries: 3,
        started: Timestamp::from_unix(999_000),
        flip_only: kind != AttemptKind::Update,
        trace: None,
    }
}

pub(crate) fn on_trial(armed_in: Option<&str>) -> Phase {
    Phase::OnTrial {
        attempt: attempt(AttemptKind::Update),
        armed_in: armed_in.map(BootId::new),
        daemon_ran: false,
        given_back: 0,
        verdict: None,
    }
}

pub(crate) fn observe(primary: SlotName, a: SlotBoot, b: SlotBoot) -> Event {
    Event::Started(BootObservation {
        primary: Some(primary),
        a,
        b,
    })
}

/// Runs events one after another; gives the last state and every effect on the way.
pub(crate) fn run(mut state: State, facts: &Facts, events: &[Event]) -> (State, Vec<Effect>) {
    let mut effects = Vec::new();
    for event in events {
        let step = step(&state, event, facts);
        state = step.next;
        effects.extend(step.effects);
    }
    (state, effects)
}

/// The names of the effects that act; what is only said is left out.
pub(crate) fn acts(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .filter(|effect| !matches!(effect, Effect::Emit(_)))
        .map(|effect| {
            let text = std::format!("{effect:?}");
            text.split([' ', '(', '{'])
                .next()
                .unwrap_or_default()
                .into()
        })
        .collect()
}
