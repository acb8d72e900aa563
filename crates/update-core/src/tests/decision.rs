//! One table of cases: what the repository said and how the device stands, against which question
//! stopped it and with which word.

use std::string::{String, ToString};

use switchback_types::{SlotName, Timestamp};

use super::{device, image};
use crate::{
    Candidate, Decision, DecisionInputs, FailedImage, Hold, Pause, Question, RepositoryAnswer,
    Requires, RollbackReason, State, decide,
};

fn candidate(number: u8) -> Candidate {
    Candidate {
        image: image(number),
        allow_downgrade: false,
        halted: false,
        compatible: Ok("board".to_string()),
        runs_already: false,
        toward: None,
        requires: None,
        lacks: None,
    }
}

struct Case {
    state: State,
    repository: RepositoryAnswer,
    health: Result<(), String>,
    slot_size: Result<u64, String>,
    boot_environment: Result<(), String>,
    pause: Option<Pause>,
}

impl Case {
    fn new(repository: RepositoryAnswer) -> Self {
        Self {
            state: device(),
            repository,
            health: Ok(()),
            slot_size: Ok(1 << 20),
            boot_environment: Ok(()),
            pause: None,
        }
    }

    fn decide(&self) -> Decision {
        decide(&DecisionInputs {
            now: Timestamp::from_unix(1_000_000),
            booted: SlotName::A,
            state: &self.state,
            repository: self.repository.clone(),
            health: self.health.clone(),
            slot_size: self.slot_size.clone(),
            boot_environment: self.boot_environment.clone(),
            pause: self.pause.clone(),
        })
    }
}

fn release(change: impl FnOnce(&mut Candidate)) -> Case {
    let mut candidate = candidate(2);
    change(&mut candidate);
    Case::new(RepositoryAnswer::Release(candidate))
}

#[test]
fn goes_ahead_when_every_answer_is_yes() {
    let decision = release(|_| {}).decide();
    assert!(decision.is_go(), "{decision:?}");
    assert_eq!(decision.stopped_by(), None);
    assert!(
        decision
            .available
            .reason
            .contains("version 2 is published, 1 runs")
    );
}

#[test]
fn names_the_question_that_stopped_it() {
    let detail = || "https://x/timestamp.json: no answer".to_string();
    let failed = FailedImage {
        sha256: image(2).sha256,
        version: image(2).version,
        reason: RollbackReason::NeverStarted,
        at: Timestamp::EPOCH,
    };
    let hold = Hold {
        reason: "service visit".to_string(),
        since: Timestamp::EPOCH,
    };
    let mut cases = std::vec![
        (
            Case::new(RepositoryAnswer::Nothing { detail: detail() }),
            "nothing-offered"
        ),
        (
            Case::new(RepositoryAnswer::Unreachable { detail: detail() }),
            "unreachable"
        ),
        (
            Case::new(RepositoryAnswer::Untrusted { detail: detail() }),
            "untrusted"
        ),
        (
            Case::new(RepositoryAnswer::Stale { detail: detail() }),
            "stale"
        ),
        (
            Case::new(RepositoryAnswer::Release(candidate(1))),
            "up-to-date"
        ),
        (release(|c| c.runs_already = true), "up-to-date"),
        (release(|c| c.halted = true), "halted"),
        (release(|c| c.image.sequence = 0), "older"),
        (release(|c| c.lacks = Some("sbom")), "papers-missing"),
        (
            release(|c| {
                c.requires = Some(Requires {
                    version: "1.5".parse().unwrap(),
                    sequence: 2,
                });
            }),
            "too-early"
        ),
        (
            release(|c| c.compatible = Err("made for x".to_string())),
            "wrong-product"
        ),
    ];
    let with = |change: &dyn Fn(&mut Case)| {
        let mut case = release(|_| {});
        change(&mut case);
        case
    };
    cases.push((with(&|c| c.state.failed.push(failed.clone())), "known-bad"));
    cases.push((with(&|c| c.state.hold = Some(hold.clone())), "held"));
    cases.push((with(&|c| c.state.floor = 1), "below-floor"));
    cases.push((
        with(&|c| c.health = Err("not known yet".to_string())),
        "not-healthy",
    ));
    cases.push((with(&|c| c.slot_size = Ok(4095)), "slot-too-small"));
    cases.push((
        with(&|c| c.slot_size = Err("gone".to_string())),
        "slot-unusable",
    ));
    cases.push((
        with(&|c| c.boot_environment = Err("bad".to_string())),
        "boot-environment",
    ));
    for (case, code) in cases {
        let decision = case.decide();
        assert!(!decision.is_go(), "{code}");
        let (_, verdict) = decision.stopped_by().unwrap();
        assert_eq!(verdict.code, code);
        assert!(
            verdict.way_out.is_some(),
            "{code} must say what would change it"
        );
    }
}

#[test]
fn failed_install_is_tried_again_only_after_its_pause() {
    let mut case = release(|_| {});
    let pause = |until| {
        Some(Pause {
            until,
            detail: "truncated".to_string(),
        })
    };
    case.pause = pause(Timestamp::from_unix(1_000_001));
    let decision = case.decide();
    let (question, verdict) = decision.stopped_by().unwrap();
    assert_eq!(
        (question, verdict.code.as_str()),
        (Question::Risk, "waiting")
    );
    assert!(verdict.reason.contains("truncated"));
    case.pause = pause(Timestamp::from_unix(1_000_000));
    assert!(case.decide().is_go());
}

#[test]
fn trust_and_verifiability_come_after_wanting() {
    let mut case = release(|c| c.compatible = Err("made for x".to_string()));
    case.state.hold = Some(Hold {
        reason: "no".to_string(),
        since: Timestamp::EPOCH,
    });
    let decision = case.decide();
    assert_eq!(decision.stopped_by().unwrap().0, Question::Wanted);
}

#[test]
fn too_small_a_slot_is_said_with_both_numbers() {
    let mut case = release(|_| {});
    case.slot_size = Ok(4095);
    let reason = case.decide().verifiable.reason;
    assert!(
        reason.contains("4096") && reason.contains("4095"),
        "{reason}"
    );
}
