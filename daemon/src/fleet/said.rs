//! What is told of an update, in DDI's words.

use std::collections::BTreeMap;

use switchback_ddi::{ATTRIBUTE_ANSWER, Feedback, MAX_DETAIL_CHARS, MAX_VALUE_CHARS, Meaning};
use switchback_update_core::{Answer, Attempt, Decision, InstallFailure, Outcome, Question};

use super::{About, Report, action_of};

/// An image whose install failed so often is given up: the server must know that nothing comes of it.
const GIVES_UP_AFTER: u32 = 5;

/// What no waiting changes: answers of the decision that end an action.
const FINAL: [&str; 6] = [
    "known-bad",
    "wrong-product",
    "below-floor",
    "papers-missing",
    "too-early",
    "slot-too-small",
];

fn report(action: &str, meaning: Meaning, details: Vec<String>) -> Report {
    let short = |text: String| text.chars().take(MAX_DETAIL_CHARS).collect();
    let details = details.into_iter().map(short).collect();
    Report {
        action: action.into(),
        about: About::Deployment,
        body: Feedback::new(meaning, details).to_json(),
    }
}

/// How an update ended that the server wanted; nothing to be told where another one wanted it. `failures`: how often the
/// install of this image failed in a row.
#[must_use]
pub fn ended(attempt: &Attempt, outcome: &Outcome, failures: u32) -> Option<Report> {
    let (action, step) = action_of(&attempt.action)?;
    let version = &attempt.image.version;
    let meaning = match outcome {
        // It is on the way; the server waits for the end.
        Outcome::Committed | Outcome::Repaired if step => Meaning::Proceeding,
        Outcome::Committed | Outcome::Repaired => Meaning::Succeeded,
        Outcome::RolledBack(_) => Meaning::RolledBack,
        Outcome::Failed(InstallFailure::Cancelled) => Meaning::Cancelled,
        Outcome::Failed(_) if failures < GIVES_UP_AFTER => Meaning::Proceeding,
        Outcome::Failed(_) => Meaning::Failed,
    };
    let again = match meaning {
        Meaning::Proceeding if !step => "; it is tried again",
        _ => "",
    };
    let slot = attempt.target;
    let text = match outcome {
        Outcome::Committed => format!("version {version} runs in slot {slot}, and is healthy"),
        other => format!("version {version}: {other}{again}"),
    };
    let mut details = vec![text];
    if meaning == Meaning::Succeeded {
        details.push(format!("image {}", attempt.image.sha256));
    }
    Some(report(action, meaning, details))
}

/// Why an update that the server wants has not begun, or that there is nothing to do for it. Gives the code of the
/// answer, too: the same one is not told twice.
#[must_use]
pub fn undecided(action: &str, decision: &Decision) -> Option<(String, Report)> {
    let (question, stopped) = decision.stopped_by()?;
    let meaning = match stopped.code.as_str() {
        "up-to-date" => Meaning::Succeeded,
        code if FINAL.contains(&code) => Meaning::Failed,
        _ => Meaning::Proceeding,
    };
    let mut details = vec![format!("{}: {}", question.as_str(), stopped.reason)];
    if let Some(way_out) = &stopped.way_out {
        details.push(way_out.clone());
    }
    details.extend(
        decision
            .questions()
            .into_iter()
            .filter(|(other, verdict)| *other != question && verdict.answer != Answer::NotAsked)
            .map(|(question, verdict)| format!("{}: {}", question.as_str(), verdict.reason)),
    );
    Some((stopped.code.clone(), report(action, meaning, details)))
}

/// The five answers as attributes, while one of them keeps the device from an update that there is. Where there is none,
/// or no server to say so, there are none: each answer costs the server memory for every device.
#[must_use]
pub fn answers(decision: &Decision) -> BTreeMap<String, String> {
    let stopped = decision.stopped_by();
    if stopped.is_none_or(|(question, _)| question == Question::Available) {
        return BTreeMap::new();
    }
    let questions = decision.questions().into_iter();
    questions
        .map(|(question, verdict)| {
            let text = match verdict.answer {
                Answer::Yes => "yes".into(),
                Answer::No => format!("no: {}", verdict.reason),
                Answer::NotAsked => "not asked".into(),
            };
            let text = text.chars().take(MAX_VALUE_CHARS).collect();
            (format!("{ATTRIBUTE_ANSWER}{}", question.as_str()), text)
        })
        .collect()
}

/// What the server wants is nothing that this device can have.
#[must_use]
pub fn refusal(action: &str, why: &str) -> Report {
    report(action, Meaning::Failed, vec![why.into()])
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use switchback_types::{Digest, SlotName, Timestamp};
    use switchback_update_core::{AttemptKind, ImageIdentity, RollbackReason};

    use super::*;

    fn said(action: &str, outcome: &Outcome, failures: u32) -> Option<String> {
        let attempt = Attempt {
            action: action.parse().unwrap(),
            kind: AttemptKind::Update,
            image: ImageIdentity {
                version: "2".parse().unwrap(),
                sequence: 2,
                security_epoch: 0,
                sha256: Digest::from_bytes([2; 32]),
                size: 1,
            },
            from: None,
            target: SlotName::B,
            tries: 3,
            started: Timestamp::from_unix(0),
            flip_only: false,
            trace: None,
        };
        let report = ended(&attempt, outcome, failures)?;
        assert_eq!(report.action, "17");
        let body: Value = serde_json::from_str(&report.body).unwrap();
        let status = &body["status"];
        Some(format!(
            "{} {} {}",
            status["execution"].as_str().unwrap(),
            status["result"]["finished"].as_str().unwrap(),
            status["code"]
        ))
    }

    #[test]
    fn every_end_has_its_word() {
        let died = Outcome::RolledBack(RollbackReason::TriesExhausted {
            tries: 3,
            daemon_ran: false,
        });
        let broken = Outcome::Failed(InstallFailure::Content {
            detail: "differs".into(),
        });
        let cancelled = Outcome::Failed(InstallFailure::Cancelled);
        for (action, outcome, failures, words) in [
            ("fleet-17", &Outcome::Committed, 0, "closed success null"),
            (
                "fleet-step-17",
                &Outcome::Committed,
                0,
                "proceeding none null",
            ),
            ("fleet-17", &died, 0, "closed failure 1001"),
            ("fleet-step-17", &died, 0, "closed failure 1001"),
            ("fleet-17", &broken, 1, "proceeding none null"),
            ("fleet-17", &broken, GIVES_UP_AFTER, "closed failure null"),
            ("fleet-17", &cancelled, 0, "canceled none null"),
        ] {
            assert_eq!(said(action, outcome, failures).unwrap(), words);
        }
        assert_eq!(said("poll-1-2", &died, 0), None);
    }
}
