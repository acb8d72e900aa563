//! Every (phase, event) pair, walked; what changes is a snapshot that a reviewer reads.

use std::fmt::Write as _;
use std::string::{String, ToString};
use std::vec::Vec;

use switchback_types::{Digest, SlotName};

use super::{acts, attempt, device, facts, image, observe, on_trial};
use crate::{
    AttemptKind, Event, InstallFailure, Outcome, Phase, RollbackReason, SlotBoot, SlotContent,
    SlotRecord, State, step,
};

fn lost(mut phase: Phase) -> Phase {
    if let Phase::OnTrial { verdict, .. } = &mut phase {
        *verdict = Some(RollbackReason::Requested);
    }
    phase
}

fn phases() -> Vec<(&'static str, State, SlotName)> {
    let with = |phase: Phase| State {
        phase,
        b: SlotRecord {
            content: SlotContent::Holds { image: image(2) },
            good: false,
            checked: None,
        },
        ..device()
    };
    let attempt = attempt(AttemptKind::Update);
    std::vec![
        ("idle", with(Phase::Idle), SlotName::A),
        (
            "installing",
            with(Phase::Installing {
                attempt: attempt.clone()
            }),
            SlotName::A
        ),
        (
            "staged",
            with(Phase::Staged {
                attempt: attempt.clone()
            }),
            SlotName::A
        ),
        (
            "on-trial, old slot runs",
            with(on_trial(Some("before"))),
            SlotName::A
        ),
        (
            "on-trial, old slot runs, called off",
            with(lost(on_trial(Some("before")))),
            SlotName::A
        ),
        (
            "on-trial, target runs",
            with(on_trial(Some("before"))),
            SlotName::B
        ),
        (
            "on-trial, target runs, trial lost",
            with(lost(on_trial(Some("before")))),
            SlotName::B
        ),
        (
            "reporting",
            with(Phase::Reporting {
                attempt,
                outcome: Outcome::Committed
            }),
            SlotName::B
        ),
    ]
}

fn events(booted: SlotName) -> Vec<Event> {
    std::vec![
        observe(
            booted,
            SlotBoot::Ready { left: 2 },
            SlotBoot::Ready { left: 2 }
        ),
        Event::Identified {
            slot: SlotName::A,
            image: image(1)
        },
        Event::VerifyDue,
        Event::SlotChecked {
            slot: booted.other(),
            sha256: image(2).sha256,
            result: Err("differs".to_string()),
        },
        Event::RepairRequested {
            action: "person-2".parse().unwrap(),
            image: image(2),
        },
        Event::Offered {
            action: "poll-2".parse().unwrap(),
            image: image(3),
            trace: None,
        },
        Event::SlotVerified,
        Event::InstallFailed(InstallFailure::Network {
            detail: "gone".to_string()
        }),
        Event::Armed,
        Event::HealthPassed,
        Event::HealthFailed {
            detail: "kiosk.service is failed".to_string()
        },
        Event::MarkedGood,
        Event::FellBack,
        Event::BootWriteFailed {
            detail: "read-only".to_string()
        },
        Event::Reported,
        Event::RollBackRequested {
            action: "person-1".parse().unwrap(),
            reason: "asked".to_string(),
        },
        Event::HoldRequested {
            reason: "asked".to_string(),
            until: None,
        },
        Event::HoldReleased,
        Event::PinRequested {
            version: "2".parse().unwrap(),
            reason: "asked".to_string(),
        },
        Event::PinReleased,
        Event::Approved {
            sha256: image(2).sha256,
        },
        Event::RetryAllowed {
            sha256: Digest::from_bytes([9; 32])
        },
        Event::CancelRequested,
        Event::RestartRequested,
        Event::ShuttingDown,
    ]
}

#[test]
fn every_pair_is_in_the_table_or_in_the_ignore_list() {
    let mut table = String::new();
    let mut ignored = String::new();
    for (name, state, booted) in phases() {
        let facts = facts(booted, "now");
        for event in events(booted) {
            let step = step(&state, &event, &facts);
            let kind = event.kind();
            if step.next == state && step.effects.is_empty() {
                writeln!(ignored, "{name} + {kind:?}").unwrap();
                continue;
            }
            let to = step.next.phase.kind();
            let acts = acts(&step.effects).join(", ");
            let line = std::format!("{name} + {kind:?} -> {to}: {acts}");
            writeln!(table, "{}", line.trim_end_matches([' ', ':'])).unwrap();
        }
    }
    insta::assert_snapshot!("transitions", std::format!("{table}\nignored:\n{ignored}"));
}
